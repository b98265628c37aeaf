"""A detector's thread: its queue, its pipeline, and what goes out."""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from rtcal.pipeline import Pipeline
from rtcal.routing import WindowSeen
from streams.clock import NS, Clock
from streams.messages import DetectorStatus, Frame, Message, Read, ReadHeader

log = logging.getLogger(__name__)

POLL_S = 0.1


@dataclass(frozen=True)
class Arrival:
    """A message and when it came [s, monotonic]."""

    message: Message | WindowSeen
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
    queue_reads, queue_wait_s
        Messages that may wait, and how long one more waits for a place [s]; then it is dropped and counted
        (`dropped_queue_full`). Meanwhile ZeroMQ holds what comes, so a publisher that is only a little too fast, or a
        replay at full speed, loses nothing. A worker that has let one message wait in vain lets no other wait until it
        moves: one detector's fault does not hold up the rest.
    idle_frames, idle_s
        A ramp is given up when nothing came for so many read spacings and so many seconds. One with a single
        read has no spacing yet, and no slope to publish: it waits.
    settle_s
        How long the end waits for references of the night that are being made [s].

    Notes
    -----
    `counters`: `dropped_queue_full`, `ramps_given_up` and `failures` (faults inside, which cost an exposure what it
    had gathered). They appear in the detector's status.
    """

    def __init__(
        self,
        name: str,
        pipeline: Pipeline,
        publish: Callable[[Message], None],
        clock: Clock,
        *,
        queue_reads: int,
        queue_wait_s: float,
        idle_frames: float,
        idle_s: float,
        settle_s: float,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.latency_s: float | None = None
        self._pipeline = pipeline
        self._publish = publish
        self._clock = clock
        self._queue_wait_s = queue_wait_s
        self._stuck = False
        self._idle_frames = idle_frames
        self._idle_s = idle_s
        self._settle_s = settle_s
        self._queue: queue.Queue[Arrival] = queue.Queue(queue_reads)
        self._stopping = threading.Event()
        self._last_read: tuple[ReadHeader, float] | None = None
        self._spacing_s: float | None = None
        self._status = pipeline.status()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, message: Message | WindowSeen) -> None:
        """Queue a message; waits for a place no longer than `queue_wait_s`."""
        arrival = Arrival(message, self._clock.monotonic_s())
        try:
            if self._stuck:
                self._queue.put_nowait(arrival)
            else:
                self._queue.put(arrival, timeout=self._queue_wait_s)
        except queue.Full:
            self.counters["dropped_queue_full"] += 1
            self._stuck = True
        else:
            self._stuck = False

    def stop(self) -> None:
        """Ask the thread to finish what is queued, publish what is open, and end; nothing may be put any more."""
        self._stopping.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; False if it did not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def status(self) -> DetectorStatus:
        """Return where the detector stands, as of the last message; safe from any thread."""
        # The queue is asked now: a worker that hangs must show.
        return msgspec.structs.replace(self._status, queued=self._queue.qsize())

    def step(self, timeout_s: float) -> bool:
        """Handle at most one message, or the lapse of time; False when the work is over."""
        stopping = self._stopping.is_set()  # asked first: what was put before the stop is then in the queue
        try:
            arrival = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            self._guarded(self._end if stopping else self._rest_if_idle)
            return not stopping
        self._guarded(lambda: self._handle(arrival))
        return True

    def _run(self) -> None:
        while self.step(POLL_S):
            pass

    def _guarded(self, work: Callable[[], None]) -> None:
        """Survive whatever goes wrong inside: say it, drop what the exposure has so far, go on with the next read."""
        try:
            work()
        except Exception:
            self.counters["failures"] += 1
            log.exception("%s: fault in the pipeline, the open exposure is dropped", self._thread.name)
            self._pipeline.forget()
        self._status = self._make_status()

    def _make_status(self) -> DetectorStatus:
        status = self._pipeline.status(latency_s=self.latency_s)
        status.counters.update(self.counters)
        return status

    def _handle(self, arrival: Arrival) -> None:
        message = arrival.message
        if isinstance(message, Read):
            self._note_spacing(message.header, arrival.at_s)
        self._publish_all(self._pipeline.process(message, preview=self._queue.empty()), arrival.at_s)

    def _note_spacing(self, header: ReadHeader, at_s: float) -> None:
        """Keep the widest spacing of the ramp's reads; the pause before its first one says nothing."""
        last, self._last_read = self._last_read, (header, at_s)
        if last is None or (last[0].exposure_id, last[0].ramp) != (header.exposure_id, header.ramp):
            self._spacing_s = None
            return
        self._spacing_s = max(at_s - last[1], self._spacing_s or header.frame_time_ns / NS)

    def _publish_all(self, results: Iterable[Message], arrived_s: float | None) -> None:
        for result in results:
            self._publish(result)
            if isinstance(result, Frame) and arrived_s is not None:
                self.latency_s = self._clock.monotonic_s() - arrived_s

    def _end(self) -> None:
        self._publish_all(self._pipeline.finish(), None)
        self._publish_all(self._pipeline.settle(self._settle_s), None)

    def _finish_ramp(self) -> None:
        self._publish_all(self._pipeline.finish_ramp(), None)

    def _rest_if_idle(self) -> None:
        """Give a ramp up whose reads stopped coming; without one, let a publisher begin anew."""
        self._publish_all(self._pipeline.revisit(), None)
        if self._last_read is None:
            return
        waited_s = self._clock.monotonic_s() - self._last_read[1]
        if not self._pipeline.ramp_open:
            if waited_s > self._idle_s:
                self._finish_ramp()  # reads that are still held for one before them
                self._pipeline.rest()
                self._last_read = None
        elif self._spacing_s is not None and waited_s > max(self._idle_s, self._idle_frames * self._spacing_s):
            self.counters["ramps_given_up"] += 1
            log.warning("%s: no read for %.1f s, the ramp is given up", self._thread.name, waited_s)
            self._finish_ramp()
