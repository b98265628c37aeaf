"""`rtcal simulate`: IRIS as a stream."""

import threading
from pathlib import Path
from typing import Annotated

import typer

from rtcal.commands.common import ConfigOption, VerboseOption, console, load_settings, say, start_logging
from rtcal.daemon import stop_on_signals
from streams.clock import SystemClock
from streams.endpoints import open_reads_sink
from streams.simulator import ExposureTruth, RunCounters, Simulator, run
from streams.simulator.references import write_references
from streams.simulator.truth_files import write_truth

SEND_WAIT_S = 5.0
"""Faster than the real cadence the simulator waits so long for a slow receiver; detectors never wait."""


def simulate(
    config: ConfigOption = None,
    to: Annotated[str | None, typer.Option(help="Endpoint to publish at, e.g. tcp://127.0.0.1:5550.")] = None,
    detectors: Annotated[str | None, typer.Option(help="Names, by commas: IMG1,IMG2,IMG3,IMG4,IFS.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels on a side, 256 to 4096.")] = None,
    speed: Annotated[float | None, typer.Option(help="1: real cadence; N: N times faster; 0: unpaced.")] = None,
    exposures: Annotated[int | None, typer.Option(help="Exposures of each detector; 0: endless.")] = None,
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
    """
    start_logging(verbose)
    settings = load_settings(
        config,
        streams={"reads": to},
        simulator={
            "detectors": [name.strip() for name in detectors.split(",")] if detectors else None,
            "size": size,
            "speed": speed,
            "exposures": exposures,
            "seed": seed,
        },
    )
    chosen = settings.simulator

    def keep(what: ExposureTruth) -> None:
        if truth is not None:
            write_truth(chosen, simulator.scene, what, truth)

    simulator = Simulator(chosen, SystemClock(), keep if truth is not None else None)
    if refs is not None:
        say(f"references: context {write_references(simulator, refs)} in {refs}")
    stop = threading.Event()
    stop_on_signals(stop)
    counters = RunCounters()
    with open_reads_sink(settings.streams, wait_s=0.0 if chosen.speed == 1 else SEND_WAIT_S) as sink:
        say(f"{len(chosen.detectors)} detectors of {chosen.size} x {chosen.size} at {sink.endpoint}")
        if wait:
            with console.status("waiting for a receiver"):
                while not stop.is_set() and not sink.wait_for_receiver(0.2):
                    pass
        run(simulator, sink, SystemClock(), stop, chosen.speed or None, counters)
    say(f"{counters.reads} reads sent, {counters.late} late (at worst by {counters.worst_lag_s:.2f} s)")
