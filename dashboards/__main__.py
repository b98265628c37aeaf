"""`python -m dashboards`: the quick-look display as a process of its own.

Exit codes: 0 stopped by a signal, 1 could not listen or subscribe, 2 wrong usage or configuration.
"""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from dashboards.app import Dashboard
from dashboards.feed import Feed
from dashboards.render import compile_kernels
from dashboards.settings import Settings
from streams import photometry
from streams.clock import SystemClock
from streams.errors import EndpointError, SettingsError
from streams.heap import keep_heap
from streams.settings import load
from streams.sources import ZmqSource


def main(arguments: list[str] | None = None) -> int:
    """Run the display until it is told to stop."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = load(options.config, Settings)
    except SettingsError as error:
        return _fail(str(error), 2)
    keep_heap()
    photometry.compile_kernels()
    compile_kernels()  # before anything listens: the first frame must not wait for a compiler
    try:
        asyncio.run(_serve(settings, options))
    except EndpointError as error:
        return _fail(str(error), 1)
    return 0


async def _serve(settings: Settings, options: argparse.Namespace) -> None:
    dashboard_settings = settings.dashboard
    feed = Feed(SystemClock(), dashboard_settings.budget, dashboard_settings.display_pixels)
    dashboard = Dashboard(feed, dashboard_settings, settings.instrument_optics, options.port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        for name in ("previews", "frames"):
            endpoint = getattr(options, name) or getattr(settings.streams, name)
            high_water = dashboard_settings.receive_high_water
            feed.follow(ZmqSource(endpoint, pattern="sub", bind=False, high_water=high_water), name)
        dashboard.start()
        if options.print_url:
            sys.stdout.write(f"{dashboard.url}\n")
            sys.stdout.flush()
        await stop.wait()
    finally:
        dashboard.stop()
        feed.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dashboards",
        description="Serve the quick-look display of a running reducer to browsers.",
        epilog="example: python -m dashboards --port 0 --print-url",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with the keys that differ")
    parser.add_argument("--port", type=_port, help="port of the web server; 0: any free one")
    parser.add_argument("--frames", metavar="ENDPOINT", help="where reduced frames are published")
    parser.add_argument("--previews", metavar="ENDPOINT", help="where previews and status are published")
    parser.add_argument("--print-url", action="store_true", help="write the page's address when it can be opened")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return port


def _fail(text: str, code: int) -> int:
    sys.stderr.write(f"dashboards: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
