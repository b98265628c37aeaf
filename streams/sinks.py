"""Where messages go out: the `Sink` protocol, and ZeroMQ PUB or PUSH."""

import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import zmq

from streams import wire
from streams.closing import Closing
from streams.errors import EndpointError
from streams.messages import Message, Observe, Telemetry
from streams.sockets import ZmqContext, attach, watch_peer

CLOSE_S = 2.0
MAX_SUBSCRIPTION_BYTES = 1 << 16
SUBSCRIPTIONS_PER_SEND = 1000


class Sink(Protocol):
    """Where messages go."""

    def send(self, message: Message) -> bool:
        """Send a message; False if it was dropped, which is counted."""
        ...

    def close(self) -> None:
        """Send what is held, within a time limit, and give back what is held."""
        ...


class PartsSink(Sink, Protocol):
    """A sink of reads: a socket or a ring."""

    @property
    def endpoint(self) -> str:
        """Where it publishes."""
        ...

    @property
    def counters(self) -> Counter[str]:
        """`sent` and `dropped`."""
        ...

    def send_parts(self, parts: Sequence[Any]) -> bool:
        """Send parts that are encoded already; False if they were dropped."""
        ...

    def wait_for_receiver(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until somebody listens."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SplitSink:
    """Telemetry to one sink, everything else to another: a flood of events costs no read its place.

    Parameters
    ----------
    main
        Takes reads and, unless `steps` says otherwise, observe events.
    events
        Takes telemetry.
    steps
        True: observe events go to `events`, too.

    Notes
    -----
    It does not own the sinks.
    """

    def __init__(self, main: Sink, events: Sink, *, steps: bool = False) -> None:
        self._main = main
        self._events = events
        self._kinds = (Telemetry, Observe) if steps else (Telemetry,)

    def send(self, message: Message) -> bool:
        """Send a message; False if it was dropped."""
        return (self._events if isinstance(message, self._kinds) else self._main).send(message)

    def close(self) -> None:
        """Do nothing: the sinks are not its own."""


class ZmqSink(Closing):
    """Messages to ZeroMQ subscribers.

    Parameters
    ----------
    endpoint
        Where to bind or connect. Port 0 lets the system choose.
    pattern
        `pub`: every subscriber gets every message; `push`: receivers share them.
    bind
        True to wait for receivers at the endpoint, False to connect to it.
    high_water
        Messages held for each receiver; a slower one misses the newest.
    wait_s
        Longest time that a send waits for the slowest receiver before the message is `dropped`. With 0
        a send never waits: `pub` leaves out the slow subscriber (ZeroMQ does not say so; it sees a gap
        in the sequence), `push` counts `dropped`.
    zmq_context
        A context to share, needed for inproc:// endpoints; it stays the caller's.

    Raises
    ------
    EndpointError
        If the endpoint cannot be bound or connected.

    Notes
    -----
    Any thread may send. Pixels are not copied: an array must not be written to after it was sent.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        pattern: Literal["pub", "push"],
        high_water: int,
        bind: bool = True,
        wait_s: float = 0.0,
        zmq_context: ZmqContext | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._lock = threading.Lock()  # sockets may move between threads only with a full fence
        self._publishes = pattern == "pub"
        self._subscriptions = 0
        self._flags = 0 if wait_s > 0 else zmq.NOBLOCK
        context = zmq_context or zmq.Context()
        self._own_context = None if zmq_context else context
        # XPUB is PUB that lets us read who subscribes.
        self._socket = context.socket(zmq.XPUB if self._publishes else zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, round(CLOSE_S * 1000))
        self._socket.setsockopt(zmq.SNDHWM, high_water)
        self._socket.setsockopt(zmq.SNDTIMEO, round(wait_s * 1000))
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_SUBSCRIPTION_BYTES)
        watch_peer(self._socket)
        if self._publishes:
            self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
            self._socket.setsockopt(zmq.XPUB_NODROP, int(wait_s > 0))
        try:
            self.endpoint = attach(self._socket, endpoint, bind)
        except EndpointError:
            self.close()
            raise

    def send(self, message: Message) -> bool:
        """Send a message; False if it was dropped.

        Raises
        ------
        WireError
            If the message cannot travel (`wire.encode`).
        """
        return self.send_parts(wire.encode(message))

    def send_parts(self, parts: Sequence[Any]) -> bool:
        """Send parts that are encoded already; False if they were dropped."""
        with self._lock:
            self._read_subscriptions()
            try:
                self._socket.send_multipart(parts, self._flags, copy=False)
            except zmq.Again:
                self.counters["dropped"] += 1
                return False
            self.counters["sent"] += 1
            return True

    def wait_for_receiver(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until somebody subscribes (`pub`) or is connected (`push`)."""
        with self._lock:
            self._read_subscriptions()
            if self._subscriptions:
                return True
            ready = self._socket.poll(round(timeout_s * 1000), zmq.POLLIN if self._publishes else zmq.POLLOUT)
            self._read_subscriptions()
            return self._subscriptions > 0 if self._publishes else bool(ready)

    @property
    def subscriptions(self) -> int:
        """How many subscriptions there are (a subscriber may have several); 0 for `push`."""
        with self._lock:
            self._read_subscriptions()
            return self._subscriptions

    def close(self) -> None:
        """Close the socket; what is still held gets two seconds to leave."""
        with self._lock:
            self._socket.close()
            if self._own_context:
                self._own_context.term()

    def _read_subscriptions(self) -> None:
        """Take in what subscribers said: 1 and a prefix to subscribe, 0 and a prefix to leave."""
        if not self._publishes:
            return
        for _ in range(SUBSCRIPTIONS_PER_SEND):  # a bound, so that a chatty peer cannot hold up a send
            if not int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                return
            note = self._socket.recv(zmq.NOBLOCK)
            if note[:1] in (b"\0", b"\1"):
                self._subscriptions = max(0, self._subscriptions + (1 if note[0] else -1))
