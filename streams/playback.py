"""Reading recordings back, as parts or as messages.

A recording whose writer was killed has no index, so none is used: the records are walked, and the
walk ends at the first that is not whole.
"""

import contextlib
import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

from streams import wire
from streams.chunks import chunk_messages, chunk_times, records
from streams.clock import NS
from streams.closing import Closing
from streams.errors import RecordingError, WireError
from streams.messages import Message
from streams.recording import PROFILE, split_parts
from streams.sources import Decode, count_rejected

Recorded = tuple[int, list[memoryview]]
"""When a message came [ns TAI] and its parts."""

_INDEX_HEAD_BYTES = 6  # a chunk's index: channel and length, then an entry for each message
_INDEX_ENTRY_BYTES = 16
_DAMAGE = (McapError, RecordingError, ValueError)


class _Contents(NamedTuple):
    chunks: list[memoryview]
    messages: int
    start_ns: int
    end_ns: int
    truncated: bool


class RecordingReader:
    """A recording, iterated as `(received_ns, parts)` in the order it was written, any number of times.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    truncated
        True if the recorder did not end it (killed, disk full): everything up to its last whole chunk is there.
    damaged
        Chunks that were left out in the last pass because their checksum does not fit.
    count
        Messages in it.
    start_ns, end_ns
        When its first and last message came [ns TAI]; 0 if there is none.

    Raises
    ------
    RecordingError
        If the file is missing, empty, no recording, or a Git-LFS pointer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self._map = _mapped(path)
        view = memoryview(self._map)
        self._chunks, self.count, self.start_ns, self.end_ns, self.truncated = _walk(view, _begin(path, view))

    @property
    def duration_s(self) -> float:
        """From the first to the last message [s]."""
        return (self.end_ns - self.start_ns) / NS

    def __iter__(self) -> Iterator[Recorded]:
        self.damaged = 0
        for chunk in self._chunks:
            try:
                messages = [(received_ns, split_parts(data)) for received_ns, data in chunk_messages(chunk)]
            except _DAMAGE:
                self.damaged += 1
                continue
            yield from messages
            # Give the pages back, or the memory in use would seem to grow with the recording; whoever still
            # holds a view gets them again.
            self._map.madvise(mmap.MADV_DONTNEED)


class RecordingSource(Closing):
    """The messages of a recording, as a `Source`; what cannot be decoded is counted and left out."""

    def __init__(self, path: Path, decode: Decode = wire.decode) -> None:
        self.reader = RecordingReader(path)
        self.counters: Counter[str] = Counter()
        self._decode = decode
        self._recorded = iter(self.reader)
        self._exhausted = False

    @property
    def exhausted(self) -> bool:
        """True when `receive` has found the end."""
        return self._exhausted

    def receive(self, timeout_s: float = 0.0) -> Message | None:  # noqa: ARG002 - a file never lets us wait
        """Return the next message, or None at the end."""
        for _, parts in self._recorded:
            self.counters["received"] += 1
            try:
                return self._decode(parts)
            except WireError as error:
                count_rejected(self.counters, error, str(self.reader.path))
        self._exhausted = True
        return None

    def close(self) -> None:
        """Close the file."""
        self._recorded = iter(())
        self._exhausted = True


def _mapped(path: Path) -> mmap.mmap:
    """Map a file into memory; the pages are the system's, and are read when they are touched."""
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise RecordingError(f"{path} is empty; nothing was recorded")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise RecordingError(f"{path}: no such file") from error
    except OSError as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{path} cannot be read: {error.strerror}") from error


def _begin(path: Path, view: memoryview) -> int:
    """Refuse what is no recording of ours, and return where its records begin, behind the header."""
    start = bytes(view[:40])
    if start.startswith(b"version https://git-lfs"):
        raise RecordingError(f"{path} is a Git-LFS pointer, not the recording; fetch it with: git lfs pull")
    if not start.startswith(MCAP0_MAGIC):
        raise RecordingError(f"{path} is no MCAP file; recordings are made by: rtcal record")
    opcode, offset, length = next(records(view, len(MCAP0_MAGIC)), (0, 0, 0))
    if opcode != Opcode.HEADER:
        raise RecordingError(f"{path} ends inside its header; nothing was recorded")
    profile = bytes(view[offset + 4 : offset + 4 + min(length, int.from_bytes(view[offset : offset + 4], "little"))])
    if profile != PROFILE.encode():
        raise RecordingError(
            f"{path} is an MCAP file, but not of rtcal: its profile is {profile[:40].decode(errors='replace')!r}"
        )
    return offset + length


def _walk(view: memoryview, start: int) -> _Contents:
    """Find the chunks, looking only at the heads of records."""
    chunks: list[memoryview] = []
    times: list[int] = []
    counts: list[int] = []
    ended = False
    for opcode, offset, length in records(view, start):
        if opcode == Opcode.CHUNK:
            chunks.append(view[offset : offset + length])
            counts.append(0)
            with contextlib.suppress(*_DAMAGE):
                times += chunk_times(chunks[-1])
        elif opcode == Opcode.MESSAGE_INDEX and counts:
            counts[-1] += max(0, length - _INDEX_HEAD_BYTES) // _INDEX_ENTRY_BYTES
        elif opcode == Opcode.FOOTER:
            ended = True
            break
    if counts and not counts[-1]:  # killed between a chunk and its index
        with contextlib.suppress(*_DAMAGE):
            counts[-1] = len(chunk_messages(chunks[-1]))
    return _Contents(chunks, sum(counts), min(times, default=0), max(times, default=0), truncated=not ended)
