import gc
import logging
import socket
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import zmq

from streams import sources, wire
from streams.errors import EndpointError
from streams.messages import Read
from streams.sinks import ZmqSink
from streams.sockets import ZmqContext
from streams.sources import MAX_PARTS, ZmqSource
from tests.hostile import HOSTILE, Hostile
from tests.samples import SAMPLES, make_read, same

WAIT_S = 10.0


@pytest.fixture
def zmq_context() -> Iterator[ZmqContext]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def raw_pair(zmq_context: ZmqContext) -> Iterator[tuple[Callable[[list[bytes]], None], ZmqSource]]:
    """A PULL source and what pushes anything at all to it."""
    source = ZmqSource("inproc://reads", pattern="pull", bind=True, high_water=100, zmq_context=zmq_context)
    peer = zmq_context.socket(zmq.PUSH)
    peer.connect("inproc://reads")
    yield peer.send_multipart, source
    peer.close(linger=0)
    source.close()


def meet(sink: ZmqSink, source: ZmqSource) -> None:
    """Let both sides find each other: a bound SUB subscribes only while somebody receives from it."""
    for _ in range(int(WAIT_S * 100)):
        assert source.receive_parts(0.0) is None
        if sink.wait_for_receiver(0.01):
            return
    pytest.fail("the sink found no receiver")


@pytest.mark.parametrize("patterns", [("pub", "sub"), ("push", "pull")])
@pytest.mark.parametrize("source_binds", [False, True])
def test_messages_arrive_as_they_were_sent(patterns: tuple[str, str], source_binds: bool) -> None:
    out, into = patterns
    endpoint = "tcp://127.0.0.1:0"
    if source_binds:
        source = ZmqSource(endpoint, pattern=into, bind=True, high_water=10)
        sink = ZmqSink(source.endpoint, pattern=out, bind=False, high_water=10)
    else:
        sink = ZmqSink(endpoint, pattern=out, high_water=10)
        source = ZmqSource(sink.endpoint, pattern=into, bind=False, high_water=10)
    with sink, source:
        meet(sink, source)
        for message in SAMPLES.values():
            assert sink.send(message)
            received = source.receive(WAIT_S)
            assert received is not None
            assert same(received, message)
        assert source.counters == {"received": len(SAMPLES)}
        assert sink.counters == {"sent": len(SAMPLES)}
        assert source.exhausted is False


def test_a_large_read_is_a_view_that_outlives_the_source(zmq_context: ZmqContext) -> None:
    data = np.random.default_rng(1).integers(0, 65535, (1024, 1024)).astype("<u2")
    with (
        ZmqSink("inproc://x", pattern="push", high_water=10, zmq_context=zmq_context) as sink,
        ZmqSource("inproc://x", pattern="pull", bind=False, high_water=10, zmq_context=zmq_context) as source,
    ):
        assert sink.wait_for_receiver(WAIT_S)
        sink.send(make_read(data=data))
        read = source.receive(WAIT_S)
    assert isinstance(read, Read)
    assert not read.data.flags.owndata
    assert not read.data.flags.writeable
    assert read.data.flags.aligned
    kept = read.data
    del read
    gc.collect()
    np.testing.assert_array_equal(kept, data)


def test_nothing_within_the_time_is_none(zmq_context: ZmqContext) -> None:
    with ZmqSource("inproc://x", pattern="sub", bind=True, high_water=1, zmq_context=zmq_context) as source:
        assert source.receive(0.0) is None
        assert source.receive_parts(0.001) is None
        assert source.counters == {}


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_after_any_hostile_message_the_next_good_one_comes_out(
    raw_pair: tuple[Callable[[list[bytes]], None], ZmqSource], case: Hostile
) -> None:
    send, source = raw_pair
    parts = case.parts or [b""]  # ZeroMQ has no message without a part
    send(parts)
    send([bytes(part) for part in wire.encode(make_read(5))])
    received = [source.receive(WAIT_S), source.receive(WAIT_S)]
    assert received[0] is None
    assert isinstance(received[1], Read)
    assert source.counters == {"received": 2, f"rejected_{case.cause}": 1}


def test_a_message_of_too_many_parts_is_refused_before_it_is_kept(
    raw_pair: tuple[Callable[[list[bytes]], None], ZmqSource],
) -> None:
    send, source = raw_pair
    send([b"x" * 1000] * (MAX_PARTS + 500))
    send([b"x"] * MAX_PARTS)
    assert source.receive_parts(WAIT_S) is None
    assert source.counters == {"received": 1, "rejected_parts": 1}
    parts = source.receive_parts(WAIT_S)
    assert parts is not None
    assert len(parts) == MAX_PARTS


def test_the_log_tells_of_the_1st_10th_and_100th_refusal(
    raw_pair: tuple[Callable[[list[bytes]], None], ZmqSource], caplog: pytest.LogCaptureFixture
) -> None:
    send, source = raw_pair
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            send([b"junk"])
            assert source.receive(WAIT_S) is None
    assert [record.args[1] for record in caplog.records if record.args] == [1, 10]
    assert "inproc://reads" in caplog.text
    assert "found 1 parts" in caplog.text


def test_parts_come_raw_for_a_recorder(raw_pair: tuple[Callable[[list[bytes]], None], ZmqSource]) -> None:
    send, source = raw_pair
    send([b"anything", b"", b"at all"])
    parts = source.receive_parts(WAIT_S)
    assert parts is not None
    assert [part.bytes for part in parts] == [b"anything", b"", b"at all"]


def test_a_topic_selects_one_source_of_many() -> None:
    with ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=100) as sink:
        topics = [wire.topic("IRIS/IMG2/read")]
        with ZmqSource(sink.endpoint, pattern="sub", bind=False, high_water=100, topics=topics) as source:
            assert sink.wait_for_receiver(WAIT_S)
            for number, detector in enumerate(["IMG1", "IMG2", "IMG20", "IMG2"]):
                sink.send(make_read(number, detector=detector))
            received = [source.receive(WAIT_S), source.receive(WAIT_S)]
            assert [message.header.sequence for message in received if message] == [1, 3]
            assert source.receive(0.0) is None


def test_one_source_listens_to_several_endpoints() -> None:
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=10) as one,
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=10) as two,
        ZmqSource([one.endpoint, two.endpoint], pattern="sub", bind=False, high_water=10) as source,
    ):
        assert source.endpoints == (one.endpoint, two.endpoint)
        assert one.wait_for_receiver(WAIT_S)
        assert two.wait_for_receiver(WAIT_S)
        one.send(make_read(detector="IMG1"))
        two.send(make_read(detector="IMG2"))
        received = [source.receive(WAIT_S), source.receive(WAIT_S)]
        assert {message.header.detector for message in received if message} == {"IMG1", "IMG2"}


def test_a_port_in_use_is_said_with_the_endpoint_and_a_remedy() -> None:
    with ZmqSource("tcp://127.0.0.1:0", pattern="pull", bind=True, high_water=1) as source:
        with pytest.raises(EndpointError) as refused:
            ZmqSource(source.endpoint, pattern="sub", bind=True, high_water=1)
        assert str(refused.value) == (
            f"{source.endpoint} is in use: stop the other program, or choose another endpoint in [streams]"
        )


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("reads", "is no endpoint to bind to"),
        ("http://127.0.0.1:80", "write it as tcp://127.0.0.1:5550"),
        ("tcp://192.0.2.1:0", "is no address of this machine"),
        ("ipc:///no/such/folder/socket", "lies in a folder that does not exist"),
    ],
)
def test_an_endpoint_that_cannot_be_is_said(endpoint: str, text: str) -> None:
    for build in (
        lambda: ZmqSource(endpoint, pattern="sub", bind=True, high_water=1),
        lambda: ZmqSink(endpoint, pattern="pub", high_water=1),
    ):
        with pytest.raises(EndpointError, match=text) as refused:
            build()
        assert endpoint in str(refused.value)


def test_a_failed_opening_leaves_nothing_open() -> None:
    with ZmqSource("tcp://127.0.0.1:0", pattern="pull", bind=True, high_water=1) as taken:
        free = ZmqSource("tcp://127.0.0.1:0", pattern="pull", bind=True, high_water=1)
        free.close()
        with pytest.raises(EndpointError):
            ZmqSource([free.endpoint, taken.endpoint], pattern="pull", bind=True, high_water=1)
        ZmqSource(free.endpoint, pattern="pull", bind=True, high_water=1).close()


def test_closing_twice_is_once() -> None:
    source = ZmqSource("tcp://127.0.0.1:0", pattern="sub", bind=True, high_water=1)
    source.close()
    source.close()


def test_a_publisher_that_comes_back_is_heard_again() -> None:
    source = ZmqSource("tcp://127.0.0.1:0", pattern="sub", bind=True, high_water=10)
    with source:
        for number in range(2):
            with ZmqSink(source.endpoint, pattern="pub", bind=False, high_water=10) as sink:
                meet(sink, source)
                sink.send(make_read(number))
                received = source.receive(WAIT_S)
            assert received is not None
            assert received.header.sequence == number


def test_a_peer_that_sends_too_much_is_cut_off_and_the_others_are_heard(
    monkeypatch: pytest.MonkeyPatch, zmq_context: ZmqContext
) -> None:
    monkeypatch.setattr(sources, "MAX_PART_BYTES", 100_000)
    with ZmqSource("tcp://127.0.0.1:0", pattern="pull", bind=True, high_water=10) as source:
        with zmq_context.socket(zmq.PUSH) as peer:
            peer.setsockopt(zmq.LINGER, 0)
            peer.connect(source.endpoint)
            with peer.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
                peer.send(b"x" * 200_000)
                assert monitor.poll(WAIT_S * 1000)
                peer.disable_monitor()
        with ZmqSink(source.endpoint, pattern="push", bind=False, high_water=10, wait_s=WAIT_S) as sink:
            sink.send(make_read(4))
            received = source.receive(WAIT_S)
    assert received is not None
    assert received.header.sequence == 4


def test_bytes_that_are_not_even_zeromq_do_no_harm() -> None:
    with ZmqSource("tcp://127.0.0.1:0", pattern="pull", bind=True, high_water=10) as source:
        port = int(source.endpoint.rsplit(":", 1)[1])
        for noise in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, bytes(range(256)) * 40):
            with socket.create_connection(("127.0.0.1", port)) as raw:
                raw.sendall(noise)
        with ZmqSink(source.endpoint, pattern="push", bind=False, high_water=10, wait_s=WAIT_S) as sink:
            sink.send(make_read(4))
            assert source.receive(WAIT_S) is not None
        assert source.counters == {"received": 1}
