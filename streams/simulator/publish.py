"""Sending a simulation out at its own pace."""

import logging
from dataclasses import dataclass
from typing import Protocol

from streams.clock import Clock
from streams.messages import Read
from streams.simulator.sequence import Simulator
from streams.sinks import Sink

log = logging.getLogger(__name__)


class Stop(Protocol):
    """What ends a run early: a `threading.Event`, or a test's own clockwork."""

    def is_set(self) -> bool:
        """Tell whether to end."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end at most that long [s]; True if it has come."""
        ...


@dataclass
class RunCounters:
    """What a run has done so far; written by the run, read by whoever shows it."""

    messages: int = 0
    reads: int = 0
    late: int = 0
    """Reads sent more than a frame time after they were due: the simulator cannot keep up."""
    worst_lag_s: float = 0.0


def run(
    simulator: Simulator,
    sink: Sink,
    clock: Clock,
    stop: Stop,
    speed: float | None,
    counters: RunCounters | None = None,
) -> RunCounters:
    """Send every message when it is due, until the sequence ends or `stop` is set.

    Parameters
    ----------
    simulator
        What to send.
    sink
        Where to.
    clock
        The pace; only its monotonic time is used.
    stop
        Ends the run between two messages.
    speed
        1 for the real cadence, N for N times faster, None or 0 as fast as possible. The times in the
        headers do not depend on it.
    counters
        Filled while running, if given.

    Returns
    -------
    RunCounters
        The same counters, complete.
    """
    counters = RunCounters() if counters is None else counters
    messages = simulator.messages()
    allowed_s = simulator.settings.frame_time_s / speed if speed else 0.0
    start_s: float | None = None
    for due_s, message in messages:
        if start_s is None:
            # The clock starts when the first message is ready, not while the scene is still being made.
            start_s = clock.monotonic_s()
        if speed and stop.wait(max(start_s + due_s / speed - clock.monotonic_s(), 0.0)):
            break
        if stop.is_set():
            break
        sink.send(message)
        counters.messages += 1
        if isinstance(message, Read):
            counters.reads += 1
            if speed:
                _note_lag(counters, clock.monotonic_s() - start_s - due_s / speed, allowed_s)
    return counters


def _note_lag(counters: RunCounters, lag_s: float, allowed_s: float) -> None:
    counters.worst_lag_s = max(counters.worst_lag_s, lag_s)
    if lag_s <= allowed_s:
        return
    if not counters.late:
        log.warning("the simulator cannot keep up: a read is %.2f s late; try a smaller size or speed", lag_s)
    counters.late += 1
