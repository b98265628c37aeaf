"""`rtcal record` and `rtcal replay`: a night on disk, and again from there."""

import math
import threading
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from rtcal.commands.common import (
    ConfigOption,
    VerboseOption,
    console,
    load_settings,
    progress_bar,
    say,
    say_gaps,
    start_logging,
)
from rtcal.daemon import stop_on_signals
from rtcal.errors import RtcalError, UsageError
from streams.clock import Clock, SystemClock
from streams.endpoints import StreamsSettings, open_reads, open_reads_sink
from streams.errors import RecordingError
from streams.heap import keep_heap
from streams.playback import RecordingReader
from streams.recording import Recorder
from streams.recording import record as record_messages
from streams.replay import Pacer, endless
from streams.replay import replay as replay_messages

SEND_WAIT_S = 30.0
"""A recording can wait for a slow receiver, which a detector cannot."""


def record(
    out: Annotated[Path, typer.Argument(metavar="OUT.mcap", help="The recording to write.", show_default=False)],
    config: ConfigOption = None,
    reads: Annotated[str | None, typer.Option(help="Endpoint of the reads.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.mcap if it is there.")] = False,
    verbose: VerboseOption = False,
) -> None:
    """Record reads and events as they come, bit for bit, until stopped.

    The file is readable at any time, even after a kill; a full disk is said at once.

    Examples:

        rtcal record night.mcap

        rtcal record night.mcap --reads tcp://127.0.0.1:5550
    """
    start_logging(verbose)
    settings = load_settings(config, streams={"reads": reads})
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already; give --overwrite to replace it, or another name")
    keep_heap()
    stop, clock, streams = threading.Event(), SystemClock(), settings.streams
    stop_on_signals(stop)
    if overwrite:
        out.unlink(missing_ok=True)
    with (
        open_reads(streams) as source,
        Recorder(out, clock, protocol=streams.protocol, decode=streams.decode) as recorder,
    ):
        say(f"recording {source.endpoint} to {out}")
        with console.status("waiting for the first message") as status:

            def show(counters: Counter[str]) -> None:
                status.update(", ".join(f"{count} {name}" for name, count in sorted(counters.items())))

            record_messages(source, recorder, clock, stop, show)
        counters = recorder.counters
    say(f"{out}: " + (", ".join(f"{count} {name}" for name, count in sorted(counters.items())) or "no message came"))


def _recorder(out: Path, clock: Clock, streams: StreamsSettings, overwrite: bool) -> Recorder:
    if overwrite:
        try:
            out.unlink(missing_ok=True)
        except OSError as error:
            raise RtcalError(f"{out} cannot be replaced: {error.strerror}") from error
    return Recorder(out, clock, protocol=streams.protocol, decode=streams.decode)


def replay(
    recording: Annotated[Path, typer.Argument(metavar="FILE.mcap", help="A recording.", show_default=False)],
    config: ConfigOption = None,
    to: Annotated[str | None, typer.Option(help="Endpoint to publish at.")] = None,
    speed: Annotated[str, typer.Option(help="1: as it was; N: N times faster; max: as fast as possible.")] = "1",
    loop: Annotated[
        bool, typer.Option("--loop", help="Go on from the start, as new exposures, until stopped.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait for a receiver before the first message.")] = True,
    verbose: VerboseOption = False,
) -> None:
    """Publish a recording again, with the timing it had; the daemon makes the same frames of it, bit for bit.

    Examples:

        rtcal replay night.mcap

        rtcal replay night.mcap --speed max

        rtcal replay night.mcap --speed 4 --loop
    """
    start_logging(verbose)
    pace = _speed(speed)
    settings = load_settings(config, streams={"reads": to})
    stop, clock = threading.Event(), SystemClock()
    reader = RecordingReader(recording)
    stop_on_signals(stop)
    with open_reads_sink(settings.streams, wait_s=SEND_WAIT_S) as sink, progress_bar() as bar:
        say(f"replaying {recording} at {sink.endpoint}")
        while wait and not stop.is_set() and not sink.wait_for_receiver(0.2):
            pass
        task = bar.add_task("messages", total=None if loop else reader.count)
        recorded = endless(reader, settings.streams.decode) if loop else reader
        sent = replay_messages(
            recorded, sink.send_parts, Pacer(pace, clock, stop), lambda count: bar.update(task, completed=count)
        )
        dropped = sink.counters["dropped"]
    say(f"{sent} messages sent" + (f", {dropped} DROPPED: the receiver did not keep up" if dropped else ""))
    say_gaps(reader)
    if dropped:
        raise RtcalError(f"{dropped} messages were not delivered")
    if not sent and not stop.is_set():
        raise RecordingError(f"{recording} holds no message")


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise UsageError(f"--speed {text}: a number above 0, or max")
    return speed
