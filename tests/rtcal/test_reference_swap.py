"""References are taken in while five detectors read out: no read is lost, no frame mixes two contexts."""

import shutil

import pytest
from astropy.io import fits

from refcache import ReferenceStore
from refcache.planning import read_candidate
from refcache.publishing import add
from streams.clock import iso_utc
from streams.messages import Observe, Read
from streams.simulator import Simulator, write_references
from tests.fakes import FakeClock
from tests.rigs import published_reads, running, settings_with
from tests.simulated import simulated

DETECTORS = ["IMG1", "IMG2", "IMG3", "IMG4", "IFS"]
EXPOSURES = 3


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swap")
    simulator = Simulator(simulated(detectors=DETECTORS, exposures=EXPOSURES), FakeClock())
    write_references(simulator, folder / "refs")
    messages = [message for _, message in simulator.messages() if isinstance(message, Read | Observe)]
    return folder, messages


def newer_dark(folder, detector, start_ns):
    """A copy of a detector's dark that is in force from just before an instant."""
    path = folder / f"dark_{detector.lower()}_new.fits"
    shutil.copy(folder / f"refs/references/tmt/iris/tmt_iris_dark_{detector.lower()}_0001.fits", path)
    fits.setval(path, "USEAFTER", value=iso_utc(start_ns)[:19].replace("T", " "))
    return path


def test_a_swap_in_a_run_of_five_detectors_loses_nothing_and_mixes_nothing(night):
    folder, messages = night
    settings = settings_with(refcache={"path": str(folder / "refs")}, daemon={"queue_reads": 1000})
    store = ReferenceStore(settings.refcache, settings.calibration.stale_s, {}, wait=False)
    assert store.preload() == []
    reads = [message for message in messages if isinstance(message, Read)]
    last = {read.header.detector: read.header.exposure_id for read in reads}
    begins = min(place for place, read in enumerate(reads) if read.header.exposure_id == last[read.header.detector])
    swap_at = messages.index(reads[begins - 3])  # within ramps, with an exposure of every detector to come
    with published_reads() as (sink, source), running(settings, store, source) as rig:
        for message in messages[:swap_at]:
            sink.send(message)
        rig.status(lambda status: len(status.header.detectors) == len(DETECTORS))
        files = [newer_dark(folder, detector, reads[0].header.time_ns - 10**9) for detector in DETECTORS]
        made = add(folder / "refs", settings.refcache, "", [read_candidate(path, settings.refcache) for path in files])
        store.refresh()
        assert (store.crds_context, store.problems) == (made.context, ())
        for message in messages[swap_at:]:
            sink.send(message)
        frames = rig.frames(len(DETECTORS) * EXPOSURES)
        *_, last = rig.stop()
    assert last.header.crds_context == made.context
    assert last.header.counters["reads"] == len(reads)
    for detector in last.header.detectors.values():
        assert detector.counters["reads_used"] == len(reads) // len(DETECTORS)
        assert {"reads_lost", "lost", "failures", "dropped_queue_full"}.isdisjoint(detector.counters)
    darks = {made.old_context: set(), made.context: set()}
    for frame in frames:
        (dark,) = (one for one in frame.header.references if one.reftype == "dark")
        assert dark.status == "OK"
        darks[frame.header.crds_context].add(dark.name)
    assert darks[made.context] == {path.name for path in files}
    assert darks[made.old_context].isdisjoint(darks[made.context])
    assert darks[made.old_context]
