"""`rtcal demo`: simulator, daemon and dashboard together."""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from rtcal.commands.common import ConfigOption, VerboseOption, console, load_settings, say, start_logging
from rtcal.config import Settings
from rtcal.daemon import stop_on_signals
from rtcal.errors import RtcalError, UsageError
from rtcal.live import START_S, Child, MeasuringSink, Observer, free_endpoints, open_reads, report, write_report
from streams.clock import Clock, SystemClock
from streams.endpoints import StreamsSettings
from streams.simulator import RunCounters, Simulator, run
from streams.simulator.references import write_references

DRAIN_S = 10.0


def demo(
    config: ConfigOption = None,
    detectors: Annotated[str, typer.Option(help="Names, by commas: IMG1,IMG2,IMG3,IMG4,IFS.")] = "IMG1,IMG2,IMG3,IMG4",
    size: Annotated[int, typer.Option(help="Pixels on a side, 256 to 4096.")] = 1024,
    speed: Annotated[float, typer.Option(help="1: a read each 0.72 s; N: N times faster.")] = 1.0,
    port: Annotated[int | None, typer.Option(help="Port of the page; 0: any free one.")] = None,
    seconds: Annotated[float, typer.Option(help="Stop after this long; 0: when told to.")] = 0.0,
    headless: Annotated[bool, typer.Option("--headless", help="For machines: no page, no live display.")] = False,
    report_to: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write a report to FILE.")] = None,
    verbose: VerboseOption = False,
) -> None:
    """Run a simulated IRIS, the reducer and the display together, and print the page's address.

    Everything is on this machine, on free ports and in a temporary directory, and ends with this command
    (Ctrl-C). The report has reads sent, received and lost, frames published, and the latency from a ramp's
    last read to its frame. Exit code 1: something did not start, or nothing came out.

    Examples:

        rtcal demo

        rtcal demo --detectors IMG1 --size 4096

        rtcal demo --headless --seconds 60 --json report.json
    """
    start_logging(verbose)
    settings = load_settings(
        config,
        simulator={
            "detectors": [name.strip() for name in detectors.split(",")],
            "size": size,
            "speed": speed,
            "exposures": 0,
        },
    )
    _check_wire(settings.streams)
    stop = threading.Event()
    stop_on_signals(stop)
    with tempfile.TemporaryDirectory(prefix="rtcal-demo-") as folder:
        result = _run(settings, config, Path(folder), None if headless else (port or 0), seconds, stop)
    if report_to is not None:
        write_report(result, report_to)
    say(_summary(result))
    if not result["frames_published"]:
        raise RtcalError("no frame came out")


def _run(
    settings: Settings, config: Path | None, folder: Path, port: int | None, seconds: float, stop: threading.Event
) -> dict[str, Any]:
    clock, started_s = SystemClock(), time.monotonic()
    simulator = Simulator(settings.simulator, clock)
    frames, previews = free_endpoints(2)
    outputs = ["--frames", frames, "--previews", previews, *(["--config", str(config)] if config else [])]
    children: list[Child] = []
    with ExitStack() as stack:

        def start(name: str, arguments: list[str], environment: dict[str, str]) -> Child:
            children.append(Child(name, ["-m", *arguments, *outputs], environment))
            stack.callback(children[-1].stop)
            return children[-1]

        if port is not None:
            start("dashboard", ["dashboards", "--print-url", "--port", str(port)], {})
        say("making the instrument's references ...")
        context = write_references(simulator, folder / "refs")
        sink = MeasuringSink(stack.enter_context(open_reads("tcp://127.0.0.1:0")), clock)
        environment = {"CRDS_PATH": str(folder / "refs"), "CRDS_CONTEXT": context}
        daemon = start("daemon", ["rtcal", "run", "--reads", sink.endpoint], environment)
        observer = Observer(frames, previews, settings.instrument, clock)
        stack.callback(observer.close)
        _wait_for_daemon(observer, sink, children, stop)
        with _simulating(simulator, sink, clock, stop) as counters:
            _watch(observer, children, stop, time.monotonic() + seconds if seconds else float("inf"), sink)
        _drain(observer, daemon, sink)
        return report(sink, observer.seen, started_s, counters.late)


def _check_wire(streams: StreamsSettings) -> None:
    """Refuse a configuration in whose terms simulator and daemon would not meet."""
    for key, ours in (("pattern", "sub"), ("protocol", "karabo"), ("bind_reads", False)):
        value = getattr(streams, key)
        if value != ours:
            raise UsageError(f"[streams] {key} = {value!r}: the demo needs {ours!r}; leave the key out")


@contextmanager
def _simulating(
    simulator: Simulator, sink: MeasuringSink, clock: Clock, stop: threading.Event
) -> Iterator[RunCounters]:
    """Run the simulator on a thread until the block ends, in whatever way."""
    counters = RunCounters()
    speed = simulator.settings.speed
    thread = threading.Thread(target=run, args=(simulator, sink, clock, stop, speed, counters), daemon=True)
    thread.start()
    try:
        yield counters
    finally:
        stop.set()
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


def _watch(
    observer: Observer, children: list[Child], stop: threading.Event, ended_s: float, sink: MeasuringSink
) -> None:
    """Wait for the end, showing what flows."""
    with console.status("running") as status:
        while not stop.wait(0.5) and time.monotonic() < ended_s:
            for child in children:
                child.check()
            seen = observer.seen
            status.update(f"{sink.reads} reads sent, {seen.frames} frames came back (Ctrl-C ends)")


def _drain(observer: Observer, daemon: Child, sink: MeasuringSink) -> None:
    """Let the last frames come home: the daemon publishes the ramps in progress when it is told to stop."""
    deadline_s = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline_s and not all(key in observer.seen.arrived for key in sink.last_reads):
        time.sleep(0.05)
    daemon.stop()
    observer.close()


def _summary(result: dict[str, Any]) -> str:
    latency = result["latency_s"]
    times = f", last read to frame {latency['p50']} s (p99 {latency['p99']} s)" if latency["p50"] is not None else ""
    return (
        f"{result['reads_sent']} reads sent, {result['reads_received']} received, {result['reads_lost']} lost; "
        f"{result['frames_published']} frames{times}"
    )
