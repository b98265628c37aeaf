"""A detector's thread: its queue, its pipeline, and what goes out."""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from rtcal.pipeline import Pipeline
from streams.clock import NS, Clock
from streams.messages import DetectorStatus, Frame, Message, Read

log = logging.getLogger(__name__)

POLL_S = 0.1


@dataclass(frozen=True)
class Arrival:
    """A message and when it came [s, monotonic]."""

    message: Message
    at_s: float


class Worker:
    """Owns one detector's state: only its thread touches the pipeline.

    Parameters
    ----------
    name
        For the thread and the log.
    pipeline
        The detector's pipeline.
    publish
        Called with each message that comes out; must not block.
    clock
        For the time limit of a ramp whose end does not come, and for the latency.
    queue_reads
        Messages that may wait; one more is dropped and counted (`dropped_queue_full`).
    idle_frames, idle_s
        A ramp is given up when nothing came for so many read spacings and so many seconds.
    """

    def __init__(
        self,
        name: str,
        pipeline: Pipeline,
        publish: Callable[[Message], None],
        clock: Clock,
        *,
        queue_reads: int,
        idle_frames: float,
        idle_s: float,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.latency_s: float | None = None
        self._pipeline = pipeline
        self._publish = publish
        self._clock = clock
        self._idle_frames = idle_frames
        self._idle_s = idle_s
        self._queue: queue.Queue[Arrival | None] = queue.Queue(queue_reads)
        self._last_arrival_s = clock.monotonic_s()
        self._spacing_s = 0.0
        self._status = pipeline.status()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, message: Message) -> None:
        """Queue a message; never waits."""
        try:
            self._queue.put_nowait(Arrival(message, self._clock.monotonic_s()))
        except queue.Full:
            self.counters["dropped_queue_full"] += 1

    def stop(self) -> None:
        """Ask the thread to finish what is queued, publish what is open, and end."""
        threading.Thread(target=self._queue.put, args=(None,), daemon=True).start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; False if it did not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def status(self) -> DetectorStatus:
        """Return where the detector stands, as of the last message; safe from any thread."""
        return self._status

    def step(self, timeout_s: float) -> bool:
        """Handle at most one message, or the lapse of time; False when the work is over."""
        try:
            arrival = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            self._guarded(self._give_up_idle_ramp)
            return True
        if arrival is None:
            self._guarded(lambda: self._send_all(None, None))
            return False
        self._guarded(lambda: self._handle(arrival))
        return True

    def _run(self) -> None:
        while self.step(POLL_S):
            pass

    def _guarded(self, work: Callable[[], None]) -> None:
        """Survive whatever goes wrong inside: say it, drop the exposure, go on with the next."""
        try:
            work()
        except Exception:
            self.counters["failures"] += 1
            log.exception("%s: fault in the pipeline, the open exposure is dropped", self._thread.name)
            self._pipeline.forget()
        self._status = self._make_status()

    def _make_status(self) -> DetectorStatus:
        status = self._pipeline.status(queued=self._queue.qsize(), latency_s=self.latency_s)
        status.counters.update(self.counters)
        return status

    def _handle(self, arrival: Arrival) -> None:
        if isinstance(arrival.message, Read):
            spacing_s = arrival.at_s - self._last_arrival_s
            self._spacing_s = max(spacing_s, arrival.message.header.frame_time_ns / NS)
            self._last_arrival_s = arrival.at_s
        self._send_all(arrival.message, arrival.at_s)

    def _send_all(self, message: Message | None, arrived_s: float | None) -> None:
        if message is None:
            results = self._pipeline.finish_ramp()
        else:
            results = self._pipeline.process(message, preview=self._queue.empty())
        for result in results:
            self._publish(result)
            if isinstance(result, Frame) and arrived_s is not None:
                self.latency_s = self._clock.monotonic_s() - arrived_s

    def _give_up_idle_ramp(self) -> None:
        waited_s = self._clock.monotonic_s() - self._last_arrival_s
        limit_s = max(self._idle_s, (self._idle_frames + 1) * self._spacing_s)
        if self._pipeline.ramp_open and waited_s > limit_s:
            self.counters["ramps_given_up"] += 1
            self._send_all(None, None)
