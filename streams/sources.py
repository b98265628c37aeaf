"""Where messages come in: the `Source` protocol, and ZeroMQ SUB or PULL.

A source never raises for what a peer sent and never waits longer than it was told. Whatever cannot
be believed is counted by cause, logged at a falling rate, and dropped.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import zmq

from streams import wire
from streams.closing import Closing
from streams.errors import EndpointError, WireError
from streams.messages import Message
from streams.sockets import ZmqContext, ZmqSocket, attach, watch_peer

log = logging.getLogger(__name__)

Decode = Callable[[Sequence[Any]], Message]
"""Turns received parts into a message or raises `WireError`: `wire.decode` or an adapter."""

MAX_PARTS = 16
MAX_PART_BYTES = 1 << 28


class Source(Protocol):
    """Where messages come from: a socket, a recording, files, a list."""

    @property
    def counters(self) -> Counter[str]:
        """`received`, and `rejected_<cause>` for each cause of `wire.CAUSES`."""
        ...

    @property
    def exhausted(self) -> bool:
        """True when nothing can come any more; a socket never is."""
        ...

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message, or None if none (or an unbelievable one) came in time."""
        ...

    def close(self) -> None:
        """Give back what is held; further calls do nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PolledSource(Source, Protocol):
    """A source with a socket that can be waited for together with others."""

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        ...

    @property
    def socket(self) -> ZmqSocket:
        """Readable when something has come."""
        ...

    def receive_parts(self, timeout_s: float) -> Sequence[Any] | None:
        """Return the parts of the next message, undecoded, or None if none came in time."""
        ...


class ZmqSource(Closing):
    """Messages from ZeroMQ publishers.

    Parameters
    ----------
    endpoint
        One endpoint, or several for a receiver of many publishers. Port 0 lets the system choose.
    pattern
        `sub`: any number of receivers get every message; `pull`: receivers share them.
    bind
        True to wait for publishers at the endpoint, False to connect to it.
    high_water
        Messages that ZeroMQ holds for each publisher before it drops (`sub`) or stops it (`pull`).
    topics
        First bytes of the messages wanted (`wire.topic`), for `sub`; the default takes all.
    decode
        Form of the messages.
    zmq_context
        A context to share, needed for inproc:// endpoints; it stays the caller's.

    Raises
    ------
    EndpointError
        If an endpoint cannot be bound or connected.

    Notes
    -----
    One thread at a time. Pixels are views of ZeroMQ's buffers, which live as long as the arrays. A peer
    that sends a part of more than 256 MiB is disconnected by ZeroMQ before the part is in memory.
    """

    def __init__(
        self,
        endpoint: str | Sequence[str],
        *,
        pattern: Literal["sub", "pull"],
        bind: bool,
        high_water: int,
        topics: Sequence[bytes] = (b"",),
        decode: Decode = wire.decode,
        zmq_context: ZmqContext | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._decode = decode
        context = zmq_context or zmq.Context()
        self._own_context = None if zmq_context else context
        self._socket = context.socket(zmq.SUB if pattern == "sub" else zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, high_water)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
        watch_peer(self._socket)
        for prefix in topics if pattern == "sub" else ():
            self._socket.setsockopt(zmq.SUBSCRIBE, prefix)
        wanted = [endpoint] if isinstance(endpoint, str) else endpoint
        try:
            self.endpoints = tuple(attach(self._socket, one, bind) for one in wanted)
        except EndpointError:
            self.close()
            raise

    @property
    def endpoint(self) -> str:
        """The first endpoint, with the port that the system chose."""
        return self.endpoints[0]

    @property
    def socket(self) -> ZmqSocket:
        """The socket, to wait for it together with others."""
        return self._socket

    @property
    def exhausted(self) -> bool:
        """False: a publisher may always come back."""
        return False

    def receive(self, timeout_s: float) -> Message | None:
        """Wait at most `timeout_s` for a message; None if none came or it could not be believed."""
        return believe(self.receive_parts(timeout_s), self._decode, self.counters, self.endpoint)

    def receive_parts(self, timeout_s: float) -> list[zmq.Frame] | None:
        """Wait at most `timeout_s` for a message and return its parts as they came, undecoded."""
        if timeout_s > 0 and not self._socket.poll(math.ceil(timeout_s * 1000)):
            return None
        try:
            parts = [self._socket.recv(zmq.NOBLOCK, copy=False)]
        except zmq.Again:
            return None
        surplus = 0
        while parts[-1].more:  # the parts of a message arrive together: none of these waits
            part = self._socket.recv(copy=False)
            if len(parts) == MAX_PARTS:
                surplus += 1
                parts.pop()
            parts.append(part)
        self.counters["received"] += 1
        if surplus:
            error = WireError("parts", f"{MAX_PARTS + surplus} parts, at most {MAX_PARTS} are taken")
            count_rejected(self.counters, error, self.endpoint)
            return None
        return parts

    def close(self) -> None:
        """Close the socket; what ZeroMQ still held is dropped."""
        self._socket.close()
        if self._own_context:
            self._own_context.term()


def believe(parts: Sequence[Any] | None, decode: Decode, counters: Counter[str], where: str) -> Message | None:
    """Decode what was received; None if it was nothing or cannot be believed, which is counted."""
    if parts is None:
        return None
    try:
        return decode(parts)
    except WireError as error:
        count_rejected(counters, error, where)
        return None


def count_rejected(counters: Counter[str], error: WireError, where: str) -> None:
    """Count a refused message by cause, and log the 1st, 10th, 100th ... of each cause."""
    key = f"rejected_{error.cause}"
    counters[key] += 1
    count = counters[key]
    if count == 10 ** (len(str(count)) - 1):
        log.warning("%s: refused message %d of its kind: %s", where, count, error)
