"""`rtcal record` and `rtcal replay`: a night on disk, and again from there."""

import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

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
from rtcal.config import Settings
from rtcal.daemon import stop_on_signals
from rtcal.errors import RtcalError, UsageError
from streams import wire
from streams.clock import Clock, SystemClock
from streams.endpoints import StreamsSettings, open_reads, open_reads_sink
from streams.errors import RecordingError
from streams.fits_reads import read_messages
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
    telemetry: Annotated[str | None, typer.Option(help="Endpoint of the telemetry; an empty one: none.")] = None,
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
    settings = load_settings(config, streams={"reads": reads, "telemetry": telemetry})
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already; give --overwrite to replace it, or another name")
    keep_heap()
    stop, clock, streams = threading.Event(), SystemClock(), settings.streams
    stop_on_signals(stop)
    if overwrite:
        out.unlink(missing_ok=True)
    with (
        open_reads(streams) as source,
        Recorder(out, clock, protocol=streams.protocol, decode=streams.decode_recorded) as recorder,
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
    return Recorder(out, clock, protocol=streams.protocol, decode=streams.decode_recorded)


def replay(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="A recording (.mcap), or FITS reads.", show_default=False),
    ],
    config: ConfigOption = None,
    to: Annotated[str | None, typer.Option(help="Endpoint to publish at; shm://NAME: by shared memory.")] = None,
    speed: Annotated[str, typer.Option(help="1: as it was; N: N times faster; max: as fast as possible.")] = "1",
    loop: Annotated[
        bool, typer.Option("--loop", help="Go on from the start, as new exposures, until stopped.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait for a receiver before the first message.")] = True,
    verbose: VerboseOption = False,
) -> None:
    """Publish a recording again, with the timing it had; the daemon makes the same frames of it, bit for bit.

    FITS reads (files or directories, as for `rtcal reduce`) are published as the stream that they were.

    Examples:

        rtcal replay night.mcap

        rtcal replay night.mcap --speed max

        rtcal replay ramps/sci_D --speed 4 --loop
    """
    start_logging(verbose)
    pace = _speed(speed)
    settings = load_settings(config, streams={"reads": to})
    stop, clock = threading.Event(), SystemClock()
    played = _open_played(inputs, settings)
    stop_on_signals(stop)
    with open_reads_sink(settings.streams, wait_s=SEND_WAIT_S) as sink, progress_bar() as bar:
        say(f"replaying {', '.join(map(str, inputs))} at {sink.endpoint}")
        while wait and not stop.is_set() and not sink.wait_for_receiver(0.2):
            pass
        task = bar.add_task("messages", total=None if loop or isinstance(played, FitsPlayed) else played.count)
        messages = endless(played, settings.streams.decode_recorded) if loop else played
        sent = replay_messages(
            messages, sink.send_parts, Pacer(pace, clock, stop), lambda count: bar.update(task, completed=count)
        )
        dropped = sink.counters["dropped"]
    say(f"{sent} messages sent" + (f", {dropped} DROPPED: the receiver did not keep up" if dropped else ""))
    if isinstance(played, RecordingReader):
        say_gaps(played)
    if dropped:
        raise RtcalError(f"{dropped} messages were not delivered")
    if not sent and not stop.is_set():
        raise RecordingError(f"{inputs[0]} holds no message")


class FitsPlayed:
    """FITS reads as a recording: each message with the time that it is about."""

    def __init__(self, inputs: Sequence[Path], settings: Settings) -> None:
        self._inputs, self._families = inputs, settings.fits_keys
        read_messages(inputs, self._families).close()  # mistakes show now, not when a receiver waits

    def __iter__(self) -> Iterator[tuple[int, Sequence[Any]]]:
        for message in read_messages(self._inputs, self._families):
            yield message.header.time_ns, wire.encode(message)


def _open_played(inputs: Sequence[Path], settings: Settings) -> RecordingReader | FitsPlayed:
    recordings = [path for path in inputs if path.suffix == ".mcap"]
    if not recordings:
        if settings.streams.protocol != "karabo":
            raise UsageError("FITS reads are published in the form karabo; set protocol in [streams]")
        return FitsPlayed(inputs, settings)
    if len(inputs) > 1:
        raise UsageError("a recording is replayed alone: give one .mcap file, or FITS files and directories")
    return RecordingReader(recordings[0])


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
