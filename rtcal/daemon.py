"""The daemon: wires sources, references, pipelines and sinks together, then loops.

Start-up compiles the kernels and loads the references before a socket opens. The loop only receives;
each detector has a thread of its own. A stop finishes what is queued and publishes the ramps in progress.
"""

import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import rtcal
from refcache import ReferenceStore
from rtcal.bands import Bands
from rtcal.config import Settings
from rtcal.pipeline import Pipeline
from rtcal.reduce import pipeline_settings
from rtcal.warmup import compile_kernels
from rtcal.worker import Worker
from rtcal.writer import FrameWriter
from streams.clock import Clock
from streams.endpoints import open_reads
from streams.messages import Frame, Message, Status, StatusHeader
from streams.sinks import Sink, ZmqSink
from streams.sources import Source

log = logging.getLogger(__name__)

MAX_DETECTORS = 32
MAX_PROBLEMS = 16
RECEIVE_S = 0.05
DRAIN_S = 2.0


class Daemon:
    """Reads in, frames out, until told to stop.

    Parameters
    ----------
    settings
        The whole configuration.
    references
        The store, loaded.
    source, frames, previews
        Where reads and events come from; where frames, and previews and the heartbeat, go.
    clock
        The clocks.
    """

    def __init__(
        self,
        settings: Settings,
        references: ReferenceStore,
        source: Source,
        frames: Sink,
        previews: Sink,
        clock: Clock,
        problems: list[str] | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.problems = list(problems or [])
        self._settings = settings
        self._references = references
        self._source = source
        self._frames = frames
        self._previews = previews
        self._clock = clock
        self._bands = Bands(settings.daemon.threads)
        self._workers: dict[tuple[str, str], Worker] = {}
        self._started_ns = clock.tai_ns()
        self._next_beat_s = clock.monotonic_s()
        self._beats = 0
        self._instrument = "IRIS"
        products = settings.products
        self._writer = (
            FrameWriter(Path(products.directory), every_ramp=products.every_ramp, report=self.report)
            if products.write
            else None
        )

    def run(self, stop: threading.Event) -> None:
        """Loop until `stop` is set (or the source is exhausted), then finish what is open."""
        while not stop.is_set() and not self._source.exhausted:
            self.step(RECEIVE_S)
        self.finish()

    def step(self, timeout_s: float) -> None:
        """Receive at most one message, and send the heartbeat when it is due."""
        message = self._source.receive(timeout_s)
        if message is not None:
            self._route(message)
        if self._clock.monotonic_s() >= self._next_beat_s:
            self._next_beat_s = self._clock.monotonic_s() + self._settings.daemon.heartbeat_s
            self._beat("running")

    def finish(self) -> None:
        """Take in what has arrived, finish what is queued, publish the ramps in progress, write what is waiting."""
        self._beat("stopping")
        self._drain(self._clock.monotonic_s() + DRAIN_S)
        deadline_s = self._clock.monotonic_s() + self._settings.daemon.stop_s
        for worker in self._workers.values():
            worker.stop()
        for (_, detector), worker in self._workers.items():
            if not worker.join(max(0.1, deadline_s - self._clock.monotonic_s())):
                log.error("%s did not finish within %g s", detector, self._settings.daemon.stop_s)
        if self._writer is not None and not self._writer.close(max(0.1, deadline_s - self._clock.monotonic_s())):
            log.error("frames were still waiting for the disk")
        self._bands.close()
        self._beat("stopping")

    def _drain(self, until_s: float) -> None:
        while self._clock.monotonic_s() < until_s:
            message = self._source.receive(RECEIVE_S)
            if message is None:
                return
            self._route(message)

    def report(self, problem: str) -> None:
        """Tell the operator something, once, with the heartbeat."""
        if problem not in self.problems:
            self.problems = [*self.problems[-(MAX_PROBLEMS - 1) :], problem]

    def _route(self, message: Message) -> None:
        header = message.header
        if header.detector == "ALL":
            for worker in self._workers.values():
                worker.put(message)
            return
        if header.kind not in ("read", "observe"):
            self.counters[f"received_{header.kind}"] += 1
            return
        addressee = self._worker(header.instrument, header.detector)
        if addressee is not None:
            self.counters["reads" if header.kind == "read" else "events"] += 1
            addressee.put(message)

    def _worker(self, instrument: str, detector: str) -> Worker | None:
        known = self._workers.get((instrument, detector))
        if known is not None:
            return known
        if len(self._workers) >= MAX_DETECTORS:
            self.counters["dropped_unknown_detector"] += 1
            self.report(f"more than {MAX_DETECTORS} detectors on the stream; {instrument}/{detector} is ignored")
            return None
        daemon = self._settings.daemon
        pipeline = Pipeline(pipeline_settings(self._settings), self._references, self._bands, self._clock)
        worker = Worker(
            detector,
            pipeline,
            self._publish,
            self._clock,
            queue_reads=daemon.queue_reads,
            idle_frames=daemon.idle_frames,
            idle_s=daemon.idle_s,
        )
        self._workers[instrument, detector] = worker
        self._instrument = instrument
        worker.start()
        log.info("first message of %s/%s", instrument, detector)
        return worker

    def _publish(self, message: Message) -> None:
        if isinstance(message, Frame):
            self._frames.send(message)
            if self._writer is not None:
                self._writer.put(message)
        else:
            self._previews.send(message)

    def _beat(self, state: str) -> None:
        counters = self.counters + self._source.counters
        if self._writer is not None:
            counters += self._writer.counters
        header = StatusHeader(
            instrument=self._instrument,
            detector="ALL",
            sequence=self._beats,
            time_ns=self._clock.tai_ns(),
            state=state,  # type: ignore[arg-type]
            started_ns=self._started_ns,
            period_s=self._settings.daemon.heartbeat_s,
            software=f"rtcal {rtcal.__version__}",
            crds_context=self._references.crds_context,
            counters=dict(counters),
            detectors={detector: worker.status() for (_, detector), worker in self._workers.items()},
            problems=self.problems,
        )
        self._beats += 1
        self._previews.send(Status(header))


def serve(settings: Settings, clock: Clock, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Run the daemon of a configuration: compile, load, open the sockets, loop.

    Parameters
    ----------
    settings
        The whole configuration.
    clock
        The clocks.
    stop
        Set by a signal or by a test.
    say
        Called with a line for the operator at each stage of the start.

    Raises
    ------
    EndpointError
        If a socket cannot be opened.
    """
    began = time.perf_counter()
    with Bands(settings.daemon.threads) as bands:
        compile_kernels(settings.calibration, bands)
    say(f"kernels compiled in {time.perf_counter() - began:.1f} s")
    references = ReferenceStore(settings.refcache, settings.calibration.stale_s)
    problems = references.preload()
    for problem in problems:
        say(f"references: {problem}")
    say(f"references: context {references.crds_context or 'none'}")
    streams = settings.streams
    with (
        ZmqSink(streams.frames, pattern="pub", high_water=streams.send_high_water) as frames,
        ZmqSink(streams.previews, pattern="pub", high_water=streams.send_high_water) as previews,
        open_reads(streams) as source,
    ):
        say(f"reads from {source.endpoint}, frames to {frames.endpoint}, previews to {previews.endpoint}")
        Daemon(settings, references, source, frames, previews, clock, problems).run(stop)


def stop_on_signals(stop: threading.Event) -> None:
    """Let SIGINT and SIGTERM set `stop`; a second one ends the process at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise SystemExit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
