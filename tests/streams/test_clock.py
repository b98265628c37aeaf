import calendar
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.clock import NS, SystemClock, iso_utc, mjd_to_tai_ns, parse_iso_utc, tai_to_utc_ns, utc_to_tai_ns

# IERS Bulletin C: TAI - UTC from these instants on [s].
LEAPS = [("1972-01-01", 10), ("1999-01-01", 32), ("2006-01-01", 33), ("2015-07-01", 36), ("2017-01-01", 37)]


@pytest.mark.parametrize(("date", "offset_s"), LEAPS)
def test_leap_seconds_are_those_of_the_iers(date: str, offset_s: int) -> None:
    tai_ns = parse_iso_utc(date)
    utc_ns = tai_to_utc_ns(tai_ns)
    assert tai_ns - utc_ns == offset_s * NS
    if date != "1972-01-01":
        assert utc_to_tai_ns(utc_ns - 1) - (utc_ns - 1) == (offset_s - 1) * NS


def test_a_leap_second_lengthens_an_interval() -> None:
    assert parse_iso_utc("2017-01-01T00:00:00") - parse_iso_utc("2016-12-31T23:59:59") == 2 * NS


def test_inside_a_leap_second_utc_repeats_and_never_runs_back() -> None:
    start = parse_iso_utc("2016-12-31T23:59:59")
    utc = [tai_to_utc_ns(start + step * NS // 10) for step in range(40)]
    assert all(later - earlier in (NS // 10, NS // 10 - NS) for earlier, later in itertools.pairwise(utc))
    assert tai_to_utc_ns(start + 2 * NS) == utc_to_posix("2017-01-01")


def utc_to_posix(date: str) -> int:
    return calendar.timegm(time.strptime(date, "%Y-%m-%d")) * NS


@given(st.integers(63_072_000 * NS, 4_000_000_000 * NS))
def test_utc_to_tai_and_back(utc_ns: int) -> None:
    assert tai_to_utc_ns(utc_to_tai_ns(utc_ns)) == utc_ns


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2031-01-15", "2031-01-15T00:00:00.000"),
        ("2031-01-15T06:00", "2031-01-15T06:00:00.000"),
        (" 2031-01-15 06:00:00.25Z ", "2031-01-15T06:00:00.250"),
        ("1965-01-01T00:00:00", "1965-01-01T00:00:00.000"),
    ],
)
def test_dates_are_read_and_written(text: str, same: str) -> None:
    assert iso_utc(parse_iso_utc(text)) == same


@pytest.mark.parametrize("text", ["", "tomorrow", "2031-13-01", "2031-01-15T25:00", "NaT"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_iso_utc(text)


def test_modified_julian_dates() -> None:
    assert mjd_to_tai_ns(40587.0) == 10 * NS
    assert mjd_to_tai_ns(57754.0) == parse_iso_utc("2017-01-01")
    assert mjd_to_tai_ns(57754.5, 0.25) == parse_iso_utc("2017-01-01T12:00:00.25")


def test_the_system_clock_is_37_s_ahead_of_utc_and_never_steps_back() -> None:
    clock = SystemClock()
    before, now, after = time.time_ns(), clock.tai_ns(), time.time_ns()
    assert before <= tai_to_utc_ns(now) <= after
    assert clock.monotonic_s() <= clock.monotonic_s()
