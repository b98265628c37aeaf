"""`rtcal run`: the daemon."""

import threading
from typing import Annotated

import typer

from rtcal.commands.common import (
    ConfigOption,
    ModeOption,
    OverrideOption,
    VerboseOption,
    load_settings,
    say,
    start_logging,
)
from rtcal.daemon import serve, stop_on_signals
from streams.clock import SystemClock
from streams.heap import keep_heap


def run(
    config: ConfigOption = None,
    reads: Annotated[
        str | None,
        typer.Option(help="Endpoint of the reads, e.g. tcp://127.0.0.1:5550, or shm://NAME on the same host."),
    ] = None,
    frames: Annotated[str | None, typer.Option(help="Endpoint for the frames.")] = None,
    previews: Annotated[str | None, typer.Option(help="Endpoint for previews and the heartbeat.")] = None,
    telemetry: Annotated[str | None, typer.Option(help="Endpoint of the telemetry; an empty one: none.")] = None,
    write: Annotated[str | None, typer.Option(metavar="DIR", help="Also write each frame as FITS to DIR.")] = None,
    override: OverrideOption = None,
    mode: ModeOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Run the daemon: reads in, calibrated frames out, until SIGINT or SIGTERM.

    It compiles its kernels and loads its references before it opens a socket. A stop finishes the ramps
    in progress. Exit code 1: a socket or the configuration could not be used.

    Examples:

        rtcal run

        rtcal run --config night.toml --write frames

        rtcal run --reads shm://iris

        rtcal run --override dark=dark.fits --override sky=N/A --mode utr
    """
    start_logging(verbose)
    products = {"write": True, "directory": write} if write else {}
    settings = load_settings(
        config,
        override=override,
        mode=mode,
        streams={"reads": reads, "frames": frames, "previews": previews, "telemetry": telemetry},
        products=products,
    )
    keep_heap()
    stop = threading.Event()
    stop_on_signals(stop)
    serve(settings, SystemClock(), stop, say)
    say("stopped")
