"""The highest rate of reads at which a daemon loses none: the simulator sends faster and faster.

After each attempt the daemon works off what it holds; then what was sent is compared with what it counts.
"""

import copy
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from rtcal.live import MeasuringSink, Observer
from streams.clock import Clock
from streams.simulator import RunCounters, Simulator, run
from streams.sinks import Sink

SPEEDS = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
BISECTIONS = 2
ATTEMPT_S = 10.0
SETTLE_S = 90.0
LATE = 0.1
"""Part of the reads that the simulator may send late before it is said to be what cannot keep up."""


@dataclass(frozen=True)
class Attempt:
    """What one speed came to."""

    speed: float
    reads: int
    lost: int
    bytes_per_s: float
    simulator_kept_up: bool


class RateFinder:
    """Tries speeds on a daemon that runs.

    Parameters
    ----------
    simulator
        Whose detectors; each attempt is an observation of its own.
    sink, measured
        Where messages go, and the part of it that counts reads.
    observer
        Hears the daemon's heart.
    clock
        The pace.
    stop
        Ends everything.
    """

    def __init__(
        self,
        simulator: Simulator,
        sink: Sink,
        measured: MeasuringSink,
        observer: Observer,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self.attempts: list[Attempt] = []
        self._simulator = simulator
        self._sink = sink
        self._measured = measured
        self._observer = observer
        self._clock = clock
        self._stop = stop

    def find(self, show: Callable[[str], None]) -> dict[str, Any]:
        """Try speeds upward until reads are lost or the simulator cannot keep up, then between; return the report."""
        best, worst = None, None
        for speed in SPEEDS:
            attempt = self._try(speed, show)
            if attempt.lost:
                worst = attempt
                break
            best = attempt
            if not attempt.simulator_kept_up or self._stop.is_set():
                break
        for _ in range(BISECTIONS if worst is not None else 0):
            low = best.speed if best is not None else 1.0
            attempt = self._try((low + worst.speed) / 2 if worst is not None else low, show)
            best, worst = (best, attempt) if attempt.lost else (attempt, worst)
        limited = "reads lost above" if worst is not None else "the simulator"
        if best is not None and best.simulator_kept_up and worst is None:
            limited = "not reached"
        return {
            "highest_lossless_bytes_per_s": None if best is None else round(best.bytes_per_s),
            "highest_lossless_speed": None if best is None else round(best.speed, 2),
            "limited_by": limited,
            "attempts": [
                {"speed": round(one.speed, 2), "bytes_per_s": round(one.bytes_per_s), "reads_lost": one.lost}
                for one in self.attempts
            ],
        }

    def _try(self, speed: float, show: Callable[[str], None]) -> Attempt:
        simulator = copy.copy(self._simulator)
        name = f"{simulator.settings.observation}-R{len(self.attempts)}"
        simulator.settings = replace(simulator.settings, observation=name)
        sent, before, counters = self._measured.reads, self._missing(), RunCounters()
        over = threading.Event()
        show(f"{speed:g} times the real cadence")
        thread = threading.Thread(target=run, args=(simulator, self._sink, self._clock, over, speed, counters))
        began_s = time.monotonic()
        thread.start()
        self._stop.wait(ATTEMPT_S)
        over.set()
        thread.join()
        elapsed_s = time.monotonic() - began_s
        self.settle()
        reads = self._measured.reads - sent
        size = simulator.settings.size
        kept_up = counters.late <= LATE * max(reads, 1)
        lost = max(self._missing() - before, 0)
        self.attempts.append(Attempt(speed, reads, lost, reads * 2 * size * size / elapsed_s, kept_up))
        return self.attempts[-1]

    def _missing(self) -> int:
        """Return how many of the reads sent so far the daemon has not put into a frame's sums."""
        status = self._observer.seen.status
        counted = [] if status is None else [one.counters for one in status.detectors.values()]
        return self._measured.reads - sum(one.get("reads_used", 0) + one.get("reads_excluded", 0) for one in counted)

    def settle(self) -> None:
        """Wait until the daemon has nothing more to do: what it counts stands still over some heartbeats."""
        deadline_s, before, still = time.monotonic() + SETTLE_S, -1, 0
        while still < 6 and time.monotonic() < deadline_s and not self._stop.wait(1.0):
            now = self._missing()
            still = still + 1 if now == before else 0
            before = now
