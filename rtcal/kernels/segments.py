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

TOGETHER = 0.81
"""Of the variance of a step and its prediction together, what must be exceeded like the step's own: 4.5 sigma for 5.

The first reads know the flux badly: by the step's own noise alone a jump is seen in one pixel in 4000 of a dark ramp.
All of both variances would lose one hit in twenty of those that must be found once the prediction is good.
"""


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
def step_noise(k, start, weight, spread, times, settings):
    """Return the noise that judges a step against what the reads before it predict.

    Parameters
    ----------
    k
        The read that the step leads to; those from `start` on are the current segment's.
    start, weight, spread
        First read of the current segment; weight [s2] and photon term [s3] of the closed ones.
    times, settings
        See `planes` and `jumps`.

    Returns
    -------
    Variance of the reads [DN2], and that of photons for 1 DN/s [DN2]: the step's own, or `TOGETHER` of what step and
    prediction have.

    Notes
    -----
    The last read of the segment is in the step and in the fit. The photons of the segment's slope are taken as those
    between its ends: up to a sixth less than they are, of a term that is one part in the number of reads.
    """
    gap_s, lever_s, n = times.times_s[k] - times.times_s[k - 1], 0.0, k - start
    if n >= 2:
        mean = (times.first_sums[k] - times.first_sums[start]) / n
        square = times.second_sums[k] - times.second_sums[start] - n * mean * mean
        weight += square
        spread += square * square / (times.times_s[k - 1] - times.times_s[start])
        lever_s = times.times_s[k - 1] - mean
    read = 2.0 + gap_s * (gap_s + 2.0 * lever_s) / weight
    photon = gap_s + gap_s * gap_s * spread / (weight * weight)
    return max(2.0, TOGETHER * read) * settings[0], max(gap_s, TOGETHER * photon) * settings[1]


@kernel
def first_noise(k, n, times, settings):
    """Return the noise that judges the step into the read `k` by the first `n` reads of a ramp, their slope unknown.

    As `step_noise`; that of step and prediction is the error of the step in the fit of a line that has it.
    """
    times_s, after = times.times_s, np.float64(n - k)
    mean = times.first_sums[n] / n
    square = times.second_sums[n] - n * mean * mean
    slope = (times.first_sums[n] - times.first_sums[k] - after * mean) / square
    size = after * k / n - slope * slope * square
    tail, photon = 0.0, 0.0
    for m in range(n - 1, 0, -1):
        tail += np.float64(m >= k) - after / n - slope * (times_s[m] - mean)
        photon += (times_s[m] - times_s[m - 1]) * tail * tail
    return TOGETHER * settings[0] / size, TOGETHER * settings[1] * photon / (size * size)


@kernel
def beyond(excess, flux, noise, settings):
    """Tell whether a step is beyond the noise, which is that of the reads and that of the photons for 1 DN/s."""
    return excess * excess > settings[2] * (noise[0] + max(flux, 0.0) * noise[1])


@kernel
def settle(y, x, index, now, previous, pending, flux, noise, saturates, times, settings, state):
    """Decide about the pending read of one pixel: keep it, open a segment with it, or leave it out.

    Parameters
    ----------
    now, previous, pending
        Signals of the read `index` and of the two before it, the pending one last [DN].
    flux
        What predicts the step [DN/s].
    noise
        Of the step less that: `step_noise`, `first_noise`.
    saturates
        Whether the pixel saturates with the read `index`.
    """
    k = index - 1
    gap_s = times.times_s[k] - times.times_s[k - 1]
    if not beyond(pending - previous - flux * gap_s, flux, noise, settings):
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
