"""`rtcal status`: what a running daemon says of itself."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rtcal.commands.common import ConfigOption, JsonOption, irregularities, is_absent, load_settings
from rtcal.errors import RtcalError
from streams import wire
from streams.clock import NS, Clock, SystemClock
from streams.messages import DetectorStatus, Provenance, StatusHeader
from streams.sources import ZmqSource

COLUMNS = ("detector", "exposure", "ramp", "read", "queued", "latency", "lost", "references")
LOST = ("reads_lost", "dropped_queue_full")


def status(
    config: ConfigOption = None,
    previews: Annotated[str | None, typer.Option(help="Endpoint of previews and the heartbeat.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Longest wait for a heartbeat, in seconds.")] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Wait for a heartbeat of the daemon and show it: what it does, what it counted, what it lacks.

    Exit code 1: none came in time.

    Examples:

        rtcal status

        rtcal status --previews tcp://127.0.0.1:5552 --json
    """
    settings = load_settings(config, streams={"previews": previews})
    header = hear(settings.streams.previews, settings.instrument, timeout, SystemClock())
    if as_json:
        json.dump(msgspec.to_builtins(header), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        show(header, Console(highlight=False))


def hear(endpoint: str, instrument: str, timeout_s: float, clock: Clock) -> StatusHeader:
    """Return the next heartbeat at an endpoint.

    Raises
    ------
    RtcalError
        If none comes in time.
    EndpointError
        If the endpoint cannot be connected to.
    """
    source_name = f"{instrument}/ALL/status"
    topics = [wire.topic(source_name)]
    until_s = clock.monotonic_s() + timeout_s
    with ZmqSource(endpoint, pattern="sub", bind=False, high_water=10, topics=topics) as source:
        while (left_s := until_s - clock.monotonic_s()) > 0:
            message = source.receive(left_s)
            if message is not None and isinstance(message.header, StatusHeader):
                return message.header
    refused = "" if not source.counters else f"; what came was refused: {dict(source.counters)}"
    raise RtcalError(
        f"no heartbeat {source_name} at {endpoint} within {timeout_s:g} s{refused}; "
        "is `rtcal run` running, with this endpoint for its previews?"
    )


def show(header: StatusHeader, console: Console) -> None:
    """Print a heartbeat for a person."""
    uptime_s = max(header.time_ns - header.started_ns, 0) // NS
    context = header.crds_context or "no references by rules"
    console.print(_text(f"{header.software}: {header.state}, up {_duration(uptime_s)}, {context}"))
    console.print(_text(_counts(header.counters) or "nothing received yet"))
    if header.detectors:
        console.print(_table(header.detectors))
    for name, detector in sorted(header.detectors.items()):
        if irregular := irregularities(detector.counters):
            console.print(_text(f"! {name}: {irregular}"))
    for problem in header.problems:
        console.print(_text(f"! {problem}"))


def _table(detectors: Mapping[str, DetectorStatus]) -> Table:
    table = Table(*COLUMNS, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name, one in sorted(detectors.items()):
        reads = f"{one.read + 1}/{one.reads_planned}" if one.reads_planned else str(one.read + 1)
        row = (
            name,
            one.exposure_id,
            str(one.ramp + 1),
            reads,
            str(one.queued),
            "-" if one.latency_s is None else f"{one.latency_s:.3f} s",
            str(sum(one.counters.get(key, 0) for key in LOST)),
            _references(one.references),
        )
        table.add_row(*map(_text, row))
    return table


def _references(references: Sequence[Provenance]) -> str:
    return ", ".join(f"{one.reftype} {one.status}" for one in references if not is_absent(one))


def _counts(counters: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counters.items()))


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def _text(text: str) -> Text:
    """Take a text from the wire as it is: neither markup nor a terminal's control codes."""
    return Text("".join(character if character.isprintable() else "?" for character in text))
