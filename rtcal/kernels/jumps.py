"""The test for jumps on a row, block by block: nearly all blocks are quiet and need one look as vector code.

`settings` are float64: variance of a difference of two reads [DN2]; DN2 of photon noise for 1 DN; square of the
threshold in sigma.
"""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.planes import BLOCK, JUMP, NEVER, list_set, wake
from rtcal.kernels.segments import beyond, close_segment, flux_before, settle
from rtcal.kernels.sums import add_all, add_calm

CALM, LOOK, GONE = np.uint8(0), np.uint8(1), np.uint8(2)
FIRST_STEPS = 1.2
"""The median of three steps is itself uncertain: their variance limit is this much wider."""


@kernel
def _prediction(k, times, settings):
    """Return what judges the step into the read `k` of pixels to which nothing has happened, float32.

    Mean time of the reads before it [s]; one over their spread [s-2]; the step's length [s]; variance of a
    difference of two reads [DN2]; DN2 of photon noise for 1 DN/s; square of the threshold.
    """
    count = np.float64(k)
    mean = times.first_sums[k] / count
    inverse = 1.0 / (times.second_sums[k] - count * mean * mean)
    step_s = times.times_s[k] - times.times_s[k - 1]
    return (
        np.float32(mean),
        np.float32(inverse),
        np.float32(step_s),
        np.float32(settings[0]),
        np.float32(settings[1] * step_s),
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
            slow[y, block] = 1
            wake(y, a, b, state.first_bad, state.start)
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
            settle(y, x, index, now[x], previous[x], pending[x], flux, saturates, times, settings, state)
    if not saturates:
        moments[y, 0, x] += now[x]
        moments[y, 1, x] += times.times_s[index] * now[x]


@kernel
def _median(one, two, three):
    return max(min(one, two), min(max(one, two), three))


@kernel
def _first_steps_quiet(a, b, second, third, fourth, gaps_s, noise2, photon_per_s, limit2):
    """Tell whether the first three steps of a block's ramps agree with their median; the first signal is 0."""
    loud = False
    for x in range(a, b):
        one, two = second[x] / gaps_s[0], (third[x] - second[x]) / gaps_s[1]
        three = (fourth[x] - third[x]) / gaps_s[2]
        flux = _median(one, two, three)
        shot = max(flux, np.float32(0.0)) * photon_per_s
        d1, d2 = (one - flux) * gaps_s[0], (two - flux) * gaps_s[1]
        loud |= d1 * d1 > limit2 * (noise2 + shot * gaps_s[0])
        loud |= d2 * d2 > limit2 * (noise2 + shot * gaps_s[1])
    return not loud


@kernel
def _find_busy_first(y, a, b, second, third, fourth, first_bad, gaps_s, noise2, photon_per_s, limit2, busy):
    for x in range(a, b):
        one, two = second[x] / gaps_s[0], (third[x] - second[x]) / gaps_s[1]
        three = (fourth[x] - third[x]) / gaps_s[2]
        flux = _median(one, two, three)
        shot = max(flux, np.float32(0.0)) * photon_per_s
        d1, d2 = (one - flux) * gaps_s[0], (two - flux) * gaps_s[1]
        loud = d1 * d1 > limit2 * (noise2 + shot * gaps_s[0])
        loud |= d2 * d2 > limit2 * (noise2 + shot * gaps_s[1])
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
    gaps = np.empty(3, np.float32)
    for i in range(3):
        gaps[i] = times.times_s[i + 1] - times.times_s[i]
    noise2, photon = np.float32(settings[0]), np.float32(settings[1])
    limit2, time_s = np.float32(settings[2] * FIRST_STEPS), np.float32(times.times_s[3])
    busy, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    moments, slow = state.moments, state.slow
    for block in range(slow.shape[1]):
        a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, fourth.size))
        if slow[y, block] == 0:
            if _first_steps_quiet(a, b, second, third, fourth, gaps, noise2, photon, limit2):
                add_all(y, a, b, fourth, time_s, moments)
                continue
            slow[y, block] = 1
            wake(y, a, b, state.first_bad, state.start)
        _find_busy_first(y, a, b, second, third, fourth, state.first_bad, gaps, noise2, photon, limit2, busy)
        add_calm(y, a, b, fourth, time_s, moments, busy)
        for i in range(list_set(busy, np.int64(b - a), places)):
            _begin_pixel(y, block * BLOCK + places[i], fourth, third, second, gaps, times, settings, state)


@kernel
def _begin_pixel(y, x, fourth, third, second, gaps_s, times, settings, state):
    moments, bad_from = state.moments, state.first_bad[y, x]
    one, two = second[x] / gaps_s[0], (third[x] - second[x]) / gaps_s[1]
    flux = min(one, two)
    if bad_from > 3:
        flux = _median(one, two, (fourth[x] - third[x]) / gaps_s[2])
    moments[y, 0, x] = second[x]
    moments[y, 1, x] = times.times_s[1] * second[x]
    for k in range(1, 3):
        if state.start[y, x] < k:  # else the step into the third read was the way back of a bad second one
            pending, previous = (third[x], second[x]) if k == 2 else (second[x], np.float32(0.0))
            now, saturates = (fourth[x], bad_from == 3) if k == 2 else (third[x], False)
            settle(y, x, k + 1, now, previous, pending, flux, saturates, times, settings, state)
        if k == 1:
            moments[y, 0, x] += third[x]
            moments[y, 1, x] += times.times_s[2] * third[x]
    if bad_from > 3:
        moments[y, 0, x] += fourth[x]
        moments[y, 1, x] += times.times_s[3] * fourth[x]


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
            slow[y, block] = 1
            wake(y, a, b, state.first_bad, state.start)
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
    # No flux (NaN) is beyond nothing: the read is believed.
    if beyond(pending[x] - previous[x] - flux * gap_s, flux, gap_s, settings):
        close_segment(y, x, start, k, s_before, t_before, times, state.closed)
        state.start[y, x] = k
        moments[y, 0, x] = pending[x]
        moments[y, 1, x] = times.times_s[k] * pending[x]
        state.marks[y, x] |= JUMP
