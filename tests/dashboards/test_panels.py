"""What the side panel and the readout are told."""

import json

import msgspec
import numpy as np
import pytest

from dashboards.feed import Feed, Snapshot
from dashboards.panels import probe, state
from dashboards.scene import MOSAIC, Layout, build
from dashboards.settings import Budget
from tests.fakes import FakeClock
from tests.quicklook import SATURATED_AT, make_frame, make_preview, make_status

LAYOUT = Layout((("IMG1", "IMG2"), ("IMG3", "IMG4")), 0.25)


@pytest.fixture
def feed():
    return Feed(FakeClock(), Budget(100 << 20, 10, 10), 64)


def as_json(snapshot: Snapshot) -> dict:
    return json.loads(msgspec.json.encode(state(snapshot, LAYOUT, 2)))


def test_before_anything_is_heard_there_is_no_daemon():
    told = as_json(Snapshot())
    assert (told["daemon"], told["status_heard_ms"], told["detectors"]) == (None, None, [])
    assert told["display"] == {"viewers": 2}


def test_the_daemons_counters_problems_and_period_are_passed_on(feed):
    feed.take(make_status(3, period_s=0.5, detectors=("IMG1",), problems=["disk is full"]))
    told = as_json(feed.latest())
    assert told["problems"] == ["disk is full"]
    assert told["daemon"]["period_ms"] == 500.0
    assert told["daemon"]["counters"] == {"reads_received": 40, "gaps": 0}
    assert told["detectors"][0]["counters"] == {"reads": 40, "reads_lost": 1}
    assert told["detectors"][0]["progress"] == {
        "exposure_id": "2026B-0001", "ramp": 0, "read": 3, "ramps_planned": 0, "reads_planned": 8
    }  # fmt: skip


def test_a_stream_of_another_version_is_told_as_a_problem():
    told = as_json(Snapshot(counters={"rejected_version": 3}, other_version_s=5.0))
    (problem,) = told["problems"]
    assert "3 messages are of another version" in problem
    assert as_json(Snapshot(counters={"rejected_parts": 3}))["problems"] == []


def test_a_preview_tells_the_progress_better_than_the_heartbeat(feed):
    feed.take(make_status(3, detectors=("IMG1",)))
    feed.take(make_preview("IMG1", 13, reads_lost=2))
    progress = as_json(feed.latest())["detectors"][0]["progress"]
    assert (progress["read"], progress["reads_planned"], progress["ramps_planned"]) == (5, 8, 2)
    assert progress["reads_lost"] == 2


def test_a_frame_tells_its_references_and_counts(feed):
    feed.take(make_frame("IMG1", 13, side=64))
    frame = as_json(feed.latest())["detectors"][0]["frame"]
    assert [(one["reftype"], one["status"]) for one in frame["references"]] == [
        ("dark", "OK"), ("badpix", "STALE"), ("sky", "MISSING"), ("flat", "NA")
    ]  # fmt: skip
    assert (frame["reads_used"], frame["reads_lost"], frame["reads_rejected"]) == (7, 1, 0)
    assert frame["notes"] == ["read 4 was lost"]


def test_the_cursor_reads_the_full_frame(feed):
    frame = make_frame("IMG1", side=256)
    frame.data[200, 100] = np.nan
    feed.take(frame)
    scene = build(feed.latest(), LAYOUT, "IMG1", "reduced")
    x, y = SATURATED_AT
    told = probe(scene, x + 0.4, y - 0.4)
    assert (told["detector"], told["x"], told["y"], told["binning"], told["units"]) == ("IMG1", x, y, 1, "e-/s")
    assert told["value"] == float(frame.data[y, x])
    assert told["error"] == float(frame.err[y, x])
    assert told["dq"] == ["SATURATED", "JUMP_DET"]
    assert probe(scene, 100, 200)["value"] is None


def test_the_cursor_counts_pixels_of_the_detector_in_the_mosaic(feed):
    for name, level in (("IMG1", 1.0), ("IMG2", 2.0), ("IMG3", 3.0), ("IMG4", 4.0)):
        feed.take(make_frame(name, data=np.full((64, 64), level)))
    scene = build(feed.latest(), LAYOUT, MOSAIC, "reduced")
    told = {name: probe(scene, x, y) for name, x, y in (("IMG2", 83, 90), ("IMG3", 3, 10))}
    assert {name: (one["detector"], one["x"], one["y"], one["value"]) for name, one in told.items()} == {
        "IMG2": ("IMG2", 3, 10, 2.0),
        "IMG3": ("IMG3", 3, 10, 3.0),
    }
    assert probe(scene, 70, 70)["detector"] is None


def test_the_cursor_reads_the_mean_of_a_preview(feed):
    preview = make_preview("IMG1", rate=np.arange(64.0).reshape(8, 8), binning=4)
    feed.take(preview)
    told = probe(build(feed.latest(), LAYOUT, "IMG1", "ramp"), 13, 6)
    assert (told["x"], told["y"], told["value"], told["binning"]) == (13, 6, 11.0, 4)
    assert told["error"] is None
    assert probe(build(feed.latest(), LAYOUT, "IMG1", "raw"), 13, 6)["units"] == "DN"


def test_the_cursor_finds_nothing_where_nothing_is(feed):
    assert probe(None, 0, 0)["detector"] is None
    feed.take(make_preview("IMG1", rate=np.zeros((8, 8)), binning=4, full_shape=(35, 35)))
    scene = build(feed.latest(), LAYOUT, "IMG1", "ramp")
    assert "value" not in probe(scene, 34, 34)
    assert "value" not in probe(build(feed.latest(), LAYOUT, "IMG1", "reduced"), 3, 3)


def test_too_little_memory_for_the_newest_frame_is_a_problem():
    small = Feed(FakeClock(), Budget(5 << 20, 10, 10), 64)
    small.take(make_frame("IMG1", side=1024))
    assert "dashboard.memory_mb" in state(small.latest(), LAYOUT, 0)["problems"][0]


def test_another_version_is_no_problem_any_more_once_nothing_of_it_has_come_for_a_minute():
    def problems(heard_s):
        snapshot = Snapshot(counters={"rejected_version": 3}, other_version_s=5.0, status_heard_s=heard_s)
        return state(snapshot, LAYOUT, 0)["problems"]

    assert len(problems(60.0)) == 1
    assert problems(70.0) == []
