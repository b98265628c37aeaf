"""All telemetry as it comes, for the page that shows it: the latest of every key, and an hour of those with numbers."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from streams.clock import NS, Clock, tai_to_utc_ns
from streams.messages import FrameHeader, Telemetry, TelemetryHeader, TelemetryStatus
from streams.sources import Source
from streams.telemetry_keys import Key, KeyTable, Value

POLL_S = 0.2
KEPT_S = 3600.0
LEAST_STEP_S = 0.5
"""Values of one key that come closer than this are not all kept: no screen shows them."""
STALE_PERIODS, LEAST_STALE_S, MISSING_FACTOR = 3, 3.0, 10


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest value of a key."""

    key: Key
    value: Value
    time_s: float
    """Since when it holds [UTC, s since 1970]."""

    def status(self, now_s: float) -> TelemetryStatus:
        """Say how far it can be believed now."""
        rate_hz, age_s = self.key.rate_hz, now_s - self.time_s
        if not rate_hz:
            return "AGE" if self.key.in_range(self.value) else "SUSPECT"
        limit_s = max(STALE_PERIODS / rate_hz, LEAST_STALE_S)
        if age_s > MISSING_FACTOR * limit_s:
            return "MISSING"
        if not self.key.in_range(self.value):
            return "SUSPECT"
        return "STALE" if age_s > limit_s else "OK"


class Board:
    """Keeps what a source of telemetry sends, on a thread of its own.

    Parameters
    ----------
    table
        What events mean; others are counted (`unknown`).
    clock
        For ages.
    """

    def __init__(self, table: KeyTable, clock: Clock) -> None:
        self.counters: Counter[str] = Counter()
        self._table = table
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: dict[str, Latest] = {}
        self._past: dict[str, deque[tuple[float, float]]] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.on_event: Callable[[TelemetryHeader], None] = lambda _header: None
        """Told of each event, on the thread of the source."""

    def follow(self, source: Source) -> None:
        """Start a thread that takes from a source until `stop` and then closes it."""
        thread = threading.Thread(target=self._run, args=(source,), name="board", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def now_s(self) -> float:
        """Return UTC now [s since 1970]."""
        return tai_to_utc_ns(self._clock.tai_ns()) / NS

    def take(self, header: TelemetryHeader) -> None:
        """Keep the values of an event."""
        self.counters["events"] += 1
        self.on_event(header)
        if self._table.event(header.event) is None:
            self.counters["unknown"] += 1
            return
        time_s = tai_to_utc_ns(self._table.valid_ns(header)) / NS
        with self._lock:
            for key, value in self._table.values(header):
                if value is not None:
                    self._latest[key.name] = Latest(key, value, time_s)
                    self._note(key.name, time_s, value)

    def know(self, header: FrameHeader) -> None:
        """Take from a frame what has not been heard yet: what comes only when it changes may come no more tonight."""
        names = {key.name: key for key in self._table.all()}
        with self._lock:
            for row in header.telemetry:
                key = names.get(f"{row.key}.{row.param}") or names.get(row.key)
                if key is None or key.name in self._latest or row.read is not None:
                    continue
                if row.time_ns is not None and row.value is not None:
                    self._latest[key.name] = Latest(key, row.value, tai_to_utc_ns(row.time_ns) / NS)

    def latest(self) -> list[Latest]:
        """Return the latest of every key that came, in the table's order."""
        with self._lock:
            return [self._latest[key.name] for key in self._table.all() if key.name in self._latest]

    def past(self, name: str) -> list[tuple[float, float]]:
        """Return times [UTC, s] and numbers of a key's last hour; empty for one that has none."""
        with self._lock:
            return list(self._past.get(name, ()))

    def _note(self, name: str, time_s: float, value: Value) -> None:
        number = value[0] if isinstance(value, list) and value else value
        if isinstance(number, bool) or not isinstance(number, int | float):
            return
        kept = self._past.setdefault(name, deque(maxlen=round(KEPT_S / LEAST_STEP_S)))
        if not kept or abs(time_s - kept[-1][0]) >= LEAST_STEP_S:
            kept.append((time_s, float(number)))
            while kept[0][0] < time_s - KEPT_S:
                kept.popleft()

    def _run(self, source: Source) -> None:
        with source:
            while not self._stop.is_set() and not source.exhausted:
                message = source.receive(POLL_S)
                if isinstance(message, Telemetry):
                    self.take(message.header)
