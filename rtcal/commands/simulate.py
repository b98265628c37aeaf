"""`rtcal simulate`: IRIS as a stream."""

import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from rtcal.commands.bridge import csw_publisher
from rtcal.commands.common import ConfigOption, VerboseOption, console, load_settings, say, start_logging
from rtcal.config import Settings
from rtcal.daemon import stop_on_signals
from streams.clock import SystemClock
from streams.endpoints import open_reads_sink, open_telemetry_sink
from streams.simulator import ExposureTruth, RunCounters, Simulator, run
from streams.simulator.faults import parse_fault
from streams.simulator.references import write_references
from streams.simulator.truth_files import write_truth
from streams.sinks import Sink, SplitSink
from streams.telemetry_keys import load_keys

LISTENERS_S = 1.0
SEND_WAIT_S = 5.0
"""Faster than the real cadence the simulator waits so long for a slow receiver; detectors never wait."""


def simulate(
    config: ConfigOption = None,
    to: Annotated[
        str | None, typer.Option(help="Endpoint to publish at, e.g. tcp://127.0.0.1:5550, or shm://NAME for this host.")
    ] = None,
    detectors: Annotated[str | None, typer.Option(help="Names, by commas: IMG1,IMG2,IMG3,IMG4,IFS.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels on a side, 256 to 4096.")] = None,
    speed: Annotated[float | None, typer.Option(help="1: real cadence; N: N times faster; 0: unpaced.")] = None,
    exposures: Annotated[int | None, typer.Option(help="Exposures of each detector; 0: endless.")] = None,
    telemetry: Annotated[
        str | None, typer.Option(help="Endpoint of the telemetry; an empty one: with the reads.")
    ] = None,
    csw: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Publish events to this event server (Redis) instead, as CSW does."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="FAULT", help="What goes wrong: KIND START END [EVENT or VALUE]. Repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed and epoch give the same reads.")] = None,
    refs: Annotated[Path | None, typer.Option(metavar="DIR", help="Write references and CRDS mappings to DIR.")] = None,
    truth: Annotated[Path | None, typer.Option(metavar="DIR", help="Write what was put in to DIR.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for a receiver before the first read.")] = True,
    verbose: VerboseOption = False,
) -> None:
    """Publish IRIS's detectors as a stream: ramps of reads, observe events and telemetry, until stopped.

    With --refs it first writes the reference files and mappings that fit: let the reducer use them with
    CRDS_PATH=DIR.

    Examples:

        rtcal simulate --refs demo-refs

        rtcal simulate --detectors IMG1 --size 4096 --exposures 3 --truth truth

        rtcal simulate --csw 127.0.0.1:6379 --fault "seeing 10 20 0.05" --fault "frozen 5 60 TCS.cmIRIS.positionAngle"
    """
    start_logging(verbose)
    settings = load_settings(
        config,
        streams={"reads": to, "telemetry": telemetry},
        csw={"redis": csw},
        simulator={
            "detectors": [name.strip() for name in detectors.split(",")] if detectors else None,
            "size": size,
            "speed": speed,
            "exposures": exposures,
            "seed": seed,
            "faults": [msgspec.to_builtins(parse_fault(text)) for text in fault] if fault else None,
        },
    )
    chosen = settings.simulator

    def keep(what: ExposureTruth) -> None:
        if truth is not None:
            write_truth(chosen, simulator.scene, what, truth)

    on_truth = keep if truth is not None else None
    simulator = Simulator(chosen, SystemClock(), on_truth, settings.telemetry.keys)
    if refs is not None:
        say(f"references: context {write_references(simulator, refs)} in {refs}")
    stop = threading.Event()
    stop_on_signals(stop)
    counters = RunCounters()
    with ExitStack() as stack:
        sink = stack.enter_context(open_reads_sink(settings.streams, wait_s=0.0 if chosen.speed == 1 else SEND_WAIT_S))
        out = _with_events(sink, settings, stack, to_csw=csw is not None)
        say(f"{len(chosen.detectors)} detectors of {chosen.size} x {chosen.size} at {sink.endpoint}")
        if wait:
            with console.status("waiting for a receiver"):
                while not stop.is_set() and not sink.wait_for_receiver(0.2):
                    pass
                # Events of the first instant come once; whoever connects with the first receiver shall hear them too.
                stop.wait(LISTENERS_S)
        run(simulator, out, SystemClock(), stop, chosen.speed or None, counters)
    say(f"{counters.reads} reads sent, {counters.late} late (at worst by {counters.worst_lag_s:.2f} s)")


def _tell(counters: Counter[str]) -> None:
    say(f"{counters['sent']} events published, {counters['dropped']} dropped")


def _with_events(sink: Sink, settings: Settings, stack: ExitStack, *, to_csw: bool) -> Sink:
    """Return the sink of reads, and where events have a place of their own, one that sends them there."""
    if to_csw:
        publisher = csw_publisher(settings)
        publisher.require()
        from streams.csw_sink import CswSink

        say(f"events to the event server {settings.csw.redis}")
        published = CswSink(publisher, load_keys(settings.telemetry.keys))
        stack.callback(lambda: _tell(published.counters))  # once it is closed
        return SplitSink(sink, stack.enter_context(published), steps=True)
    if not settings.streams.telemetry:
        return sink
    events = stack.enter_context(open_telemetry_sink(settings.streams))
    say(f"events at {events.endpoint}")
    return SplitSink(sink, events)
