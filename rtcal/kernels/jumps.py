"""The test for jumps on a row, block by block: nearly all blocks are quiet and need one look as vector code.

`settings` are float64: variance of a read [DN2]; DN2 of photon noise for 1 DN; square of the threshold in sigma.
"""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.planes import BLOCK, JUMP, NEVER, list_set, wake
from rtcal.kernels.segments import beyond, close_segment, first_noise, flux_before, settle, step_noise
from rtcal.kernels.sums import add_all, add_calm

CALM, LOOK, GONE = np.uint8(0), np.uint8(1), np.uint8(2)
MEDIAN = 0.85
"""Of the variance of a fitted step, what its deviation from the median of three has in the tails (by simulation)."""


@kernel
def _prediction(k, times, settings):
    """Return what judges the step into the read `k` of pixels to which nothing has happened, float32.

    Mean time of the reads before it [s]; one over their spread [s-2]; the step's length [s]; its noise by
    `segments.step_noise`; square of the threshold.
    """
    count = np.float64(k)
    mean = times.first_sums[k] / count
    inverse = 1.0 / (times.second_sums[k] - count * mean * mean)
    noise = step_noise(k, 0, 0.0, 0.0, times, settings)
    return (
        np.float32(mean),
        np.float32(inverse),
        np.float32(times.times_s[k] - times.times_s[k - 1]),
        np.float32(noise[0]),
        np.float32(noise[1]),
        np.float32(settings[2]),
    )


@kernel
def _is_quiet(y, a, b, previous, pending, moments, pending_s, prediction):
    """Tell whether no pixel of a block has a pending step beyond its noise."""
    mean_s, inverse, step_s, noise2, photon, limit2 = prediction
    loud = False  # not a count: that halves the lanes of the vectors
    for x in range(a, b):
        s_before, t_before = moments[y, 0, x] - pending[x], moments[y, 1, x] - pending_s * pending[x]
        flux = (t_before - mean_s * s_before) * inverse
        excess = pending[x] - previous[x] - flux * step_s
        loud |= excess * excess > limit2 * (noise2 + max(flux, np.float32(0.0)) * photon)
    return not loud


@kernel
def _find_busy(y, a, b, index, previous, pending, moments, first_bad, start, pending_s, prediction, busy):
    """Mark the pixels of a block that something has happened to, or whose pending step is beyond the noise.

    LOOK, or GONE where a pixel has saturated before the read `index` and there is nothing left to look at.
    """
    mean_s, inverse, step_s, noise2, photon, limit2 = prediction
    for x in range(a, b):
        s_before, t_before = moments[y, 0, x] - pending[x], moments[y, 1, x] - pending_s * pending[x]
        flux = (t_before - mean_s * s_before) * inverse
        excess = pending[x] - previous[x] - flux * step_s
        loud = excess * excess > limit2 * (noise2 + max(flux, np.float32(0.0)) * photon)
        eventful = loud | (first_bad[y, x] != NEVER) | (start[y, x] != 0)
        busy[x - a] = (GONE if first_bad[y, x] < index else LOOK) if eventful else CALM


@kernel
def advance_row(y, index, now, pending, previous, times, settings, state):
    """Judge the pending read by the one that follows it, and add that one, which is pending from then on.

    Parameters
    ----------
    y
        The row.
    index
        Index of the read `now` among those used: 4 or more (`begin_row` takes the fourth, index 3).
    now, pending, previous
        Signals of the last three reads [DN], the latest first, float32, (x,).
    times, settings, state
        See `planes` and this module; `first_bad` holds what `limits.cut_row` found in this read.

    Notes
    -----
    The flux that predicts a step is the fit of all reads before it, segments combined by the inverse of their
    read variance (Offenberg et al. 2001, PASP 113, 240, compare such tests).
    """
    k = index - 1
    prediction, pending_s = _prediction(k, times, settings), np.float32(times.times_s[k])
    time_s, last = np.float32(times.times_s[index]), np.uint16(index)
    busy, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    moments, slow = state.moments, state.slow
    for block in range(slow.shape[1]):
        a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, now.size))
        if slow[y, block] == 0:
            if _is_quiet(y, a, b, previous, pending, moments, pending_s, prediction):
                add_all(y, a, b, now, time_s, moments)
                continue
            wake(y, block, a, b, state)
        _find_busy(y, a, b, last, previous, pending, moments, state.first_bad, state.start, pending_s, prediction, busy)
        add_calm(y, a, b, now, time_s, moments, busy)
        for i in range(list_set(busy, np.int64(b - a), places)):
            _advance_pixel(y, block * BLOCK + places[i], index, now, pending, previous, times, settings, state)


@kernel
def _advance_pixel(y, x, index, now, pending, previous, times, settings, state):
    k, moments = index - 1, state.moments
    start, saturates = np.int64(state.start[y, x]), state.first_bad[y, x] == index
    if start < k:  # else the read before was bad, and the pending one is where the ramp goes on
        s_before = moments[y, 0, x] - pending[x]
        t_before = moments[y, 1, x] - times.times_s[k] * pending[x]
        flux = flux_before(y, x, k, s_before, t_before, start, times, state.closed)
        if flux == flux:
            noise = step_noise(k, start, state.closed[y, 1, x], state.closed[y, 2, x], times, settings)
            settle(y, x, index, now[x], previous[x], pending[x], flux, noise, saturates, times, settings, state)
    if not saturates:
        moments[y, 0, x] += now[x]
        moments[y, 1, x] += times.times_s[index] * now[x]


@kernel
def _median(one, two, three):
    return max(min(one, two), min(max(one, two), three))


@kernel
def _first_prediction(times, settings):
    """Return what judges the first two steps of a ramp by the median of three, float32.

    The steps' lengths [s]; for each of the two variance of the reads [DN2], then of photons for 1 DN/s [DN2]; square of
    the threshold.
    """
    times_s = times.times_s
    into_second, into_third = first_noise(1, 4, times, settings), first_noise(2, 4, times, settings)
    return (
        np.float32(times_s[1] - times_s[0]),
        np.float32(times_s[2] - times_s[1]),
        np.float32(times_s[3] - times_s[2]),
        np.float32(MEDIAN * into_second[0]),
        np.float32(MEDIAN * into_third[0]),
        np.float32(MEDIAN * into_second[1]),
        np.float32(MEDIAN * into_third[1]),
        np.float32(settings[2]),
    )


@kernel
def _first_steps_quiet(a, b, second, third, fourth, prediction):
    """Tell whether the first three steps of a block's ramps agree with their median; the first signal is 0."""
    gap1, gap2, gap3, read1, read2, photon1, photon2, limit2 = prediction
    loud = False
    for x in range(a, b):
        one, two, three = second[x] / gap1, (third[x] - second[x]) / gap2, (fourth[x] - third[x]) / gap3
        flux = _median(one, two, three)
        shot = max(flux, np.float32(0.0))
        d1, d2 = (one - flux) * gap1, (two - flux) * gap2
        loud |= d1 * d1 > limit2 * (read1 + shot * photon1)
        loud |= d2 * d2 > limit2 * (read2 + shot * photon2)
    return not loud


@kernel
def _find_busy_first(y, a, b, second, third, fourth, first_bad, prediction, busy):
    gap1, gap2, gap3, read1, read2, photon1, photon2, limit2 = prediction
    for x in range(a, b):
        one, two, three = second[x] / gap1, (third[x] - second[x]) / gap2, (fourth[x] - third[x]) / gap3
        flux = _median(one, two, three)
        shot = max(flux, np.float32(0.0))
        d1, d2 = (one - flux) * gap1, (two - flux) * gap2
        loud = d1 * d1 > limit2 * (read1 + shot * photon1)
        loud |= d2 * d2 > limit2 * (read2 + shot * photon2)
        eventful = loud | (first_bad[y, x] != NEVER)
        busy[x - a] = (GONE if first_bad[y, x] < 3 else LOOK) if eventful else CALM


@kernel
def begin_row(y, fourth, third, second, times, settings, state):
    """Judge the first two steps of a ramp when its fourth read is there, and add that read, which is pending.

    The median of the first three steps predicts them: no single hit can spoil it.

    Parameters
    ----------
    y
        The row.
    fourth, third, second
        Signals of the reads [DN], float32, (x,); that of the first is 0.
    times, settings, state
        As in `advance_row`.
    """
    prediction, time_s = _first_prediction(times, settings), np.float32(times.times_s[3])
    busy, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    moments, slow = state.moments, state.slow
    for block in range(slow.shape[1]):
        a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, fourth.size))
        if slow[y, block] == 0:
            if _first_steps_quiet(a, b, second, third, fourth, prediction):
                add_all(y, a, b, fourth, time_s, moments)
                continue
            wake(y, block, a, b, state)
        _find_busy_first(y, a, b, second, third, fourth, state.first_bad, prediction, busy)
        add_calm(y, a, b, fourth, time_s, moments, busy)
        for i in range(list_set(busy, np.int64(b - a), places)):
            _begin_pixel(y, block * BLOCK + places[i], fourth, third, second, times, settings, state)


@kernel
def _begin_pixel(y, x, fourth, third, second, times, settings, state):
    moments, bad_from, times_s = state.moments, state.first_bad[y, x], times.times_s
    one, two = second[x] / (times_s[1] - times_s[0]), (third[x] - second[x]) / (times_s[2] - times_s[1])
    flux, n_known, part = min(one, two), 3, 1.0
    if bad_from > 3:
        flux, n_known, part = _median(one, two, (fourth[x] - third[x]) / (times_s[3] - times_s[2])), 4, MEDIAN
    moments[y, 0, x] = second[x]
    moments[y, 1, x] = times_s[1] * second[x]
    for k in range(1, 3):
        if state.start[y, x] < k:  # else the step into the third read was the way back of a bad second one
            pending, previous = (third[x], second[x]) if k == 2 else (second[x], np.float32(0.0))
            now, saturates = (fourth[x], bad_from == 3) if k == 2 else (third[x], False)
            read, photon = first_noise(k, n_known, times, settings)
            noise = (part * read, part * photon)
            settle(y, x, k + 1, now, previous, pending, flux, noise, saturates, times, settings, state)
        if k == 1:
            moments[y, 0, x] += third[x]
            moments[y, 1, x] += times_s[2] * third[x]
    if bad_from > 3:
        moments[y, 0, x] += fourth[x]
        moments[y, 1, x] += times_s[3] * fourth[x]


@kernel
def end_row(y, n_used, pending, previous, times, settings, state):
    """Judge the last read of a ramp, which nothing follows: a step into it is a jump.

    Parameters
    ----------
    y
        The row.
    n_used
        Number of reads used, 4 or more.
    pending, previous
        Signals of the two last reads [DN], the latest first, float32, (x,).
    times, settings, state
        As in `advance_row`.
    """
    k = n_used - 1
    prediction, pending_s = _prediction(k, times, settings), np.float32(times.times_s[k])
    busy, places, last = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64), np.uint16(n_used)
    moments, slow = state.moments, state.slow
    for block in range(slow.shape[1]):
        a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, pending.size))
        if slow[y, block] == 0:
            if _is_quiet(y, a, b, previous, pending, moments, pending_s, prediction):
                continue
            wake(y, block, a, b, state)
        _find_busy(y, a, b, last, previous, pending, moments, state.first_bad, state.start, pending_s, prediction, busy)
        for i in range(list_set(busy, np.int64(b - a), places)):
            _end_pixel(y, block * BLOCK + places[i], n_used, pending, previous, times, settings, state)


@kernel
def _end_pixel(y, x, n_used, pending, previous, times, settings, state):
    k, moments, start = n_used - 1, state.moments, np.int64(state.start[y, x])
    if start >= k:
        return
    s_before = moments[y, 0, x] - pending[x]
    t_before = moments[y, 1, x] - times.times_s[k] * pending[x]
    flux = flux_before(y, x, k, s_before, t_before, start, times, state.closed)
    gap_s = times.times_s[k] - times.times_s[k - 1]
    if flux != flux:
        return  # nothing to judge it by
    noise = step_noise(k, start, state.closed[y, 1, x], state.closed[y, 2, x], times, settings)
    if beyond(pending[x] - previous[x] - flux * gap_s, flux, noise, settings):
        close_segment(y, x, start, k, s_before, t_before, times, state.closed)
        state.start[y, x] = k
        moments[y, 0, x] = pending[x]
        moments[y, 1, x] = times.times_s[k] * pending[x]
        state.marks[y, x] |= JUMP
