"""Memory of full frames: taken from the system once and used again for the next frame.

The allocator's own heap would be torn into pieces by what is small, and pages that are given back cost more
than all the rest when they come anew.
"""

import mmap
import weakref
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

MOST_FREE = 2
"""Planes of one size that wait for the next frame: rate and error."""


class Planes:
    """Lends arrays to one thread; the memory comes back by itself when the last view of one is gone.

    Of what came back no more is kept than the next frame of the latest shape needs.
    """

    def __init__(self) -> None:
        self._shape: tuple[int, int] | None = None
        self._free: dict[int, list[mmap.mmap]] = {}

    def take(self, shape: tuple[int, int], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of whatever content."""
        if shape != self._shape:
            self._shape, self._free = shape, {}
        nbytes = shape[0] * shape[1] * np.dtype(dtype).itemsize
        free = self._free.setdefault(nbytes, [])
        memory = free.pop() if free else mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        whole = np.frombuffer(memory, dtype)
        weakref.finalize(whole, _take_back, free, memory).atexit = False
        return whole.reshape(shape)


def _take_back(free: list[mmap.mmap], memory: mmap.mmap) -> None:
    """Keep a plane for the next frame; called on whatever thread let go of it last."""
    if len(free) < MOST_FREE:
        free.append(memory)
