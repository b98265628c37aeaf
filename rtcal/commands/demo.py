"""`rtcal demo`: simulator, daemon and dashboard together."""

import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer

from rtcal.commands.common import ConfigOption, VerboseOption, console, load_settings, say, start_logging
from rtcal.daemon import stop_on_signals
from rtcal.errors import RtcalError
from rtcal.instrument import Plan, check_wire, run_instrument, summary
from rtcal.live import write_report


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
    check_wire(settings.streams, "the demo")
    stop = threading.Event()
    stop_on_signals(stop)
    plan = Plan(settings, config, seconds, None if headless else (port or 0))
    with tempfile.TemporaryDirectory(prefix="rtcal-demo-") as folder, console.status("running") as shown:
        result = run_instrument(plan, Path(folder), stop, say, shown.update)
    if report_to is not None:
        write_report(result, report_to)
    say(summary(result))
    if not result["frames_published"]:
        raise RtcalError("no frame came out")
