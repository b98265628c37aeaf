"""The daemon on real sockets: reads in; frames, previews and heartbeats out; whatever else comes is counted."""

import json
import signal
import socket
import threading
from collections import Counter

import numpy as np
import pytest
import zmq
from msgspec.structs import replace

from rtcal import daemon as daemon_module
from rtcal import writer as writer_module
from rtcal.daemon import Daemon, serve, stop_on_signals
from rtcal.routing import MAX_PIPELINES
from streams import wire
from streams.endpoints import open_reads
from streams.errors import EndpointError, ImageError
from streams.messages import Binned, Frame, Observe, ObserveHeader, Preview, Read, Status, Telemetry, TelemetryHeader
from tests.fakes import READ_HEADER, FakeClock, FixedReferences, ListSink, ListSource, ramp_reads
from tests.hostile import HOSTILE
from tests.rigs import published_reads, running, settings_with
from tests.samples import SAMPLES

SHAPE = (6, 8)


def ramp(n=5, slope_dn=10.0, **fields):
    """A ramp whose rate is `2 slope_dn` e-/s: its gain is 2 e-/DN."""
    data = (1000 + slope_dn * np.arange(n)[:, None, None] * np.ones((1, *SHAPE))).astype("<u2")
    return ramp_reads(data, **fields)


def event(name, exposure_id="E-1", detector="IMG1"):
    header = ObserveHeader(
        instrument="IRIS",
        detector=detector,
        sequence=0,
        time_ns=READ_HEADER.time_ns,
        name=name,
        exposure_id=exposure_id,
    )
    return Observe(header)


def telemetry(detector="ALL"):
    header = TelemetryHeader(
        instrument="TCS", detector=detector, sequence=0, time_ns=1, event="TCS.angle", values={"angle": 1.0}
    )
    return Telemetry(header)


class Stepped:
    """A daemon stepped by hand through a list of messages."""

    def __init__(self, messages=(), problems=(), **tables):
        self.clock, self.frames, self.previews = FakeClock(), ListSink(), ListSink()
        self.source = ListSource(messages)
        settings = settings_with(daemon={"heartbeat_s": 1.0}, **tables)
        self.daemon = Daemon(settings, FixedReferences(), self.source, self.frames, self.previews, self.clock, problems)

    def run(self):
        self.daemon.run(threading.Event())
        return self

    @property
    def statuses(self):
        return [status.header for status in self.previews.of(Status)]


def has_counted(status, **counters):
    detector = status.header.detectors.get("IMG1")
    return detector is not None and counters.items() <= detector.counters.items()


def test_reads_in_frames_previews_and_status_out():
    with published_reads() as (sink, source), running(settings_with(), FixedReferences(), source) as rig:
        for number, slope_dn in enumerate((10.0, 25.0)):
            sink.send(event("ExposureStart", f"E-{number}"))
            for read in ramp(slope_dn=slope_dn, exposure_id=f"E-{number}", first_sequence=5 * number):
                sink.send(read)
            (*_, frame) = rig.frames(number + 1)
            np.testing.assert_allclose(frame.data, 2 * slope_dn)
            rig.preview(f"E-{number}")
            assert frame.header.exposure_id == f"E-{number}"
        status = rig.status(lambda status: has_counted(status, frames=2)).header
        assert status.state == "running"
        assert status.source == "IRIS/ALL/status"
        assert status.crds_context == FixedReferences.crds_context
        detector = status.detectors["IMG1"]
        assert (detector.exposure_id, detector.read) == ("E-1", 4)
        assert detector.latency_s is not None
        assert {reference.reftype: reference.status for reference in detector.references}["dark"] == "MISSING"
        *_, last = rig.stop()
        assert last.header.state == "stopping"
        assert last.header.counters == {"received": 12, "reads": 10, "events": 2}
        assert {preview.header.exposure_id for preview in rig.previews()} == {"E-0", "E-1"}
        assert all(preview.rate.shape == SHAPE for preview in rig.previews())


@pytest.fixture
def raw_reads():
    """What sends any parts at all, losslessly, and the settings and source of a daemon that takes them."""
    with zmq.Context() as context:
        peer = context.socket(zmq.PUSH)

        def start(**streams):
            settings = settings_with(
                streams={"reads": "inproc://reads", "bind_reads": True, "pattern": "pull", **streams}
            )
            source = open_reads(settings.streams, context)
            peer.connect("inproc://reads")
            sources.append(source)
            return settings, source, peer.send_multipart

        sources = []
        yield start
        peer.close(linger=0)
        for source in sources:
            source.close()


def test_after_the_whole_hostile_corpus_the_next_good_exposure_comes_out_and_each_cause_is_counted(raw_reads):
    settings, source, send = raw_reads()
    with running(settings, FixedReferences(), source) as rig:
        for number, read in enumerate(ramp()):
            for case in HOSTILE[number::5]:
                send(case.parts or [b""])  # ZeroMQ has no message without a part
            send([bytes(part) for part in wire.encode(read)])
        (frame,) = rig.frames(1)
        np.testing.assert_allclose(frame.data, 20.0)
        assert frame.header.complete
        *_, last = rig.stop()
    causes = Counter(f"rejected_{case.cause}" for case in HOSTILE)
    assert last.header.counters == {"received": len(HOSTILE) + 5, "reads": 5, **causes}
    assert set(last.header.detectors) == {"IMG1"}


def insane(good):
    """Well-formed reads that contradict the ramp they claim to be part of."""
    header, data = good[1].header, good[1].data
    changes = {
        "sequence far ahead": {"sequence": 2**62},
        "sequence of the past": {"sequence": 0, "time_ns": header.time_ns + 1},
        "before all times": {"time_ns": 0},
        "after all times": {"time_ns": 2**62},
        "another ramp": {"ramp": 10_000_000},
        "a read beyond the plan": {"read": 10_000_000},
        "another exposure": {"exposure_id": "~"},
        "one read is a ramp": {"reads_planned": 1},
        "no gain to speak of": {"gain_e_per_dn": 1e-300},
        "saturated from the start": {"saturation_dn": 1e-300},
        "not all pixels read": {"complete": False},
    }
    cases = {name: Read(replace(header, **change), data) for name, change in changes.items()}
    return cases | {
        "another shape": Read(header, np.zeros((3, 3), "<u2")),
        "one pixel": Read(header, np.zeros((1, 1), "<u2")),
        "another dtype": Read(header, data.astype("<f4")),
        "not a number": Read(header, np.full(SHAPE, np.nan, "<f4")),
    }


@pytest.mark.parametrize("name", insane(ramp()))
@pytest.mark.parametrize("place", [0, 1, 3, 5])
def test_after_an_insane_read_the_next_good_exposure_comes_out(name, place):
    first = ramp()
    second = ramp(exposure_id="E-2", first_sequence=5, slope_dn=30.0, times_s=range(100, 105))
    third = ramp(exposure_id="E-3", first_sequence=10, slope_dn=40.0, times_s=range(200, 205))
    stepped = Stepped([*first[:place], insane(first)[name], *first[place:], *second, *third]).run()
    good = [frame for frame in stepped.frames.of(Frame) if frame.header.exposure_id == "E-3"]
    assert [frame.header.complete for frame in good] == [True]
    np.testing.assert_allclose(good[0].data, 80.0)
    assert "failures" not in stepped.statuses[-1].detectors["IMG1"].counters


def test_what_is_well_formed_and_no_input_is_counted_and_changes_nothing(raw_reads):
    settings, source, send = raw_reads()
    good = ramp()
    with running(settings, FixedReferences(), source) as rig:
        for message in (*good[:2], SAMPLES["frame"], SAMPLES["preview"], SAMPLES["status"], telemetry(), *good[2:]):
            send([bytes(part) for part in wire.encode(message)])
        (frame,) = rig.frames(1)
        assert frame.header.complete
        *_, last = rig.stop()
    others = {"received_frame": 1, "received_preview": 1, "received_status": 1}
    assert last.header.counters == {"received": 9, "reads": 5, "telemetry_events": 1, "telemetry_unknown": 1, **others}


def test_array_1_0_reads_become_frames_and_hostile_ones_are_counted(raw_reads):
    table = {"reads_per_ramp": 5, "frame_time_s": 1.0, "setup": {"SUBARRAY": "WINDOW"}}
    settings, source, send = raw_reads(protocol="array-1.0", array_1_0=table)
    hostile = {
        "parts": [[b"{}"], [b""], [b"x"] * 3],
        "header": [[b"", b""], [b"not JSON", b""], [b"[]", b""], [b'{"shape": NaN}', b""]],
        "schema": [[b'{"htype": "array-1.0"}', b""]],
        "size": [[b" " * (1 << 17), b""]],
    }
    with running(settings, FixedReferences(), source) as rig:
        for number, read in enumerate(ramp()):
            header = {"htype": "array-1.0", "type": "uint16", "shape": read.data.shape, "frame": number}
            for parts in (parts for cause in hostile.values() for parts in cause):
                send(parts)
            send([json.dumps(header).encode(), read.data.tobytes()[1:]])
            send([json.dumps(header).encode(), read.data.tobytes()])
        (frame,) = rig.frames(1)
        np.testing.assert_allclose(frame.data, 10.0 * 3.04, rtol=1e-6)  # the gain of [detectors.DEFAULT]
        assert frame.header.exposure_id == "array-000000"
        *_, last = rig.stop()
    rejected = {f"rejected_{cause}": 5 * len(cases) for cause, cases in hostile.items()}
    total = 10 + sum(rejected.values())
    assert last.header.counters == {"received": total, "reads": 5, "rejected_array": 5, **rejected}


def test_a_stop_takes_in_what_has_arrived_and_publishes_the_ramp_in_progress():
    stepped = Stepped(ramp()[:3])
    stop = threading.Event()
    stop.set()
    stepped.daemon.run(stop)
    (frame,) = stepped.frames.of(Frame)
    assert frame.header.reads_used == 3
    assert not frame.header.complete
    assert [status.state for status in stepped.statuses] == ["stopping", "stopping"]
    assert stepped.statuses[-1].counters["reads"] == 3


def test_a_refused_message_does_not_end_the_drain(raw_reads):
    settings, source, send = raw_reads()
    for read in ramp():
        send([b"junk"])
        send([bytes(part) for part in wire.encode(read)])
    with running(settings, FixedReferences(), source) as rig:
        *_, last = rig.stop()
        (frame,) = rig.frames(1)
    assert frame.header.complete
    assert last.header.counters == {"received": 10, "reads": 5, "rejected_parts": 5}


@pytest.mark.parametrize(
    "ending",
    [
        [event("ExposureEnd")],
        [event("ExposureAborted")],
        [event("ObserveEnd", detector="ALL")],
        ramp(exposure_id="E-2", first_sequence=5),
        [],
    ],
    ids=["its end", "an abort", "the end of all", "the next exposure", "a stop"],
)
def test_an_exposure_whose_last_ramp_never_came_has_a_final_frame_on_disk(tmp_path, ending):
    products = {"write": True, "directory": str(tmp_path)}
    stepped = Stepped([*ramp(ramps_planned=2), *ending], products=products).run()
    first, last = [frame for frame in stepped.frames.of(Frame) if frame.header.exposure_id == "E-1"]
    assert (first.header.final, first.header.revision) == (False, 0)
    assert (last.header.final, last.header.revision) == (True, 1)
    assert not last.header.complete
    np.testing.assert_array_equal(first.data, last.data)
    assert (tmp_path / "E-1_IMG1.fits").exists()


def test_detectors_do_not_mix():
    reads = [ramp(detector=name, slope_dn=10.0 * (1 + n)) for n, name in enumerate(("IMG1", "IMG2", "IFS"))]
    stepped = Stepped([read for together in zip(*reads, strict=True) for read in together]).run()
    rates = {frame.header.detector: float(frame.data[0, 0]) for frame in stepped.frames.of(Frame)}
    assert rates == pytest.approx({"IMG1": 20.0, "IMG2": 40.0, "IFS": 60.0})
    assert set(stepped.statuses[-1].detectors) == {"IMG1", "IMG2", "IFS"}


def test_detectors_of_one_name_and_two_instruments_both_have_a_status():
    reads = [read for name in ("IRIS", "LIGER") for read in ramp(instrument=name, exposure_id=name)]
    stepped = Stepped(reads).run()
    detectors = stepped.statuses[-1].detectors
    assert {name: one.exposure_id for name, one in detectors.items()} == {"IRIS.IMG1": "IRIS", "LIGER.IMG1": "LIGER"}


def test_the_heartbeat_has_the_daemons_own_source_whoever_speaks():
    stepped = Stepped(ramp(instrument="PYXEL-HXRG")).run()
    assert {status.source for status in stepped.statuses} == {"IRIS/ALL/status"}
    assert [status.sequence for status in stepped.statuses] == list(range(len(stepped.statuses)))


def test_an_event_for_all_reaches_every_detector_and_one_for_another_none():
    reads = [*ramp(reads_planned=0), *ramp(reads_planned=0, detector="IMG2")]
    stepped = Stepped([*reads, telemetry(), event("ExposureEnd", detector="ALL"), event("ExposureEnd", detector="X")])
    stepped.run()
    assert [frame.header.complete for frame in stepped.frames.of(Frame)] == [True, True]
    last = stepped.statuses[-1]
    assert last.counters == {"reads": 10, "events": 2, "telemetry_events": 1, "telemetry_unknown": 1}
    assert {name: one.counters["events"] for name, one in last.detectors.items()} == {"IMG1": 1, "IMG2": 1}


def test_telemetry_that_stops_is_told_and_one_that_never_came_is_not():
    stepped = Stepped([telemetry()])
    stepped.daemon.step(0.0)
    for seconds in (20.0, 20.0):
        stepped.clock.advance(seconds)
        stepped.daemon.step(0.0)
    first, second, third = (status.problems for status in stepped.statuses)
    assert first == second == []
    assert third == ["no telemetry for 40 s; is the bridge running, and its event server?"]
    silent = Stepped()
    silent.clock.advance(100.0)
    silent.daemon.step(0.0)
    assert silent.statuses[-1].problems == []


def test_an_event_opens_no_detector():
    assert Stepped([event("ExposureStart")]).run().statuses[-1].detectors == {}


def test_a_read_of_all_detectors_is_refused():
    good = ramp()
    stepped = Stepped([*good[:2], *ramp(detector="ALL", slope_dn=500.0), *good[2:]]).run()
    (frame,) = stepped.frames.of(Frame)
    np.testing.assert_allclose(frame.data, 20.0)
    assert stepped.statuses[-1].counters == {"reads": 5, "dropped_no_detector": 5}


def test_windows_are_detectors_of_the_heartbeat_and_bad_ones_a_problem():
    place = {"SUBARRAY": "ODGW", "XSTART": 1, "YSTART": 1}
    nowhere = ramp(detector="IMG1.W2", setup={"SUBARRAY": "ODGW"})
    stepped = Stepped([*ramp(), *ramp(detector="IMG1.W1", setup=place), *nowhere]).run()
    last = stepped.statuses[-1]
    assert set(last.detectors) == {"IMG1", "IMG1.W1"}
    assert last.counters == {"reads": 10, "dropped_bad_window": 5}
    assert last.problems == ["reads of a window that do not say where it lies (XSTART, YSTART) are ignored"]
    assert {frame.header.detector for frame in stepped.frames.of(Frame)} == {"IMG1", "IMG1.W1"}


def test_more_detectors_than_are_served_are_counted_and_told():
    reads = [ramp(detector=f"D{number}")[0] for number in range(MAX_PIPELINES + 3)]
    last = Stepped([*reads, *ramp(detector="D0")[1:]]).run().statuses[-1]
    assert last.counters == {"reads": MAX_PIPELINES + 4, "dropped_unknown_detector": 3}
    assert last.problems == [f"more than {MAX_PIPELINES} detectors and windows send reads; the others are ignored"]
    assert last.detectors["D0"].counters["frames"] == 1


def test_the_heart_beats_at_its_period():
    stepped = Stepped()
    for _ in range(3):
        stepped.daemon.step(0.0)
    assert len(stepped.statuses) == 1
    stepped.clock.advance(0.99)
    stepped.daemon.step(0.0)
    assert len(stepped.statuses) == 1
    stepped.clock.advance(0.01)
    stepped.daemon.step(0.0)
    first, second = stepped.statuses
    assert second.time_ns - first.time_ns == 10**9
    assert first.started_ns == second.started_ns == first.time_ns
    assert (first.period_s, first.state, first.detectors) == (1.0, "running", {})


def test_no_problem_makes_a_heartbeat_that_receivers_refuse():
    stepped = Stepped(problems=["x" * 5000] + [f"reference {number} is missing" for number in range(100)])
    stepped.daemon.step(0.0)
    (status,) = stepped.previews.of(Status)
    received = wire.decode([bytes(part) for part in wire.encode(status)])
    assert received.header.problems[1] == "reference 0 is missing"
    assert 10 < len(received.header.problems) < 100


@pytest.mark.parametrize(("failing", "problems"), [("E-1", 0), ("E-2", 1)])
def test_a_frame_that_is_not_on_disk_is_a_problem_until_the_next_one_is(tmp_path, monkeypatch, failing, problems):
    really = writer_module.write_frame

    def write(frame, directory):
        if frame.header.exposure_id == failing:
            raise OSError("no space left")
        return really(frame, directory)

    monkeypatch.setattr(writer_module, "write_frame", write)
    reads = [*ramp(), *ramp(exposure_id="E-2", first_sequence=5)]
    stepped = Stepped(reads, products={"write": True, "directory": str(tmp_path / "frames")}).run()
    assert [frame.header.complete for frame in stepped.frames.of(Frame)] == [True, True]
    last = stepped.statuses[-1]
    assert last.problems == [f"frame {failing} was not written: no space left"][:problems]
    assert last.counters == {"reads": 10, "frames_written": 1, "frames_not_written": 1}
    (written,) = (tmp_path / "frames").iterdir()
    assert written.name != f"{failing}_IMG1.fits"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def ports():
    return {name: f"tcp://127.0.0.1:{free_port()}" for name in ("reads", "frames", "previews")}


def test_nothing_is_bound_before_kernels_are_compiled_and_references_loaded(monkeypatch, ports):
    done = []

    def noting(name, what):
        def noted(*arguments, **options):
            done.append(name)
            return what(*arguments, **options)

        return noted

    def problems(_store, **_when):
        return ["no dark for IMG1"]

    monkeypatch.setattr(daemon_module, "compile_kernels", noting("compile", lambda *_: None))
    monkeypatch.setattr(
        daemon_module.ReferenceStore, "preload", noting("preload", lambda _, **_now: ["no dark for IMG1"])
    )
    monkeypatch.setattr(daemon_module, "ZmqSink", noting("bind", daemon_module.ZmqSink))
    monkeypatch.setattr(daemon_module, "open_reads", noting("connect", daemon_module.open_reads))
    stop, said = threading.Event(), []

    def say(text):
        said.append(text)
        if text.startswith("reads from"):
            stop.set()

    serve(settings_with(streams=ports), FakeClock(), stop, say)
    assert done == ["compile", "preload", "bind", "bind", "connect"]
    assert "references: no dark for IMG1" in said
    assert said[-1] == f"reads from {ports['reads']}, frames to {ports['frames']}, previews to {ports['previews']}"


@pytest.fixture
def compiled(monkeypatch):
    monkeypatch.setattr(daemon_module, "compile_kernels", lambda *_: None)


@pytest.mark.usefixtures("compiled")
def test_a_stop_during_the_start_opens_nothing(ports):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(ports["frames"].rsplit(":", 1)[1])))
        taken.listen()
        stop = threading.Event()
        stop.set()
        serve(settings_with(streams=ports), FakeClock(), stop, lambda _: None)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["frames", "previews"])
def test_a_port_in_use_is_said_and_leaves_nothing_open(ports, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(ports[name].rsplit(":", 1)[1])))
        taken.listen()
        with pytest.raises(EndpointError, match=f"{ports[name]} is in use"):
            serve(settings_with(streams=ports), FakeClock(), threading.Event(), lambda _: None)
    for endpoint in ports.values():
        with socket.socket() as free:
            free.bind(("127.0.0.1", int(endpoint.rsplit(":", 1)[1])))


@pytest.mark.usefixtures("compiled")
def test_a_directory_for_frames_that_cannot_be_made_is_said_at_the_start(ports, tmp_path):
    (tmp_path / "file").write_text("")
    products = {"write": True, "directory": str(tmp_path / "file")}
    with pytest.raises(ImageError, match="cannot be made"):
        serve(settings_with(streams=ports, products=products), FakeClock(), threading.Event(), lambda _: None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_sets_the_event_and_a_second_one_ends_at_once(number):
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    stop = threading.Event()
    try:
        stop_on_signals(stop)
        signal.raise_signal(number)
        assert stop.is_set()
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(number)
        assert ended.value.code == 128 + number
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def test_previews_are_binned_to_the_size_of_a_screen():
    data = np.full((3, 200, 130), 1000, "<u2")
    stepped = Stepped()
    settings = settings_with(daemon={"preview_pixels": 64})
    daemon = Daemon(
        settings, FixedReferences(), ListSource(ramp_reads(data)), stepped.frames, stepped.previews, stepped.clock
    )
    daemon.run(threading.Event())
    assert {preview.raw.shape for preview in stepped.previews.of(Preview)} == {(50, 32)}


def test_a_frame_that_is_larger_than_a_screen_is_published_binned_before_it():
    log = []

    class Noting(ListSink):
        def send(self, message):
            log.append(message.header.kind)
            return super().send(message)

    frames, previews = Noting(), Noting()
    source = ListSource(ramp_reads(np.full((3, 200, 130), 1000, "<u2")))
    settings = settings_with(daemon={"preview_pixels": 64})
    Daemon(settings, FixedReferences(), source, frames, previews, FakeClock()).run(threading.Event())
    (binned,), (frame,) = previews.of(Binned), frames.of(Frame)
    assert binned.header.frame == frame.header
    assert (binned.data.shape, frame.data.shape) == ((50, 32), (200, 130))
    assert log.index("binned") < log.index("frame")
