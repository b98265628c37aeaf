"""Reads and telemetry from their own sockets, as one source: events may be many, reads never wait behind them."""

import math
from collections import Counter
from types import TracebackType
from typing import Self

import zmq

from streams.messages import Message
from streams.sources import ZmqSource


class MergedSource:
    """The messages of a socket of reads and of one of events; a read that is there comes first.

    Parameters
    ----------
    reads
        The reads (and what events come with them).
    events
        Telemetry; None: there is no such socket.

    Notes
    -----
    It owns both and closes them. `counters` are those of the reads, and those of the events as `telemetry_<name>`.
    """

    def __init__(self, reads: ZmqSource, events: ZmqSource | None = None) -> None:
        self._reads = reads
        self._events = events
        self._sources = [reads] if events is None else [reads, events]
        self._poller = zmq.Poller()
        for source in self._sources:
            self._poller.register(source.socket, zmq.POLLIN)

    @property
    def counters(self) -> Counter[str]:
        """What has come so far."""
        total = Counter(self._reads.counters)
        if self._events is not None:
            total.update({f"telemetry_{name}": count for name, count in self._events.counters.items()})
        return total

    @property
    def endpoint(self) -> str:
        """The first endpoint of the reads, with the port that the system chose."""
        return self._reads.endpoint

    @property
    def exhausted(self) -> bool:
        """False: a publisher may always come back."""
        return False

    def receive(self, timeout_s: float) -> Message | None:
        """Wait at most `timeout_s` for a message; None if none came or it could not be believed."""
        source = self._ready(timeout_s)
        return None if source is None else source.receive(0.0)

    def receive_parts(self, timeout_s: float) -> list[zmq.Frame] | None:
        """Wait at most `timeout_s` for a message and return its parts as they came, undecoded."""
        source = self._ready(timeout_s)
        return None if source is None else source.receive_parts(0.0)

    def close(self) -> None:
        """Close the sockets; what ZeroMQ still held is dropped."""
        for source in self._sources:
            source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self, timeout_s: float) -> ZmqSource | None:
        ready = dict(self._poller.poll(max(0, math.ceil(timeout_s * 1000))))
        return next((source for source in self._sources if source.socket in ready), None)
