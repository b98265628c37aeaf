"""Which pipelines a message concerns: each detector has one, and each window of a detector has one of its own."""

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass

from streams.errors import WindowError
from streams.messages import Message, Observe, Read, Telemetry
from streams.windows import MAX_WINDOWS, Window, base_detector, window_of

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Instrument and detector, or window of a detector."""

MAX_PIPELINES = 60
"""A heartbeat holds no more of them (`messages.StatusHeader`); IRIS has at most 45: four detectors of ten windows."""

MAX_PLACES = 1000
"""Places of an exposure's windows; one that wanders farther is no longer told of."""


@dataclass(frozen=True)
class WindowSeen:
    """Told to a detector's pipeline: from here on an exposure of it has a window there."""

    window: Window
    exposure_id: str
    """The detector's own."""


class Router:
    """Tells whom messages concern, in the order in which they come, so that a replay goes as the night went.

    Notes
    -----
    `counters`: `dropped_no_detector` (a read of detector ALL), `dropped_unknown_detector` (beyond the most that are
    served), `dropped_bad_window` (a window that does not say where it lies) and `dropped_unknown_window` (beyond ten of
    one detector).
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._known: dict[Key, None] = {}
        self._exposures: dict[Key, str] = {}
        self._told: defaultdict[Key, set[Window]] = defaultdict(set)

    def route(self, message: Message) -> list[tuple[Key, Message | WindowSeen]]:
        """Return the pipelines that a message goes to, and what goes there; a read makes its own known."""
        if isinstance(message, Read):
            return self._route_read(message)
        if isinstance(message, Observe | Telemetry):
            return [(key, message) for key in self._known if _concerns(message, key)]
        return []

    def _route_read(self, read: Read) -> list[tuple[Key, Message | WindowSeen]]:
        header = read.header
        key, base = (header.instrument, header.detector), (header.instrument, base_detector(header.detector))
        try:
            window = window_of(header, (read.data.shape[0], read.data.shape[1]))
        except WindowError as error:
            self.counters["dropped_bad_window"] += 1
            if self.counters["dropped_bad_window"] == 1:
                log.warning("dropped: %s", error)
            return []
        if key not in self._known:
            refusal = self._refusal(key, base)
            if refusal:
                self.counters[refusal] += 1
                return []
            self._known[key] = None
        if window is None:
            if self._exposures.get(key) != header.exposure_id:
                self._exposures[key] = header.exposure_id
                self._told[key].clear()
            return [(key, read)]
        told = self._told[base]
        if base not in self._known or window in told or len(told) >= MAX_PLACES:
            return [(key, read)]
        told.add(window)
        return [(key, read), (base, WindowSeen(window, self._exposures[base]))]

    def _refusal(self, key: Key, base: Key) -> str:
        """Return the counter of what speaks against a new pipeline; "" for nothing."""
        windows = [one for one in self._known if one != base and (one[0], base_detector(one[1])) == base]
        if key[1] == "ALL":
            return "dropped_no_detector"
        if key != base and len(windows) >= MAX_WINDOWS:
            return "dropped_unknown_window"
        return "dropped_unknown_detector" if len(self._known) >= MAX_PIPELINES else ""


def _concerns(message: Observe | Telemetry, key: Key) -> bool:
    """Tell whether an event is for a pipeline: what a detector does, its windows do too."""
    instrument, detector = message.header.instrument, message.header.detector
    return detector == "ALL" or (instrument == key[0] and detector in (key[1], base_detector(key[1])))
