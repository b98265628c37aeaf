"""One look at every pixel of a frame: how many are flagged, which stand out, which were nearly full."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels._jit import kernel
from rtcal.kernels.planes import BLOCK, list_set

SIGNIFICANCE = np.float32(3.0)
"""Errors of a pixel by which a glow shows."""
LANES = 64
"""Columns among which the highest pixel of a block is looked for side by side."""


class Blocks(NamedTuple):
    """What a frame holds, so that little is looked at twice; blocks are `planes.BLOCK` pixels of a row."""

    highest: NDArray[np.float32]
    """The highest rate, (y, block); minus infinity where all are NaN."""
    highest_good: NDArray[np.float32]
    """That of the pixels without any of some flags."""
    flags: NDArray[np.uint32]
    """The flags of all pixels, put together, (y, block)."""
    counts: NDArray[np.int64]
    """(y, bit): how many pixels have each of some flags."""


class Glow(NamedTuple):
    """Pixels that may glow from earlier exposures."""

    pixels: NDArray[np.int64]
    """Counted row by row, ascending within each exposure, (n,)."""
    rates: NDArray[np.float32]
    """How strongly [e-/s], (n,)."""
    begins: NDArray[np.int64]
    """Where each exposure begins, and the end."""
    shown: NDArray[np.uint8]
    """Set to 1 for those that were flagged, (n,)."""


@kernel
def look_at_rows(begin, end, start, rate, dq, reject, counted, blocks):
    """Look at some rows of a frame.

    Parameters
    ----------
    begin, end
        The rows, as `rate` and `dq` count them.
    start
        Which row of the frame the first of them is.
    rate, dq
        Float32, (y, x), NaN is passed over; flags, uint32.
    reject
        Flags of pixels that are not good, uint32.
    counted
        The flags that are counted, uint32, (bit,).
    blocks
        See `Blocks`; the rows are overwritten.
    """
    highest, good = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for row in range(begin, end):
        y = start + row - begin
        blocks.counts[y] = 0
        for block in range(blocks.flags.shape[1]):
            a, n = np.uint64(block * BLOCK), np.uint64(min(BLOCK, rate.shape[1] - block * BLOCK))
            flags = _look_at_block(row, a, n, rate, dq, reject, highest, good)
            blocks.flags[y, block] = flags
            blocks.highest[y, block] = _highest(highest)
            blocks.highest_good[y, block] = _highest(good)
            for k in range(counted.size):
                if flags & counted[k] != 0:
                    blocks.counts[y, k] += _count(row, a, n, dq, counted[k])


@kernel
def _look_at_block(y, a, n, rate, dq, reject, highest, good):
    highest[:], good[:] = -np.inf, -np.inf
    flags = np.uint32(0)
    for first in range(np.uint64(0), n, np.uint64(LANES)):
        b, lanes = a + first, min(np.uint64(LANES), n - first)
        for i in range(lanes):  # by columns: a maximum along a row would wait for itself at every pixel
            value, own = rate[y, b + i], dq[y, b + i]
            flags |= own
            highest[i] = value if value > highest[i] else highest[i]
            good[i] = value if (value > good[i]) & (own & reject == 0) else good[i]
    return flags


@kernel
def _highest(values):
    """Return the highest of `LANES` values, which are overwritten: half of them against the other half, and so on."""
    half = LANES // 2
    while half >= 8:
        for i in range(half):
            values[i] = values[i + half] if values[i + half] > values[i] else values[i]
        half //= 2
    highest = values[0]
    for i in range(1, 8):
        highest = values[i] if values[i] > highest else highest
    return highest


@kernel
def flag_glow(begin, end, start, err, dq, flag, glow):
    """Flag the pixels of some rows where an earlier exposure's charge would still show, by 3 sigma of their error.

    Parameters
    ----------
    begin, end, start
        As in `look_at_rows`.
    err, dq
        Errors [e-/s], float32, (y, x); flags, uint32, in place.
    flag
        What they get, uint32; those that have it already are passed over.
    glow
        See `Glow`.
    """
    width = err.shape[1]
    last = (start + end - begin) * width
    for exposure in range(glow.begins.size - 1):
        low, stop = glow.begins[exposure], glow.begins[exposure + 1]
        i = low + np.searchsorted(glow.pixels[low:stop], start * width)
        while i < stop and glow.pixels[i] < last:
            y, x = begin + glow.pixels[i] // width - start, glow.pixels[i] % width
            if dq[y, x] & flag == 0 and glow.rates[i] > SIGNIFICANCE * err[y, x]:
                dq[y, x] |= flag
                glow.shown[i] = 1
            i += 1


@kernel
def _count(y, a, n, dq, bit):
    number = np.uint32(0)
    for i in range(n):
        number += np.uint32(dq[y, a + i] & bit != 0)
    return number


@kernel
def _is_summit(rate, y, x, reach):
    for j in range(-reach, reach + 1):
        for i in range(-reach, reach + 1):
            if (j != 0 or i != 0) and rate[y + j, x + i] > rate[y, x]:
                return False
    return True


@kernel
def find_summits(rate, dq, reject, level, blocks, reach, found):
    """List the pixels above a level that are the highest of their neighbourhood.

    Parameters
    ----------
    rate, dq, reject, blocks
        As in `look_at_rows`, its result last.
    level
        Float32.
    reach
        Half of the neighbourhood's side [px]; no summit is nearer to the edge.
    found
        int64, (n, 2), y and x of each, overwritten from the start.

    Returns
    -------
    int
        How many there are; those beyond `n` are counted, not listed.
    """
    number = 0
    for y in range(reach, rate.shape[0] - reach):
        for block in range(blocks.flags.shape[1]):
            if blocks.highest_good[y, block] > level:
                for x in range(max(block * BLOCK, reach), min((block + 1) * BLOCK, rate.shape[1] - reach)):
                    if rate[y, x] > level and dq[y, x] & reject == 0 and _is_summit(rate, y, x, reach):
                        if number < found.shape[0]:
                            found[number, 0] = y
                            found[number, 1] = x
                        number += 1
    return number


@kernel
def find_full(rate, dq, saturated, level, blocks, found):
    """List the pixels that are saturated or whose rate is above a level; the flat index of each, int64.

    Blocks that hold neither, by `look_at_rows`, are skipped. Returns how many there are; those beyond `found` are
    counted, not listed.
    """
    number = 0
    full, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    for y in range(rate.shape[0]):
        for block in range(blocks.flags.shape[1]):
            if blocks.flags[y, block] & saturated != 0 or blocks.highest[y, block] > level:
                a, n = np.uint64(block * BLOCK), np.uint64(min(BLOCK, rate.shape[1] - block * BLOCK))
                for i in range(n):
                    full[i] = (dq[y, a + i] & saturated != 0) | (rate[y, a + i] > level)
                for i in range(list_set(full, np.int64(n), places)):
                    if number < found.size:
                        found[number] = y * rate.shape[1] + block * BLOCK + places[i]
                    number += 1
    return number
