"""Limits: raised after so many frames, held until clear, acknowledged, dated."""

import pytest

from dashboards.alarms import SHIPPED, Alarms, load_limits
from dashboards.quantities import UNITS
from streams.clock import NS, parse_iso_utc
from streams.errors import SettingsError
from streams.messages import Quality
from tests.quicklook import make_frame

ONE = '[[set]]\nuseafter = "2026-01-01"\n[[set.limit]]\n'
LIMITS = """
[[set]]
useafter = "2026-01-01"
[[set.limit]]
name = "wide"
quantity = "fwhm_mas"
above = 30.0
clear = 20.0
after = 2
level = "alarm"
[[set]]
useafter = "2026-06-01"
[[set.limit]]
name = "wide"
quantity = "fwhm_mas"
above = 50.0
clear = 40.0
detector = "IMG1"
"""


@pytest.fixture
def alarms(tmp_path):
    path = tmp_path / "limits.toml"
    path.write_text(LIMITS)
    return Alarms(load_limits(path))


def see(alarms, fwhm, day="2026-02-01", detector="IMG1"):
    quality = None if fwhm is None else Quality(fwhm_mas=fwhm)
    frame = make_frame(detector, 1, side=8, quality=quality, time_ns=parse_iso_utc(day), reads_lost=0)
    alarms.watch(frame.header)
    return [(alarm["name"], alarm["detector"], alarm["acknowledged"]) for alarm in alarms.raised()]


def test_an_alarm_is_raised_after_its_frames_and_held_until_clear(alarms):
    assert see(alarms, 35.0) == []
    assert see(alarms, 35.0) == [("wide", "IMG1", False)]
    assert see(alarms, 25.0) == [("wide", "IMG1", False)]  # not beyond the limit, not clear either
    assert see(alarms, None) == [("wide", "IMG1", False)]  # not measured: nothing is known
    assert see(alarms, 19.0) == []
    assert see(alarms, 35.0) == []
    assert see(alarms, 10.0) == []
    assert see(alarms, 35.0) == []  # not in a row


def test_a_person_acknowledges_until_it_is_raised_anew(alarms):
    see(alarms, 35.0)
    see(alarms, 35.0)
    assert alarms.acknowledge("wide/IMG1", 5 * NS)
    assert not alarms.acknowledge("wide/IMG9", 5 * NS)
    assert see(alarms, 36.0) == [("wide", "IMG1", True)]
    see(alarms, 10.0)
    see(alarms, 35.0)
    assert see(alarms, 35.0) == [("wide", "IMG1", False)]


def test_the_newest_set_before_the_frame_holds(alarms):
    assert see(alarms, 45.0, "2026-07-01") == []
    assert see(alarms, 55.0, "2026-07-01") == [("wide", "IMG1", False)]
    assert see(alarms, 55.0, "2026-07-01", "IMG2") == [("wide", "IMG1", False)]  # of IMG1 alone
    assert see(alarms, 99.0, "2025-07-01", "IMG3") == [("wide", "IMG1", False)]  # before any set


def test_the_shipped_limits_watch_numbers_that_exist():
    for _, limits in load_limits(None):
        assert {limit.quantity for limit in limits} <= set(UNITS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = [", "limits.toml"),
        ('[[set]]\nuseafter = "yesterday"', "yesterday"),
        (ONE + 'name = "a"\nquantity = "sky"\nclear = 1.0', "above and below"),
        (ONE + 'name = "a"\nquantity = "sky"\nabove = 1.0\nclear = 2.0', "beyond"),
        (ONE + 'nme = "a"', "nme"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_name(tmp_path, text, words):
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        load_limits(path)
    with pytest.raises(SettingsError, match=r"none\.toml"):
        load_limits(tmp_path / "none.toml")
    assert SHIPPED.exists()
