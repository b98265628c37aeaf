"""Recordings: what came by the wire, as it came, in an MCAP file (`docs/wire.md`).

One MCAP message is one multipart message, its parts framed by lengths. Chunks are written whole and
soon, so that a killed recorder leaves a readable file. Nothing is compressed: noise does not shrink.
"""

import struct
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from streams import wire
from streams.chunks import ChunkWriter, NewFile
from streams.clock import Clock
from streams.closing import Closing
from streams.errors import RecordingError, WireError
from streams.sources import Decode

T = TypeVar("T")

PROFILE = "iris-rtcal"
UNREADABLE = "unreadable"
"""Topic of messages that cannot be decoded; they are kept all the same."""

MAX_TOPICS = 1024
POLL_S = 0.2
_LENGTH = 8


def frame_parts(parts: Sequence[Any]) -> list[memoryview]:
    """Put the number of parts and their lengths (uint64, little endian) before them; nothing is copied."""
    views = [memoryview(getattr(part, "buffer", part)).cast("B") for part in parts]
    return [memoryview(struct.pack(f"<{1 + len(views)}Q", len(views), *map(len, views))), *views]


def split_parts(data: memoryview | bytes) -> list[memoryview]:
    """Undo `frame_parts`; the parts are views of `data`.

    Raises
    ------
    RecordingError
        If the lengths do not fit the data.
    """
    view = memoryview(data)
    count = int.from_bytes(view[:_LENGTH], "little")
    offset = _LENGTH * (1 + count)
    if offset > len(view):
        raise RecordingError(f"a recorded message of {len(view)} bytes cannot hold the lengths of {count} parts")
    lengths = struct.unpack_from(f"<{count}Q", view, _LENGTH)
    if offset + sum(lengths) != len(view):
        raise RecordingError(f"a recorded message of {len(view)} bytes does not hold the parts that it says")
    parts = []
    for length in lengths:
        parts.append(view[offset : offset + length])
        offset += length
    return parts


class Recorder(Closing):
    """Writes a new recording.

    Parameters
    ----------
    path
        The file, which must not exist.
    clock
        Decides when to flush.
    protocol, decode
        Form of the messages and what decodes it, for topics and times; the bytes are kept as they came.
    flush_s
        What came in the last `flush_s` may be lost by a kill (reads are written at once, being large).

    Raises
    ------
    RecordingError
        If the file cannot be made.

    Notes
    -----
    `counters`: `messages`, `bytes` (as framed) and `unreadable` (recorded, but not to be decoded).
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        protocol: str = "karabo",
        decode: Decode = wire.decode,
        flush_s: float = 1.0,
    ) -> None:
        self.path = path
        self.counters: Counter[str] = Counter()
        self._clock, self._decode, self._flush_s = clock, decode, flush_s
        self._encoding = f"{protocol}-multipart"
        self._channels: dict[str, int] = {}
        self._failure: str | None = None
        try:
            self._file = NewFile(path)
        except FileExistsError as error:
            raise RecordingError(f"{path} exists; a recording needs a new name") from error
        except OSError as error:
            raise RecordingError(f"{path} cannot be made: {error.strerror}") from error
        self._writer = self._guard(lambda: ChunkWriter(self._file, PROFILE))
        self._flushed_s = clock.monotonic_s()

    def write(self, parts: Sequence[Any], received_ns: int) -> None:
        """Record one message.

        Parameters
        ----------
        parts
            Its parts as received; they are kept until their chunk is written and must not change.
        received_ns
            When it came [ns TAI].

        Raises
        ------
        RecordingError
            If it cannot be written (disk full): the recorder has ended its file behind the last whole
            chunk, takes nothing more, and every further call says so again.
        """
        if self._failure:
            raise RecordingError(self._failure)
        topic, time_ns, sequence = self._describe(parts, received_ns)
        data = frame_parts(parts)
        channel_id = self._channel(topic)
        self._guard(lambda: self._writer.add_message(channel_id, data, received_ns, time_ns, sequence))
        self.counters["messages"] += 1
        self.counters["bytes"] += sum(map(len, data))
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Hand to the system what waits for longer than `flush_s`; call it when nothing comes, too."""
        now_s = self._clock.monotonic_s()
        if not self._failure and now_s - self._flushed_s >= self._flush_s:
            self._flushed_s = now_s
            self._guard(self._writer.flush)

    def close(self) -> None:
        """Write the index and close; further calls do nothing.

        Raises
        ------
        RecordingError
            If the index cannot be written; the file is readable without it.
        """
        if not self._file.closed:
            self._guard(self._writer.finish)
            self._file.close()

    def _describe(self, parts: Sequence[Any], received_ns: int) -> tuple[str, int, int]:
        try:
            header = self._decode(parts).header
        except WireError:
            self.counters["unreadable"] += 1
            return UNREADABLE, received_ns, 0
        topic = header.source
        if topic not in self._channels and len(self._channels) >= MAX_TOPICS:
            topic = UNREADABLE  # MCAP has 65535 channels; nobody has a thousand detectors
        return topic, header.time_ns, header.sequence

    def _channel(self, topic: str) -> int:
        if topic not in self._channels:
            self._channels[topic] = self._writer.add_channel(topic, self._encoding)
        return self._channels[topic]

    def _guard(self, write: Callable[[], T]) -> T:
        """Run a write; if it fails, cut the file behind the last one that did not, and close it."""
        whole = self._file.size
        try:
            return write()
        except OSError as error:
            self._failure = (
                f"{self.path}: {error.strerror}; recording stopped after {self.counters['messages']} messages, "
                "which are readable; free some space and record to a new file"
            )
            self._file.cut(whole)
            raise RecordingError(self._failure) from error


class PartsSource(Protocol):
    """What `record` listens to: `ZmqSource`, or a stand-in."""

    def receive_parts(self, timeout_s: float) -> Sequence[Any] | None:
        """Return the parts of the next message, or None if none came in time."""
        ...


def record(
    source: PartsSource,
    recorder: Recorder,
    clock: Clock,
    stop: threading.Event,
    progress: Callable[[Counter[str]], object] = lambda _: None,
) -> None:
    """Record what `source` receives until `stop` is set; `progress` gets the counters after each message.

    Raises
    ------
    RecordingError
        At once when something cannot be written; what was written before is readable.
    """
    while not stop.is_set():
        parts = source.receive_parts(POLL_S)
        if parts is None:
            recorder.flush_if_due()
            continue
        recorder.write(parts, clock.tai_ns())
        progress(recorder.counters)
