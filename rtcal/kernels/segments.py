"""Jumps of one pixel: a jump closes a segment and opens another.

The step into a read is judged one read later, when it is known whether it stayed: the latest read is
*pending*, in the sums but not yet believed. A step beyond the noise that stays is a jump; one that goes back is
a bad read and is left out, and the read after it is believed. Either way the segment before it is closed, and the
ramp's rate is that of its segments together. Signals are DN, relative to the ramp's first read; `index` counts
the reads used, from 0.
"""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.planes import JUMP


@kernel
def close_segment(y, x, start, stop, s_sum, t_sum, times, closed):
    """Add the segment of the reads `start` to `stop` to the closed ones; below two reads it has no slope."""
    n = stop - start
    if n < 2:
        return
    mean = (times.first_sums[stop] - times.first_sums[start]) / n
    closed[y, 0, x] += t_sum - mean * s_sum
    closed[y, 1, x] += times.second_sums[stop] - times.second_sums[start] - n * mean * mean
    closed[y, 2, x] += _photon_term(times.times_s, start, stop, mean)


@kernel
def _photon_term(times_s, start, stop, mean):
    """Return the photon variance of `slope times weight` of a segment for a flux of 1: sum dt D^2."""
    before, total = 0.0, 0.0
    for m in range(start + 1, stop):
        before += times_s[m - 1] - mean
        total += (times_s[m] - times_s[m - 1]) * before * before
    return total


@kernel
def flux_before(y, x, stop, s_sum, t_sum, start, times, closed):
    """Return the slope of all segments of a pixel, the current one up to the read before `stop`; NaN for none."""
    top, weight = closed[y, 0, x], closed[y, 1, x]
    n = stop - start
    if n >= 2:
        mean = (times.first_sums[stop] - times.first_sums[start]) / n
        top += t_sum - mean * s_sum
        weight += times.second_sums[stop] - times.second_sums[start] - n * mean * mean
    return top / weight if weight > 0.0 else np.nan


@kernel
def beyond(excess, flux, span_s, settings):
    """Tell whether a step is beyond the noise; see `jumps.advance_row` for the settings."""
    return excess * excess > settings[2] * (settings[0] + max(flux, 0.0) * settings[1] * span_s)


@kernel
def settle(y, x, index, now, previous, pending, flux, saturates, times, settings, state):
    """Decide about the pending read of one pixel: keep it, open a segment with it, or leave it out.

    Parameters
    ----------
    now, previous, pending
        Signals of the read `index` and of the two before it, the pending one last [DN].
    flux
        What predicts the step [DN/s].
    saturates
        Whether the pixel saturates with the read `index`.
    """
    k = index - 1
    gap_s = times.times_s[k] - times.times_s[k - 1]
    if not beyond(pending - previous - flux * gap_s, flux, gap_s, settings):
        return
    moments, start = state.moments, state.start
    s_before = moments[y, 0, x] - pending
    t_before = moments[y, 1, x] - times.times_s[k] * pending
    close_segment(y, x, np.int64(start[y, x]), k, s_before, t_before, times, state.closed)
    # Nearer to where it came from than to where it went: the threshold lies at half the step.
    from_previous = now - previous - flux * (times.times_s[index] - times.times_s[k - 1])
    from_pending = now - pending - flux * (times.times_s[index] - times.times_s[k])
    goes_back = abs(from_previous) < abs(from_pending)
    if saturates or goes_back:
        start[y, x] = index
        moments[y, 0, x] = 0.0
        moments[y, 1, x] = 0.0
    else:
        start[y, x] = k
        moments[y, 0, x] = pending
        moments[y, 1, x] = times.times_s[k] * pending
    if saturates or not goes_back:
        state.marks[y, x] |= JUMP
