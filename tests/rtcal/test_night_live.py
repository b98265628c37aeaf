"""A night with skies between science: what the daemon publishes is what the offline reduction makes of it."""

import numpy as np
import pytest
from msgspec.structs import replace

from refcache import ReferenceStore
from rtcal.bands import Bands
from rtcal.reduce import Reducer
from streams.simulator import Simulator, write_references
from tests.fakes import FakeClock, ListSource
from tests.rigs import published_reads, running, settings_with
from tests.simulated import simulated

SEQUENCE = ["science", "sky", "science", "sky", "sky", "science"]


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    changes = {"detectors": ["IMG1", "IMG2"], "sequence": SEQUENCE, "exposures": len(SEQUENCE)}
    simulator = Simulator(simulated(**changes, stars_per_mpx=100.0), FakeClock())
    context = write_references(simulator, folder / "refs")
    messages = [message for _, message in simulator.messages()]
    return folder, context, messages


def configured(folder, context, place):
    refcache = {"path": str(folder / "refs"), "context": context}
    return settings_with(refcache=refcache, night={"directory": str(folder / place)}, daemon={"queue_reads": 1000})


def store_of(settings, *, wait):
    store = ReferenceStore(settings.refcache, settings.calibration.stale_s, {}, wait=wait)
    assert store.preload() == []
    return store


def by_issue(frames):
    return {(frame.header.detector, frame.header.exposure_id, frame.header.revision): frame for frame in frames}


def test_live_and_offline_issue_the_same_frames_and_references(night):
    folder, context, messages = night
    offline = configured(folder, context, "offline")
    with Bands(1) as bands:
        reducer = Reducer(offline, store_of(offline, wait=True), bands, FakeClock())
        expected = by_issue(reducer.frames(ListSource(messages)))
    again = [key for key in expected if key[2] > 0]
    assert again
    live = configured(folder, context, "live")
    with published_reads() as (sink, source), running(live, store_of(live, wait=False), source) as rig:
        for message in messages:
            sink.send(message)
        frames = by_issue(rig.frames(len(expected)))
        *_, last = rig.stop()
    assert frames.keys() == expected.keys()
    for key, frame in frames.items():
        other = expected[key]
        plain = [replace(one.header, published_ns=0) for one in (frame, other)]
        assert plain[0] == plain[1]
        for name in ("data", "err", "dq", "saturated_from"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(other, name))
    for detector in last.header.detectors.values():
        assert detector.counters["night_references"] == SEQUENCE.count("sky")
        assert {"lost", "failures", "night_failed"}.isdisjoint(detector.counters)
    files = [{path.name: path.read_bytes() for path in (folder / place).iterdir()} for place in ("live", "offline")]
    assert files[0] == files[1]
    assert len(files[0]) == 4  # two groups of skies of each detector


def test_the_last_issue_of_a_frame_has_less_sky_in_it_than_the_first(night):
    folder, context, messages = night
    settings = configured(folder, context, "compare")
    with Bands(1) as bands:
        frames = list(Reducer(settings, store_of(settings, wait=True), bands, FakeClock()).frames(ListSource(messages)))
    issues = {}
    for frame in frames:
        issues.setdefault((frame.header.detector, frame.header.exposure_id), []).append(frame)
    several = [found for found in issues.values() if len(found) > 1]
    assert several
    for first, *_, last in several:
        (sky,) = (one for one in last.header.references if one.reftype == "sky")
        assert sky.name.startswith("night_sky")
        assert abs(float(np.nanmedian(last.data))) < 3
        assert last.header.revision > first.header.revision
