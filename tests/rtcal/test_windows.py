"""Windows beside the full frame: pipelines of their own, pixels that the full frame lacks, and what can go wrong."""

import msgspec
import numpy as np
import pytest

from refcache import ReferenceStore
from rtcal.products import file_name
from rtcal.reduce import Reducer
from rtcal.routing import MAX_PIPELINES, Router, WindowSeen
from streams.dq import Dq
from streams.messages import Observe, ObserveHeader, Read
from streams.simulator import Simulator, write_references
from streams.windows import MAX_WINDOWS, Window
from tests.fakes import READ_HEADER, FakeClock, FixedReferences, ListSource, ramp_reads
from tests.simulated import simulated

SHAPE, SIDE = (32, 40), 6
MASKED = Dq.WINDOW | Dq.DO_NOT_USE
FULL = {"SUBARRAY": "FULL", "READMODE": "UTR"}


@pytest.fixture
def reducer(settings, bands, clock):
    detectors = {"DEFAULT": msgspec.structs.replace(settings.detectors["DEFAULT"], reference_border=0)}
    changed = msgspec.structs.replace(settings, detectors=detectors)
    return Reducer(changed, FixedReferences(), bands, clock)


def cube(slope_dn, n=5, shape=SHAPE):
    return (1000 + slope_dn * np.arange(n)[:, None, None] * np.ones((1, *shape))).astype("<u2")


def full(n=5, exposure_id="E-1", first_sequence=0, **setup):
    return ramp_reads(cube(10.0, n), exposure_id=exposure_id, first_sequence=first_sequence, setup={**FULL, **setup})


def window(number=1, x=11, y=21, n=5, exposure_id="E-1-01", slope_dn=30.0, detector=None, **more):
    setup = {"SUBARRAY": "ODGW", "XSTART": x, "YSTART": y}
    detector = f"IMG1.W{number}" if detector is None else detector
    data = cube(slope_dn, n, (SIDE, SIDE))
    return ramp_reads(data, detector=detector, exposure_id=exposure_id, setup=setup, **more)


def interleaved(*streams):
    """The reads of several sources by turns."""
    return [read for group in zip(*streams, strict=True) for read in group]


def reduced(reducer, messages):
    return {frame.header.detector: frame for frame in reducer.frames(ListSource(messages))}


def places(frame):
    return np.argwhere(frame.dq & Dq.WINDOW != 0)


def window_notes(frames):
    return [note for note in frames["IMG1"].header.notes if "window" in note]


def test_a_window_has_a_frame_of_its_own_and_the_full_frame_a_hole(reducer):
    frames = reduced(reducer, interleaved(full(), window()))
    assert set(frames) == {"IMG1", "IMG1.W1"}
    np.testing.assert_allclose(frames["IMG1.W1"].data, 60.0)
    whole = frames["IMG1"]
    expected = np.zeros(SHAPE, bool)
    expected[20:26, 10:16] = True
    np.testing.assert_array_equal(whole.dq & MASKED, np.where(expected, MASKED, 0))
    np.testing.assert_allclose(whole.data[~expected], 20.0)
    assert reducer.counters["lost"] == reducer.counters["reads_lost"] == 0
    assert [pipeline.status().counters["reads_used"] for pipeline in reducer.pipelines.values()] == [5, 5]


def test_a_full_frame_can_list_its_windows_itself(reducer):
    frames = reduced(reducer, full(WINDOWS="11 21 6 6; 1 1 3 2"))
    assert len(places(frames["IMG1"])) == 36 + 6
    assert (places(frames["IMG1"]) < [2, 3]).all(axis=1).sum() == 6


def test_windows_of_one_exposure_do_not_mark_the_next(reducer):
    first = interleaved(full(), window())
    then = full(exposure_id="E-2", first_sequence=5)
    frames = list(reducer.frames(ListSource([*first, *then])))
    counts = {(frame.header.detector, frame.header.exposure_id): len(places(frame)) for frame in frames}
    assert counts == {("IMG1", "E-1"): 36, ("IMG1.W1", "E-1-01"): 0, ("IMG1", "E-2"): 0}


def test_a_window_at_its_own_pace_neither_delays_nor_is_delayed(reducer):
    slow = full()
    quick = [read for number in range(4) for read in window(ramp=number, ramps_planned=4, first_sequence=5 * number)]
    frames = list(reducer.frames(ListSource([*slow[:2], *quick, *slow[2:]])))
    assert [frame.header.ramps for frame in frames if frame.header.detector == "IMG1.W1"] == [1, 2, 3, 4]
    assert [frame.header.complete for frame in frames] == [False, False, False, True, True]
    assert frames[-1].header.detector == "IMG1"


def test_lost_reads_of_a_window_are_its_own(reducer):
    guide = window()
    frames = reduced(reducer, [*full(), *guide[:2], *guide[3:]])
    assert (frames["IMG1"].header.reads_lost, frames["IMG1.W1"].header.reads_lost) == (0, 1)


def test_a_window_that_moves_loses_its_reads_and_both_places_are_marked(reducer):
    moved = window()[:3] + window(x=12)[3:]
    frames = reduced(reducer, interleaved(full(), moved))
    guide = frames["IMG1.W1"].header
    assert (guide.reads_used, guide.reads_rejected, guide.complete) == (3, 2, False)
    assert reducer.counters["rejected_moved"] == 2
    assert reducer.counters["windows_overlapping"] == 1
    assert len(places(frames["IMG1"])) == 42
    assert window_notes(frames) == ["window (12 21 6 6) overlaps another, or has moved"]


def test_windows_that_reach_beyond_or_overlap_are_told(reducer):
    frames = reduced(reducer, [*full()[:1], *window(1, x=38), *window(2, 1, 1), *window(3, 4, 4), *full()[1:]])
    assert reducer.counters["windows_outside"] == reducer.counters["windows_overlapping"] == 1
    assert window_notes(frames) == [
        "window (38 21 6 6) is not all on the detector of 40 x 32",
        "window (4 4 6 6) overlaps another, or has moved",
    ]
    assert len(places(frames["IMG1"])) == 18 + 36 + 36 - 9
    assert set(frames) == {"IMG1", "IMG1.W1", "IMG1.W2", "IMG1.W3"}


def test_a_list_that_cannot_be_read_is_counted_and_told(reducer):
    frames = reduced(reducer, full(WINDOWS="11 21 6"))
    assert reducer.counters["windows_bad"] == 1
    assert not len(places(frames["IMG1"]))
    assert any("write XSTART YSTART XSIZE YSIZE" in note for note in frames["IMG1"].header.notes)


def test_reads_held_back_do_not_lose_their_exposures_window(reducer):
    """The window is seen while the exposure's first read waits for one before it."""
    reads = full(exposure_id="E-2", first_sequence=6)
    messages = [*full(), *reads[:1], *window(exposure_id="E-2-01"), *reads[1:]]
    frames = list(reducer.frames(ListSource(messages)))
    (last,) = (frame for frame in frames if frame.header.exposure_id == "E-2")
    assert len(places(last)) == 36


def test_events_of_a_detector_end_its_windows_exposures_too(reducer):
    aborted = {"name": "ExposureAborted", "exposure_id": "E-1", "time_ns": READ_HEADER.time_ns}
    header = ObserveHeader(instrument="IRIS", detector="IMG1", sequence=0, **aborted)
    frames = list(reducer.frames(ListSource([*full()[:3], *window()[:3], Observe(header), *full(exposure_id="E-2")])))
    assert [(frame.header.detector, frame.header.reads_used) for frame in frames[:2]] == [("IMG1", 3), ("IMG1.W1", 3)]


def read(detector, **setup):
    header = msgspec.structs.replace(READ_HEADER, detector=detector, setup=setup)
    return Read(header, np.zeros((SIDE, SIDE), "<u2"))


def test_a_window_is_told_once_for_each_exposure_and_place():
    router, seen = Router(), []
    place = {"XSTART": 3, "YSTART": 5}
    for one in [read("IMG1.W1", **place), read("IMG1"), read("IMG1.W1", **place), read("IMG1.W1", **place)]:
        seen += router.route(one)
    told = [item for _, item in seen if isinstance(item, WindowSeen)]
    assert told == [WindowSeen(Window(4, 2, SIDE, SIDE), "E-1")]
    assert [key for key, _ in seen] == [("IRIS", name) for name in ("IMG1.W1", "IMG1", "IMG1.W1", "IMG1", "IMG1.W1")]


def test_too_many_windows_and_those_that_are_nowhere_are_counted():
    router = Router()
    place = {"XSTART": 3, "YSTART": 5}
    names = [f"IMG1.WX{number}Y1" for number in range(1, MAX_WINDOWS + 4)]
    assert sum(bool(router.route(read(name, **place))) for name in names) == MAX_WINDOWS
    assert router.route(read("IMG1.W1")) == []
    assert router.route(read("ALL")) == []
    assert sum(bool(router.route(read(f"D{number}"))) for number in range(MAX_PIPELINES)) == MAX_PIPELINES - MAX_WINDOWS
    assert router.counters == {
        "dropped_unknown_window": 3,
        "dropped_bad_window": 1,
        "dropped_no_detector": 1,
        "dropped_unknown_detector": MAX_WINDOWS,
    }


def test_frames_of_windows_have_files_of_their_own(reducer):
    name = "2031A-001-001-IRIS-IMG1-SCI0-0001"
    messages = [
        *full(exposure_id=name),
        *window(exposure_id=f"{name}-01"),
        *window(2, exposure_id=name),
        *window(3, exposure_id="E-7-03"),
    ]
    assert sorted(file_name(frame.header) for frame in reducer.frames(ListSource(messages))) == [
        "2031A-001-001-IRIS-IMG1-SCI0-0001_IMG1.W2.fits",
        "2031A-001-001_IRIS_IMG1_SCI_LVL1_0001-00.fits",
        "2031A-001-001_IRIS_IMG1_SCI_LVL1_0001-01.fits",
        "E-7-03_IMG1.W3.fits",
    ]


def test_a_simulated_guide_window_is_calibrated_by_what_is_cut_out_of_the_detectors_references(
    settings, bands, tmp_path, monkeypatch
):
    # A window has no reference pixels by which drift could be taken out.
    still = {"cosmic_rays_per_s_per_cm2": 0.0, "drift_dn": 0.0}
    simulator = Simulator(simulated(guide_window=64, reads_per_ramp=8, **still), FakeClock())
    monkeypatch.setenv("CRDS_PATH", str(tmp_path))
    monkeypatch.setenv("CRDS_CONTEXT", write_references(simulator, tmp_path))
    store = ReferenceStore(settings.refcache, settings.calibration.stale_s)
    assert store.preload() == []
    changed = msgspec.structs.replace(settings, calibration=msgspec.structs.replace(settings.calibration, sky="off"))
    frames = {}
    messages = [message for _, message in simulator.messages()]
    for frame in Reducer(changed, store, bands, FakeClock()).frames(ListSource(messages)):
        frames[frame.header.detector] = frame
    guide, whole = frames["IMG1.W1"], frames["IMG1"]
    status = {one.reftype: one.status for one in guide.header.references}
    assert {status[name] for name in ("dark", "badpix", "flat")} == {"OK"}
    (y, x), _ = np.argwhere(whole.dq & Dq.WINDOW != 0)[[0, -1]]
    place = Window(int(y), int(x), 64, 64)
    light = simulator.scene.light("IMG1", "science")[place.slices]
    good = (guide.dq & Dq.DO_NOT_USE == 0) & (light < 20_000)
    chi = (guide.data - light)[good] / guide.err[good]
    assert abs(np.median(chi)) < 0.1
    assert 1.4826 * np.median(np.abs(chi)) == pytest.approx(1.0, abs=0.1)
    assert (whole.dq[place.slices] & MASKED == MASKED).all()
    assert np.isnan(whole.data[place.slices][5:-5, 5:-5]).all()
