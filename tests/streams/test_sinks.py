import threading
from collections.abc import Iterator

import numpy as np
import pytest
import zmq
from karabo_bridge import Client

from streams.errors import WireError
from streams.messages import Frame, Preview
from streams.sinks import ZmqSink
from streams.sockets import ZmqContext
from streams.sources import ZmqSource
from tests.samples import SAMPLES, make_read

WAIT_S = 10.0


@pytest.fixture
def zmq_context() -> Iterator[ZmqContext]:
    with zmq.Context() as context:
        yield context


@pytest.mark.parametrize(("pattern", "client_pattern"), [("pub", "SUB"), ("push", "PULL")])
@pytest.mark.parametrize("kind", ["frame", "preview", "read", "status"])
def test_the_karabo_bridge_client_reads_what_we_send(pattern: str, client_pattern: str, kind: str) -> None:
    message = SAMPLES[kind]
    source = message.header.source
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern=pattern, high_water=10) as sink,
        Client(sink.endpoint, sock=client_pattern, timeout=WAIT_S, context=zmq.Context()) as client,
    ):
        assert sink.wait_for_receiver(WAIT_S)
        sink.send(message)
        data, metadata = client.next()
    assert list(data) == [source]
    for path in message.DTYPES:
        received = data[source][path]
        assert received.dtype == getattr(message, path).dtype
        np.testing.assert_array_equal(received, getattr(message, path))
    assert data[source]["sequence"] == message.header.sequence
    assert data[source]["time_ns"] == message.header.time_ns
    assert metadata[source]["timestamp.tid"] == message.header.sequence
    utc_s = float(metadata[source]["timestamp.sec"]) + float(metadata[source]["timestamp.frac"]) * 1e-18
    assert metadata[source]["timestamp"] == pytest.approx(utc_s, abs=1e-6)
    assert utc_s == pytest.approx(message.header.time_ns / 1e9 - 37, abs=1e-6)


def test_the_karabo_bridge_client_reads_a_stream_of_both() -> None:
    frame, preview = SAMPLES["frame"], SAMPLES["preview"]
    assert isinstance(frame, Frame)
    assert isinstance(preview, Preview)
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern="push", high_water=10) as sink,
        Client(sink.endpoint, sock="PULL", timeout=WAIT_S, context=zmq.Context()) as client,
    ):
        assert sink.wait_for_receiver(WAIT_S)
        for message in (frame, preview, frame):
            sink.send(message)
        seen = [next(iter(data)) for data, _ in (client.next(), client.next(), client.next())]
    assert seen == ["IRIS/IMG1/frame", "IRIS/IMG1/preview", "IRIS/IMG1/frame"]


def test_publishing_to_nobody_neither_waits_nor_fails() -> None:
    with ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=1) as sink:
        assert all(sink.send(make_read(number)) for number in range(100))
        assert sink.wait_for_receiver(0.0) is False


def test_pushing_to_nobody_is_counted_as_dropped() -> None:
    with ZmqSink("tcp://127.0.0.1:0", pattern="push", high_water=1) as sink:
        assert [sink.send(make_read(number)) for number in range(3)] == [False] * 3
        assert sink.counters == {"dropped": 3}
        assert sink.wait_for_receiver(0.0) is False


def test_a_slow_subscriber_misses_messages_but_holds_up_nobody(zmq_context: ZmqContext) -> None:
    with (
        ZmqSink("inproc://x", pattern="pub", high_water=3, zmq_context=zmq_context) as sink,
        ZmqSource("inproc://x", pattern="sub", bind=False, high_water=3, zmq_context=zmq_context) as slow,
    ):
        assert sink.wait_for_receiver(WAIT_S)
        assert all(sink.send(make_read(number)) for number in range(50))
        received = []
        while (message := slow.receive(0.2)) is not None:
            received.append(message.header.sequence)
        assert received == list(range(len(received)))
        assert 3 <= len(received) <= 8


def test_a_push_to_a_full_receiver_is_counted_as_dropped(zmq_context: ZmqContext) -> None:
    with (
        ZmqSink("inproc://x", pattern="push", high_water=3, zmq_context=zmq_context) as sink,
        ZmqSource("inproc://x", pattern="pull", bind=False, high_water=3, zmq_context=zmq_context) as source,
    ):
        assert sink.wait_for_receiver(WAIT_S)
        taken = sum(sink.send(make_read(number)) for number in range(50))
        assert sink.counters == {"sent": taken, "dropped": 50 - taken}
        received = [source.receive(WAIT_S) for _ in range(taken)]
        assert [message.header.sequence for message in received if message] == list(range(taken))


@pytest.mark.parametrize(("out", "into"), [("pub", "sub"), ("push", "pull")])
def test_a_sink_that_waits_loses_nothing_to_a_slow_receiver(out: str, into: str, zmq_context: ZmqContext) -> None:
    count = 60
    with (
        ZmqSink("inproc://x", pattern=out, high_water=2, wait_s=WAIT_S, zmq_context=zmq_context) as sink,
        ZmqSource("inproc://x", pattern=into, bind=False, high_water=2, zmq_context=zmq_context) as source,
    ):
        assert sink.wait_for_receiver(WAIT_S)
        sender = threading.Thread(target=lambda: [sink.send(make_read(number)) for number in range(count)])
        sender.start()
        received = [source.receive(WAIT_S) for _ in range(count)]
        sender.join()
    assert [message.header.sequence for message in received if message] == list(range(count))
    assert sink.counters == {"sent": count}


def test_a_sink_that_waits_gives_up_in_time(zmq_context: ZmqContext) -> None:
    with (
        ZmqSink("inproc://x", pattern="pub", high_water=1, wait_s=0.01, zmq_context=zmq_context) as sink,
        ZmqSource("inproc://x", pattern="sub", bind=False, high_water=1, zmq_context=zmq_context),
    ):
        assert sink.wait_for_receiver(WAIT_S)
        for number in range(10):
            sink.send(make_read(number))
        assert sink.counters["dropped"] > 0
        assert sink.counters["sent"] + sink.counters["dropped"] == 10


def test_what_was_sent_last_leaves_before_the_sink_is_closed() -> None:
    big = make_read(data=np.zeros((2048, 2048), dtype="<u2"))
    with ZmqSource("tcp://127.0.0.1:0", pattern="pull", bind=True, high_water=10) as source:
        with ZmqSink(source.endpoint, pattern="push", bind=False, high_water=10) as sink:
            assert sink.wait_for_receiver(WAIT_S)
            for _ in range(4):
                assert sink.send(big)
            taker = threading.Thread(target=lambda: received.extend(source.receive(WAIT_S) for _ in range(4)))
            received: list[object] = []
            taker.start()
        taker.join()
    assert len(received) == 4
    assert None not in received


def test_subscriptions_are_counted_as_they_come_and_go() -> None:
    with ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=1) as sink:
        assert sink.subscriptions == 0
        with ZmqSource(sink.endpoint, pattern="sub", bind=False, high_water=1):
            assert sink.wait_for_receiver(WAIT_S)
            assert sink.subscriptions == 1
            with ZmqSource(sink.endpoint, pattern="sub", bind=False, high_water=1, topics=[b"a", b"b"]):
                wait_until(sink, 3)
            wait_until(sink, 1)
        wait_until(sink, 0)


def wait_until(sink: ZmqSink, wanted: int) -> None:
    """Step the sink until it knows of so many subscriptions; the bound only stops a hang."""
    for _ in range(int(WAIT_S * 1000)):
        if sink.subscriptions == wanted:
            return
        threading.Event().wait(0.001)
    pytest.fail(f"{sink.subscriptions} subscriptions, not {wanted}")


def test_noise_from_a_subscriber_is_no_subscription() -> None:
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=1) as sink,
        zmq.Context() as context,
        context.socket(zmq.XSUB) as peer,
    ):
        peer.connect(sink.endpoint)
        for note in (b"hello", b"", b"\1"):
            peer.send(note)
        wait_until(sink, 1)
        assert sink.send(make_read())
        assert peer.poll(WAIT_S * 1000)


def test_many_threads_may_send_at_once(zmq_context: ZmqContext) -> None:
    threads, each = 4, 50
    with (
        ZmqSink("inproc://x", pattern="push", high_water=threads * each, zmq_context=zmq_context) as sink,
        ZmqSource("inproc://x", pattern="pull", bind=False, high_water=1, zmq_context=zmq_context) as source,
    ):
        assert sink.wait_for_receiver(WAIT_S)
        workers = [
            threading.Thread(target=lambda n=n: [sink.send(make_read(n * each + i)) for i in range(each)])
            for n in range(threads)
        ]
        for worker in workers:
            worker.start()
        received = [source.receive(WAIT_S) for _ in range(threads * each)]
        for worker in workers:
            worker.join()
    assert sorted(message.header.sequence for message in received if message) == list(range(threads * each))


def test_a_message_that_cannot_travel_is_refused_and_not_sent() -> None:
    with ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=1) as sink:
        with pytest.raises(WireError):
            sink.send(make_read(data=np.zeros((2, 2))))
        assert sink.counters == {}


def test_closing_twice_is_once() -> None:
    sink = ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=1)
    sink.close()
    sink.close()
