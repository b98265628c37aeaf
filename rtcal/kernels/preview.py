"""What the screen sees of a ramp in progress: the provisional slope, averaged over square bins."""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.bins import fold
from rtcal.kernels.close import find_eventful
from rtcal.kernels.planes import BLOCK, list_set
from rtcal.kernels.segments import flux_before


@kernel
def preview_rate(row_start, row_stop, state, n_used, is_open, times, gain, unusable, binning, rate):
    """Average the provisional slope over square bins, good pixels only.

    Parameters
    ----------
    row_start, row_stop
        Rows of bins.
    state, times
        See `planes`.
    n_used
        Number of reads used, at least 2.
    is_open
        False where the ramp was closed (`close.close_ramp`).
    gain
        [e-/DN], float32.
    unusable
        Uint8, (y, x); pixels with bit 0 take no part.
    binning
        Side of a bin in pixels; rows and columns beyond the last whole bin are left out.
    rate
        Mean rate [e-/s], float32, (y / binning, x / binning), overwritten; NaN for a bin with no good pixel.
    """
    nx = unusable.shape[1]
    total, count, weight = np.empty(nx, np.float32), np.empty(nx, np.float32), np.empty(rate.shape[1], np.float32)
    eventful, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    slow = state.slow
    mean = times.first_sums[n_used] / n_used
    mean_s = np.float32(mean)
    inverse = np.float32(gain / (times.second_sums[n_used] - n_used * mean * mean))
    stop = n_used if is_open else 0
    for row in range(row_start, row_stop):
        total[:] = 0.0
        count[:] = 0.0
        for y in range(row * binning, (row + 1) * binning):
            for block in range(slow.shape[1]):
                a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, nx))
                if slow[y, block] == 0:
                    _add_slopes(y, a, b, state.moments, unusable, mean_s, inverse, total, count)
                    continue
                find_eventful(y, a, b, state.first_bad, state.start, n_used, eventful)
                _add_plain_slopes(y, a, b, state.moments, unusable, eventful, mean_s, inverse, total, count)
                for i in range(list_set(eventful, np.int64(b - a), places)):
                    _add_eventful(y, block * BLOCK + places[i], state, stop, times, gain, unusable, total, count)
        fold(total, binning, rate[row])
        fold(count, binning, weight)
        for column in range(rate.shape[1]):
            some = weight[column] > 0.0
            rate[row, column] = rate[row, column] / weight[column] if some else np.float32(np.nan)


@kernel
def _add_slopes(y, a, b, moments, unusable, mean_s, inverse, total, count):
    for x in range(a, b):
        slope = (moments[y, 1, x] - mean_s * moments[y, 0, x]) * inverse
        good = unusable[y, x] & 1 == 0
        total[x] += slope if good else np.float32(0.0)
        count[x] += np.float32(1.0) if good else np.float32(0.0)


@kernel
def _add_plain_slopes(y, a, b, moments, unusable, eventful, mean_s, inverse, total, count):
    """Do as `_add_slopes` with those pixels of a slow block that nothing has happened to."""
    for x in range(a, b):
        slope = (moments[y, 1, x] - mean_s * moments[y, 0, x]) * inverse
        good = (unusable[y, x] & 1 == 0) & (eventful[x - a] == 0)
        total[x] += slope if good else np.float32(0.0)
        count[x] += np.float32(1.0) if good else np.float32(0.0)


@kernel
def _add_eventful(y, x, state, last, times, gain, unusable, total, count):
    """Add the slope of a pixel that something has happened to; its current segment counts up to the read `last`."""
    if unusable[y, x] & 1 != 0:
        return
    start, stop = np.int64(state.start[y, x]), min(np.int64(state.first_bad[y, x]), last)
    slope = flux_before(y, x, stop, state.moments[y, 0, x], state.moments[y, 1, x], start, times, state.closed)
    if slope == slope:
        total[x] += np.float32(slope) * gain
        count[x] += np.float32(1.0)
