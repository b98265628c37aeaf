"""What kernels take together: named tuples of planes, so that a call can be read.

Planes are `(y, x)`. Where one row serves for all, a plane may be `(1, x)`: `row_of` finds it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels._jit import kernel

BLOCK = 256
"""Pixels of a block: where nothing has happened to any of them, none needs its own bookkeeping."""
NEVER = np.uint16(65535)
JUMP = np.uint8(1)
"""Mark of a pixel whose ramp holds a jump."""
FLOOR = np.uint8(2)
"""Mark of a pixel that read the floor of the analogue-to-digital converter."""
SPILLED = np.uint8(4)
"""Mark of a pixel whose neighbour saturated: its reads from then on are not used."""


class Sample(NamedTuple):
    """A read and what its reference pixels say about it."""

    raw: NDArray[Any]
    """Raw pixels [DN], uint16 or float32, (y, x), read-only."""
    column_dn: NDArray[np.float32]
    """To subtract from each column, (x,)."""
    row_dn: NDArray[np.float32]
    """To subtract from each row, (y,)."""


class Curve(NamedTuple):
    """How measured levels become linear: `y = sum c_k x^k` on `x`, the level above the bias."""

    bias_dn: NDArray[np.float32]
    """Level without charge [DN], (y or 1, x)."""
    coefficients: NDArray[np.float32]
    """c_k [DN^(1-k)], (y or 1, k, x), ascending, finite; none: levels are linear as they are.

    c_0 drops out of every difference of levels and is not looked at.
    """


class Levels(NamedTuple):
    """Raw levels between which a pixel's value is its own [DN], of the type of the reads."""

    ceiling_dn: NDArray[Any]
    """Highest level that is not saturated, (y or 1, x)."""
    least_dn: NDArray[Any]
    """The least of these in each block, (y or 1, block)."""
    floor_dn: np.float32
    """Highest level that is the converter's floor."""


class Times(NamedTuple):
    """Times of the reads used [s], and the sums of times and of their squares over the reads before each; float64."""

    times_s: NDArray[np.float64]
    first_sums: NDArray[np.float64]
    second_sums: NDArray[np.float64]


class State(NamedTuple):
    """What a ramp and its exposure have gathered per pixel."""

    moments: NDArray[np.float32]
    """(y, 2, x): sums of signal [DN] and of time times signal [DN s] of the current segment."""
    first_bad: NDArray[np.uint16]
    """Index of the first saturated read; valid where `slow`."""
    start: NDArray[np.uint16]
    """Index of the first read of the current segment; valid where `slow`."""
    closed: NDArray[np.float32]
    """(y, 3, x): sums over closed segments of slope times weight [DN s], weight [s2] and photon term [s3].

    Valid where `held`.
    """
    saturated_from: NDArray[np.uint16]
    """Earliest number of a read, over ramps, at which the pixel itself was above its ceiling; `NEVER`."""
    marks: NDArray[np.uint8]
    """JUMP, FLOOR, SPILLED."""
    slow: NDArray[np.uint8]
    """(y, block): 1 where something has happened to a pixel of the block in this ramp."""
    held: NDArray[np.uint8]
    """(y, block): 1 where `closed` holds what this exposure has closed so far, 0 where it has closed nothing."""


@kernel
def row_of(plane, y):
    """Return the row of a plane that serves for row `y` of the image."""
    return y if plane.shape[0] > 1 else 0


@kernel
def wake(y, block, a, b, state):
    """Begin the bookkeeping of a block, which has the pixels from `a` to `b`."""
    state.slow[y, block] = 1
    for x in range(a, b):
        state.first_bad[y, x] = NEVER
        state.start[y, x] = 0
    hold(y, block, a, b, state)


@kernel
def hold(y, block, a, b, state):
    """Make `closed` of a block valid: nothing is closed in a new exposure, which most blocks never need to write."""
    if state.held[y, block] == 0:
        state.held[y, block] = 1
        for k in range(state.closed.shape[1]):
            for x in range(a, b):
                state.closed[y, k, x] = 0.0


@kernel
def list_set(flags, n, places):
    """List which of the first `n` flags are 1, looked for eight at a time; return how many."""
    count = 0
    words = flags.view(np.uint64)
    for word in range(-(-n // 8)):
        if words[word] != 0:
            for i in range(8 * word, min(8 * word + 8, n)):
                places[count] = i
                count += flags[i] & 1
    return count
