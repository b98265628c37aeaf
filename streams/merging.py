"""Reads and telemetry, each from its own place, as one source: events may be many, reads never wait behind them."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import zmq

from streams.closing import Closing
from streams.messages import Message
from streams.sources import PolledSource


class MergedSource(Closing):
    """The messages of sources of reads and of one of events; a read that is there comes first.

    Parameters
    ----------
    reads
        The reads (and what events come with them); several take turns.
    events
        Telemetry; None: there is no such socket.

    Notes
    -----
    It owns them and closes them. `counters` are those of the reads, and those of the events as `telemetry_<name>`.
    """

    def __init__(self, reads: Sequence[PolledSource], events: PolledSource | None = None) -> None:
        self._reads = list(reads)
        self._events = events
        self._poller = zmq.Poller()
        self._endpoint = self._reads[0].endpoint
        for source in self._sources:
            self._poller.register(source.socket, zmq.POLLIN)

    @property
    def _sources(self) -> list[PolledSource]:
        return self._reads if self._events is None else [*self._reads, self._events]

    @property
    def counters(self) -> Counter[str]:
        """What has come so far."""
        total = sum((source.counters for source in self._reads), Counter[str]())
        if self._events is not None:
            total.update({f"telemetry_{name}": count for name, count in self._events.counters.items()})
        return total

    @property
    def endpoint(self) -> str:
        """The first endpoint of the reads, with the port that the system chose."""
        return self._endpoint

    @property
    def exhausted(self) -> bool:
        """False: a publisher may always come back."""
        return False

    def receive(self, timeout_s: float) -> Message | None:
        """Wait at most `timeout_s` for a message; None if none came or it could not be believed."""
        source = self._ready(timeout_s)
        return None if source is None else source.receive(0.0)

    def receive_parts(self, timeout_s: float) -> Sequence[Any] | None:
        """Wait at most `timeout_s` for a message and return its parts as they came, undecoded."""
        source = self._ready(timeout_s)
        return None if source is None else source.receive_parts(0.0)

    def close(self) -> None:
        """Close the sockets; what ZeroMQ still held is dropped."""
        for source in self._sources:
            source.close()

    def _ready(self, timeout_s: float) -> PolledSource | None:
        ready = dict(self._poller.poll(max(0, math.ceil(timeout_s * 1000))))
        source = next((source for source in self._sources if source.socket in ready), None)
        if source in self._reads[:-1]:
            self._reads.remove(source)
            self._reads.append(source)
        return source
