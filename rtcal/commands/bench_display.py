"""`rtcal bench display`: what the display costs, and how fast it is."""

import threading
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from rtcal.audience import measure_display
from rtcal.commands.bench import live_table, machine, write_json
from rtcal.commands.common import ConfigOption, JsonOption, VerboseOption, console, start_logging
from rtcal.daemon import stop_on_signals


class Kind(StrEnum):
    """What is published."""

    frames = "frames"
    binned = "binned"
    previews = "previews"


def display(
    config: ConfigOption = None,
    kind: Annotated[Kind, typer.Option(help="Frames, each binned ahead of itself; binned ones alone; raw reads.")] = (
        Kind.frames
    ),
    size: Annotated[int, typer.Option(min=16, max=4096, help="Pixels on a side.")] = 4096,
    detectors: Annotated[int, typer.Option(min=1, max=16, help="How many; two and more make the mosaic.")] = 1,
    pages: Annotated[int, typer.Option(min=1, max=1000, help="Who looks; one in a real browser, if installed.")] = 10,
    rate: Annotated[float, typer.Option(min=0.01, max=100, help="Messages a second, of each detector.")] = 1.4,
    seconds: Annotated[float, typer.Option(min=1, help="How long, once things have settled.")] = 30.0,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Publish to a display that pages look at; measure send to paint, CPU and memory, without a reducer.

    One page is a real Chromium where playwright (`pip install playwright`) and a `chromium` are installed; the others
    speak the page's websocket. Times run from a message's publication to its pixels at a page, or on the browser's
    screen. `frames` says how many were published meanwhile, `shown_by_pages` how many of them each page showed.
    `--kind binned` goes with `[dashboard] full_frames = false`. Exit code 1: nothing was shown.

    Examples:

        rtcal bench display

        rtcal bench display --seconds 600 --json

        rtcal bench display --kind previews --detectors 5 --pages 3
    """
    start_logging(verbose)
    stop = threading.Event()
    stop_on_signals(stop)
    publish = ["--kind", kind, "--size", str(size), "--detectors", str(detectors), "--period", str(1 / rate)]
    configured = ["--config", str(config)] if config else []
    view = "ramp" if kind is Kind.previews else "reduced"
    with console.status("starting") as shown:
        result = measure_display(publish, configured, pages, seconds, view, stop, shown.update)
    if as_json:
        about = {"kind": kind, "size": size, "detectors": detectors, "rate": rate, "machine": machine()}
        write_json(about | result)
    else:
        Console(highlight=False).print(live_table(result))
