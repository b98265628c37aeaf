"""The whole way of telemetry: simulator, event service on a real Redis, bridge, daemon, frame; the same as offline."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from rtcal.bands import Bands
from rtcal.reduce import Reducer
from streams.clock import SystemClock
from streams.csw_bridge import CswBridge
from streams.csw_redis import CswPublisher, CswSubscriber
from streams.csw_sink import CswSink
from streams.endpoints import open_reads
from streams.messages import Frame, Message, Observe, Read, Telemetry
from streams.simulator import Simulator
from streams.simulator.faults import Fault
from streams.sinks import SplitSink, ZmqSink
from streams.telemetry_keys import load_keys
from tests.fakes import FakeClock, FixedReferences, ListSource
from tests.redis_server import WAIT_S, RedisServer, redis_server
from tests.rigs import running, settings_with
from tests.simulated import simulated

TABLE = load_keys("")
SEEING = Fault("seeing", 2.5, 4.5, value=0.05)


@pytest.fixture(scope="module")
def night() -> list[Message]:
    settings = simulated(reads_per_ramp=8, exposures=2, faults=[SEEING], sky_e_per_s=500.0)
    return [message for _, message in Simulator(settings, FakeClock()).messages()]


@contextmanager
def bridged(server: RedisServer, sink: ZmqSink) -> Iterator[CswBridge]:
    """Run a bridge from a server to a sink."""
    csw = replace(settings_with().csw, redis=server.address)
    stop, subscriber = threading.Event(), CswSubscriber(csw, SystemClock())
    bridge = CswBridge(subscriber, TABLE, sink)
    thread = threading.Thread(target=bridge.run, args=(stop, 0.02), daemon=True)
    thread.start()
    try:
        yield bridge
    finally:
        stop.set()
        thread.join(WAIT_S)
        subscriber.close()


def offline(night: list[Message]) -> list[Frame]:
    with Bands(2) as bands:
        reducer = Reducer(settings_with(telemetry={"exclude": ["poor_seeing"]}), FixedReferences(), bands, FakeClock())
        return [frame for frame in reducer.frames(ListSource(night)) if frame.header.final]


def differing(one: Frame, other: Frame) -> list[str]:
    """Return the keys of two headers that differ, but for the time of publication."""
    keys = [key for key in one.header.__struct_fields__ if key != "published_ns"]
    return [key for key in keys if getattr(one.header, key) != getattr(other.header, key)]


def test_live_through_the_event_service_and_offline_are_the_same_bit_for_bit(
    night: list[Message], tmp_path: Path
) -> None:
    expected = offline(night)
    events = [one for one in night if isinstance(one, Telemetry)]
    steps = [one for one in night if isinstance(one, Observe)]
    with (
        redis_server(tmp_path) as server,
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=100, wait_s=WAIT_S) as reads_out,
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=20_000) as events_out,
    ):
        streams = {"reads": reads_out.endpoint, "telemetry": events_out.endpoint}
        settings = settings_with(streams=streams, telemetry={"exclude": ["poor_seeing"]})
        publisher = CswPublisher(replace(settings.csw, redis=server.address), SystemClock())
        with (
            CswSink(publisher, TABLE) as published,
            open_reads(settings.streams) as source,
            bridged(server, events_out) as bridge,
        ):
            out = SplitSink(reads_out, published, steps=True)
            assert reads_out.wait_for_receiver(WAIT_S)
            assert events_out.wait_for_receiver(WAIT_S)
            with running(settings, FixedReferences(), source) as rig:
                while not bridge.counters["connected"]:
                    threading.Event().wait(0.01)
                for event in events:
                    out.send(event)
                rig.status(lambda status: status.header.counters.get("telemetry_events", 0) == len(events))
                for message in night:
                    if isinstance(message, Read):
                        out.send(message)
                for step in steps:  # long after all reads: they change nothing
                    out.send(step)
                frames = [frame for frame in rig.frames(2) if frame.header.final]
                rig.status(lambda status: status.header.counters.get("events", 0) == len(steps))
                *_, last = rig.stop()
    assert last.header.detectors["IMG1"].counters["reads_excluded"] == sum(
        frame.header.reads_excluded for frame in frames
    )
    assert frames[0].header.reads_excluded > 0
    assert len(frames) == len(expected) == 2
    for live, other in zip(frames, expected, strict=True):
        assert differing(live, other) == []
        assert len(live.header.telemetry) > 250
        assert live.header.adc is not None
        assert live.header.wcs["CTYPE1"] == "RA---TAN"
        assert live.header.wcs["WCSNAME"] == "TCS HEADER"  # and not one that differs from the pointing
        for name in live.DTYPES:
            np.testing.assert_array_equal(getattr(live, name), getattr(other, name))


def test_the_simulated_prisms_leave_little_and_telescope_and_model_agree(night: list[Message]) -> None:
    header = offline(night)[1].header
    assert header.adc is not None
    assert (header.adc.status, header.adc.atmosphere, header.adc.air) == ("OK", "TCS", "OK")
    assert np.hypot(*header.adc.edge_mas or []) < 0.1
    assert header.adc.guides is not None
    assert (header.adc.guides.unexplained_mas or 99.0) < 0.3 * header.adc.guides.fwhm_mas
    assert not [note for note in header.notes if "dispersion" in note]
    statuses = {row.fits: row.status for row in header.telemetry if row.read is None and row.fits}
    assert set(statuses.values()) == {"OK", "AGE"}
