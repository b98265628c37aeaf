"""Flags of a frame in a byte a pixel: few of the 2^32 possible combinations of bits ever occur in one."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

MOST = 256


@njit(cache=True, nogil=True, error_model="numpy")
def _pack(flags, table, count, codes):  # type: ignore[no-untyped-def]
    last, code = table[0], 0
    for i in range(flags.size):
        if flags[i] != last:
            last = flags[i]
            code = 0
            while code < count and table[code] != last:
                code += 1
            if code == count:
                if count == table.size:
                    return -1
                table[count] = last
                count += 1
        codes[i] = code
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _unpack(codes, table, flags):  # type: ignore[no-untyped-def]
    for y in range(codes.shape[0]):
        for x in range(codes.shape[1]):
            flags[y, x] = table[codes[y, x]]


class Flags:
    """What `NDArray[np.uint32]`, (y, x), holds, as an index of each pixel into a table of combinations.

    A part of it, `flags[rows, columns]`, is an ordinary array.
    """

    def __init__(self, codes: NDArray[np.uint8], table: NDArray[np.uint32]) -> None:
        self._codes = codes
        self._table = table

    def __getitem__(self, part: Any) -> NDArray[np.uint32]:
        codes = self._codes[part]
        flags = np.empty(codes.shape, np.uint32)
        if codes.ndim == 2:
            _unpack(codes, self._table, flags)
        else:
            flags[...] = self._table[codes]
        return flags

    def cut(self, part: tuple[slice, slice]) -> "Flags":
        """Return a part of it without unpacking."""
        return Flags(self._codes[part], self._table)

    @property
    def shape(self) -> tuple[int, ...]:
        """(y, x)."""
        return self._codes.shape

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._codes.nbytes + self._table.nbytes


class Packer:
    """Takes flags piece by piece.

    Parameters
    ----------
    codes
        Where the indices go, uint8, (y, x), contiguous.
    """

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self._codes = codes
        self._flat = codes.reshape(-1)
        self._table = np.zeros(MOST, np.uint32)
        self._count = 1
        self._done = 0
        self._plain: NDArray[np.uint32] | None = None

    def add(self, flags: NDArray[np.uint32]) -> None:
        """Take the next flags, flat."""
        where = slice(self._done, self._done + flags.size)
        self._done = where.stop
        if self._plain is None:
            count = _pack(flags, self._table, self._count, self._flat[where])
            if count > 0:
                self._count = count
                return
            self._plain = np.empty(self._flat.size, np.uint32)  # more combinations than a byte can name
            self._plain[: where.start] = self._table[self._flat[: where.start]]
        self._plain[where] = flags

    def packed(self) -> Flags | NDArray[np.uint32]:
        """Return all that was taken; as it was if there are more than 256 combinations."""
        if self._plain is not None:
            return self._plain.reshape(self._codes.shape)
        return Flags(self._codes, self._table[: self._count].copy())


def compile_kernels() -> None:
    """Compile for flags that have come, read-only, and for those of a piece of memory of ours."""
    for writeable in (True, False):
        flags = np.zeros(4, np.uint32)
        flags.setflags(write=writeable)
        packer = Packer(np.empty((2, 2), np.uint8))
        packer.add(flags)
    for columns in (slice(None), slice(1)):  # rows as they are, and cut-outs
        packer.packed()[:, columns]
