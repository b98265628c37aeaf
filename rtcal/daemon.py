"""The daemon: wires sources, references, pipelines and sinks together, then loops.

Start-up compiles the kernels and loads the references before a socket opens. The loop only receives;
each detector has a thread of its own. A stop finishes what is queued and publishes the ramps in progress.
"""

import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Literal

import rtcal
from refcache import ReferenceStore, Watcher
from refcache.preload import UNKNOWN_SHAPE
from rtcal.announcements import Announcements
from rtcal.bands import Bands
from rtcal.buffers import Stock
from rtcal.config import Settings
from rtcal.joined import Monitor
from rtcal.night.night import Night
from rtcal.pipeline import Pipeline
from rtcal.reduce import cube_stage, pipeline_settings
from rtcal.routing import MAX_PIPELINES, Key, Router, WindowSeen
from rtcal.spectrograph.nightarcs import NightArcs
from rtcal.telemetry import TelemetryHistory
from rtcal.warmup import compile_kernels
from rtcal.worker import Worker
from rtcal.writer import FrameWriter
from streams.clock import Clock
from streams.endpoints import open_reads
from streams.messages import (
    Cube,
    DetectorStatus,
    Frame,
    Message,
    Observe,
    Read,
    Spectrum,
    Status,
    StatusHeader,
    Telemetry,
)
from streams.sinks import Sink, ZmqSink
from streams.sources import Source
from streams.telemetry_keys import load_keys
from streams.windows import MAX_WINDOWS

log = logging.getLogger(__name__)

REFUSED = {
    "dropped_unknown_detector": f"more than {MAX_PIPELINES} detectors and windows send reads; the others are ignored",
    "dropped_unknown_window": f"a detector has more than {MAX_WINDOWS} windows; the others are ignored",
    "dropped_bad_window": "reads of a window that do not say where it lies (XSTART, YSTART) are ignored",
}
"""What the operator is told when reads are dropped, by counter."""
MAX_PROBLEMS = 16
MAX_PROBLEM_LENGTH = 500
"""Receivers refuse a heartbeat whose texts are too long (`messages.Text`)."""
RECEIVE_S = 0.05
DRAIN_S = 2.0
LEAST_STOP_S = 0.1
SILENT_S = 30.0
"""Telemetry that has come and then stays away for so long is a problem to tell."""
MAX_NAME = 64


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
    problems
        What the operator should know from the start on, e.g. references that could not be loaded.
    stock
        Planes that are ready for the detectors that are expected.

    Notes
    -----
    `counters`, which the heartbeat adds to those of the source, the writer and the telemetry: `reads` and `events`
    (steps of the sequence) given to a detector, `received_<kind>` for kinds that are no input, and those of
    `routing.Router`.
    """

    def __init__(
        self,
        settings: Settings,
        references: ReferenceStore,
        source: Source,
        frames: Sink,
        previews: Sink,
        clock: Clock,
        problems: Sequence[str] = (),
        stock: Stock | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.problems = list(problems)
        self._settings = settings
        self._references = references
        self._stock = stock
        self._source = source
        self._frames = frames
        self._previews = previews
        self._clock = clock
        self._bands = Bands(settings.daemon.threads)
        self._announcements = Announcements(settings.refcache.announce)
        """What telemetry has told of the setup to come."""
        self._telemetry = TelemetryHistory(load_keys(settings.telemetry.keys), settings.telemetry.history_s)
        Monitor(settings, self._telemetry)  # a rule that cannot be read is said at the start
        self._telemetry_heard_s: float | None = None
        self._router = Router()
        self._workers: dict[Key, Worker] = {}
        self._started_ns = clock.tai_ns()
        self._next_beat_s = clock.monotonic_s()
        self._beats = 0
        products = settings.products
        self._writer = FrameWriter(Path(products.directory), every_ramp=products.every_ramp) if products.write else None
        self._arcs = _night_arcs(settings)
        self._night = Night(settings.night, live=True) if settings.night.use else None

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
            if not worker.join(self._left(deadline_s)):
                log.error("%s did not finish within %g s", detector, self._settings.daemon.stop_s)
        if self._writer is not None and not self._writer.close(self._left(deadline_s)):
            log.error("frames were still waiting for the disk")
        if self._night is not None and not self._night.close(self._left(deadline_s)):
            log.error("references of the night were still being made")
        self._bands.close()
        if self._arcs is not None:
            self._arcs.close()
        self._beat("stopping")

    def report(self, problem: str) -> None:
        """Tell the operator something with every heartbeat from now on; only the loop's thread may call it."""
        if problem not in self.problems:
            self.problems.append(problem)

    def _left(self, deadline_s: float) -> float:
        return max(LEAST_STOP_S, deadline_s - self._clock.monotonic_s())

    def _drain(self, until_s: float) -> None:
        """Take what has arrived until nothing comes; one that is refused or lost is not the end."""
        seen = self._source.counters.total()
        while self._clock.monotonic_s() < until_s:
            message = self._source.receive(RECEIVE_S)
            if message is not None:
                self._route(message)
            elif self._source.counters.total() == seen:
                return
            seen = self._source.counters.total()

    def _route(self, message: Message) -> None:
        """Give a message to whom it concerns; the first read of a detector makes its worker."""
        if isinstance(message, Read):
            routes = self._router.route(message)
            self.counters["reads"] += bool(routes)
            if not routes:
                self._tell_refused()
            self._send(routes)
        elif isinstance(message, Telemetry):
            self._telemetry.take(message)
            self._telemetry_heard_s = self._clock.monotonic_s()
            # The rest stays out of the workers' queues: a thousand events must not cost a read.
            if self._announcements.changes(message.header):
                self._announce_change(message.header.time_ns)
                self._send(self._router.route(message))
        elif isinstance(message, Observe):
            self.counters["events"] += 1
            self._announce(message)
            self._send(self._router.route(message))
        else:
            self.counters[f"received_{message.header.kind}"] += 1

    def _send(self, routes: Sequence[tuple[Key, Message | WindowSeen]]) -> None:
        for key, item in routes:
            self._worker(key).put(item)

    def _tell_refused(self) -> None:
        for counter, problem in REFUSED.items():
            if self._router.counters[counter]:
                self.report(problem)

    def _announce(self, message: Observe) -> None:
        """Have the references loaded for a detector whose first exposure is announced; workers see to their own."""
        header = message.header
        if header.name != "PrepareStart" or header.detector == "ALL":
            return
        if (header.instrument, header.detector) not in self._workers:
            setup = {"INSTRUME": header.instrument, "DETECTOR": header.detector, **header.setup}
            mode = self._settings.ramp.mode_of(header)
            self._references.prepare(setup, UNKNOWN_SHAPE, mode, header.time_ns, lambda _: None)

    def _announce_change(self, time_ns: int) -> None:
        """Have the references loaded for the detectors that are expected and have not read yet, in their new setup."""
        for expected in self._settings.refcache.expect:
            setup = {"INSTRUME": self._settings.instrument, **expected, **self._announcements.latest}
            if (setup["INSTRUME"], setup.get("DETECTOR")) not in self._workers:
                self._references.prepare(setup, UNKNOWN_SHAPE, "utr", time_ns, lambda _: None)

    def _worker(self, key: Key) -> Worker:
        if key not in self._workers:
            worker = self._workers[key] = self._new_worker(key[1])
            worker.start()
            log.info("first read of %s/%s", *key)
        return self._workers[key]

    def _new_worker(self, detector: str) -> Worker:
        daemon = self._settings.daemon
        monitor = Monitor(self._settings, self._telemetry)
        settings = pipeline_settings(self._settings)
        cubes = cube_stage(self._settings, self._clock, self._arcs)
        pipeline = Pipeline(
            settings, self._references, self._bands, self._clock, monitor, cubes, self._stock, self._night
        )
        return Worker(
            detector,
            pipeline,
            self._publish,
            self._clock,
            queue_reads=daemon.queue_reads,
            queue_wait_s=daemon.queue_wait_s,
            idle_frames=daemon.idle_frames,
            idle_s=daemon.idle_s,
            settle_s=daemon.stop_s / 2,
        )

    def _publish(self, message: Message) -> None:
        provisional = isinstance(message, Cube) and message.header.provisional
        large = isinstance(message, Frame | Cube) and not provisional
        (self._frames if large else self._previews).send(message)
        if self._writer is not None and isinstance(message, Frame | Cube | Spectrum) and not provisional:
            self._writer.put(message)

    def _beat(self, state: Literal["running", "stopping"]) -> None:
        counters = self.counters + self._router.counters + self._source.counters + self._telemetry.counters
        problems = [*self._references.problems, *self.problems]
        if self._telemetry_heard_s is not None:
            silent_s = self._clock.monotonic_s() - self._telemetry_heard_s
            if silent_s > SILENT_S:
                problems.insert(0, f"no telemetry for {silent_s:.0f} s; is the bridge running, and its event server?")
        if self._arcs is not None and self._arcs.problem:
            problems.insert(0, self._arcs.problem)
        if self._night is not None:
            problems[:0] = self._night.problems
        if self._writer is not None:
            counters += self._writer.counters
            problems = [self._writer.problem, *problems] if self._writer.problem else problems
        header = StatusHeader(
            instrument=self._settings.instrument,
            detector="ALL",
            sequence=self._beats,
            time_ns=self._clock.tai_ns(),
            state=state,
            started_ns=self._started_ns,
            period_s=self._settings.daemon.heartbeat_s,
            software=f"rtcal {rtcal.__version__}",
            crds_context=self._references.crds_context,
            counters=dict(counters),
            detectors=self._detectors(),
            problems=[problem[:MAX_PROBLEM_LENGTH] for problem in problems[:MAX_PROBLEMS]],
        )
        self._beats += 1
        self._previews.send(Status(header))

    def _detectors(self) -> dict[str, DetectorStatus]:
        """Return the detectors' statuses by name; by instrument and name where two instruments share one."""
        shared = Counter(detector for _, detector in self._workers)
        return {
            detector if shared[detector] == 1 else f"{instrument}.{detector}"[:MAX_NAME]: worker.status()
            for (instrument, detector), worker in self._workers.items()
        }


def _night_arcs(settings: Settings) -> NightArcs | None:
    """Return what solves the night's arcs, where that is wanted."""
    table = settings.spectrograph
    if not (table.cubes and table.solve_arcs):
        return None
    return NightArcs(Path(table.arcs).expanduser(), table.arc_range_um)


def serve(settings: Settings, clock: Clock, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Run the daemon of a configuration: compile and load at the same time, open the sockets, loop.

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
    ImageError
        If frames are to be written and their directory cannot be made.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="compiler") as compiler:
        compiled = compiler.submit(_compile, settings, say)
        references = ReferenceStore(settings.refcache, settings.calibration.stale_s, wait=False)
        problems = references.preload(now_ns=clock.tai_ns())
        for problem in problems:
            say(f"references: {problem}")
        say(f"references: context {references.crds_context or 'none'}")
        began = time.perf_counter()
        stock = Stock(_expected(references))
        say(f"memory of {len(stock)} detectors taken in {time.perf_counter() - began:.1f} s")
        compiled.result()
    if stop.is_set():
        references.close()
        return
    streams = settings.streams
    with (
        closing(references),
        ZmqSink(streams.frames, pattern="pub", high_water=streams.send_high_water) as frames,
        ZmqSink(streams.previews, pattern="pub", high_water=streams.send_high_water) as previews,
        open_reads(streams) as source,
        Watcher(references, settings.refcache.watch_s),
    ):
        say(f"reads from {source.endpoint}, frames to {frames.endpoint}, previews to {previews.endpoint}")
        Daemon(settings, references, source, frames, previews, clock, problems, stock).run(stop)


def _compile(settings: Settings, say: Callable[[str], None]) -> None:
    began = time.perf_counter()
    with Bands(settings.daemon.threads) as bands:
        compile_kernels(settings.calibration, bands)
    say(f"kernels compiled in {time.perf_counter() - began:.1f} s")


def _expected(references: ReferenceStore) -> list[tuple[int, int]]:
    """Return the shape of each detector that there are references for: its reads are expected."""
    shapes: dict[str, tuple[int, int]] = {}
    for reference in references.held():
        rows, columns = shapes.get(str(reference.header.get("DETECTOR", "")), (0, 0))
        shapes[str(reference.header.get("DETECTOR", ""))] = max((rows, columns), reference.shape)
    return list(shapes.values())


def stop_on_signals(stop: threading.Event) -> None:
    """Let SIGINT and SIGTERM set `stop`; a second one ends the process at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise SystemExit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
