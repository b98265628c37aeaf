"""Publishing recordings again, at their own pace or another, once or endlessly."""

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from streams import wire
from streams.clock import NS, Clock
from streams.errors import WireError
from streams.messages import Message, Read
from streams.sources import Decode

MAX_SPEED = 1e6

_TIMES = ("time_ns", "reset_ns", "first_read_ns", "published_ns", "started_ns")
_ID_CHARACTERS = 116  # of the 128 of an id; the rest is for the number of the pass


class Pacer:
    """Waits until a recorded message is due.

    Parameters
    ----------
    speed
        1 for the original spacing, 10 for a tenth of it, None for no waiting at all.
    clock, stop
        What counts the time, and what cuts a wait short.
    """

    def __init__(self, speed: float | None, clock: Clock, stop: threading.Event) -> None:
        if speed is not None and not 0 < speed <= MAX_SPEED:
            raise ValueError(f"speed {speed} is not between 0 and {MAX_SPEED:.0f}; max does not wait at all")
        self._speed, self._clock, self._stop = speed, clock, stop
        self._origin: tuple[int, float] | None = None

    def wait(self, received_ns: int) -> bool:
        """Wait until the message that came at `received_ns` is due; False if stopped."""
        if self._origin is None:
            self._origin = received_ns, self._clock.monotonic_s()
        if self._speed is not None:
            first_ns, start_s = self._origin
            due_s = start_s + (received_ns - first_ns) / NS / self._speed
            remaining_s = due_s - self._clock.monotonic_s()
            if remaining_s > 0:
                self._stop.wait(remaining_s)
        return not self._stop.is_set()


def replay(
    recorded: Iterable[tuple[int, Sequence[Any]]],
    send_parts: Callable[[Sequence[Any]], object],
    pacer: Pacer,
    progress: Callable[[int], object] = lambda _: None,
) -> int:
    """Publish recorded messages again, bit for bit, until they end or the pacer is stopped.

    Parameters
    ----------
    recorded
        A `RecordingReader`, or `endless(reader)` to go on from the start.
    send_parts
        `ZmqSink.send_parts`.
    pacer
        Decides when each is due.
    progress
        Called with the number of messages sent so far.

    Returns
    -------
    int
        Messages sent.
    """
    sent = 0
    for received_ns, parts in recorded:
        if not pacer.wait(received_ns):
            break
        send_parts(parts)
        sent += 1
        progress(sent)
    return sent


def endless(
    reader: Iterable[tuple[int, Sequence[Any]]], decode: Decode = wire.decode
) -> Iterator[tuple[int, Sequence[Any]]]:
    """Iterate over a recording (or anything that can be iterated over again and again) as if the instrument went on.

    From the second pass on, exposure ids end in `+1`, `+2` ..., sequence numbers go on, and all times move by the
    length of the recording and one frame time, so that a receiver takes nothing for a duplicate. Messages are
    encoded again, always in our own form; what cannot be decoded is left out.
    """
    extent = _Extent()
    for number in itertools.count():
        for received_ns, parts in reader:
            try:
                message = decode(parts)
            except WireError:
                continue
            if number == 0:
                extent.note(received_ns, message)
            yield received_ns + number * extent.length_ns, wire.encode(extent.moved(message, number))
        if not extent.sequences:
            return


class _Extent:
    """How far the first pass reached in time and sequence numbers."""

    def __init__(self) -> None:
        self.sequences: dict[str, tuple[int, int]] = {}
        self._received: tuple[int, int] | None = None
        self._times: tuple[int, int] | None = None
        self._gap_ns = 0

    def note(self, received_ns: int, message: Message) -> None:
        header = message.header
        self._received = _stretched(self._received, received_ns)
        self._times = _stretched(self._times, header.time_ns)
        self.sequences[header.source] = _stretched(self.sequences.get(header.source), header.sequence)
        if isinstance(message, Read):
            self._gap_ns = max(self._gap_ns, message.header.frame_time_ns)

    @property
    def length_ns(self) -> int:
        """How far a pass moves: the longer of the two time scales, and a gap."""
        extents = [last - first for first, last in filter(None, (self._received, self._times))]
        return max(extents, default=0) + (self._gap_ns or NS)

    def moved(self, message: Message, number: int) -> Message:
        """Return the message as it is in pass `number`, from 0."""
        if number == 0:
            return message
        header = message.header
        first, last = self.sequences[header.source]
        changes: dict[str, Any] = {"sequence": header.sequence + number * (last - first + 1)}
        for name in _TIMES:
            if (time_ns := getattr(header, name, None)) is not None:
                changes[name] = time_ns + number * self.length_ns
        if (exposure_id := getattr(header, "exposure_id", None)) is not None:
            changes["exposure_id"] = f"{exposure_id[:_ID_CHARACTERS]}+{number}"
        moved: Message = dataclasses.replace(message, header=msgspec.structs.replace(header, **changes))  # type: ignore[arg-type]
        return moved


def _stretched(extent: tuple[int, int] | None, value: int) -> tuple[int, int]:
    return (value, value) if extent is None else (min(extent[0], value), max(extent[1], value))
