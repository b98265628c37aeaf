"""Two sockets as one source: reads first, counters of both, the parts as they came."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq
from msgspec.structs import replace

from streams import settings as settings_file
from streams import wire
from streams.array_1_0 import Array10Settings
from streams.endpoints import open_reads, open_telemetry_sink
from streams.errors import EndpointError, WireError
from streams.merging import MergedSource
from streams.messages import Read, Telemetry
from streams.sinks import ZmqSink
from streams.sources import ZmqSource
from tests.rigs import WAIT_S, Settings
from tests.samples import SAMPLES, make_read


@contextmanager
def merged() -> Iterator[tuple[ZmqSink, ZmqSink, MergedSource]]:
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=100) as reads_out,
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=100) as events_out,
    ):
        reads = ZmqSource(reads_out.endpoint, pattern="sub", bind=False, high_water=100)
        events = ZmqSource(events_out.endpoint, pattern="sub", bind=False, high_water=100)
        with MergedSource([reads], events) as source:
            assert reads_out.wait_for_receiver(WAIT_S)
            assert events_out.wait_for_receiver(WAIT_S)
            yield reads_out, events_out, source


def test_a_read_that_is_there_comes_before_events_that_wait() -> None:
    with merged() as (reads_out, events_out, source):
        for _ in range(20):
            events_out.send(SAMPLES["telemetry"])
        assert isinstance(source.receive(WAIT_S), Telemetry)
        reads_out.send(make_read(0))
        assert source._reads[0].socket.poll(1000 * WAIT_S)
        assert isinstance(source.receive(WAIT_S), Read)
        assert isinstance(source.receive(WAIT_S), Telemetry)


def test_nothing_comes_in_time_and_counters_tell_the_sockets_apart() -> None:
    with merged() as (reads_out, events_out, source):
        assert source.receive(0.0) is None
        assert source.receive_parts(0.0) is None
        reads_out.send(make_read(0))
        assert isinstance(source.receive(WAIT_S), Read)
        events_out.send_parts([b"junk", b"junk"])
        assert source.receive(WAIT_S) is None
        events_out.send(SAMPLES["telemetry"])
        parts = source.receive_parts(WAIT_S)
        assert parts is not None
        assert len(parts) == 2
        assert source.counters == {"received": 1, "telemetry_received": 2, "telemetry_rejected_msgpack": 1}
        assert not source.exhausted


def test_the_configured_endpoints() -> None:
    streams = settings_file.load(None, Settings).streams
    with zmq.Context() as context:
        chosen = replace(streams, reads="inproc://r", telemetry="inproc://t", bind_reads=True)
        with open_telemetry_sink(chosen, context) as sink, open_reads(chosen, context) as source:
            assert sink.wait_for_receiver(WAIT_S)
            sink.send(SAMPLES["observe"])
            assert source.receive(WAIT_S) == SAMPLES["observe"]
        with open_reads(replace(chosen, reads="inproc://alone", telemetry=""), context) as alone:
            assert alone.receive(0.0) is None
    with pytest.raises(EndpointError, match="no endpoint to publish events"):
        open_telemetry_sink(replace(streams, telemetry=""))


def test_a_recording_of_arrays_holds_events_in_their_own_form() -> None:
    streams = replace(settings_file.load(None, Settings).streams, protocol="array-1.0")
    assert isinstance(streams.array_1_0, Array10Settings)
    array = [b'{"htype": "array-1.0", "type": "uint16", "shape": [1, 2], "frame": 0}', b"\0" * 4]
    assert isinstance(streams.decode_recorded(array), Read)
    assert streams.decode_recorded(wire.encode(SAMPLES["telemetry"])) == SAMPLES["telemetry"]
    with pytest.raises(WireError):
        streams.decode(wire.encode(SAMPLES["telemetry"]))
    with pytest.raises(WireError):
        streams.decode_recorded([])
