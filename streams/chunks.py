"""The MCAP file format as recordings need it: chunks of messages, written without copying them.

The writer of the `mcap` library copies a message five times, which is too slow for five detectors; its
record types are used for everything small. Any MCAP tool reads these files. Specification:
https://mcap.dev/spec.
"""

import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, ChunkIndex, DataEnd, Footer, Header, MessageIndex, Statistics
from mcap.records import Message as McapMessage
from mcap.stream_reader import breakup_chunk
from mcap.writer import LIBRARY_IDENTIFIER, MCAP0_MAGIC

CHUNK_BYTES = 1 << 20
"""A chunk is written when it holds so many; a read is larger and makes one by itself."""

MAX_GATHER = 512  # buffers in one system call; Linux takes 1024

_RECORD = struct.Struct("<BQ")  # opcode and length of what follows
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, time received, time published; then the data
_CHUNK = struct.Struct("<QQQII")  # first and last time, size, checksum, length of the compression's name (none); ...
_SIZE = struct.Struct("<Q")  # ... then the size again, as compressed


class NewFile:
    """A new file, written without a buffer that could fail again when it is closed.

    Raises
    ------
    OSError
        If the file exists or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self.size = 0
        self.closed = False

    def write(self, *buffers: Any) -> None:
        """Write all bytes of all buffers, or raise OSError."""
        views = [view for view in (memoryview(buffer).cast("B") for buffer in buffers) if len(view)]
        first = 0
        while first < len(views):
            written = os.writev(self._descriptor, views[first : first + MAX_GATHER])
            self.size += written
            while first < len(views) and written >= len(views[first]):
                written -= len(views[first])
                first += 1
            if written:
                views[first] = views[first][written:]

    def cut(self, size: int) -> None:
        """Cut the file to a size it had, and close it."""
        os.ftruncate(self._descriptor, size)
        self.close()

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        if not self.closed:
            os.close(self._descriptor)
            self.closed = True


class _Entry(NamedTuple):
    channel_id: int
    received_ns: int
    offset: int


class ChunkWriter:
    """Writes messages to an MCAP file; every method may raise OSError."""

    def __init__(self, file: NewFile, profile: str) -> None:
        self._file = file
        self._channels: list[Channel] = []
        self._indices: list[ChunkIndex] = []
        self._counts: Counter[int] = Counter()
        self._new_chunk()
        file.write(MCAP0_MAGIC, _packed(Header(profile, LIBRARY_IDENTIFIER)))

    def add_channel(self, topic: str, encoding: str) -> int:
        """Add a channel and return its id."""
        channel = Channel(id=len(self._channels) + 1, topic=topic, message_encoding=encoding, metadata={}, schema_id=0)
        self._channels.append(channel)
        self._add(_packed(channel))
        return int(channel.id)

    def add_message(
        self, channel_id: int, data: Sequence[memoryview], received_ns: int, time_ns: int, sequence: int
    ) -> None:
        """Add a message; its data are kept, not copied, until their chunk is written."""
        length = _MESSAGE.size + sum(map(len, data))
        self._entries.append(_Entry(channel_id, received_ns, self._size))
        head = _RECORD.pack(Opcode.MESSAGE, length)
        self._add(head, _MESSAGE.pack(channel_id, sequence & 0xFFFFFFFF, received_ns, time_ns), *data)
        if self._size >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the chunk in progress, if it holds a message."""
        if not self._entries:
            return
        times = [entry.received_ns for entry in self._entries]
        checksum = 0
        for buffer in self._buffers:
            checksum = zlib.crc32(buffer, checksum)
        head = _CHUNK.pack(min(times), max(times), self._size, checksum, 0) + _SIZE.pack(self._size)
        offset = self._file.size
        length = _RECORD.size + len(head) + self._size
        self._file.write(_RECORD.pack(Opcode.CHUNK, len(head) + self._size), head, *self._buffers)
        self._write_index(offset, length, min(times), max(times))
        self._counts.update(entry.channel_id for entry in self._entries)
        self._new_chunk()

    def finish(self) -> None:
        """Write what is left and the summary that lets other tools seek."""
        self.flush()
        self._file.write(_packed(DataEnd(0)))
        start = self._file.size
        self._file.write(*map(_packed, self._channels), _packed(self._statistics()), *map(_packed, self._indices))
        self._file.write(_packed(Footer(summary_start=start, summary_offset_start=0, summary_crc=0)), MCAP0_MAGIC)

    def _new_chunk(self) -> None:
        self._buffers: list[Any] = []
        self._entries: list[_Entry] = []
        self._size = 0

    def _add(self, *buffers: Any) -> None:
        self._buffers += buffers
        self._size += sum(map(len, buffers))

    def _write_index(self, chunk_offset: int, chunk_length: int, first_ns: int, last_ns: int) -> None:
        offsets: dict[int, int] = {}
        start = self._file.size
        packed = b""
        for channel_id in sorted({entry.channel_id for entry in self._entries}):
            offsets[channel_id] = start + len(packed)
            records = [(entry.received_ns, entry.offset) for entry in self._entries if entry.channel_id == channel_id]
            packed += _packed(MessageIndex(channel_id, records))
        self._file.write(packed)
        self._indices.append(
            ChunkIndex(
                chunk_length=chunk_length,
                chunk_start_offset=chunk_offset,
                compression="",
                compressed_size=self._size,
                message_end_time=last_ns,
                message_index_length=len(packed),
                message_index_offsets=offsets,
                message_start_time=first_ns,
                uncompressed_size=self._size,
            )
        )

    def _statistics(self) -> Statistics:
        return Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._indices),
            message_count=self._counts.total(),
            metadata_count=0,
            message_start_time=min((index.message_start_time for index in self._indices), default=0),
            message_end_time=max((index.message_end_time for index in self._indices), default=0),
            schema_count=0,
        )


class _Writable(Protocol):
    def write(self, stream: RecordBuilder) -> None: ...


def _packed(record: _Writable) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    packed: bytes = builder.end()
    return packed


def records(view: memoryview, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield opcode, offset and length of the content of each record that is whole, from `start` on."""
    while start + _RECORD.size <= len(view):
        opcode, length = _RECORD.unpack_from(view, start)
        start += _RECORD.size
        if start + length > len(view) or opcode == 0:
            return  # cut off, or the zeros that a crashed machine leaves
        yield opcode, start, length
        start += length


def chunk_times(view: memoryview) -> tuple[int, int]:
    """Return the times of the first and last message in a chunk, or raise ValueError."""
    if len(view) < _CHUNK.size:
        raise ValueError("a chunk without its head")
    first_ns, last_ns, *_ = _CHUNK.unpack_from(view)
    return first_ns, last_ns


def chunk_messages(view: memoryview) -> list[tuple[int, memoryview]]:
    """Return the messages of a chunk as `(received_ns, data)`; data are views.

    Raises
    ------
    ValueError
        If the chunk is damaged: a length or the checksum does not fit.
    """
    if len(view) < _CHUNK.size:
        raise ValueError("a chunk without its head")
    first_ns, last_ns, size, checksum, name_length = _CHUNK.unpack_from(view)
    start = _CHUNK.size + name_length + _SIZE.size
    if start > len(view) or _SIZE.unpack_from(view, start - _SIZE.size)[0] != len(view) - start:
        raise ValueError("a chunk of another length than it says")
    if name_length:  # compressed by another tool
        name = bytes(view[_CHUNK.size : _CHUNK.size + name_length]).decode()
        chunk = Chunk(name, bytes(view[start:]), last_ns, first_ns, checksum, size)
        unpacked = breakup_chunk(chunk, validate_crc=True)
        return [(one.log_time, memoryview(one.data)) for one in unpacked if isinstance(one, McapMessage)]
    content = view[start:]
    if len(content) != size or zlib.crc32(content) != checksum:
        raise ValueError("a chunk whose checksum does not fit")
    return [
        _message(content[start : start + length])
        for opcode, start, length in records(content)
        if opcode == Opcode.MESSAGE
    ]


def _message(view: memoryview) -> tuple[int, memoryview]:
    if len(view) < _MESSAGE.size:
        raise ValueError("a message without its head")
    _, _, received_ns, _ = _MESSAGE.unpack_from(view)
    return received_ns, view[_MESSAGE.size :]
