"""Telemetry in time: an hour of every key, and what each was at an instant.

Values count from the time since when they hold, not from when they came. An instant is joined with the
latest value that held (`hold`) or, where the key allows it, with a value between two (`linear`, `angular`).
What was published after a `cut` is not looked at, so that a join gives the same answer whenever it is made.
"""

import logging
import threading
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from streams.clock import NS
from streams.messages import Telemetry, TelemetryStatus
from streams.telemetry_keys import Key, KeyTable, Value

log = logging.getLogger(__name__)

STALE_PERIODS = 3
"""Periods after which a value is stale, and no further apart are the neighbours that a value lies between."""
LEAST_STALE_S = 3.0
MISSING_FACTOR = 10
"""A value this many times older than a stale one is no value any more."""
MAX_SAMPLES = 100_000
"""Of one key: an hour at 25 Hz."""
MAX_UNKNOWN = 1000


@dataclass(frozen=True, slots=True)
class Joined:
    """A key at an instant.

    `status`: OK; AGE (comes only when something changes: `age_s` says since when); STALE (late, kept); SUSPECT (out of
    range or none of the choices); MISSING (none, or far too old). `usable` is what formulas and rules may take.
    """

    key: Key
    status: TelemetryStatus
    value: Value | None = None
    time_ns: int | None = None
    """Since when the value holds [TAI]; of one between two, since when the earlier holds."""
    age_s: float | None = None

    @property
    def usable(self) -> Value | None:
        """The value where it can be believed."""
        return self.value if self.status in ("OK", "AGE") else None


class Track:
    """The values of one key, in the order of the times since when they hold.

    Parameters
    ----------
    key
        The key.
    history_ns
        How much is kept before the latest arrival.
    """

    def __init__(self, key: Key, history_ns: int) -> None:
        self.key = key
        self._history_ns = history_ns
        self._times: array[int] = array("q")
        self._issued: array[int] = array("q")
        numeric = key.about.type == "real" and key.about.length == 1
        # Plain doubles where that is possible: a list of objects takes five times the memory.
        self._values: Any = array("d") if numeric else []
        self.first_issued_ns = 2**63 - 1
        """When the earliest value that ever came was published."""
        self._latest_ns: int | None = None
        self._leapt_ns: int | None = None
        periods_s = STALE_PERIODS / key.rate_hz if key.rate_hz else 0.0
        self._bridge_ns = round(periods_s * NS)
        self._stale_s = max(periods_s, LEAST_STALE_S)

    def __len__(self) -> int:
        return len(self._times)

    def take(self, valid_ns: int, issued_ns: int, value: Value) -> bool:
        """Keep a value; False if its time leaps by more than the history, until a second one confirms it."""
        if self._latest_ns is not None and abs(valid_ns - self._latest_ns) > self._history_ns:
            if self._leapt_ns is None or abs(valid_ns - self._leapt_ns) > self._history_ns:
                self._leapt_ns = valid_ns
                return False
            del self._times[:], self._issued[:], self._values[:]
        self._latest_ns, self._leapt_ns = valid_ns, None
        self.first_issued_ns = min(self.first_issued_ns, issued_ns)
        place = bisect_right(self._times, valid_ns)
        if place and self._times[place - 1] == valid_ns and self._issued[place - 1] == issued_ns:
            return True  # once more: the last value, fetched at a connection
        if place and isinstance(value, str | list) and self._values[place - 1] == value:
            value = self._values[place - 1]  # most texts and lists stay as they are: one object serves for all
        self._times.insert(place, valid_ns)
        self._issued.insert(place, issued_ns)
        self._values.insert(place, value)
        self._trim(valid_ns)
        return True

    def _trim(self, latest_ns: int) -> None:
        """Forget in pieces of a quarter, which costs next to nothing."""
        old = 0
        if latest_ns - self._times[0] > self._history_ns + self._history_ns // 4:
            old = bisect_right(self._times, latest_ns - self._history_ns)
        if len(self._times) - old > MAX_SAMPLES:
            old += MAX_SAMPLES // 4
        if old:
            del self._times[:old], self._issued[:old], self._values[:old]

    def at(self, instant_ns: int, cut_ns: int, *, between: bool) -> Joined:
        """Return what holds at an instant, from what was published up to `cut_ns`.

        Parameters
        ----------
        instant_ns, cut_ns
            TAI.
        between
            True: a value between its neighbours, where the key is so joined and both are near and in range.
        """
        place = bisect_right(self._times, instant_ns) - 1
        while place >= 0 and self._issued[place] > cut_ns:
            place -= 1
        if place < 0:
            return Joined(self.key, "MISSING")
        time_ns, value = self._times[place], self._values[place]
        age_s = (instant_ns - time_ns) / NS
        status = self._status(value, age_s)
        if between and self.key.about.join != "hold" and status == "OK" and age_s > 0:
            value = self._between(place, value, instant_ns, cut_ns)
        return Joined(self.key, status, value, time_ns, age_s)

    def _status(self, value: Value, age_s: float) -> TelemetryStatus:
        changing = not self.key.rate_hz
        if not changing and age_s > MISSING_FACTOR * self._stale_s:
            return "MISSING"
        if not self.key.in_range(value):
            return "SUSPECT"
        if changing:
            return "AGE"
        return "STALE" if age_s > self._stale_s else "OK"

    def _between(self, place: int, value: Value, instant_ns: int, cut_ns: int) -> Value:
        after = place + 1
        while after < len(self._times) and self._issued[after] > cut_ns:
            after += 1
        if after == len(self._times):
            return value
        start_ns, end_ns, other = self._times[place], self._times[after], self._values[after]
        if instant_ns - start_ns > self._bridge_ns or end_ns - instant_ns > self._bridge_ns:
            return value
        if not self.key.in_range(other):
            return value
        part = (instant_ns - start_ns) / (end_ns - start_ns)
        return _mean(value, other, part, angular=self.key.about.join == "angular")


def _mean(one: Value, other: Value, part: float, *, angular: bool) -> Value:
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return one
        return [_mean(a, b, part, angular=angular) for a, b in zip(one, other, strict=True)]  # type: ignore[misc]
    if not isinstance(one, float) or not isinstance(other, float):
        return one
    if not angular:
        return one + (other - one) * part
    step = (other - one + 180.0) % 360.0 - 180.0  # the short way round
    turned = one + step * part
    if min(one, other) >= 0.0 and max(one, other) > 180.0:
        return turned % 360.0  # an angle that counts from 0 to 360
    return turned if -180.0 <= turned <= 180.0 else (turned + 180.0) % 360.0 - 180.0


class TelemetryHistory:
    """The tracks of all keys; any thread may add to it and ask it.

    Parameters
    ----------
    table
        The key table.
    history_s
        How much is kept of each key [s].

    Notes
    -----
    `counters`: `telemetry_events`; `telemetry_unknown` (not in the key table, and not kept);
    `telemetry_values_refused` (not of the key's type, or in a unit that is not known); `telemetry_leaps` (times that
    leapt by more than the history).
    """

    def __init__(self, table: KeyTable, history_s: float) -> None:
        self.table = table
        self.counters: Counter[str] = Counter()
        self._history_ns = round(history_s * NS)
        self._tracks: dict[Key, Track] = {}
        self._unknown: set[str] = set()
        self._lock = threading.Lock()

    def take(self, message: Telemetry) -> None:
        """Keep the values of an event; what cannot be used is counted, and said once."""
        header = message.header
        self.counters["telemetry_events"] += 1
        event = self.table.event(header.event)
        if event is None:
            self._note_unknown(header.event)
            return
        valid_ns = self.table.valid_ns(header)
        with self._lock:
            for key, value in self.table.values(header):
                if value is None:
                    self.counters["telemetry_values_refused"] += 1
                    continue
                track = self._tracks.get(key)
                if track is None:
                    track = self._tracks[key] = Track(key, self._history_ns)
                if not track.take(valid_ns, header.time_ns, value):
                    self.counters["telemetry_leaps"] += 1

    def at(self, keys: Iterable[Key], instant_ns: int, cut_ns: int, *, between: bool = False) -> list[Joined]:
        """Return each key at an instant (`Track.at`); one that never came is MISSING."""
        with self._lock:
            return [self._one(key, instant_ns, cut_ns, between) for key in keys]

    def known(self, cut_ns: int = 2**63 - 1) -> list[Key]:
        """Return the keys that were published up to `cut_ns`, in the table's order."""
        with self._lock:
            tracks = self._tracks
            return [key for key in self.table.all() if key in tracks and tracks[key].first_issued_ns <= cut_ns]

    def _one(self, key: Key, instant_ns: int, cut_ns: int, between: bool) -> Joined:
        track = self._tracks.get(key)
        return Joined(key, "MISSING") if track is None else track.at(instant_ns, cut_ns, between=between)

    def _note_unknown(self, event: str) -> None:
        self.counters["telemetry_unknown"] += 1
        if event not in self._unknown and len(self._unknown) < MAX_UNKNOWN:
            self._unknown.add(event)
            log.info("event %s is not in the key table", event)
