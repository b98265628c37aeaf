"""One look at every pixel of a frame: how many are flagged, which stand out, which were nearly full."""

import numpy as np

from rtcal.kernels._jit import kernel

BAND = 16
"""Rows of a band."""


@kernel
def count_flags(dq, bits, counts):
    """Count the pixels that have any of some bits.

    Parameters
    ----------
    dq
        Flags, uint32, (y, x).
    bits
        The bits of each count, uint32.
    counts
        int64, one for each of `bits`, overwritten.
    """
    counts[:] = 0
    for y in range(dq.shape[0]):
        for k in range(bits.size):
            total = 0
            wanted = bits[k]
            for x in range(dq.shape[1]):
                total += np.int64(dq[y, x] & wanted != 0)
            counts[k] += total


@kernel
def band_maxima(rate, dq, reject, level, maxima):
    """Find the highest pixel of each band of `BAND` rows, so that few rows are looked at twice.

    Parameters
    ----------
    rate
        Float32, (y, x); NaN is passed over.
    dq, reject
        Flags and the bits of pixels that are passed over.
    level
        Below it a pixel counts as not there.
    maxima
        Float32, one for each band, overwritten; `level` where nothing stands out.
    """
    # By columns first: a maximum along a row would wait for itself at every pixel.
    highest = np.empty(rate.shape[1], np.float32)
    for band in range(maxima.size):
        highest[:] = level
        for y in range(band * BAND, min((band + 1) * BAND, rate.shape[0])):
            for x in range(rate.shape[1]):
                value = rate[y, x] if dq[y, x] & reject == 0 else level
                highest[x] = value if value > highest[x] else highest[x]
        maxima[band] = highest.max()


@kernel
def _is_summit(rate, y, x, reach):
    for j in range(-reach, reach + 1):
        for i in range(-reach, reach + 1):
            if (j != 0 or i != 0) and rate[y + j, x + i] > rate[y, x]:
                return False
    return True


@kernel
def find_summits(rate, dq, reject, level, maxima, reach, found):
    """List the pixels above a level that are the highest of their neighbourhood.

    Parameters
    ----------
    rate, dq, reject, level, maxima
        As in `band_maxima`, its result last.
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
        if maxima[y // BAND] > level:
            for x in range(reach, rate.shape[1] - reach):
                if rate[y, x] > level and dq[y, x] & reject == 0 and _is_summit(rate, y, x, reach):
                    if number < found.shape[0]:
                        found[number, 0] = y
                        found[number, 1] = x
                    number += 1
    return number


@kernel
def find_full(rate, dq, saturated, level, maxima, found):
    """List the pixels that are saturated or whose rate is above a level; the flat index of each, int64.

    `maxima` are those of `band_maxima` of all pixels: rows without a saturated pixel or one above the level are
    skipped. Returns how many there are; those beyond `found` are counted, not listed.
    """
    number = 0
    for y in range(rate.shape[0]):
        some = np.uint32(0)
        for x in range(rate.shape[1]):
            some |= dq[y, x]
        if some & saturated != 0 or maxima[y // BAND] > level:
            for x in range(rate.shape[1]):
                if dq[y, x] & saturated != 0 or rate[y, x] > level:
                    if number < found.size:
                        found[number] = y * rate.shape[1] + x
                    number += 1
    return number
