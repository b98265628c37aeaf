"""Recordings: what came by the wire, as it came, in an MCAP file (`docs/wire.md`).

One MCAP message is one multipart message, its parts framed by lengths. Chunks are written whole and
soon, so that a killed recorder leaves a readable file. Nothing is compressed: noise does not shrink.
"""

import os
import struct
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from mcap.writer import CompressionType, Writer

from streams import wire
from streams.clock import Clock
from streams.errors import RecordingError, WireError
from streams.sources import Decode

PROFILE = "iris-rtcal"
UNREADABLE = "unreadable"
"""Topic of messages that cannot be decoded; they are kept all the same."""

MAX_TOPICS = 1024
POLL_S = 0.2
_ALIGN = 8


def frame_parts(parts: Sequence[Any]) -> bytearray:
    """Join parts into one buffer: count, lengths (uint64, little endian), each part padded to 8 bytes.

    The padding keeps pixels aligned, so that a reader need not copy them.
    """
    views = [memoryview(getattr(part, "buffer", part)).cast("B") for part in parts]
    head = struct.pack(f"<{1 + len(views)}Q", len(views), *map(len, views))
    joined = bytearray(len(head) + sum(map(_padded, map(len, views))))
    joined[: len(head)] = head
    offset = len(head)
    for view in views:
        joined[offset : offset + len(view)] = view
        offset += _padded(len(view))
    return joined


def split_parts(data: bytes) -> list[memoryview]:
    """Undo `frame_parts`; the parts are views of `data`.

    Raises
    ------
    RecordingError
        If the lengths do not fit the data.
    """
    view = memoryview(data)
    try:
        (count,) = struct.unpack_from("<Q", view)
        lengths = struct.unpack_from(f"<{count}Q", view, _ALIGN) if count * _ALIGN < len(view) else ()
    except struct.error as error:
        raise RecordingError("a recorded message is too short for its parts") from error
    offset = _ALIGN * (1 + count)
    if len(lengths) != count or offset + sum(map(_padded, lengths)) != len(view):
        raise RecordingError(f"a recorded message of {len(view)} bytes does not hold {count} parts as it says")
    parts = []
    for length in lengths:
        parts.append(view[offset : offset + length])
        offset += _padded(length)
    return parts


def _padded(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN


class Recorder:
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
            self._output = _Output(path)
        except FileExistsError as error:
            raise RecordingError(f"{path} exists; a recording needs a new name") from error
        except OSError as error:
            raise RecordingError(f"{path} cannot be made: {error.strerror}") from error
        self._writer = Writer(self._output, compression=CompressionType.NONE)
        self._guard(lambda: self._writer.start(profile=PROFILE))
        self._flushed_s = clock.monotonic_s()

    def write(self, parts: Sequence[Any], received_ns: int) -> None:
        """Record one message.

        Parameters
        ----------
        parts
            Its parts as received.
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
        self._guard(lambda: self._add(topic, data, received_ns, time_ns, sequence))
        self.counters["messages"] += 1
        self.counters["bytes"] += len(data)
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
        if self._output.closed:
            return
        self._guard(self._writer.finish)
        self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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

    def _add(self, topic: str, data: bytearray, received_ns: int, time_ns: int, sequence: int) -> None:
        if topic not in self._channels:
            self._channels[topic] = self._writer.register_channel(topic, self._encoding, schema_id=0)
        self._writer.add_message(self._channels[topic], received_ns, data, time_ns, sequence & 0xFFFFFFFF)

    def _guard(self, write: Callable[[], object]) -> None:
        """Run a write; if it fails, cut the file behind the last one that did not, and close it."""
        whole = self._output.tell()
        try:
            write()
        except OSError as error:
            self._failure = (
                f"{self.path}: {error.strerror}; recording stopped after {self.counters['messages']} messages, "
                "which are readable; free some space and record to a new file"
            )
            self._output.cut(whole)
            raise RecordingError(self._failure) from error


class _Output:
    """A new file for the MCAP writer, without a buffer that could fail again when it is closed."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._offset = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self._offset += written
            view = view[written:]
        return len(data)

    def tell(self) -> int:
        return self._offset

    def flush(self) -> None:
        """Nothing waits here; what was written survives the end of this process."""

    def cut(self, length: int) -> None:
        os.ftruncate(self._descriptor, length)
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)
        self.closed = True


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
