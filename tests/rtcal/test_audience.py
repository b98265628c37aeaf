"""What is measured of a display: counted right, and the whole of it with small frames."""

import json

import pytest

from rtcal.audience.measuring import cost
from rtcal.audience.viewers import Shown, summary
from tests.rtcal.test_instrument import rtcal


def seen(*frames, late=10.0):
    return {(name, number): Shown(1000.0 * number, 1000.0 * number + late) for name, number in frames}


def test_frames_are_counted_that_were_published_meanwhile():
    fast = seen(*(("IMG1", number) for number in range(10)))
    slow = seen(("IMG1", 2), ("IMG1", 6), late=700.0)
    found = summary([fast, slow], seen(("", 3), ("", 4), ("", 9), late=50.0), (2000.0, 6500.0))
    assert (found["pages"], found["frames"], found["shown_by_pages"]) == (3, 5, [5, 2])
    assert (found["page_ms"]["p50"], found["page_ms"]["worst"]) == (10, 700)
    assert (found["shown_by_browser"], found["browser_ms"]["p50"]) == (2, 50)


def test_a_frame_that_no_page_showed_counts_as_published():
    found = summary([seen(("IMG1", 1), ("IMG1", 4), ("IMG2", 3))], None, (0.0, 9e9))
    assert (found["frames"], found["shown_by_pages"]) == (5, [3])
    assert "browser_ms" not in found


def test_nothing_seen_has_no_times():
    found = summary([{}], None, (0.0, 1.0))
    assert (found["frames"], found["page_ms"]) == (0, {"p50": None, "p95": None, "worst": None})


def test_the_growth_is_that_of_the_second_half():
    samples = [(float(at), 0.2 * at, int(1e8 + 1e6 * max(at, 50))) for at in range(0, 101, 10)]
    found = cost(samples)
    assert found["display_cpu_cores"] == pytest.approx(0.2)
    assert found["display_rss_mb"] == {"start": 150, "end": 200, "most": 200}
    assert found["growth_mb_per_min"] == pytest.approx(60.0)
    assert found["rss_curve_mb"][-1] == [100, 200]


def test_the_display_is_measured_with_pages_that_look_at_it():
    options = ("--size", "256", "--pages", "3", "--rate", "5", "--seconds", "3", "--json")
    done = rtcal("bench", "display", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["pages"] == 3
    assert report["frames"] >= 5
    assert min(report["shown_by_pages"]) > 0.5 * report["frames"]
    assert 0 < report["page_ms"]["p50"] <= report["page_ms"]["p95"] <= report["page_ms"]["worst"]
    assert 100 < report["display_rss_mb"]["most"] < 600
    assert 0 < report["display_cpu_cores"] < 2


def test_a_live_run_with_pages_tells_of_the_display_too():
    live = ("--size", "256", "--seconds", "4", "--speed", "5", "--pages", "2", "--json")
    done = rtcal("bench", "live", *live)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["reads_lost"] == 0
    assert report["latency_s"]["p99"] > 0
    assert report["display"]["pages"] == 2
    assert max(report["display"]["shown_by_pages"]) > 0
