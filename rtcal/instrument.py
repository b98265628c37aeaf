"""A simulated IRIS reduced on this machine: everything started in order, watched, and brought home.

`rtcal demo` shows it to people, `rtcal bench live` measures it; both are the same run.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtcal.audience import Audience
from rtcal.buffers import FRAME_BYTES, reserve
from rtcal.config import Settings
from rtcal.errors import RtcalError, UsageError
from rtcal.live import START_S, Child, MeasuringSink, Observer, free_endpoints, open_reads, report
from rtcal.rates import RateFinder
from streams.clock import Clock, SystemClock
from streams.endpoints import StreamsSettings
from streams.heap import keep_heap
from streams.simulator import RunCounters, Simulator, run
from streams.simulator.references import write_references
from streams.sinks import Sink, SplitSink, ZmqSink

DRAIN_S = 10.0
WATCH_S = 0.5
EVENTS_HELD = 20_000


@dataclass(frozen=True)
class Plan:
    """What to run.

    Parameters
    ----------
    settings
        The configuration; `simulator` says which detectors and how large.
    config
        The file it came from, for the other processes; None for the shipped one.
    seconds
        How long reads flow; 0: until told to stop.
    port
        Of the display's page, 0 for any free one; None: no display.
    find_rate
        Whether to look for the highest rate without loss, after that.
    pages
        How many pages look at a display of their own meanwhile, to be measured with it; 0: none.
    """

    settings: Settings
    config: Path | None
    seconds: float
    port: int | None
    find_rate: bool = False
    pages: int = 0


class Load:
    """CPU and memory of the daemon while reads flow.

    Parameters
    ----------
    daemon
        The process.
    clock
        The clock of the measure.
    """

    def __init__(self, daemon: Child, clock: Clock) -> None:
        self._daemon = daemon
        self._clock = clock
        self._began_s = self._now_s = clock.monotonic_s()
        self._began_cpu_s, self._rss = daemon.usage()
        self._cpu_s = self._began_cpu_s
        self._rss_max = self._rss
        self._rss_settled: int | None = None

    def sample(self, settled: bool) -> None:
        """Note what the process has taken so far; `settled` once every detector has had a frame."""
        self._cpu_s, self._rss = self._daemon.usage()
        self._now_s = self._clock.monotonic_s()
        self._rss_max = max(self._rss_max, self._rss)
        if settled and self._rss_settled is None:
            self._rss_settled = self._rss

    def summary(self) -> dict[str, Any]:
        """Return CPU seconds for each second of the run, and resident memory [bytes]."""
        elapsed_s = self._now_s - self._began_s
        return {
            "streaming_s": round(elapsed_s, 2),
            "daemon_cpu_cores": round((self._cpu_s - self._began_cpu_s) / elapsed_s, 3) if elapsed_s > 0 else None,
            "daemon_rss_after_first_ramp_bytes": self._rss_settled,
            "daemon_rss_bytes": self._rss,
            "daemon_rss_max_bytes": self._rss_max,
        }


def check_wire(streams: StreamsSettings, what: str) -> None:
    """Refuse a configuration in whose terms simulator and daemon would not meet.

    Raises
    ------
    UsageError
        Names the key and what `what` needs.
    """
    for key, ours in (("pattern", "sub"), ("protocol", "karabo"), ("bind_reads", False)):
        value = getattr(streams, key)
        if value != ours:
            raise UsageError(f"[streams] {key} = {value!r}: {what} needs {ours!r}; leave the key out")


def run_instrument(
    plan: Plan, folder: Path, stop: threading.Event, say: Callable[[str], None], show: Callable[[str], None]
) -> dict[str, Any]:
    """Run simulator, daemon and, if wanted, the display, until the time is over or `stop` is set.

    Parameters
    ----------
    plan
        What to run.
    folder
        Takes the simulation's references.
    stop
        Set by a signal; set in any case when this returns.
    say
        Called with each stage of the start.
    show
        Called twice a second with what flows.

    Returns
    -------
    dict
        The report (`live.report`), with the load of the daemon while reads flowed.

    Raises
    ------
    RtcalError
        If a process ends by itself or the daemon's heart does not beat in time.
    """
    keep_heap()
    clock, started_s = SystemClock(), time.monotonic()
    settings = plan.settings
    simulator = Simulator(settings.simulator, clock, keys=settings.telemetry.keys)
    frames, previews = free_endpoints(2)
    outputs = ["--frames", frames, "--previews", previews, *(["--config", str(plan.config)] if plan.config else [])]
    children: list[Child] = []
    with ExitStack() as stack:
        events = stack.enter_context(ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=EVENTS_HELD))
        outputs += ["--telemetry", events.endpoint]

        def start(name: str, arguments: list[str], environment: dict[str, str]) -> Child:
            children.append(Child(name, ["-m", *arguments, *outputs], environment))
            stack.callback(children[-1].stop)
            return children[-1]

        if plan.port is not None:
            start("dashboard", ["dashboards", "--print-url", "--port", str(plan.port)], {})
        # On the very first start the kernels take most of a minute to compile: meanwhile the references are made.
        compiler = Child("compiler", ["-m", "rtcal.warmup"], {})
        stack.callback(compiler.stop)
        say("making the instrument's references ...")
        context = write_references(simulator, folder / "refs")
        while compiler.process.poll() is None and not stop.wait(0.1):
            pass
        sink = MeasuringSink(stack.enter_context(open_reads("tcp://127.0.0.1:0")), clock)
        environment = {"CRDS_PATH": str(folder / "refs"), "CRDS_CONTEXT": context}
        pixels = settings.simulator.size**2 * len(settings.simulator.detectors)
        reserve(FRAME_BYTES * pixels)  # of the observer, for the first frames
        daemon = start("daemon", ["rtcal", "run", "--reads", sink.endpoint], environment)
        observer = Observer(frames, previews, settings.instrument, clock)
        stack.callback(observer.close)
        _wait_for_daemon(observer, sink, children, stop)
        audience = stack.enter_context(Audience(outputs, plan.pages)) if plan.pages else None
        if audience is not None:
            audience.open()
        load = Load(daemon, clock)
        split = SplitSink(sink, events)
        with _simulating(simulator, split, clock) as counters:
            ended_s = time.monotonic() + plan.seconds if plan.seconds else float("inf")
            while not stop.wait(WATCH_S) and time.monotonic() < ended_s:
                _look(children, observer, load, len(settings.simulator.detectors))
                if audience is not None:
                    audience.sample()
                show(f"{sink.reads} reads sent, {observer.seen.frames} frames came back (Ctrl-C ends)")
        _await_frames(observer, sink)
        watched = {"display": audience.close()} if audience is not None else {}
        rates: dict[str, Any] = {}
        if plan.find_rate and not stop.is_set():
            finder = RateFinder(simulator, split, sink, observer, clock, stop)
            finder.settle()
            result = report(sink, observer.seen, started_s, counters.late)
            rates = finder.find(show)
            daemon.stop()
        else:
            daemon.stop()
            observer.close()
            result = report(sink, observer.seen, started_s, counters.late)
        stop.set()
        return result | load.summary() | rates | watched


def _look(children: list[Child], observer: Observer, load: Load, detectors: int) -> None:
    for child in children:
        child.check()
    load.sample(observer.seen.frames >= detectors)


@contextmanager
def _simulating(simulator: Simulator, sink: Sink, clock: Clock) -> Iterator[RunCounters]:
    """Run the simulator on a thread until the block ends, in whatever way."""
    counters, over = RunCounters(), threading.Event()
    speed = simulator.settings.speed
    thread = threading.Thread(target=run, args=(simulator, sink, clock, over, speed, counters), daemon=True)
    thread.start()
    try:
        yield counters
    finally:
        over.set()
        thread.join()


def _wait_for_daemon(observer: Observer, sink: MeasuringSink, children: list[Child], stop: threading.Event) -> None:
    """Wait until the daemon's heart beats and it listens: a read sent before that would be lost."""
    deadline_s = time.monotonic() + START_S
    while not (observer.beating.wait(0.1) and sink.wait_for_receiver(0.1)):
        for child in children:
            child.check()
        if stop.is_set():
            raise RtcalError("stopped before the daemon was ready")
        if time.monotonic() > deadline_s:
            raise RtcalError(f"the daemon sent no heartbeat within {START_S:g} s")


def _await_frames(observer: Observer, sink: MeasuringSink) -> None:
    """Let the last frames come home."""
    deadline_s = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline_s and not all(key in observer.seen.arrived for key in sink.last_reads):
        time.sleep(0.05)


def summary(result: dict[str, Any]) -> str:
    """Say a report in one line."""
    latency = result["latency_s"]
    times = f", last read to frame {latency['p50']} s (p99 {latency['p99']} s)" if latency["p50"] is not None else ""
    return (
        f"{result['reads_sent']} reads sent, {result['reads_received']} received, {result['reads_lost']} lost; "
        f"{result['frames_published']} frames{times}"
    )
