import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refcache.dates import crds_text, parse_date, seconds_between, utc_of_tai

# The forms that docs/crds.md lists, and what they mean.
FORMS = {
    "2026-01-02 03:04": "2026-01-02 03:04:00",
    "2026-01-02 03:04:05": "2026-01-02 03:04:05",
    "2026-01-02T03:04:05.25": "2026-01-02 03:04:05.250000",
    "2026/01/02 03:04:05": "2026-01-02 03:04:05",
    "01/02/2026 03:04:05": "2026-01-02 03:04:05",
    "02-01-26 03:04:05": "2026-01-02 03:04:05",
    "02/01/99 03:04:05": "1999-01-02 03:04:05",
    "Jan 02 2026": "2026-01-02 00:00:00",
    "JANUARY 2, 2026 03:04:05": "2026-01-02 03:04:05",
    "02-Jan-2026": "2026-01-02 00:00:00",
    "Mar 21 2001 12:00:00 am": "2001-03-21 00:00:00",
    "Feb 08 2006 01:02PM": "2006-02-08 13:02:00",
    "2026-01-02 12:42 AM": "2026-01-02 00:42:00",
    "2026-01-02 03:04:05 UT": "2026-01-02 03:04:05",
    "19970114:053714": "1997-01-14 05:37:14",
}
NO_DATES = [
    *("", "UNDEFINED", "N/A", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+01:00", "59000.5", "20260101"),
    *("2026-13-01", "2026-02-30", "2026-01-01 23:59:60", "2026-01-01 24:00", "Foo 21 2001", "2026-1-1", "25:00"),
]


@pytest.mark.parametrize(("text", "expected"), FORMS.items())
def test_every_form_of_a_date_is_read(text: str, expected: str) -> None:
    assert crds_text(parse_date(text)) == expected


@pytest.mark.parametrize("text", NO_DATES)
def test_what_is_no_date_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(ValueError, match="is no date; write YYYY-MM-DD HH:MM:SS"):
        parse_date(text)


@given(st.text(max_size=40))
def test_any_text_is_a_date_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse_date(text), datetime)


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 1, 1)))
def test_crds_text_is_read_back_to_the_microsecond_below(date: datetime) -> None:
    back = parse_date(crds_text(date))
    # CRDS truncates the fraction of a second, which costs up to a microsecond.
    assert 0 <= (date - back).total_seconds() <= 1e-6


def test_utc_is_37_seconds_behind_tai_since_2017() -> None:
    noon_2027 = 1_798_804_800  # 2027-01-01 12:00:00 as a POSIX count
    assert utc_of_tai((noon_2027 + 37) * 10**9) == datetime(2027, 1, 1, 12, tzinfo=UTC)


def test_age_counts_the_leap_second_at_the_end_of_2016() -> None:
    one_past_midnight = (1_483_228_801 + 37) * 10**9  # 2017-01-01 00:00:01
    assert seconds_between(datetime(2016, 12, 31, 23, 59, 59), one_past_midnight) == 3.0


@given(st.integers(min_value=0, max_value=4 * 10**18))
def test_tai_to_utc_and_back_loses_less_than_a_microsecond(tai_ns: int) -> None:
    elapsed = seconds_between(utc_of_tai(tai_ns), tai_ns)
    # An instant inside a leap second has no UTC of its own and repeats the second after it.
    assert 0 <= elapsed < 1e-6 or -1 <= elapsed < -1 + 1e-6 or 1 <= elapsed < 1 + 1e-6


def test_a_time_beyond_the_calendar_says_so() -> None:
    with pytest.raises(OverflowError):
        utc_of_tai(10**21)
