"""Messages through shared memory: a publisher and its readers on one host, with the parts of the wire.

The pixels lie in a ring (`ring_file`); a ZeroMQ socket beside it, the doorbell, says which message is where.
So a reader sleeps until something comes, together with its other sockets, and finds a writer that began anew
by itself. Readers tell through the same socket how far they are.
"""

import contextlib
import math
import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from struct import Struct
from typing import Any

import zmq

from streams import wire
from streams.closing import Closing
from streams.errors import EndpointError, WireError
from streams.messages import Message
from streams.ring_file import Bell, RingReader, RingWriter, bell_of, check_ring, path_of
from streams.sinks import CLOSE_S, MAX_SUBSCRIPTION_BYTES, SUBSCRIPTIONS_PER_SEND
from streams.sockets import ZmqContext, ZmqSocket, attach
from streams.sources import Decode, believe, count_rejected

BELL = Struct("<QQQQ")
NOTE = Struct("<c8sQ")  # PROGRESS, the reader's name, the position up to which it has read
SUBSCRIBE, PROGRESS = b"\1", b"\2"
READER = b"reader:"  # a reader subscribes to this and its name: the writer learns when it comes and when it is gone
NAME_BYTES = 8
BELLS_HELD = 100_000
"""Messages that a reader may be behind before its bells are dropped; the ring itself is shorter for all but events."""
BELLS_PER_CALL = 1000
MAX_MISSED = 1 << 32


class RingSink(Closing):
    """Messages to the readers of a ring: the part of `ZmqSink` for publishers on the same host.

    Parameters
    ----------
    endpoint
        `shm://NAME`; the ring is this sink's until it is closed.
    capacity
        Bytes of the ring. A reader that is further behind has lost what was overwritten, and counts it.
    wait_s
        Longest time that a send waits for the slowest reader before the message is `dropped`; with 0 it never
        waits.

    Raises
    ------
    EndpointError
        If the ring cannot be made: another writer has it, or there is not so much shared memory.

    Notes
    -----
    Any thread may send. What was sent was copied.
    """

    def __init__(self, endpoint: str, *, capacity: int, wait_s: float = 0.0) -> None:
        self.counters: Counter[str] = Counter()
        self.endpoint = endpoint
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._read_until: dict[bytes, int] = {}
        self._ring = RingWriter(endpoint, capacity)
        self._context: ZmqContext = zmq.Context()
        self._socket = _bell_socket(self._context, zmq.XPUB)
        try:
            attach(self._socket, f"ipc://{bell_of(path_of(endpoint))}", bind=True)
        except EndpointError:
            self._give_back()
            raise

    def send(self, message: Message) -> bool:
        """Send a message; False if it was dropped.

        Raises
        ------
        WireError
            If the message cannot travel (`wire.encode`) or is larger than half of the ring.
        """
        return self.send_parts(wire.encode(message))

    def send_parts(self, parts: Sequence[Any]) -> bool:
        """Send parts that are encoded already; False if they were dropped."""
        with self._lock:
            self._hear()
            bell, pieces = self._ring.plan(parts)
            if self._wait_s and not self._wait_until_read(bell.end - self._ring.capacity, self._wait_s):
                self.counters["dropped"] += 1
                return False
            self._ring.write(bell, pieces)
            self._socket.send(BELL.pack(*bell), zmq.NOBLOCK)  # an XPUB leaves out whoever is full, it never waits
            self.counters["sent"] += 1
            return True

    def wait_for_receiver(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until somebody reads the ring."""
        with self._lock:
            self._hear()
            if not self._read_until:
                self._hear(timeout_s)
            return bool(self._read_until)

    def close(self) -> None:
        """Give readers two seconds to take what is in the ring, then remove it."""
        with self._lock:
            if self._socket.closed:
                return
            self._socket.send(BELL.pack(*self._ring.bye()), zmq.NOBLOCK)
            self._wait_until_read(self._ring.position, CLOSE_S)
            self._give_back()

    def _give_back(self) -> None:
        self._socket.close()
        self._context.term()
        self._ring.close()

    def _wait_until_read(self, position: int, timeout_s: float) -> bool:
        """Wait until all readers have read up to `position`; False if one has not in time."""
        until_s = time.monotonic() + timeout_s
        while any(read < position for read in self._read_until.values()):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            self._hear(left_s)
        return True

    def _hear(self, timeout_s: float = 0.0) -> None:
        """Take in what readers said: that they are there, how far they are, that they leave."""
        if timeout_s and not self._socket.poll(math.ceil(timeout_s * 1000)):
            return
        for _ in range(SUBSCRIPTIONS_PER_SEND):
            try:
                note = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(note)

    def _take(self, note: bytes) -> None:
        if note[:1] == PROGRESS and len(note) == NOTE.size:
            _, name, position = NOTE.unpack(note)
            if name in self._read_until and position <= self._ring.position:
                self._read_until[name] = max(position, self._read_until[name])
        elif note[1:].startswith(READER):
            name = note[1 + len(READER) :]
            if note[:1] == SUBSCRIBE:
                self._read_until[name] = self._ring.position
            else:
                self._read_until.pop(name, None)


class RingSource(Closing):
    """Messages from the publisher of a ring.

    Parameters
    ----------
    endpoint
        `shm://NAME`; the publisher may come later, end, and come again.
    decode
        Form of the messages.

    Raises
    ------
    EndpointError
        If there is something in the ring's place that is no ring.

    Notes
    -----
    One thread at a time. Each message is a copy of its own, made once. `counters` are those of a `ZmqSource`,
    and `dropped_overtaken`: messages that the writer had overwritten before they were read.
    """

    def __init__(self, endpoint: str, *, decode: Decode = wire.decode) -> None:
        self.counters: Counter[str] = Counter()
        self.endpoint = endpoint
        self._decode = decode
        self._ring: RingReader | None = None
        self._next = 0
        self._name = os.urandom(NAME_BYTES)
        self._path = path_of(endpoint)
        check_ring(endpoint)
        self._context: ZmqContext = zmq.Context()
        self.socket = _bell_socket(self._context, zmq.XSUB)
        try:
            attach(self.socket, f"ipc://{bell_of(self._path)}", bind=False)
        except EndpointError:
            self.close()
            raise
        self.socket.send(SUBSCRIBE)  # first: when the writer knows of the reader, it gets its bells already
        self.socket.send(SUBSCRIBE + READER + self._name)

    @property
    def exhausted(self) -> bool:
        """False: a publisher may always come back."""
        return False

    def receive(self, timeout_s: float) -> Message | None:
        """Wait at most `timeout_s` for a message; None if none came or it could not be believed."""
        return believe(self.receive_parts(timeout_s), self._decode, self.counters, self.endpoint)

    def receive_parts(self, timeout_s: float) -> list[memoryview] | None:
        """Wait at most `timeout_s` for a message and return its parts, undecoded; what was overtaken is passed over."""
        until_s = time.monotonic() + timeout_s
        for _ in range(BELLS_PER_CALL):
            if not self.socket.poll(math.ceil(max(0.0, until_s - time.monotonic()) * 1000)):
                return None
            try:
                parts = self._fetch(self.socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                continue
            except WireError as error:
                self.counters["received"] += 1
                count_rejected(self.counters, error, self.endpoint)
                return None
            if parts is not None:
                self.counters["received"] += 1
                return parts
        return None

    def close(self) -> None:
        """Close the doorbell and the ring."""
        self.socket.close(linger=0)
        self._context.term()
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def _fetch(self, note: bytes) -> list[memoryview] | None:
        """Return the parts that a bell tells of; None if there are none or they were overtaken."""
        try:
            bell = Bell(*BELL.unpack(note))
        except struct.error as error:
            raise WireError("segment", f"a bell has {BELL.size} bytes, found {len(note)}") from error
        try:
            ring = self._ring_of(bell)
            self._count_missed(bell)
            self._next = bell.number + (bell.length > 0)
            if not bell.length:
                return None
            parts = ring.read(bell)
        finally:
            self._tell(bell.end)
        if parts is None:
            self.counters["dropped_overtaken"] += 1
        return parts

    def _ring_of(self, bell: Bell) -> RingReader:
        """Return the ring that a bell is about; a new writer has a new one."""
        if self._ring is None or self._ring.generation != bell.generation:
            ring = RingReader(self._path)
            if ring.generation != bell.generation:
                ring.close()
                raise WireError("segment", f"message {bell.number} is of a ring that is gone")
            if self._ring is not None:
                self._ring.close()
            self._ring, self._next = ring, bell.number  # joining late is no loss
        return self._ring

    def _count_missed(self, bell: Bell) -> None:
        """Count messages whose very bells were dropped."""
        missed = bell.number - self._next
        if 0 < missed < MAX_MISSED:
            self.counters["dropped_overtaken"] += missed

    def _tell(self, position: int) -> None:
        with contextlib.suppress(
            zmq.Again, struct.error
        ):  # the next one says more; beyond 64 bits there is no position
            self.socket.send(NOTE.pack(PROGRESS, self._name, position), zmq.NOBLOCK)


def _bell_socket(context: ZmqContext, kind: int) -> ZmqSocket:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, BELLS_HELD)
    socket.setsockopt(zmq.RCVHWM, BELLS_HELD)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_SUBSCRIPTION_BYTES)
    return socket
