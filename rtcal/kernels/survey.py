"""One look at every pixel of a frame: how many are flagged, which stand out, which were nearly full."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels._jit import kernel
from rtcal.kernels.planes import BLOCK, list_set


class Rows(NamedTuple):
    """What the rows of a frame hold, so that few are looked at twice; (y,)."""

    highest: NDArray[np.float32]
    """The highest rate, float32; minus infinity where all are NaN."""
    highest_good: NDArray[np.float32]
    """That of the pixels without any of some flags."""
    flags: NDArray[np.uint32]
    """The flags of all pixels, put together."""
    counts: NDArray[np.int64]
    """(y, bit): how many pixels have each of some flags."""


@kernel
def look_at_rows(y_start, y_stop, rate, dq, reject, counted, rows):
    """Look at a band of rows.

    Parameters
    ----------
    y_start, y_stop
        The band.
    rate, dq
        Float32, (y, x), NaN is passed over; flags, uint32.
    reject
        Flags of pixels that are not good, uint32.
    counted
        The flags that are counted, uint32, (bit,).
    rows
        See `Rows`; those of the band are overwritten.
    """
    # By columns: a maximum along a row would wait for itself at every pixel.
    highest, good = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for y in range(y_start, y_stop):
        highest[:], good[:] = -np.inf, -np.inf
        rows.flags[y] = 0
        rows.counts[y] = 0
        for block in range(-(-rate.shape[1] // BLOCK)):
            a, n = np.uint64(block * BLOCK), np.uint64(min(BLOCK, rate.shape[1] - block * BLOCK))
            flags = _look_at_block(y, a, n, rate, dq, reject, highest, good)
            rows.flags[y] |= flags
            for k in range(counted.size):
                if flags & counted[k] != 0:
                    rows.counts[y, k] += _count(y, a, n, dq, counted[k])
        rows.highest[y], rows.highest_good[y] = highest.max(), good.max()


@kernel
def _look_at_block(y, a, n, rate, dq, reject, highest, good):
    flags = np.uint32(0)
    for i in range(n):
        value, own = rate[y, a + i], dq[y, a + i]
        flags |= own
        highest[i] = value if value > highest[i] else highest[i]
        good[i] = value if (value > good[i]) & (own & reject == 0) else good[i]
    return flags


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
def find_summits(rate, dq, reject, level, rows, reach, found):
    """List the pixels above a level that are the highest of their neighbourhood.

    Parameters
    ----------
    rate, dq, reject, rows
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
        if rows.highest_good[y] > level:
            for x in range(reach, rate.shape[1] - reach):
                if rate[y, x] > level and dq[y, x] & reject == 0 and _is_summit(rate, y, x, reach):
                    if number < found.shape[0]:
                        found[number, 0] = y
                        found[number, 1] = x
                    number += 1
    return number


@kernel
def find_full(rate, dq, saturated, level, rows, found):
    """List the pixels that are saturated or whose rate is above a level; the flat index of each, int64.

    Rows that hold neither, by `look_at_rows`, are skipped. Returns how many there are; those beyond `found` are
    counted, not listed.
    """
    number = 0
    full, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    for y in range(rate.shape[0]):
        if rows.flags[y] & saturated != 0 or rows.highest[y] > level:
            for block in range(-(-rate.shape[1] // BLOCK)):
                a, n = np.uint64(block * BLOCK), np.uint64(min(BLOCK, rate.shape[1] - block * BLOCK))
                for i in range(n):
                    full[i] = (dq[y, a + i] & saturated != 0) | (rate[y, a + i] > level)
                for i in range(list_set(full, np.int64(n), places)):
                    if number < found.size:
                        found[number] = y * rate.shape[1] + block * BLOCK + places[i]
                    number += 1
    return number
