"""`rtcal dashboard`: the display, as a process of its own."""

import os
import sys
from typing import Annotated

import typer

from rtcal.commands.common import ConfigOption


def dashboard(
    config: ConfigOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the web server; 0: any free one.")] = None,
    frames: Annotated[str | None, typer.Option(help="Endpoint of the frames.")] = None,
    previews: Annotated[str | None, typer.Option(help="Endpoint of previews and the heartbeat.")] = None,
    telemetry: Annotated[str | None, typer.Option(help="Endpoint of the telemetry; an empty one: none.")] = None,
) -> None:
    """Serve the quick-look display of a running daemon to browsers; prints its address.

    Examples:

        rtcal dashboard

        rtcal dashboard --port 8000 --frames tcp://127.0.0.1:5551 --previews tcp://127.0.0.1:5552
    """
    arguments = ["--print-url"]
    endpoints = (("--frames", frames), ("--previews", previews), ("--telemetry", telemetry))
    for option, value in (("--config", config), ("--port", port), *endpoints):
        arguments += [option, str(value)] if value is not None else []
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "dashboards", *arguments])  # a process of its own
