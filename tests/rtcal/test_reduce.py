"""Offline reduction, and that live, replayed and offline frames are the same files, bit for bit."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from refcache import ReferenceStore
from rtcal.bands import Bands
from rtcal.products import write_frame
from rtcal.reduce import Reducer
from streams import wire
from streams.clock import SystemClock
from streams.fits_reads import FitsSource
from streams.messages import Frame, Message, Observe, ObserveHeader, Read, Telemetry, TelemetryHeader
from streams.playback import RecordingReader, RecordingSource
from streams.recording import Recorder, record
from streams.replay import Pacer, replay
from streams.simulator import Simulator, write_references
from streams.sinks import PartsSink, ZmqSink
from streams.sources import Source, ZmqSource
from tests.data import shared_data
from tests.fakes import READ_HEADER, FakeClock, FixedReferences, ListSource, ramp_reads
from tests.rigs import WAIT_S, published_reads, ring_reads, running, settings_with
from tests.samples import same
from tests.simulated import simulated

SHAPE = (6, 8)
EXPOSURES = 2
DETECTORS = ["IMG1", "IMG4"]


def ramp(n=5, slope_dn=10.0, **fields):
    data = (1000 + slope_dn * np.arange(n)[:, None, None] * np.ones((1, *SHAPE))).astype("<u2")
    return ramp_reads(data, **fields)


def event(name, detector="IMG1"):
    return Observe(
        ObserveHeader(
            instrument="IRIS", detector=detector, sequence=0, time_ns=READ_HEADER.time_ns, name=name, exposure_id="E-1"
        )
    )


def telemetry():
    return Telemetry(
        TelemetryHeader(instrument="TCS", detector="ALL", sequence=0, time_ns=1, event="TCS.x", values={"angle": 1.0})
    )


@pytest.fixture
def reducer(settings, bands, clock):
    return Reducer(settings, FixedReferences(), bands, clock)


def test_frames_come_as_their_ramps_end_and_open_ramps_at_the_end_of_the_source(reducer):
    reads = [*ramp(), *ramp(detector="IMG2", slope_dn=30.0)[:3]]
    frames = list(reducer.frames(ListSource(reads)))
    assert [(frame.header.detector, frame.header.reads_used) for frame in frames] == [("IMG1", 5), ("IMG2", 3)]
    np.testing.assert_allclose(frames[1].data, 60.0)
    assert not frames[1].header.complete


def test_at_the_end_of_the_source_an_unfinished_exposure_has_its_final_frame(reducer):
    frames = [frame.header for frame in reducer.frames(ListSource(ramp(ramps_planned=2)))]
    assert [(header.ramps, header.final, header.complete) for header in frames] == [(1, False, False), (1, True, False)]


def test_every_message_is_told_for_a_progress_bar(reducer):
    messages = [event("ExposureStart"), telemetry(), *ramp(), event("ExposureEnd")]
    told = []
    list(reducer.frames(ListSource(messages), told.append))
    assert told == messages


def test_events_reach_whom_they_concern(reducer):
    reads = [*ramp(reads_planned=0), *ramp(reads_planned=0, detector="IMG2")]
    frames = reducer.frames(ListSource([*reads, event("ExposureEnd", "IMG2"), telemetry(), event("ExposureEnd", "X")]))
    assert [frame.header.detector for frame in frames] == ["IMG2", "IMG1"]
    assert reducer.counters["events"] == 1
    assert set(reducer.pipelines) == {("IRIS", "IMG1"), ("IRIS", "IMG2")}


def test_an_event_for_all_ends_the_exposure_of_every_detector(reducer):
    reads = [*ramp(reads_planned=0), *ramp(reads_planned=0, detector="IMG2")]
    later = ramp(exposure_id="E-2", first_sequence=5)
    frames = [frame.header for frame in reducer.frames(ListSource([*reads, event("ExposureEnd", "ALL"), *later]))]
    assert [(header.detector, header.exposure_id) for header in frames] == [
        ("IMG1", "E-1"),
        ("IMG2", "E-1"),
        ("IMG1", "E-2"),
    ]


def test_a_read_of_all_detectors_is_refused_as_the_daemon_does(reducer):
    good = ramp()
    (frame,) = reducer.frames(ListSource([*good[:2], *ramp(detector="ALL", slope_dn=500.0), *good[2:]]))
    np.testing.assert_allclose(frame.data, 20.0)
    assert reducer.counters["dropped_no_detector"] == 5


def test_the_counters_are_those_of_all_detectors_together(reducer):
    list(reducer.frames(ListSource([*ramp(), *ramp(detector="IMG2")])))
    assert reducer.counters["reads_used"] == 10
    assert reducer.counters["frames"] == 2
    assert reducer.counters["lost"] == 0


class Run:
    """What the three ways of a run have in common: settings, references, messages, how many frames to expect."""

    def __init__(self, folder: Path, messages: list[Message], frames: int, **refcache: object) -> None:
        self.folder, self.messages, self.frames = folder, messages, frames
        self.published: list[Frame] = []
        self._refcache = refcache

    def settings(self, name: str):
        products = {"write": True, "directory": str(self.folder / name), "every_ramp": True}
        return settings_with(products=products, refcache=self._refcache, daemon={"queue_reads": 1000})

    def references(self):
        settings = self.settings("any")
        store = ReferenceStore(settings.refcache, settings.calibration.stale_s)
        store.preload()
        return store

    def live(
        self, name: str, publish: Callable[[Any], object], recording: Path | None = None, way: Any = published_reads
    ) -> list[Frame]:
        """Run a daemon on sockets while `publish` sends, record beside it what it hears; return its frames."""
        with way() as (sink, source):
            beside = nullcontext() if recording is None else recorded(sink, recording, len(self.messages))
            with running(self.settings(name), self.references(), source) as rig, beside:
                publish(sink)
                frames = rig.frames(self.frames)
                *_, last = rig.stop()
        assert last.header.counters["reads"] == sum(isinstance(message, Read) for message in self.messages)
        assert last.header.counters["frames_written"] == self.frames
        for detector in last.header.detectors.values():
            assert {"lost", "failures", "dropped_queue_full"}.isdisjoint(detector.counters)
        return frames

    def offline(self, name: str, source: Source) -> None:
        settings = self.settings(name)
        with source, Bands(1) as bands:
            for frame in Reducer(settings, self.references(), bands, FakeClock()).frames(source):
                write_frame(frame, self.folder / name)

    def files(self, name: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.folder / name).iterdir()}


@contextmanager
def recorded(sink: ZmqSink, path: Path, count: int) -> Iterator[None]:
    """Record on a thread what `rtcal record` would, until so many messages have come."""
    stop, there, clock = threading.Event(), threading.Event(), SystemClock()

    def note(counters: Counter[str]) -> None:
        if counters["messages"] == count:
            there.set()

    known = sink.subscriptions
    with (
        ZmqSource(sink.endpoint, pattern="sub", bind=False, high_water=1000) as source,
        Recorder(path, clock) as recorder,
    ):
        while sink.subscriptions == known:
            assert source.receive_parts(0.01) is None
        thread = threading.Thread(target=record, args=(source, recorder, clock, stop, note))
        thread.start()
        try:
            yield
            assert there.wait(WAIT_S)
        finally:
            stop.set()
            thread.join(WAIT_S)


def send_all(messages):
    def publish(sink: ZmqSink) -> None:
        for message in messages:
            assert sink.send(message)

    return publish


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("simulation")
    settings = simulated(detectors=DETECTORS, ramps_per_exposure=2, exposures=EXPOSURES)
    simulator = Simulator(settings, FakeClock())
    context = write_references(simulator, folder / "refs")
    messages = [message for _, message in simulator.messages()]
    run = Run(folder, messages, len(DETECTORS) * EXPOSURES * 2, path=str(folder / "refs"), context=context)
    run.published = run.live("live", send_all(messages), folder / "night.mcap")
    return run


def test_the_recording_holds_what_was_sent(simulation):
    sent = [[bytes(part) for part in wire.encode(message)] for message in simulation.messages]
    assert [[bytes(part) for part in parts] for _, parts in RecordingReader(simulation.folder / "night.mcap")] == sent


def test_live_frames_are_calibrated_with_every_reference(simulation):
    assert len(simulation.files("live")) == len(simulation.published) == simulation.frames
    for frame in simulation.published:
        statuses = {reference.reftype: reference.status for reference in frame.header.references}
        assert {name for name, status in statuses.items() if status == "OK"} >= {"dark", "badpix", "sky", "flat"}


@pytest.mark.parametrize(("name", "way"), [("replayed", published_reads), ("by_ring", ring_reads)])
def test_a_replay_at_full_speed_gives_the_same_files_as_live(simulation, name, way):
    reader = RecordingReader(simulation.folder / "night.mcap")

    def publish(sink: PartsSink) -> None:
        pacer = Pacer(None, SystemClock(), threading.Event())
        assert replay(reader, sink.send_parts, pacer) == len(simulation.messages)

    simulation.live(name, publish, way=way)
    assert simulation.files(name) == simulation.files("live")


def test_offline_reduction_of_the_recording_gives_the_same_files_as_live(simulation):
    simulation.offline("offline", RecordingSource(simulation.folder / "night.mcap"))
    assert simulation.files("offline") == simulation.files("live")


def test_fits_reads_give_the_same_file_live_and_offline(tmp_path):
    reads = shared_data("ramps/sci_D")
    keys = settings_with().fits_keys
    with FitsSource([reads], keys) as source:
        messages = []
        while (message := source.receive(0.0)) is not None:
            messages.append(message)
    run = Run(tmp_path, messages, 1)
    run.live("live", send_all(messages))
    run.offline("offline", FitsSource([reads], keys))
    live = run.files("live")
    assert live == run.files("offline")
    assert list(live) == ["sci_D_SIM1.fits"]


def test_published_frames_differ_from_offline_ones_in_the_time_of_publication_alone(simulation):
    source = RecordingSource(simulation.folder / "night.mcap")
    with source, Bands(1) as bands:
        reducer = Reducer(simulation.settings("any"), simulation.references(), bands, FakeClock())
        offline = {key(frame): frame for frame in reducer.frames(source)}
    assert set(offline) == {key(frame) for frame in simulation.published}
    for frame in simulation.published:
        expected = offline[key(frame)]
        assert frame.header.published_ns != expected.header.published_ns
        header = msgspec.structs.replace(frame.header, published_ns=expected.header.published_ns)
        assert same(Frame(header, frame.data, frame.err, frame.dq, frame.saturated_from), expected)


def key(frame: Frame) -> tuple[str, int]:
    return frame.header.source, frame.header.sequence
