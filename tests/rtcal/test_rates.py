"""The search for the highest rate without a lost read, on daemons that lose from a known speed on."""

import threading

import pytest

from rtcal.rates import SPEEDS, Attempt, RateFinder


def finder(monkeypatch, loses_above, keeps_up_to=100.0):
    tried = RateFinder(None, None, None, None, None, threading.Event())

    def attempt(self, speed, _show):
        lost = 7 if speed > loses_above else 0
        self.attempts.append(Attempt(speed, 100, lost, 1e6 * speed, speed <= keeps_up_to))
        return self.attempts[-1]

    monkeypatch.setattr(RateFinder, "_try", attempt)
    return tried


@pytest.mark.parametrize("loses_above", [1.6, 2.6, 3.9, 7.0])
def test_the_highest_speed_that_loses_nothing_is_closed_in_on(monkeypatch, loses_above):
    found = finder(monkeypatch, loses_above).find(lambda _: None)
    lossless = [one["speed"] for one in found["attempts"] if not one["reads_lost"]]
    lossy = [one["speed"] for one in found["attempts"] if one["reads_lost"]]
    assert found["highest_lossless_speed"] == max(lossless) <= loses_above < min(lossy)
    assert min(lossy) - max(lossless) <= 0.51
    assert found["highest_lossless_bytes_per_s"] == pytest.approx(1e6 * found["highest_lossless_speed"], abs=2e4)
    assert found["limited_by"] == "reads lost above"


def test_a_daemon_that_loses_at_once_has_no_such_speed(monkeypatch):
    found = finder(monkeypatch, 0.5).find(lambda _: None)
    assert found["highest_lossless_speed"] is None
    assert found["highest_lossless_bytes_per_s"] is None


def test_what_limits_is_said(monkeypatch):
    assert finder(monkeypatch, 100.0).find(lambda _: None)["limited_by"] == "not reached"
    slow = finder(monkeypatch, 100.0, keeps_up_to=2.5).find(lambda _: None)
    assert slow["limited_by"] == "the simulator"
    assert len(slow["attempts"]) == SPEEDS.index(3.0) + 1
