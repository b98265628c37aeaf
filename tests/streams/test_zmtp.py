"""The subscriber that reads while a message arrives, against ZeroMQ's own publisher and against peers that are none."""

import socket
import threading
from contextlib import suppress

import pytest
import zmq

from streams.errors import EndpointError
from streams.zmtp import GREETING, Lost, Subscription

LIMIT_S = 10.0


@pytest.fixture
def context():
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture(params=["tcp", "ipc"])
def publisher(context, request, tmp_path):
    with context.socket(zmq.XPUB) as made:
        made.bind("tcp://127.0.0.1:*" if request.param == "tcp" else f"ipc://{tmp_path / 'x'}")
        yield made


def subscribed(publisher, topic=b""):
    link = Subscription(publisher.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode(), topic)
    while not publisher.poll(0):
        link.wait(0.02)
    assert publisher.recv() == b"\x01" + topic
    return link


def message_of(link):
    parts, more = [], True
    while more:
        part = link.next_part()
        if part is not None:
            more = part[1]
            parts.append(link.read())
    return parts


@pytest.mark.parametrize("size", [0, 1, 255, 256, 3_000_000])
def test_what_zeromq_sends_is_read_part_by_part(publisher, size):
    with subscribed(publisher) as link:
        sent = [b"head", bytes(range(256)) * (size // 256) + b"x" * (size % 256), b""]
        publisher.send_multipart(sent)
        publisher.send_multipart([b"next"])
        assert link.wait(LIMIT_S)
        assert message_of(link) == sent
        assert link.wait(LIMIT_S)
        assert message_of(link) == [b"next"]
        assert not link.wait(0.01)


def test_parts_may_be_read_in_pieces_or_passed_over(publisher):
    with subscribed(publisher) as link:
        publisher.send_multipart([b"abcdef", b"y" * 2_500_000, b"end"])
        assert link.wait(LIMIT_S)
        assert link.next_part() == (6, True)
        place = bytearray(4)
        link.read_into(memoryview(place))
        link.skip()
        assert bytes(place) == b"abcd"
        assert link.next_part() == (2_500_000, True)
        link.skip()
        assert link.next_part() == (3, False)
        assert link.read() == b"end"


def test_only_the_topic_is_sent(publisher):
    with subscribed(publisher, b"A") as link:
        publisher.send(b"B1")
        publisher.send(b"A1")
        assert link.wait(LIMIT_S)
        assert message_of(link) == [b"A1"]


def test_a_publisher_that_comes_back_is_heard_again(context):
    first = context.socket(zmq.XPUB)
    port = first.bind_to_random_port("tcp://127.0.0.1")
    with subscribed(first) as link:
        first.close(linger=0)
        assert link.wait(LIMIT_S)
        with pytest.raises(Lost, match="gone"):
            link.next_part()
        with context.socket(zmq.XPUB) as again:
            again.bind(f"tcp://127.0.0.1:{port}")
            while not again.poll(0):
                link.wait(0.05)
            again.send(b"back")
            assert link.wait(LIMIT_S)
            assert message_of(link) == [b"back"]


def test_heartbeats_are_answered(context):
    publisher = context.socket(zmq.XPUB)
    publisher.setsockopt(zmq.HEARTBEAT_IVL, 50)
    publisher.setsockopt(zmq.HEARTBEAT_TIMEOUT, 150)
    publisher.bind("tcp://127.0.0.1:*")
    with publisher, subscribed(publisher) as link:
        for _ in range(20):  # a second: without an answer ZeroMQ ends the connection after a sixth of one
            if link.wait(0.05):
                assert link.next_part() is None
        publisher.send(b"still here")
        found = None
        while found is None:
            assert link.wait(LIMIT_S)
            found = link.next_part()
        assert link.read() == b"still here"


def peer(answers):
    """Listen, and send what is given to whoever connects."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listening.accept()
        with connection:
            connection.sendall(answers)
            with suppress(ConnectionError):
                while connection.recv(4096):
                    pass

    threading.Thread(target=serve, daemon=True).start()
    return listening, f"tcp://127.0.0.1:{listening.getsockname()[1]}"


def ready(kind):
    body = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    return bytes((4, len(body))) + body


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 64, "does not speak ZMTP"),
        (GREETING[:12] + b"CURVE".ljust(20, b"\0") + bytes(32), "CURVE"),
        (GREETING + ready(b"PUSH"), "a publisher was expected"),
        (GREETING + b"\x00\x03abc", "READY"),
    ],
    ids=["http", "mechanism", "push", "no ready"],
)
def test_what_is_no_publisher_is_named(answers, why):
    listening, endpoint = peer(answers)
    with listening, Subscription(endpoint) as link, pytest.raises(Lost, match=why):
        link.wait(LIMIT_S)


@pytest.mark.parametrize("tail", [b"\x02" + (1 << 40).to_bytes(8, "big"), b"\x06" + (1 << 30).to_bytes(8, "big")])
def test_a_size_that_cannot_be_believed_ends_the_connection(tail):
    listening, endpoint = peer(GREETING + ready(b"PUB") + tail)
    with listening, Subscription(endpoint) as link:
        assert link.wait(LIMIT_S)
        with pytest.raises(Lost, match="bytes"):
            link.next_part()


def test_nobody_there_is_waited_for_and_not_more():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Subscription(f"tcp://127.0.0.1:{port}") as link:
        assert not any(link.wait(0.05) for _ in range(4))


@pytest.mark.parametrize("endpoint", ["nonsense", "tcp://nowhere", "tcp://:5", "tcp://h:0", "tcp://h:99999", "ipc://"])
def test_an_endpoint_that_is_none_is_named(endpoint):
    with pytest.raises(EndpointError, match=r"tcp://127\.0\.0\.1:5550"):
        Subscription(endpoint)
