"""The planes of a detector: allocated once, used for every exposure of the same shape."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels.planes import BLOCK, NEVER, State
from streams.messages import Read

FloatImage = NDArray[np.float32]
FlagImage = NDArray[np.uint32]
RawImage = NDArray[Any]

STAGGER_BYTES = 320
FRAME_BYTES = 14
"""For each pixel of a frame: rate, error, flags, first saturated read."""


def plane(shape: tuple[int, ...], dtype: Any, order: int = 0) -> NDArray[Any]:
    """Allocate a plane with arbitrary contents; planes of different `order` do not share their offset from a page.

    Big arrays all begin at the same offset, so the same pixel of several planes falls on the same lines
    of the cache; moving each by some hundred bytes is worth about 15 % in a kernel that walks many.
    """
    count = int(np.prod(shape))
    shift = order * STAGGER_BYTES // np.dtype(dtype).itemsize
    return np.empty(count + shift, dtype)[shift:].reshape(shape)


def allocate_state(shape: tuple[int, int]) -> State:
    """Allocate what ramps and exposures gather per pixel, with nothing in it."""
    ny, nx = shape
    state = State(
        moments=plane((ny, 2, nx), np.float32, 1),
        first_bad=plane(shape, np.uint16, 2),
        start=plane(shape, np.uint16, 3),
        closed=plane((ny, 3, nx), np.float32, 4),
        saturated_from=plane(shape, np.uint16, 5),
        marks=plane(shape, np.uint8, 6),
        slow=np.zeros((ny, -(-nx // BLOCK)), np.uint8),
        held=np.zeros((ny, -(-nx // BLOCK)), np.uint8),
    )
    for array in state:
        array.fill(0)  # the pages are there from now on
    clear(state)
    return state


def clear(state: State) -> None:
    """Start a new exposure."""
    state.held.fill(0)
    state.saturated_from.fill(NEVER)
    state.marks.fill(0)


@dataclass(eq=False)
class Buffers:
    """The planes of one detector for reads of one shape and type."""

    shape: tuple[int, int]
    dtype: Any
    state: State
    ends: FloatImage | None = None
    """Sums over the near and the far end of a ramp [DN], (y, 2, x); allocated for the first ramp that has ends."""

    @classmethod
    def fit_for(cls, read: Read, old: "Buffers | None", stock: "Stock | None" = None) -> "Buffers":
        """Return `old` if it fits the read, else some of the stock, else new buffers."""
        shape = (read.data.shape[0], read.data.shape[1])
        if old is not None and old.shape == shape and old.dtype == read.data.dtype:
            return old
        kept = None if stock is None else stock.take(shape)
        new = cls(shape, read.data.dtype, kept or allocate_state(shape))
        if kept is None:
            # After the buffers, which stay: they would take what is given back. Better while the first read is waiting
            # than between a ramp's last read and its frame.
            reserve(FRAME_BYTES * shape[0] * shape[1])
        return new

    def clear_ends(self) -> FloatImage:
        """Return the sums over the two ends, all 0."""
        if self.ends is None:
            self.ends = plane((self.shape[0], 2, self.shape[1]), np.float32, 7)
        self.ends.fill(0)
        return self.ends


RESERVE_BYTES = FRAME_BYTES + 8 + 5
"""For each pixel of a detector: a frame, four reads on their way, merged flags and masks."""

PIECE_BYTES = 1 << 26


class Stock:
    """Planes made before the first read, one set for each detector that is expected.

    The system finds a page of memory when it is first written to: a new gigabyte takes from 0.2 s to seconds, and
    reads would wait for it. What frames and reads will need besides is written to once too, and given back to the
    heap, which keeps it (`streams.heap`).

    Parameters
    ----------
    shapes
        Rows and columns of each detector.
    """

    def __init__(self, shapes: Iterable[tuple[int, int]]) -> None:
        self._lock = threading.Lock()
        shapes = list(shapes)
        with ThreadPoolExecutor(2) as pool:
            self._states = list(pool.map(allocate_state, shapes))
        reserve(sum(ny * nx * RESERVE_BYTES for ny, nx in shapes))

    def __len__(self) -> int:
        return len(self._states)

    def take(self, shape: tuple[int, int]) -> State | None:
        """Return planes of a shape, which are the caller's from then on; None if there are none left."""
        with self._lock:
            for place, state in enumerate(self._states):
                if state.marks.shape == shape:
                    return self._states.pop(place)
        return None


def reserve(nbytes: int) -> None:
    """Write once to so much memory and give it back to the heap, which keeps it (`streams.heap`)."""
    pieces = [np.empty(PIECE_BYTES, np.uint8) for _ in range(-(-nbytes // PIECE_BYTES))]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda piece: piece.fill(0), pieces))
