"""Frames of one scene combined pixel by pixel, without what only one of them shows."""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.flags import DO_NOT_USE, REFERENCE_PIXEL
from rtcal.kernels.planes import BLOCK

OUTLIER_SIGMA = np.float32(5.0)
MEDIAN_LOSS = np.float32(1.2533)
"""Error of a median over that of a mean, for normal noise: the root of pi/2."""
NONE = np.uint32(0)


@kernel
def combine_rows(rates, errors, flags, factors, median, passing, rate, err, dq):
    """Average some rows of several frames, or take their median.

    A value is left out if it lies more than 5 sigma from the yardstick of its pixel: the median, or the lowest of two.
    One frame is handed on as it is.

    Parameters
    ----------
    rates, errors
        [e-/s], float32, (frame, y, x).
    flags
        Uint32, (frame, y, x). A value with DO_NOT_USE is not there, but for those of reference pixels.
    factors
        What to multiply each frame by, float32, (frame,).
    median
        Whether to take the median itself where three or more frames have a value.
    passing
        Flags that are not handed on, uint32.
    rate, err, dq
        Overwritten, (y, x): NaN with DO_NOT_USE where no frame has a value.
    """
    count, height, width = rates.shape
    ordered = np.empty((count, BLOCK), np.float32)
    present, kept = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    least, middle = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    sums = np.empty((2, BLOCK), np.float32)
    hidden = ~(passing | DO_NOT_USE)
    for y in range(height):
        for a in range(0, width, BLOCK):
            n = min(BLOCK, width - a)
            present[:], least[:], sums[:], kept[:] = 0, np.inf, 0.0, 0
            for x in range(n):
                dq[y, a + x] = NONE
            for i in range(count):
                _look(i, y, a, n, rates, errors, flags, factors[i], hidden, ordered, present, least, dq)
            _sort(ordered, count, n)
            _middle(ordered, present, count, n, middle)
            for i in range(count):
                _add(i, y, a, n, rates, errors, flags, factors[i], least, middle, sums, kept)
            for x in range(n):
                number = np.float32(kept[x]) if kept[x] else np.float32(np.nan)
                by_median = median and present[x] >= 3
                mean_err = np.sqrt(sums[1, x]) / number
                rate[y, a + x] = middle[x] if by_median else sums[0, x] / number
                err[y, a + x] = mean_err * MEDIAN_LOSS if by_median else mean_err
                dq[y, a + x] |= NONE if kept[x] else DO_NOT_USE


@kernel
def _value(rate, err, flags, factor):
    """Return a frame's value of a pixel; infinity where it has none."""
    bad = (flags & DO_NOT_USE != NONE) & (flags & REFERENCE_PIXEL == NONE)
    there = (not bad) & np.isfinite(rate) & (err == err)
    return rate * factor if there else np.float32(np.inf)


@kernel
def _look(i, y, a, n, rates, errors, flags, factor, hidden, ordered, present, least, dq):
    """Note the values of a frame, how many there are, their least error, and the flags."""
    for x in range(n):
        value = _value(rates[i, y, a + x], errors[i, y, a + x], flags[i, y, a + x], factor)
        ordered[i, x] = value
        there = value < np.inf
        present[x] += there
        error = errors[i, y, a + x] * factor
        least[x] = min(least[x], error if there else np.float32(np.inf))
        dq[y, a + x] |= flags[i, y, a + x] & hidden


@kernel
def _sort(ordered, count, n):
    """Sort each pixel's values by exchanging neighbours, all pixels in step: there is no branch to mispredict."""
    for turn in range(count):
        for i in range(turn & 1, count - 1, 2):
            for x in range(n):
                one, other = ordered[i, x], ordered[i + 1, x]
                ordered[i, x] = min(one, other)
                ordered[i + 1, x] = max(one, other)


@kernel
def _middle(ordered, present, count, n, middle):
    """Find the yardstick: the median of the values that are there, of two frames the lower."""
    for x in range(n):
        if present[x] == 0:
            middle[x] = np.float32(np.nan)
        elif count == 2:
            middle[x] = ordered[0, x]
        else:
            low, high = ordered[(present[x] - 1) // 2, x], ordered[present[x] // 2, x]
            middle[x] = np.float32(0.5) * (low + high)


@kernel
def _add(i, y, a, n, rates, errors, flags, factor, least, middle, sums, kept):
    """Add the values of a frame that are no outliers, and the squares of their errors."""
    for x in range(n):
        value = _value(rates[i, y, a + x], errors[i, y, a + x], flags[i, y, a + x], factor)
        error = errors[i, y, a + x] * factor
        away = value - middle[x]
        limit = OUTLIER_SIGMA * OUTLIER_SIGMA * (error * error + least[x] * least[x])
        inside = (value < np.inf) & (away * away <= limit)
        sums[0, x] += value if inside else np.float32(0.0)
        sums[1, x] += error * error if inside else np.float32(0.0)
        kept[x] += inside
