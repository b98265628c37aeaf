"""The file of a ring in shared memory: who owns it, where a message goes, and whether one is still whole.

The messages are in memory that both sides map; the position of the writer, which says what is overwritten, is
read and written by system calls. Those are the fences: Python has none of its own, and what a process copied
before or after one is seen so by the other. `docs/wire.md` has the layout, byte for byte.
"""

import contextlib
import fcntl
import mmap
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.errors import EndpointError, WireError
from streams.sources import MAX_PART_BYTES, MAX_PARTS

SCHEME = "shm://"
FOLDER = Path("/dev/shm")
MAGIC = b"rtcal-rg"
VERSION = 1
HEAD = Struct("<8sQQQ")  # MAGIC, VERSION, generation, capacity in bytes
CLAIM = Struct("<QQ")  # the end of what is or was last written, twice: a copy that is half of each is noticed
CLAIM_AT = 64
DATA_AT = 4096
RECORD = Struct("<QQQ")  # generation, number, count of the parts; then their lengths, 8 bytes each
LENGTH_BYTES = 8
ALIGN = 64
MAX_RECORD_BYTES = 2 * MAX_PART_BYTES
CLAIM_TRIES = 100
NOTHING: NDArray[np.uint8] = np.empty(0, np.uint8)


class Bell(NamedTuple):
    """What a reader is told of a message: where it is in the ring."""

    generation: int
    """Of the ring; each writer chooses its own."""
    number: int
    """Of the message, counted from 0 in each generation."""
    position: int
    """Where it begins, counted on from 0 without end; its place is the rest after division by the capacity."""
    length: int
    """Of its record; 0: the writer ends."""

    @property
    def end(self) -> int:
        """Where the next may begin."""
        return self.position + self.length


def path_of(endpoint: str) -> Path:
    """Return the file of `shm://NAME`; the doorbell's socket lies beside it, named as that and `.bell`."""
    return FOLDER / f"rtcal-{endpoint.removeprefix(SCHEME)}"


def bell_of(path: Path) -> Path:
    """Return the socket of a ring's doorbell."""
    return path.with_name(f"{path.name}.bell")


class RingWriter:
    """The writer's side: owns the file until it is closed or the process ends.

    Parameters
    ----------
    endpoint
        `shm://NAME`.
    capacity
        Bytes for messages, all of them taken from memory at once.

    Raises
    ------
    EndpointError
        If another writer has the ring, the file is none of ours, or there is not so much shared memory.

    Notes
    -----
    The lock (`flock`) is the system's: it goes with the process, however that ends, and the file that is then
    left is replaced by the next writer. It is replaced and never changed in place, so whoever still reads the
    old one reads it to its end.
    """

    def __init__(self, endpoint: str, capacity: int) -> None:
        self.endpoint = endpoint
        self.capacity = capacity // ALIGN * ALIGN
        self.generation = int.from_bytes(os.urandom(8), "little")
        self.position = 0
        self._path = path_of(endpoint)
        self._count = 0
        self._fd = _create(self._path, endpoint, self.capacity, self.generation)
        self._data = _map(self._fd, self.capacity, mmap.PROT_READ | mmap.PROT_WRITE)

    @property
    def largest(self) -> int:
        """Bytes of the largest record: two of them fit, so that one can be read while the next is written."""
        return min(self.capacity // 2, MAX_RECORD_BYTES)

    def plan(self, parts: Sequence[Any]) -> tuple[Bell, list[memoryview]]:
        """Say where a message would go, and what would be written there; nothing is written.

        Raises
        ------
        WireError
            If the message is larger than the ring takes.
        """
        buffers = [memoryview(part).cast("B") for part in parts]
        head = RECORD.pack(self.generation, self._count, len(buffers))
        head += b"".join(len(buffer).to_bytes(LENGTH_BYTES, "little") for buffer in buffers)
        pieces = [memoryview(head), *buffers]
        length = sum(_aligned(len(piece)) for piece in pieces)
        if length > self.largest or len(buffers) > MAX_PARTS:
            size = f"{len(buffers)} parts, {length} bytes"
            limit = f"{MAX_PARTS} parts, {self.largest} bytes"
            raise WireError("size", f"a message of {size}; {self.endpoint} takes {limit}: raise ring_mb in [streams]")
        start, room = self.position, self.capacity - self.position % self.capacity
        if length > room:
            start += room  # a message lies in one piece
        return Bell(self.generation, self._count, start, length), pieces

    def write(self, bell: Bell, pieces: Sequence[memoryview]) -> None:
        """Write what was planned."""
        os.pwrite(self._fd, CLAIM.pack(bell.end, bell.end), CLAIM_AT)  # before the first byte that it overwrites
        place = bell.position % self.capacity
        for piece in pieces:
            np.copyto(self._data[place : place + len(piece)], np.frombuffer(piece, np.uint8))
            place += _aligned(len(piece))
        self.position = bell.end
        self._count += 1

    def bye(self) -> Bell:
        """Return what tells readers that nothing follows."""
        return Bell(self.generation, self._count, self.position, 0)

    def close(self) -> None:
        """Remove the file and the doorbell's, unless they are another's by now, and give the lock back."""
        if self._fd >= 0:
            if _is_at(self._path, self._fd):
                for path in (bell_of(self._path), self._path):  # ZeroMQ leaves the doorbell's
                    with contextlib.suppress(OSError):
                        path.unlink()
            os.close(self._fd)
            self._fd, self._data = -1, NOTHING


class RingReader:
    """A reader's side of one generation of a ring.

    Raises
    ------
    WireError
        If there is no such file or it is no ring, or one that contradicts itself; the cause is `segment`.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise WireError("segment", f"{path} cannot be opened: {error.strerror}") from error
        try:
            self.generation, self._capacity = _read_head(self._fd, path)
            self._data = _map(self._fd, self._capacity, mmap.PROT_READ)
        except (WireError, OSError):
            self.close()
            raise

    def read(self, bell: Bell) -> list[memoryview] | None:
        """Return a copy of a message's parts, all in one buffer; None if the writer has overwritten it.

        Raises
        ------
        WireError
            If what is there was never written by a writer of rings; the cause is `segment`.
        """
        place = bell.position % self._capacity
        if not ALIGN <= bell.length <= min(self._capacity - place, MAX_RECORD_BYTES):
            raise WireError("segment", f"{bell} lies outside of a ring of {self._capacity} bytes")
        if self._overtaken(bell.position):  # before: 32 MiB need not be copied to no use
            return None
        if os.fstat(self._fd).st_size != DATA_AT + self._capacity:  # to touch what is gone would be SIGBUS
            raise WireError("segment", "the file was cut short or made longer")
        record = np.empty(bell.length, np.uint8)
        np.copyto(record, self._data[place : place + bell.length])
        if self._overtaken(bell.position):  # after: the copy may be half of the next message
            return None
        return _split(record.data, bell)

    def close(self) -> None:
        """Close the file; copies live on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self._data = -1, NOTHING

    def _overtaken(self, position: int) -> bool:
        """Tell whether the writer has begun to write where `position` was, or beyond."""
        for _ in range(CLAIM_TRIES):
            raw = os.pread(self._fd, CLAIM.size, CLAIM_AT)
            if len(raw) < CLAIM.size:
                break
            claimed, again = CLAIM.unpack(raw)
            if claimed == again:
                return bool(claimed > position + self._capacity)
        raise WireError("segment", "the position of the writer cannot be read: the file is damaged")


def check_ring(endpoint: str) -> None:
    """Refuse a file in a ring's place that is no ring; none at all is right, the writer may come later.

    Raises
    ------
    EndpointError
        Names the file and the remedy.
    """
    path = path_of(endpoint)
    if path.exists():
        try:
            RingReader(path).close()
        except WireError as error:
            raise EndpointError(f"{endpoint}: {error}; remove the file, or choose another name") from error


def _map(fd: int, capacity: int, protection: int) -> NDArray[np.uint8]:
    """Return the messages' bytes, each page in place from the start; unmapped with the last array of them."""
    mapped = mmap.mmap(fd, DATA_AT + capacity, mmap.MAP_SHARED | mmap.MAP_POPULATE, protection)
    return np.frombuffer(mapped, np.uint8, offset=DATA_AT)


def _read_head(fd: int, path: Path) -> tuple[int, int]:
    """Return generation and capacity."""
    raw = os.pread(fd, HEAD.size, 0)
    if len(raw) < HEAD.size or raw[:8] != MAGIC:
        raise WireError("segment", f"{path} is no ring of rtcal")
    _, version, generation, capacity = HEAD.unpack(raw)
    if version != VERSION:
        raise WireError("segment", f"{path} is a ring of version {version}, this program speaks {VERSION}")
    if capacity < 2 * ALIGN or capacity % ALIGN or os.fstat(fd).st_size != DATA_AT + capacity:
        raise WireError("segment", f"{path} is torn: {os.fstat(fd).st_size} bytes do not hold a ring of {capacity}")
    return generation, capacity


def _split(record: memoryview, bell: Bell) -> list[memoryview]:
    """Return the parts of a record, views of it."""
    generation, number, count = RECORD.unpack_from(record)
    head = RECORD.size + count * LENGTH_BYTES
    if (generation, number) != (bell.generation, bell.number) or not 1 <= count <= MAX_PARTS or head > len(record):
        raise WireError("segment", f"there is no message {bell.number} at {bell.position}")
    lengths = np.frombuffer(record[RECORD.size : head], "<u8").tolist()
    parts, start = [], _aligned(head)
    for length in lengths:
        parts.append(record[start : start + length])
        start += _aligned(length)
    if start != len(record):
        raise WireError("segment", f"the parts of message {bell.number} do not add up to its {len(record)} bytes")
    return parts


def _aligned(size: int) -> int:
    return size + -size % ALIGN


def _is_at(path: Path, fd: int) -> bool:
    """Tell whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _create(path: Path, endpoint: str, capacity: int, generation: int) -> int:
    """Make the file whole and locked under a name of its own, then give it its name; return it opened."""
    with contextlib.ExitStack() as stack:
        stale = _lock_stale(path, endpoint)
        if stale is not None:
            stack.callback(os.close, stale)
        new = path.with_name(f"{path.name}.{os.getpid()}.{generation:016x}")
        try:
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise EndpointError(f"{endpoint}: {new} cannot be made: {error.strerror}") from error
        stack.callback(new.unlink)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.posix_fallocate(fd, 0, DATA_AT + capacity)
            os.pwrite(fd, HEAD.pack(MAGIC, VERSION, generation, capacity), 0)
            if stale is not None:
                path.unlink()
            os.link(new, path)
        except FileExistsError as error:
            os.close(fd)
            raise _in_use(endpoint) from error
        except OSError as error:
            os.close(fd)
            free = shutil.disk_usage(FOLDER).free >> 20
            wanted = f"{capacity >> 20} MiB in {FOLDER}, which has {free} free"
            raise EndpointError(
                f"{endpoint} needs {wanted} ({error.strerror}): lower ring_mb in [streams], or mount it larger"
            ) from error
        return fd


def _lock_stale(path: Path, endpoint: str) -> int | None:
    """Return the file that a writer which is gone has left, opened and locked; None if there is none."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EndpointError(f"{endpoint}: {path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(path, fd):
            raise _in_use(endpoint)
        if os.pread(fd, len(MAGIC), 0) != MAGIC:
            raise EndpointError(f"{endpoint}: {path} is no ring of rtcal; remove it, or choose another name")
    except BlockingIOError as error:
        os.close(fd)
        raise _in_use(endpoint) from error
    except EndpointError:
        os.close(fd)
        raise
    return fd


def _in_use(endpoint: str) -> EndpointError:
    return EndpointError(f"{endpoint} is in use: stop the other publisher, or choose another name")
