"""`rtcal bridge`: the observatory's event service."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from rtcal.commands.common import ConfigOption, VerboseOption, console, load_settings, say, start_logging
from rtcal.config import Settings
from rtcal.daemon import stop_on_signals
from rtcal.errors import RtcalError
from streams.clock import SystemClock
from streams.endpoints import open_telemetry_sink
from streams.merging import MergedSource
from streams.sources import ZmqSource
from streams.telemetry_keys import load_keys

if TYPE_CHECKING:
    from streams.csw_redis import CswPublisher

bridge = typer.Typer(help="Connect to other systems.", no_args_is_help=True)

SHOW_EVERY_S = 1.0
POLL_S = 0.2
HELD = 10


@bridge.callback()
def _options() -> None:
    """Connect to other systems."""


@bridge.command("csw")
def csw(
    config: ConfigOption = None,
    redis: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="The event server.")] = None,
    sentinel: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Ask this sentinel where the event server is. Repeatable."),
    ] = None,
    to: Annotated[str | None, typer.Option(help="Endpoint to publish at, e.g. tcp://127.0.0.1:5553.")] = None,
    publish: Annotated[
        bool,
        typer.Option(
            "--publish",
            help="Also tell the event service the daemon's status, its frames' quality, and the telescope's offsets "
            "that were confirmed in a display.",
        ),
    ] = False,
    verbose: VerboseOption = False,
) -> None:
    """Take events from the observatory's event service (CSW on Redis) and publish them for the daemon.

    It waits for a server that is not there yet and comes back to one that was away; the last value of each
    event is fetched at every connection. Needs the extra `csw`: pip install 'iris-rtcal[csw]'.

    Examples:

        rtcal bridge csw

        rtcal bridge csw --redis events.tmt.org:6379 --publish

        rtcal bridge csw --sentinel 10.0.0.5:26379 --sentinel 10.0.0.6:26379
    """
    start_logging(verbose)
    settings = load_settings(config, streams={"telemetry": to}, csw={"redis": redis, "sentinel": sentinel or None})
    try:
        from streams.csw_bridge import CswBridge
        from streams.csw_redis import CswSubscriber
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    stop, clock = threading.Event(), SystemClock()
    stop_on_signals(stop)
    table = load_keys(settings.telemetry.keys)
    subscriber = CswSubscriber(settings.csw, clock)
    telling = _start_telling(settings, stop) if publish else []
    with open_telemetry_sink(settings.streams) as sink, console.status("waiting for the event server") as shown:
        say(f"events of {', '.join(settings.csw.patterns)} from {subscriber.where} to {sink.endpoint}")
        link = CswBridge(subscriber, table, sink)
        next_s = 0.0
        while not stop.is_set():
            link.step(POLL_S, stop)
            if clock.monotonic_s() >= next_s:
                next_s = clock.monotonic_s() + SHOW_EVERY_S
                shown.update(_counts(link.counters) or "waiting for the event server")
        subscriber.close()
        counters = link.counters
    for thread in telling:
        thread.join()
    say(_counts(counters) or "no event came")


def _start_telling(settings: Settings, stop: threading.Event) -> list[threading.Thread]:
    """Start what tells the event service of the daemon, and of the displays' offsets."""
    threads = [threading.Thread(target=_publish, args=(settings, stop), daemon=True)]
    if settings.streams.targets:
        targets = ZmqSource(settings.streams.targets, pattern="sub", bind=True, high_water=HELD)
        say(f"offsets confirmed in displays from {targets.endpoint}")
        threads.append(threading.Thread(target=_ask, args=(settings, targets, stop), daemon=True))
    for thread in threads:
        thread.start()
    return threads


def _ask(settings: Settings, targets: ZmqSource, stop: threading.Event) -> None:
    """Ask the observatory for the offsets that displays send, until `stop` is set."""
    from streams.csw_products import pass_offsets

    publisher = csw_publisher(settings)
    with targets:
        pass_offsets(targets, publisher, SystemClock(), stop)
    publisher.close()


def _publish(settings: Settings, stop: threading.Event) -> None:
    """Tell the event service what the daemon publishes, until `stop` is set."""
    from streams.csw_products import tell

    streams, publisher = settings.streams, csw_publisher(settings)
    previews = ZmqSource(streams.previews, pattern="sub", bind=False, high_water=HELD)
    with MergedSource([previews], ZmqSource(streams.frames, pattern="sub", bind=False, high_water=HELD)) as source:
        tell(source, publisher, stop)
    publisher.close()


def csw_publisher(settings: Settings) -> CswPublisher:
    """Return what publishes to the event service of a configuration.

    Raises
    ------
    RtcalError
        If the extra `csw` is not installed.
    """
    try:
        from streams.csw_redis import CswPublisher
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return CswPublisher(settings.csw, SystemClock())


def _not_installed(error: ModuleNotFoundError) -> RtcalError:
    return RtcalError(f"{error.name} is not installed; pip install 'iris-rtcal[csw]'")


def _counts(counters: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counters.items()))
