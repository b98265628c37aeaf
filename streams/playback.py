"""Reading recordings back, as parts or as messages.

A recording whose writer was killed has no index, so none is used: the records are walked, and the
walk ends at the first that is not whole.
"""

import contextlib
import os
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Chunk, Header
from mcap.records import Message as McapMessage
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC

from streams import wire
from streams.clock import NS
from streams.errors import RecordingError, WireError
from streams.messages import Message
from streams.recording import PROFILE, split_parts
from streams.sources import Decode, count_rejected

Recorded = tuple[int, list[memoryview]]
"""When a message came [ns TAI] and its parts."""

MAX_HEADER_BYTES = 4096

_RECORD = struct.Struct("<BQ")  # opcode and length of what follows
_TIMES = struct.Struct("<QQ")  # a chunk begins with the first and last time in it
_INDEX_HEAD_BYTES = 6  # a chunk's index: channel and length, then an entry for each message
_INDEX_ENTRY_BYTES = 16


_UNREADABLE = (McapError, RecordingError, ValueError, struct.error)


class _Chunks(NamedTuple):
    places: list[tuple[int, int]]
    """Offset and length of each."""
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
        try:
            with path.open("rb") as file:
                _check_start(path, file)
                chunks = _walk(file)
        except FileNotFoundError as error:
            raise RecordingError(f"{path}: no such file") from error
        except OSError as error:
            if isinstance(error, RecordingError):
                raise
            raise RecordingError(f"{path} cannot be read: {error.strerror}") from error
        self._places, self.count, self.start_ns, self.end_ns, self.truncated = chunks

    @property
    def duration_s(self) -> float:
        """From the first to the last message [s]."""
        return (self.end_ns - self.start_ns) / NS

    def __iter__(self) -> Iterator[Recorded]:
        self.damaged = 0
        with self.path.open("rb") as file:
            for place in self._places:
                try:
                    messages = [(message.log_time, split_parts(message.data)) for message in _messages(file, *place)]
                except _UNREADABLE:
                    self.damaged += 1
                    continue
                yield from messages


class RecordingSource:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_start(path: Path, file: BinaryIO) -> None:
    """Refuse what is no recording of ours, and leave the file behind its header."""
    start = file.read(40)
    if not start:
        raise RecordingError(f"{path} is empty; nothing was recorded")
    if start.startswith(b"version https://git-lfs"):
        raise RecordingError(f"{path} is a Git-LFS pointer, not the recording; fetch it with: git lfs pull")
    if not start.startswith(MCAP0_MAGIC):
        raise RecordingError(f"{path} is no MCAP file; recordings are made by: rtcal record")
    file.seek(len(MCAP0_MAGIC))
    profile = None
    try:
        opcode, length = _RECORD.unpack(file.read(_RECORD.size))
        if opcode == Opcode.HEADER and length < MAX_HEADER_BYTES:
            profile = Header.read(ReadDataStream(file)).profile
    except (McapError, ValueError, struct.error) as error:
        raise RecordingError(f"{path} ends inside its header; nothing was recorded") from error
    if profile != PROFILE:
        raise RecordingError(f"{path} is an MCAP file, but not of rtcal: its profile is {profile!r}, not {PROFILE!r}")
    file.seek(len(MCAP0_MAGIC) + _RECORD.size + length)


def _walk(file: BinaryIO) -> _Chunks:
    """Find the chunks, from the header on, reading only the heads of records."""
    size = os.fstat(file.fileno()).st_size
    places: list[tuple[int, int]] = []
    times: list[tuple[int, int]] = []
    counts: list[int] = []
    ended = False
    while not ended and len(head := file.read(_RECORD.size)) == _RECORD.size:
        opcode, length = _RECORD.unpack(head)
        start = file.tell()
        if start + length > size or opcode == 0:
            break  # cut off, or the zeros that a crashed machine leaves
        if opcode == Opcode.CHUNK and length >= _TIMES.size:
            places.append((start, length))
            times.append(_TIMES.unpack(file.read(_TIMES.size)))
            counts.append(0)
        elif opcode == Opcode.MESSAGE_INDEX and counts:
            counts[-1] += max(0, length - _INDEX_HEAD_BYTES) // _INDEX_ENTRY_BYTES
        ended = opcode == Opcode.FOOTER
        file.seek(start + length)
    if counts and not counts[-1]:  # killed between a chunk and its index
        with contextlib.suppress(*_UNREADABLE):
            counts[-1] = sum(1 for _ in _messages(file, *places[-1]))
    start_ns = min((first for first, _ in times), default=0)
    end_ns = max((last for _, last in times), default=0)
    return _Chunks(places, sum(counts), start_ns, end_ns, truncated=not ended)


def _messages(file: BinaryIO, offset: int, length: int) -> Iterator[McapMessage]:
    """Return the messages of a chunk."""
    file.seek(offset)
    chunk = Chunk.read(ReadDataStream(_Window(file, length)))
    return (record for record in breakup_chunk(chunk, validate_crc=True) if isinstance(record, McapMessage))


class _Window:
    """The next bytes of a file: lengths inside a damaged record cannot ask for more than it has."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._left = file, length

    def read(self, length: int) -> bytes:
        data = self._file.read(min(length, self._left))
        self._left -= len(data)
        return data
