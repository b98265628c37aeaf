"""Pixels of a FITS file in one pass.

Each block is read, hashed, turned into native numbers and looked at while it is in the processor's cache. The file
is read, not mapped: one that is cut short by another program is an error then, and not the end of the process.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 1 << 20

_STORED = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_UNSIGNED = {16: 1 << 15, 32: 1 << 31}


@dataclass
class Plane:
    """An image of a file and where it goes.

    Attributes
    ----------
    offset
        Of its first byte in the file.
    stored
        Its numbers there.
    into
        Takes it, of the shape that it has in the file: float32, or uint32 for flags.
    zero
        What is added to the stored numbers: FITS has no unsigned ones.
    above
        What values must be above to be good, beside finite.
    suspect
        Filled with the rows (of the last but one axis) of the blocks that hold a value that is not good.
    negative
        Whether a number below 0 was met in flags.
    """

    offset: int
    stored: np.dtype[Any]
    into: NDArray[Any]
    zero: int = 0
    above: float = -np.inf
    suspect: list[slice] = field(default_factory=list)
    negative: bool = False

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Return the places for the rows of each block, in the order of the file; notes which are suspect."""
        *_, rows, columns = self.into.shape
        step = max(1, BLOCK_BYTES // (columns * self.stored.itemsize))
        for image in self.into if self.into.ndim == 3 else (self.into,):
            for first in range(0, rows, step):
                part = image[first : first + step]
                yield part
                if part.dtype.kind == "f" and not (float(part.min()) > self.above and float(part.max()) < np.inf):
                    self.suspect.append(slice(first, min(first + step, rows)))  # so it is for NaN

    def take(self, raw: memoryview, part: NDArray[Any]) -> None:
        """Turn the bytes of a block into its numbers."""
        values = np.frombuffer(raw, self.stored).reshape(part.shape)
        if part.dtype.kind == "f":
            with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf and is mended like any other
                np.copyto(part, values, casting="same_kind")
        elif self.stored.itemsize == 4:
            np.copyto(part, values.view(">u4"))  # bit 31 is the sign of a signed number
            if self.zero:
                part ^= np.uint32(self.zero)
        else:
            whole = values.astype(np.int64) + self.zero
            self.negative |= bool((whole < 0).any())
            np.copyto(part, whole, casting="unsafe")


def stored_as(header: Any) -> tuple[np.dtype[Any], int] | None:
    """Return how an image's numbers are stored, and what is to be added; None if only astropy can tell."""
    bitpix, zero = header["BITPIX"], header.get("BZERO", 0)
    if header.get("BSCALE", 1) != 1 or zero not in (0, _UNSIGNED.get(bitpix, 0)):
        return None
    return np.dtype(_STORED[bitpix]), int(zero)


def read_planes(stream: BufferedIOBase, planes: Iterable[Plane]) -> str:
    """Fill the planes from a file's bytes, and return the SHA-256 of all of them.

    Raises
    ------
    EOFError
        If the file ends inside a plane.
    """
    digest, buffer = hashlib.sha256(), memoryview(bytearray(2 * BLOCK_BYTES))
    stream.seek(0)
    position = 0
    for plane in sorted(planes, key=lambda plane: plane.offset):
        position += _hash(stream, digest, buffer, plane.offset - position)
        for part in plane.blocks():
            count = part.size * plane.stored.itemsize
            if count > len(buffer):
                buffer = memoryview(bytearray(count))
            raw = buffer[:count]
            if _fill(stream, raw) < count:
                raise EOFError(f"the file ends inside the image at byte {plane.offset}")
            digest.update(raw)
            plane.take(raw, part)
            position += count
    _hash(stream, digest, buffer, None)
    return digest.hexdigest()


def _hash(stream: BufferedIOBase, digest: Any, buffer: memoryview, count: int | None) -> int:
    """Hash the next bytes, or all that are left, and return how many."""
    done = 0
    while count is None or done < count:
        raw = buffer if count is None else buffer[: min(len(buffer), count - done)]
        got = _fill(stream, raw)
        digest.update(raw[:got])
        done += got
        if got < len(raw):
            break
    return done


def _fill(stream: BufferedIOBase, raw: memoryview) -> int:
    got = 0
    while got < len(raw):
        more = stream.readinto(raw[got:])
        if not more:
            break
        got += more
    return got
