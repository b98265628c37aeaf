"""A night with skies between science: what the daemon publishes is what the offline reduction makes of it."""

import hashlib
import threading

import numpy as np
import pytest
from msgspec.structs import replace

from refcache import ReferenceStore
from rtcal.bands import Bands
from rtcal.night.groups import Group
from rtcal.reduce import Reducer
from streams.messages import Read
from streams.simulator import Simulator, write_references
from tests.fakes import FakeClock, ListSource
from tests.rigs import WAIT_S, published_reads, running, settings_with
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


def last_issues(frames):
    """The latest issue of each exposure's frame; how many went before depends on when a reference was ready."""
    ordered = sorted(frames, key=lambda frame: frame.header.revision)
    return {(frame.header.detector, frame.header.exposure_id): frame for frame in ordered}


def test_live_and_offline_end_with_the_same_frames_and_references(night):
    folder, context, messages = night
    offline = configured(folder, context, "offline")
    with Bands(1) as bands:
        reducer = Reducer(offline, store_of(offline, wait=True), bands, FakeClock())
        expected = last_issues(reducer.frames(ListSource(messages)))
    assert [key for key, frame in expected.items() if frame.header.revision > 0]
    live = configured(folder, context, "live")
    with published_reads() as (sink, source), running(live, store_of(live, wait=False), source) as rig:
        for message in messages:
            sink.send(message)
        rig.frames(len(expected))
        *_, last = rig.stop()
        frames = last_issues(rig.frames(0))
    assert frames.keys() == expected.keys()
    for key, frame in frames.items():
        other = expected[key]
        plain = [
            replace(one.header, published_ns=0, sequence=0, revision=0, sky_scale=None, quality=None)
            for one in (frame, other)
        ]
        assert plain[0] == plain[1]
        assert frame.header.sky_scale == (
            None if other.header.sky_scale is None else pytest.approx(other.header.sky_scale, rel=1e-5)
        )
        for name, tolerance in (("data", 1e-3), ("err", 1e-5)):  # finished anew, or at once: the same but for rounding
            np.testing.assert_allclose(getattr(frame, name), getattr(other, name), rtol=1e-5, atol=tolerance)
        for name in ("dq", "saturated_from"):
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


def test_a_restart_takes_up_what_the_night_has_brought_and_names_what_it_cannot_read(night):
    folder, context, messages = night
    settings = configured(folder, context, "restart")
    reads = [message for message in messages if isinstance(message, Read)]
    begin, later = (
        [read for read in reads if read.header.exposure_id.endswith(numbers)]
        for numbers in (("-0001", "-0002"), "-0003")
    )
    for part in (begin, later):
        with published_reads() as (sink, source), running(settings, store_of(settings, wait=False), source) as rig:
            rig.frames(0)
            for read in part:
                sink.send(read)
            rig.frames(len({(read.header.detector, read.header.exposure_id) for read in part}))
            *_, last = rig.stop()
            frames = last_issues(rig.frames(0))
        place = folder / "restart"
        skies = sorted(path.name for path in place.glob("night_sky*"))
        kept = {name: (place / name).read_bytes() for name in skies}
        if part is begin:
            assert len(skies) == 2
            broken = place / "night_dark_iris_img1_20310101t000000.fits"
            broken.write_bytes(kept[skies[0]][:9000])
            undated = place / "night_sky_iris_img2_20310101t000000.fits"
            undated.write_bytes(kept[skies[1]].replace(b"DATE-AVG", b"DATE-OLD"))
    assert {frame.header.exposure_id[-4:] for frame in frames.values()} == {"0003"}
    for frame in frames.values():
        (sky,) = (one for one in frame.header.references if one.reftype == "sky")
        assert (sky.status, sky.name) == ("OK", f"night_sky_iris_{frame.header.detector.lower()}" + sky.name[-21:])
        assert sky.note == "of this night, 1 exposure"
        assert 0 < sky.age_s < 600
        assert sky.sha256 == hashlib.sha256(kept[sky.name]).hexdigest()
    told = " ".join(last.header.problems)
    assert f"{broken}: is truncated or damaged" in told
    assert f"{undated}: DATE-AVG is '', no date; the file is left as it is" in told
    assert broken.stat().st_size == 9000


def test_no_read_waits_for_a_sky_that_is_being_made(night, monkeypatch):
    folder, context, messages = night
    settings = configured(folder, context, "slow")
    gate, made = threading.Event(), Group.make

    def slow(group, *arguments):
        assert gate.wait(WAIT_S)
        return made(group, *arguments)

    monkeypatch.setattr(Group, "make", slow)
    with published_reads() as (sink, source), running(settings, store_of(settings, wait=False), source) as rig:
        for message in messages:
            sink.send(message)
        frames = rig.frames(2 * len(SEQUENCE))  # all of them, while the first sky is still being made
        gate.set()
        *_, last = rig.stop()
        again = rig.frames(0)[len(frames) :]
    assert {frame.header.revision for frame in frames} == {0}
    assert {frame.header.revision for frame in again} == {1}
    for detector in last.header.detectors.values():
        assert detector.counters["night_references"] == SEQUENCE.count("sky")
        assert {"reads_lost", "dropped_queue_full", "failures", "night_left_out"}.isdisjoint(detector.counters)
