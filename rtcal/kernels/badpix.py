"""Bad pixels: repaired from good neighbours, or blanked; they keep their flags either way."""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.flags import DO_NOT_USE, REFERENCE_PIXEL, UNRELIABLE_SLOPE

MAX_NEIGHBOURS = 24


@kernel
def _gather(rate, err, dq, y, x, reach, values, variances):
    """Collect the good pixels within `reach` of a pixel; return how many there are."""
    count = 0
    for v in range(max(y - reach, 0), min(y + reach + 1, rate.shape[0])):
        for u in range(max(x - reach, 0), min(x + reach + 1, rate.shape[1])):
            if dq[v, u] & DO_NOT_USE == 0 and np.isfinite(rate[v, u]):
                values[count] = rate[v, u]
                variances[count] = err[v, u] * err[v, u]
                count += 1
    return count


@kernel
def _sort(values, count):
    for i in range(1, count):
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value


@kernel
def _estimate(values, variances, count):
    """Return the median of the neighbours and the variance with which it stands in for a pixel."""
    _sort(values, count)
    middle = count // 2
    median = values[middle] if count % 2 else np.float32(0.5) * (values[middle - 1] + values[middle])
    mean_variance, scatter = np.float32(0.0), np.float32(0.0)
    for i in range(count):
        mean_variance += variances[i]
        scatter += (values[i] - median) * (values[i] - median)
    return median, (mean_variance + scatter) / np.float32(count)


@kernel
def repair(rate, err, dq, y_start, y_stop):
    """Give each bad pixel of the rows `y_start` to `y_stop` the median of its good neighbours.

    The eight nearest are asked first, then the 5 x 5 pixels around; where none is good the pixel
    becomes NaN. Border pixels (REFERENCE_PIXEL) are left as they are. Only pixels with DO_NOT_USE are
    written and only pixels without it are read, so bands may run in any order.

    Parameters
    ----------
    rate, err
        Whole frame, float32 [e-/s], (y, x), in place. The error becomes the root of the mean variance
        of the neighbours plus their scatter: above that of a good pixel.
    dq
        Uint32; DO_NOT_USE says what is bad and stays set.
    """
    values = np.empty(MAX_NEIGHBOURS + 1, np.float32)
    variances = np.empty(MAX_NEIGHBOURS + 1, np.float32)
    for y in range(y_start, y_stop):
        for x in range(rate.shape[1]):
            if dq[y, x] & DO_NOT_USE == 0 or dq[y, x] & REFERENCE_PIXEL != 0:
                continue
            count = _gather(rate, err, dq, y, x, 1, values, variances)
            if count == 0:
                count = _gather(rate, err, dq, y, x, 2, values, variances)
            rate[y, x] = np.nan
            err[y, x] = np.nan
            if count > 0:
                median, variance = _estimate(values, variances, count)
                rate[y, x] = median
                err[y, x] = np.sqrt(variance)


@kernel
def blank(rate, err, dq):
    """Make pixels with DO_NOT_USE NaN, the border excepted."""
    for y in range(rate.shape[0]):
        for x in range(rate.shape[1]):
            if dq[y, x] & DO_NOT_USE != 0 and dq[y, x] & REFERENCE_PIXEL == 0:
                rate[y, x] = np.nan
                err[y, x] = np.nan


@kernel
def flag_unreliable(err, dq, limit):
    """Set UNRELIABLE_SLOPE where the error is above `limit` [e-/s]."""
    for y in range(err.shape[0]):
        for x in range(err.shape[1]):
            if err[y, x] > limit:
                dq[y, x] |= UNRELIABLE_SLOPE
