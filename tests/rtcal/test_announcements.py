"""Telemetry and events that tell what the next exposure will need."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from refcache import ReferenceStore, load_reference
from rtcal.announcements import Announcements
from rtcal.daemon import Daemon
from rtcal.pipeline import Pipeline
from streams.messages import Frame, Observe, ObserveHeader, Telemetry, TelemetryHeader
from tests.crds_cache import STALE_S, settings
from tests.fakes import READ_HEADER, FakeClock, FixedReferences, ListSink, ListSource, ramp_reads
from tests.refcache_night import cache
from tests.rigs import settings_with

SHAPE = (6, 8)
WAIT_S = 30.0


def wheel(**values):
    return TelemetryHeader(
        instrument="IRIS", detector="ALL", sequence=0, time_ns=READ_HEADER.time_ns, event="IRIS.filter", values=values
    )


def reads(**fields):
    return ramp_reads((1000 + 10 * np.arange(4)[:, None, None] * np.ones((1, *SHAPE))).astype("<u2"), **fields)


def test_a_change_is_told_once():
    told = Announcements({"IRIS.filter.name": "FILTER", "IRIS.filter.wave": "WAVE"})
    assert told.changes(wheel(name=["K"], speed=3)) == {"FILTER": "K"}
    assert told.changes(wheel(name="K", wave=None)) == {}
    assert told.changes(wheel(name="H", wave=[1.6, 1.7])) == {"FILTER": "H"}
    assert Announcements({"IRIS.other.name": "X"}).changes(wheel(name="K")) == {}


class Noting(FixedReferences):
    """Notes what is to be prepared, and answers at once."""

    def prepare(self, setup, shape, mode, time_ns, then):
        self.asked.append((setup, shape, mode, time_ns))
        then(self.select())


@pytest.fixture
def noting():
    return Noting()


@pytest.fixture
def pipeline(pipeline_settings, noting, bands, clock):
    return Pipeline(replace(pipeline_settings, announce={"IRIS.filter.name": "FILTER"}), noting, bands, clock)


def test_a_moving_wheel_and_a_prepare_start_are_announced_for_the_known_shape(pipeline, noting):
    telemetry = Telemetry(wheel(name="K"))
    assert list(pipeline.process(telemetry)) == []
    assert noting.asked == []  # of what shape is not known before the first read
    for read in reads():
        list(pipeline.process(read))
    noting.asked.clear()
    list(pipeline.process(Telemetry(wheel(name="H"))))
    prepare = ObserveHeader(
        instrument="IRIS",
        detector="IMG1",
        sequence=0,
        time_ns=5,
        name="PrepareStart",
        exposure_id="E-2",
        setup={"FILTER": "J"},
    )
    list(pipeline.process(Observe(prepare)))
    assert [(setup["FILTER"], setup["DETECTOR"], shape) for setup, shape, _, _ in noting.asked] == [
        ("H", "IMG1", SHAPE),
        ("J", "IMG1", SHAPE),
    ]
    assert pipeline._selection._prepared is not None
    for read in reads(exposure_id="E-2"):
        list(pipeline.process(read))
    assert pipeline._selection._prepared is None


def test_detectors_that_are_expected_have_their_references_loaded_before_the_first_read():
    noting, sink = Noting(), ListSink()
    expect = [{"DETECTOR": "IMG1", "READMODE": "UTR"}, {"DETECTOR": "IMG2"}]
    tables = {"expect": expect, "announce": {"IRIS.filter.name": "FILTER", "IRIS.filter.scale": "SCALE"}}
    with ListSource([Telemetry(wheel(name="H")), Telemetry(wheel(name="H", scale=9)), *reads()]) as source:
        daemon = Daemon(settings_with(refcache=tables), noting, source, sink, sink, FakeClock())
        for _ in range(3):
            daemon.step(0.0)
        first = [(setup["DETECTOR"], setup["FILTER"], setup.get("SCALE"), shape) for setup, shape, _, _ in noting.asked]
        daemon.run(threading.Event())
    assert first[:4] == [(name, "H", scale, (0, 0)) for scale in (None, 9) for name in ("IMG1", "IMG2")]


def test_what_a_wheel_says_over_and_over_takes_one_place_beside_the_reads():
    noting, sink = Noting(), ListSink()
    said = [Telemetry(wheel(name="H")) for _ in range(100)]
    with ListSource([*reads(), *said, *reads(exposure_id="E-2")]) as source:
        tables = {"announce": {"IRIS.filter.name": "FILTER"}}
        daemon = Daemon(settings_with(refcache=tables), noting, source, sink, sink, FakeClock())
        daemon.run(threading.Event())
    (worker,) = daemon._workers.values()
    assert worker.status().counters["ignored"] == 1
    assert worker.status().counters["reads_used"] == 2 * len(list(reads()))


def test_reads_do_not_wait_for_references_that_do_not_come(tmp_path, monkeypatch, pipeline_settings, bands, clock):
    """The loader hangs as long as the reads come; then it lets go, and the next frame has them."""
    gate = threading.Event()

    def slow(path, reftype):
        assert gate.wait(WAIT_S)
        return load_reference(path, reftype)

    monkeypatch.setattr("refcache.holding.load_reference", slow)
    store = ReferenceStore(settings(path=str(cache(tmp_path)), load_threads=1), STALE_S, {}, wait=False)
    pipeline = Pipeline(pipeline_settings, store, bands, clock)

    def frame(exposure_id):
        out = [made for read in reads(exposure_id=exposure_id) for made in pipeline.process(read)]
        (made,) = (one for one in out if isinstance(one, Frame))
        return {one.reftype: (one.status, one.note) for one in made.header.references}

    first = frame("E-1")
    assert first["dark"] == ("MISSING", "is being loaded")
    gate.set()
    store._pool.submit(int).result(WAIT_S)
    store._pool.submit(int).result(WAIT_S)
    assert frame("E-2")["dark"][0] in ("OK", "STALE")
