"""`python -m dashboards`: the quick-look display as a process of its own.

Exit codes: 0 stopped by a signal, 1 could not listen or subscribe, 2 wrong usage or configuration.
"""

import argparse
import asyncio
import logging
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from dashboards.alarms import Alarms, load_limits
from dashboards.app import Dashboard, page_of
from dashboards.board import Board
from dashboards.compiled import compile_all
from dashboards.desk import Desk, read_token
from dashboards.feed import Feed
from dashboards.frames import FrameSource
from dashboards.memory import resident_bytes
from dashboards.nightlog import NightLog
from dashboards.pointing import Pointing
from dashboards.settings import Settings
from streams.clock import SystemClock
from streams.errors import EndpointError, SettingsError
from streams.heap import keep_heap
from streams.settings import load
from streams.sinks import ZmqSink
from streams.sources import ZmqSource
from streams.telemetry_keys import load_keys

TARGETS_HELD = 1


def main(arguments: list[str] | None = None) -> int:
    """Run the display until it is told to stop."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = load(options.config, Settings)
    except SettingsError as error:
        return _fail(str(error), 2)
    keep_heap()
    try:
        asyncio.run(_serve(settings, options, _make_ready(settings)))
    except SettingsError as error:
        return _fail(str(error), 2)
    except EndpointError as error:
        return _fail(str(error), 1)
    return 0


def _make_ready(settings: Settings) -> str:
    """Compile the kernels, for no frame must wait for a compiler, and make the page.

    Another process does it: what that takes of memory (Bokeh, pandas, the compiler) is given back with its end.
    This one loads what was compiled.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        compiled = pool.submit(compile_all)
        page = pool.submit(page_of, settings.dashboard)
        compiled.result()
        compile_all()
        return page.result()


async def _serve(settings: Settings, options: argparse.Namespace, page: str) -> None:
    chosen = settings.dashboard
    budget = chosen.budget(resident_bytes())
    feed = Feed(SystemClock(), budget, chosen.display_pixels, full_frames=chosen.full_frames)
    board = Board(load_keys(settings.telemetry.keys), SystemClock())
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with ExitStack() as stack:  # what is opened last is closed first
        desk = _desk(settings, options.targets)
        stack.callback(desk.close)
        board.on_event = desk.hear
        stack.callback(board.stop)
        stack.callback(feed.stop)
        dashboard = Dashboard(feed, chosen, settings.instrument_optics, desk, options.port, board, page)
        stack.callback(dashboard.stop)
        _follow(settings, options, feed, board)
        dashboard.start()
        if options.print_url:
            sys.stdout.write(f"{dashboard.url}\n")
            sys.stdout.flush()
        await stop.wait()


def _follow(settings: Settings, options: argparse.Namespace, feed: Feed, board: Board) -> None:
    """Subscribe to previews, frames and telemetry."""
    previews = options.previews or settings.streams.previews
    high_water = settings.dashboard.receive_high_water
    feed.follow(ZmqSource(previews, pattern="sub", bind=False, high_water=high_water), "previews")
    if settings.dashboard.full_frames:
        feed.follow(FrameSource(options.frames or settings.streams.frames, feed.wants), "frames")
    telemetry = settings.streams.telemetry if options.telemetry is None else options.telemetry
    if telemetry:
        high_water = settings.streams.telemetry_high_water
        board.follow(ZmqSource(telemetry, pattern="sub", bind=False, high_water=high_water))


def _desk(settings: Settings, endpoint: str | None) -> Desk:
    """Open the log, the limits, the token and the targets' endpoint."""
    chosen, optics = settings.dashboard, settings.instrument_optics
    targets = settings.streams.targets if endpoint is None else endpoint
    return Desk(
        Alarms(load_limits(Path(chosen.alarms) if chosen.alarms else None)),
        NightLog(chosen.log),
        Pointing(chosen.target, optics, SystemClock()),
        ZmqSink(targets, pattern="pub", bind=False, high_water=TARGETS_HELD) if targets else None,
        read_token(chosen.token_file),
    )


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
    parser.add_argument("--telemetry", metavar="ENDPOINT", help="where telemetry is published; empty: none")
    parser.add_argument("--targets", metavar="ENDPOINT", help="who takes confirmed targets; empty: nobody")
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
