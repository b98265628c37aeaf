"""Bad pixels: repaired from good neighbours, or blanked; they keep their flags either way.

What repair costs is memory and mispredicted branches, for bad pixels lie apart and in no order. So each
row is first read through in order, which brings it into the cache and marks who may help; the neighbours
of a batch of bad pixels are copied together; and their medians are found by a sorting network over the
whole batch, in which there is no branch.
"""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.flags import DO_NOT_USE, REFERENCE_PIXEL

REACH = 2
"""Rows on each side that the repair of a row looks at."""
NEAR = 8
FAR = 24
BATCH = 64
EIGHT_GOOD = np.uint64(0x0101010101010101)
NETWORK = np.array(
    [
        *((0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7), (0, 1), (2, 3)),
        *((4, 5), (6, 7), (2, 4), (3, 5), (1, 4), (3, 6), (1, 2), (3, 4), (5, 6)),
    ]
)
"""Places to compare and exchange, in this order; whatever the eight values were, they are sorted then."""


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
def _repair_one(rate, err, dq, y, x):
    """Repair any pixel: one at the edge of the image, or one that has to look further. Slow and rare."""
    if dq[y, x] & (DO_NOT_USE | REFERENCE_PIXEL) != DO_NOT_USE:
        return
    values, variances = np.empty(FAR, np.float32), np.empty(FAR, np.float32)
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
def _mark_good(y, rate, dq, good):
    """Mark the pixels of a row that may help others, in that row of three which is its own; 1 beyond the end."""
    slot = y % 3
    for x in range(rate.shape[1]):
        good[slot, x] = (dq[y, x] & DO_NOT_USE == 0) & np.isfinite(rate[y, x])


@kernel
def _list_bad(y, good, dq, columns):
    """List the bad pixels of a row without its ends; return how many. `good` is padded with 1 to whole words."""
    count, last = 0, dq.shape[1] - 1
    words = good[y % 3].view(np.uint64)
    for word in range(words.size):
        if words[word] != EIGHT_GOOD:
            for x in range(max(8 * word, 1), min(8 * word + 8, last)):
                columns[count] = x
                count += dq[y, x] & (DO_NOT_USE | REFERENCE_PIXEL) == DO_NOT_USE
    return count


@kernel
def _take(plane, above, own, below, columns, first, n, slot, near):
    """Copy the neighbours of `n` listed pixels of a row into a batch, (neighbour, pixel), from `slot` on."""
    for i in range(n):
        x, k = columns[first + i], slot + i
        near[0, k] = plane[above, x - 1]
        near[1, k] = plane[above, x]
        near[2, k] = plane[above, x + 1]
        near[3, k] = plane[own, x - 1]
        near[4, k] = plane[own, x + 1]
        near[5, k] = plane[below, x - 1]
        near[6, k] = plane[below, x]
        near[7, k] = plane[below, x + 1]


@kernel
def _mask(values, errors, helps, n, count, noise):
    """Count the neighbours that help and add their variances; the others become infinite, last when sorted."""
    for k in range(NEAR):
        for i in range(BATCH):
            good = (helps[k, i] != 0) & (i < n)
            count[i] += 1 if good else 0
            noise[i] += errors[k, i] * errors[k, i] if good else np.float32(0.0)
            values[k, i] = values[k, i] if good else np.float32(np.inf)


@kernel
def _sort_batch(values):
    for step in range(NETWORK.shape[0]):
        j, k = NETWORK[step, 0], NETWORK[step, 1]
        for i in range(BATCH):
            a, b = values[j, i], values[k, i]
            values[j, i] = b if a > b else a
            values[k, i] = a if a > b else b


@kernel
def _medians(values, count, median):
    for i in range(BATCH):
        middle = count[i] // 2
        lower, upper = values[max(middle - 1, 0), i], values[middle, i]
        median[i] = upper if count[i] % 2 else np.float32(0.5) * (lower + upper)


@kernel
def _add_scatter(values, count, median, scatter):
    for k in range(NEAR):
        for i in range(BATCH):
            offset = values[k, i] - median[i] if k < count[i] else np.float32(0.0)
            scatter[i] += offset * offset


@kernel
def _repair_batch(rate, err, dq, place, n, values, errors, helps):
    """Repair the `n` pixels at `place`, (y or x, pixel); the rest of the batch is worked too, for nothing."""
    count, noise = np.zeros(BATCH, np.int32), np.zeros(BATCH, np.float32)
    median, scatter = np.empty(BATCH, np.float32), np.zeros(BATCH, np.float32)
    _mask(values, errors, helps, n, count, noise)
    _sort_batch(values)
    _medians(values, count, median)
    _add_scatter(values, count, median, scatter)
    for i in range(n):
        y, x = place[0, i], place[1, i]
        if count[i] == 0:
            _repair_one(rate, err, dq, y, x)
        else:
            rate[y, x] = median[i]
            err[y, x] = np.sqrt((noise[i] + scatter[i]) / np.float32(count[i]))


@kernel
def _repair_ends(rate, err, dq, y):
    """Repair what has not eight neighbours: the first and last pixel of a row, the whole of the first and last row."""
    step = 1 if y == 0 or y == rate.shape[0] - 1 else max(rate.shape[1] - 1, 1)
    for x in range(0, rate.shape[1], step):
        _repair_one(rate, err, dq, y, x)


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
    height, width = rate.shape
    good = np.ones((3, -(-width // 8) * 8), np.uint8)
    columns, place = np.empty(width, np.int64), np.zeros((2, BATCH), np.int64)
    values, errors = np.zeros((NEAR, BATCH), np.float32), np.zeros((NEAR, BATCH), np.float32)
    helps, filled = np.zeros((NEAR, BATCH), np.uint8), 0
    for y in range(max(y_start - 1, 0), min(y_start + 1, height)):
        _mark_good(y, rate, dq, good)
    for y in range(y_start, y_stop + 1):  # the last turn finishes the last batch
        total, taken, last = 0, 0, y == y_stop
        if not last:
            _repair_ends(rate, err, dq, y)
            if y + 1 < height:
                _mark_good(y + 1, rate, dq, good)
            if 0 < y < height - 1:
                total = _list_bad(y, good, dq, columns)
        while taken < total or (last and filled > 0):
            n = min(BATCH - filled, total - taken)
            _take(rate, y - 1, y, y + 1, columns, taken, n, filled, values)
            _take(err, y - 1, y, y + 1, columns, taken, n, filled, errors)
            _take(good, (y - 1) % 3, y % 3, (y + 1) % 3, columns, taken, n, filled, helps)
            for i in range(n):
                place[0, filled + i], place[1, filled + i] = y, columns[taken + i]
            taken, filled = taken + n, filled + n
            if last or filled == BATCH:
                _repair_batch(rate, err, dq, place, filled, values, errors, helps)
                filled = 0


@kernel
def blank(rate, err, dq):
    """Make pixels with DO_NOT_USE NaN, the border excepted."""
    for y in range(rate.shape[0]):
        for x in range(rate.shape[1]):
            if dq[y, x] & DO_NOT_USE != 0 and dq[y, x] & REFERENCE_PIXEL == 0:
                rate[y, x] = np.nan
                err[y, x] = np.nan
