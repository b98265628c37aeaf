"""The sums of a ramp with cosmic rays found on the fly: a jump closes a segment and opens another.

The step into a read is judged one read later, when it is known whether it stayed: the latest read is
*pending*, in the sums but not yet believed. A step beyond the noise that stays is a jump; one that goes
back is a bad read and is left out. Either way the segment before it is closed, and the ramp's rate is that of
its segments together (`fit`). Blocks of `BLOCK` pixels where nothing has happened (`slow` is 0) need no
per-pixel bookkeeping: their part of the planes below `slow` is not even initialised.

Planes that go together are stacked: `moments` holds the sums of signal and of time times signal of the
current segment, `closed` those of the segments before: slope times weight, weight, photon term.
`index` counts the reads used, from 0. Signals are DN, relative to a zero level.
"""

import numpy as np

from rtcal.kernels._jit import kernel

BLOCK = 256
NEVER = np.uint16(65535)
TAKEN = np.uint16(65534)
"""Saturated by a neighbour with this read; never seen outside `grow`."""
FRESH, TOUCHED = np.uint8(3), np.uint8(2)
"""States of a slow block between `mark_limits` and `grow`: it holds a pixel above the ceiling; or its neighbour."""
FIRST_STEPS = 1.2
"""The median of three steps is itself uncertain: their variance limit is this much wider."""
JUMP = np.uint8(1)
"""Mark of a pixel whose ramp holds a jump."""
FLOOR = np.uint8(2)
"""Mark of a pixel that read the floor of the analogue-to-digital converter."""
SPILLED = np.uint8(4)
"""Mark of a pixel whose neighbour saturated: its reads from then on are not used."""


@kernel
def _begin_slow(first_bad, start, closed):
    for i in range(first_bad.size):
        first_bad[i] = NEVER
        start[i] = 0
        closed[0, i] = 0.0
        closed[1, i] = 0.0
        closed[2, i] = 0.0


@kernel
def _list_set(flags, n, places):
    """List which of the first `n` flags of a block are set, looked for eight at a time; return how many."""
    count = 0
    words = flags.view(np.uint64)
    for word in range(-(-n // 8)):
        if words[word] != 0:
            for i in range(8 * word, min(8 * word + 8, n)):
                places[count] = i
                count += flags[i] != 0
    return count


@kernel
def _extremes(read):
    top = bottom = read[0]
    for i in range(read.size):
        top = max(top, read[i])
        bottom = min(bottom, read[i])
    return top, bottom


@kernel
def mark_limits(read, ceiling_dn, floor_dn, index, number, saturated_from, first_bad, start, closed, marks, slow):
    """Note the pixels whose raw level is above the ceiling for the first time, or at the floor of the converter.

    Parameters
    ----------
    read
        Raw pixels [DN], uint16 or float32, (y, x).
    ceiling_dn, floor_dn
        Highest level that is not saturated, and highest that is the converter's floor [DN], float32.
    index
        Index of the read among those used, uint16.
    number
        Its number in the ramp, uint16.
    saturated_from
        Uint16, (y, x), in place: the earliest number at which the pixel itself was above the ceiling, `NEVER` if none.
    marks
        Uint8, (y, x), in place: FLOOR is set at the floor.
    first_bad, start, closed, slow
        As in `advance`; `slow` is FRESH where a pixel is above the ceiling, for `grow`.
    """
    for y in range(read.shape[0]):
        for block in range(slow.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, read.shape[1])
            top, bottom = _extremes(read[y, a:b])
            if top > ceiling_dn:
                if slow[y, block] == 0:
                    _begin_slow(first_bad[y, a:b], start[y, a:b], closed[y, :, a:b])
                slow[y, block] = FRESH
                _mark_ceiling(read[y, a:b], ceiling_dn, index, number, saturated_from[y, a:b], first_bad[y, a:b])
            if bottom <= floor_dn:
                _mark_floor(read[y, a:b], floor_dn, marks[y, a:b])


@kernel
def _mark_ceiling(read, ceiling_dn, index, number, saturated_from, first_bad):
    for i in range(read.size):
        over = np.float32(read[i]) > ceiling_dn
        saturated_from[i] = min(saturated_from[i], number) if over else saturated_from[i]
        first_bad[i] = index if over & (first_bad[i] == NEVER) else first_bad[i]


@kernel
def _mark_floor(read, floor_dn, marks):
    for i in range(read.size):
        marks[i] |= FLOOR if np.float32(read[i]) <= floor_dn else np.uint8(0)


@kernel
def grow(read, ceiling_dn, index, first_bad, start, closed, marks, slow):
    """Let saturated pixels take their eight neighbours with them.

    Charge and capacitive coupling spill over. It runs over the whole frame, after all bands were marked.

    Parameters
    ----------
    read, ceiling_dn, index
        As in `mark_limits`.
    marks
        Uint8, (y, x), in place: SPILLED is set on the neighbours.
    first_bad, start, closed, slow
        As in `advance`, of the whole frame.
    """
    ny, nx = first_bad.shape
    over, places, taken = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64), 0
    for y in range(ny):
        for block in range(slow.shape[1]):
            if slow[y, block] == FRESH:
                a, b = block * BLOCK, min((block + 1) * BLOCK, nx)
                _mark_over(read[y, a:b], ceiling_dn, over)
                for i in range(_list_set(over, b - a, places)):
                    taken += _take_neighbours(y, a + places[i], first_bad, start, closed, slow)
    for y in range(ny):
        for block in range(slow.shape[1]):
            if slow[y, block] > 1:
                slow[y, block] = 1
                if taken > 0:  # not so while a star stays saturated: its neighbours are gone since its first read
                    a, b = block * BLOCK, min((block + 1) * BLOCK, nx)
                    _mark_taken(index, first_bad[y, a:b], marks[y, a:b])


@kernel
def _mark_over(read, ceiling_dn, over):
    for i in range(read.size):
        over[i] = read[i] > ceiling_dn


@kernel
def _mark_taken(index, first_bad, marks):
    for i in range(first_bad.size):
        taken = first_bad[i] == TAKEN
        first_bad[i] = index if taken else first_bad[i]
        marks[i] |= SPILLED if taken else np.uint8(0)


@kernel
def _take_neighbours(y, x, first_bad, start, closed, slow):
    ny, nx = first_bad.shape
    taken = 0
    for v in range(max(y - 1, 0), min(y + 2, ny)):
        for u in range(max(x - 1, 0), min(x + 2, nx)):
            block = u // BLOCK
            a, b = block * BLOCK, min((block + 1) * BLOCK, nx)
            if slow[v, block] == 0:
                _begin_slow(first_bad[v, a:b], start[v, a:b], closed[v, :, a:b])
            slow[v, block] = max(slow[v, block], TOUCHED)
            if first_bad[v, u] == NEVER:
                first_bad[v, u] = TAKEN
                taken += 1
    return taken


@kernel
def add(signal, time_s, store, keep, moments, first_bad, slow):
    """Add a read to the sums without a test: the first three reads, and all where jumps are not looked for.

    Parameters
    ----------
    signal
        Signal of the read [DN], float32, (y, x).
    time_s
        Its time [s].
    store, keep
        Float32, (y, x): overwritten with `signal`, for the tests of later reads, if `keep` is true.
    moments, first_bad, slow
        As in `advance`.
    """
    for y in range(signal.shape[0]):
        for block in range(slow.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, signal.shape[1])
            if slow[y, block] != 0:
                _sum_unsaturated(signal[y, a:b], time_s, moments[y, 0, a:b], moments[y, 1, a:b], first_bad[y, a:b])
                if keep:
                    _copy(signal[y, a:b], store[y, a:b])
            elif keep:
                _add_all(signal[y, a:b], time_s, store[y, a:b], moments[y, 0, a:b], moments[y, 1, a:b])
            else:
                _sum_all(signal[y, a:b], time_s, moments[y, 0, a:b], moments[y, 1, a:b])


@kernel
def _add_all(signal, time_s, store, s_sum, t_sum):
    for i in range(signal.size):
        value = signal[i]
        store[i] = value
        s_sum[i] += value
        t_sum[i] += time_s * value


@kernel
def _sum_all(signal, time_s, s_sum, t_sum):
    for i in range(signal.size):
        s_sum[i] += signal[i]
        t_sum[i] += time_s * signal[i]


@kernel
def _sum_unsaturated(signal, time_s, s_sum, t_sum, first_bad):
    for i in range(signal.size):
        value = signal[i] if first_bad[i] == NEVER else np.float32(0.0)
        s_sum[i] += value
        t_sum[i] += time_s * value


@kernel
def _copy(values, into):
    for i in range(values.size):
        into[i] = values[i]


@kernel
def _add_calm(signal, time_s, store, s_sum, t_sum, busy):
    for i in range(signal.size):
        calm = busy[i] == 0
        value = signal[i] if calm else np.float32(0.0)
        store[i] = signal[i] if calm else store[i]
        s_sum[i] += value
        t_sum[i] += time_s * value


@kernel
def _find_busy(
    previous, pending, s_sum, t_sum, first_bad, start, pending_s, mean_s, inverse, step_s, noise2, photon, limit2, busy
):
    """Mark the pixels of a slow block that something has happened to, or whose pending step is beyond the noise."""
    for i in range(pending.size):
        flux = (t_sum[i] - pending_s * pending[i] - mean_s * (s_sum[i] - pending[i])) * inverse
        excess = pending[i] - previous[i] - flux * step_s
        loud = excess * excess > limit2 * (noise2 + max(flux, np.float32(0.0)) * photon)
        busy[i] = loud | (first_bad[i] != NEVER) | (start[i] != 0)


@kernel
def _is_quiet(previous, pending, s_sum, t_sum, pending_s, mean_s, inverse, step_s, noise2, photon, limit2):
    """Tell whether no pixel of a block has a pending step beyond its noise."""
    loud = False  # not a count: that halves the lanes of the vectors
    for i in range(pending.size):
        flux = (t_sum[i] - pending_s * pending[i] - mean_s * (s_sum[i] - pending[i])) * inverse
        excess = pending[i] - previous[i] - flux * step_s
        allowed = limit2 * (noise2 + max(flux, np.float32(0.0)) * photon)
        loud |= excess * excess > allowed
    return not loud


@kernel
def _median(one, two, three):
    return max(min(one, two), min(max(one, two), three))


@kernel
def _first_steps_quiet(first, second, third, signal, gaps_s, noise2, photon_per_s, limit2):
    """Tell whether the first three steps of a block's ramps agree with their median."""
    loud = False
    for i in range(signal.size):
        one, two = (second[i] - first[i]) / gaps_s[0], (third[i] - second[i]) / gaps_s[1]
        three = (signal[i] - third[i]) / gaps_s[2]
        flux = _median(one, two, three)
        shot = max(flux, np.float32(0.0)) * photon_per_s
        d1, d2 = (one - flux) * gaps_s[0], (two - flux) * gaps_s[1]
        loud |= d1 * d1 > limit2 * (noise2 + shot * gaps_s[0])
        loud |= d2 * d2 > limit2 * (noise2 + shot * gaps_s[1])
    return not loud


@kernel
def _find_busy_first(first, second, third, signal, first_bad, gaps_s, noise2, photon_per_s, limit2, busy):
    for i in range(signal.size):
        one, two = (second[i] - first[i]) / gaps_s[0], (third[i] - second[i]) / gaps_s[1]
        three = (signal[i] - third[i]) / gaps_s[2]
        flux = _median(one, two, three)
        shot = max(flux, np.float32(0.0)) * photon_per_s
        d1, d2 = (one - flux) * gaps_s[0], (two - flux) * gaps_s[1]
        loud = d1 * d1 > limit2 * (noise2 + shot * gaps_s[0])
        loud |= d2 * d2 > limit2 * (noise2 + shot * gaps_s[1])
        busy[i] = loud | (first_bad[i] != NEVER)


@kernel
def _close(y, x, start, stop, s_sum, t_sum, times_s, first_sums, second_sums, closed):
    """Add the segment of the reads `start` to `stop` to the closed ones; below two reads it has no slope."""
    n = stop - start
    if n < 2:
        return
    mean = (first_sums[stop] - first_sums[start]) / n
    weight = second_sums[stop] - second_sums[start] - n * mean * mean
    closed[y, 0, x] += t_sum - mean * s_sum
    closed[y, 1, x] += weight
    closed[y, 2, x] += _photon_term(times_s, start, stop, mean)


@kernel
def _photon_term(times_s, start, stop, mean):
    """Return the photon variance of `slope times weight` of a segment for a flux of 1: sum dt D^2."""
    before, total = 0.0, 0.0
    for m in range(start + 1, stop):
        before += times_s[m - 1] - mean
        total += (times_s[m] - times_s[m - 1]) * before * before
    return total


@kernel
def _beyond(excess, flux, span_s, noise2, photon_per_s, limit2):
    return excess * excess > limit2 * (noise2 + max(flux, 0.0) * photon_per_s * span_s)


@kernel
def _settle(
    y,
    x,
    index,
    now,
    previous,
    pending,
    flux,
    saturates,
    times_s,
    first_sums,
    second_sums,
    settings,
    moments,
    start,
    closed,
    marks,
    store_pending,
):
    """Decide about the pending read of one pixel: keep it, open a segment with it, or leave it out.

    Returns whether the pending step was beyond the noise.
    """
    noise2, photon_per_s, limit2 = settings[0], settings[1], settings[2]
    k = index - 1
    gap_s = times_s[k] - times_s[k - 1]
    if not _beyond(pending - previous - flux * gap_s, flux, gap_s, noise2, photon_per_s, limit2):
        return False
    s_before = moments[y, 0, x] - pending
    t_before = moments[y, 1, x] - times_s[k] * pending
    _close(y, x, start[y, x], k, s_before, t_before, times_s, first_sums, second_sums, closed)
    # Nearer to where it came from than to where it went: the threshold lies at half the step.
    from_previous = now - previous - flux * (times_s[index] - times_s[k - 1])
    from_pending = now - pending - flux * (times_s[index] - times_s[k])
    goes_back = abs(from_previous) < abs(from_pending)
    if saturates or goes_back:
        start[y, x] = index
        moments[y, 0, x] = 0.0
        moments[y, 1, x] = 0.0
        store_pending[y, x] = previous + flux * gap_s  # what it should have been: the next step starts there
    else:
        start[y, x] = k
        moments[y, 0, x] = pending
        moments[y, 1, x] = times_s[k] * pending
    if saturates or not goes_back:
        marks[y, x] |= JUMP
    return True


@kernel
def _flux(y, x, stop, s_sum, t_sum, start, first_sums, second_sums, closed):
    """Return the slope of all segments of a pixel, the current one up to the read before `stop`; NaN for none."""
    top, weight = closed[y, 0, x], closed[y, 1, x]
    n = stop - start
    if n >= 2:
        mean = (first_sums[stop] - first_sums[start]) / n
        top += t_sum - mean * s_sum
        weight += second_sums[stop] - second_sums[start] - n * mean * mean
    return top / weight if weight > 0.0 else np.nan


@kernel
def advance(
    signal,
    previous,
    pending,
    store,
    index,
    times_s,
    first_sums,
    second_sums,
    settings,
    moments,
    first_bad,
    start,
    closed,
    marks,
    slow,
):
    """Judge the pending read by the one that follows it, and add that one, which is pending from then on.

    Parameters
    ----------
    signal
        Signal of the read [DN], float32, (y, x).
    previous, pending
        Signals of the two reads before it [DN], float32; `pending` is corrected where the read was bad.
    store
        Overwritten with `signal`; may be `previous`.
    index
        Index of the read among those used: 4 or more (`begin` takes the fourth read, index 3).
    times_s, first_sums, second_sums
        Times of the reads used [s] (up to this one), and the sums of times and of their squares over the reads
        before each index; float64.
    settings
        Float64: variance of a difference of two reads [DN2]; DN2 of photon noise for 1 DN; square of the
        threshold in sigma.
    moments
        Float32, (y, 2, x): sums of signal and of time times signal of the current segment, in place.
    first_bad
        Uint16, (y, x): index of the first saturated read (`mark_limits` comes first), valid where `slow`.
    start, closed
        Uint16, (y, x) and float32, (y, 3, x): first read of the current segment; sums over closed segments of slope
        times weight [DN s], weight [s2] and photon term [s3]. Valid where `slow`.
    marks
        Uint8, (y, x), in place: JUMP is set where a step stayed.
    slow
        Uint8, (y, blocks), in place: 1 where a pixel of the block has saturated or stepped.

    Notes
    -----
    The flux that predicts a step is the fit of all reads before it, segments combined by the inverse of their
    read variance (Offenberg et al. 2001, PASP 113, 240, compare such tests).
    """
    k = index - 1
    count = np.float64(k)
    mean = first_sums[k] / count
    weight = second_sums[k] - count * mean * mean
    gap_s = times_s[k] - times_s[k - 1]
    mean_s, inverse, pending_s = np.float32(mean), np.float32(1.0 / weight), np.float32(times_s[k])
    step_s, noise2, limit2 = np.float32(gap_s), np.float32(settings[0]), np.float32(settings[2])
    photon, time_s = np.float32(settings[1] * gap_s), np.float32(times_s[index])
    busy, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    for y in range(signal.shape[0]):
        for block in range(slow.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, signal.shape[1])
            if slow[y, block] == 0:
                if _is_quiet(
                    previous[y, a:b],
                    pending[y, a:b],
                    moments[y, 0, a:b],
                    moments[y, 1, a:b],
                    pending_s,
                    mean_s,
                    inverse,
                    step_s,
                    noise2,
                    photon,
                    limit2,
                ):
                    _add_all(signal[y, a:b], time_s, store[y, a:b], moments[y, 0, a:b], moments[y, 1, a:b])
                    continue
                slow[y, block] = 1
                _begin_slow(first_bad[y, a:b], start[y, a:b], closed[y, :, a:b])
            _find_busy(
                previous[y, a:b],
                pending[y, a:b],
                moments[y, 0, a:b],
                moments[y, 1, a:b],
                first_bad[y, a:b],
                start[y, a:b],
                pending_s,
                mean_s,
                inverse,
                step_s,
                noise2,
                photon,
                limit2,
                busy,
            )
            _add_calm(signal[y, a:b], time_s, store[y, a:b], moments[y, 0, a:b], moments[y, 1, a:b], busy)
            for i in range(_list_set(busy, b - a, places)):
                x = a + places[i]
                now = signal[y, x]
                waiting = pending[y, x]
                if first_bad[y, x] >= index:
                    s_before = moments[y, 0, x] - waiting
                    t_before = moments[y, 1, x] - times_s[k] * waiting
                    flux = _flux(y, x, k, s_before, t_before, start[y, x], first_sums, second_sums, closed)
                    saturates = first_bad[y, x] == index
                    if flux == flux:
                        _settle(
                            y,
                            x,
                            index,
                            now,
                            previous[y, x],
                            waiting,
                            flux,
                            saturates,
                            times_s,
                            first_sums,
                            second_sums,
                            settings,
                            moments,
                            start,
                            closed,
                            marks,
                            pending,
                        )
                    if not saturates:
                        moments[y, 0, x] += now
                        moments[y, 1, x] += time_s * now
                store[y, x] = now


@kernel
def begin(
    signal,
    first,
    second,
    third,
    times_s,
    first_sums,
    second_sums,
    settings,
    moments,
    first_bad,
    start,
    closed,
    marks,
    slow,
):
    """Judge the first two steps of a ramp when its fourth read is there, and add that read, which is pending.

    The median of the first three steps predicts them: no single hit can spoil it.

    Parameters
    ----------
    signal
        Signal of the fourth read [DN], float32, (y, x).
    first, second, third
        Signals of the reads before it [DN]; `first` is overwritten with `signal`, the others are corrected where
        a read was bad.
    times_s, first_sums, second_sums, settings, moments, first_bad, start, closed, marks, slow
        As in `advance`.
    """
    busy, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    gaps = np.empty(3, np.float32)
    for i in range(3):
        gaps[i] = times_s[i + 1] - times_s[i]
    noise2, photon = np.float32(settings[0]), np.float32(settings[1])
    limit2, time_s = np.float32(settings[2] * FIRST_STEPS), np.float32(times_s[3])
    for y in range(signal.shape[0]):
        for block in range(slow.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, signal.shape[1])
            if slow[y, block] == 0:
                if _first_steps_quiet(
                    first[y, a:b], second[y, a:b], third[y, a:b], signal[y, a:b], gaps, noise2, photon, limit2
                ):
                    _add_all(signal[y, a:b], time_s, first[y, a:b], moments[y, 0, a:b], moments[y, 1, a:b])
                    continue
                slow[y, block] = 1
                _begin_slow(first_bad[y, a:b], start[y, a:b], closed[y, :, a:b])
            _find_busy_first(
                first[y, a:b],
                second[y, a:b],
                third[y, a:b],
                signal[y, a:b],
                first_bad[y, a:b],
                gaps,
                noise2,
                photon,
                limit2,
                busy,
            )
            _add_calm(signal[y, a:b], time_s, first[y, a:b], moments[y, 0, a:b], moments[y, 1, a:b], busy)
            for i in range(_list_set(busy, b - a, places)):
                x = a + places[i]
                now = signal[y, x]
                bad_from = first_bad[y, x]
                if bad_from >= 3:
                    one = (second[y, x] - first[y, x]) / gaps[0]
                    two = (third[y, x] - second[y, x]) / gaps[1]
                    three = (now - third[y, x]) / gaps[2]
                    flux = _median(one, two, three) if bad_from > 3 else min(one, two)
                    moments[y, 0, x] = first[y, x] + second[y, x]
                    moments[y, 1, x] = times_s[0] * first[y, x] + times_s[1] * second[y, x]
                    _settle(
                        y,
                        x,
                        2,
                        third[y, x],
                        first[y, x],
                        second[y, x],
                        flux,
                        False,
                        times_s,
                        first_sums,
                        second_sums,
                        settings,
                        moments,
                        start,
                        closed,
                        marks,
                        second,
                    )
                    moments[y, 0, x] += third[y, x]
                    moments[y, 1, x] += times_s[2] * third[y, x]
                    if start[y, x] < 2:  # else the step into the third read was the way back of a bad second one
                        _settle(
                            y,
                            x,
                            3,
                            now,
                            second[y, x],
                            third[y, x],
                            flux,
                            bad_from == 3,
                            times_s,
                            first_sums,
                            second_sums,
                            settings,
                            moments,
                            start,
                            closed,
                            marks,
                            third,
                        )
                    if bad_from > 3:
                        moments[y, 0, x] += now
                        moments[y, 1, x] += time_s * now
                first[y, x] = now


@kernel
def settle_last(
    previous,
    pending,
    index,
    times_s,
    first_sums,
    second_sums,
    settings,
    moments,
    first_bad,
    start,
    closed,
    marks,
    slow,
):
    """Judge the last read of a ramp, which nothing follows: a step into it is a jump.

    Parameters
    ----------
    previous, pending
        Signals of the two last reads [DN], float32, (y, x).
    index
        Number of reads used.
    times_s, first_sums, second_sums, settings, moments, first_bad, start, closed, marks, slow
        As in `advance`.
    """
    k = index - 1
    count = np.float64(k)
    mean = first_sums[k] / count
    weight = second_sums[k] - count * mean * mean
    gap_s = times_s[k] - times_s[k - 1]
    mean_s, inverse, pending_s = np.float32(mean), np.float32(1.0 / weight), np.float32(times_s[k])
    step_s, noise2, limit2 = np.float32(gap_s), np.float32(settings[0]), np.float32(settings[2])
    photon = np.float32(settings[1] * gap_s)
    busy, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    for y in range(pending.shape[0]):
        for block in range(slow.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, pending.shape[1])
            if slow[y, block] == 0:
                if _is_quiet(
                    previous[y, a:b],
                    pending[y, a:b],
                    moments[y, 0, a:b],
                    moments[y, 1, a:b],
                    pending_s,
                    mean_s,
                    inverse,
                    step_s,
                    noise2,
                    photon,
                    limit2,
                ):
                    continue
                slow[y, block] = 1
                _begin_slow(first_bad[y, a:b], start[y, a:b], closed[y, :, a:b])
            _find_busy(
                previous[y, a:b],
                pending[y, a:b],
                moments[y, 0, a:b],
                moments[y, 1, a:b],
                first_bad[y, a:b],
                start[y, a:b],
                pending_s,
                mean_s,
                inverse,
                step_s,
                noise2,
                photon,
                limit2,
                busy,
            )
            for i in range(_list_set(busy, b - a, places)):
                x = a + places[i]
                if first_bad[y, x] < index or start[y, x] > k:
                    continue
                s_before = moments[y, 0, x] - pending[y, x]
                t_before = moments[y, 1, x] - times_s[k] * pending[y, x]
                flux = _flux(y, x, k, s_before, t_before, start[y, x], first_sums, second_sums, closed)
                if not flux == flux:
                    continue
                if _beyond(
                    pending[y, x] - previous[y, x] - flux * gap_s, flux, gap_s, settings[0], settings[1], settings[2]
                ):
                    _close(y, x, start[y, x], k, s_before, t_before, times_s, first_sums, second_sums, closed)
                    start[y, x] = k
                    moments[y, 0, x] = pending[y, x]
                    moments[y, 1, x] = times_s[k] * pending[y, x]
                    marks[y, x] |= JUMP


@kernel
def _find_eventful(first_bad, start, n_used, eventful):
    """Mark the pixels of a slow block that have saturated or jumped."""
    for i in range(first_bad.size):
        eventful[i] = (first_bad[i] < n_used) | (start[i] != 0)


@kernel
def close_segments(n_used, times_s, first_sums, second_sums, moments, first_bad, start, closed, slow):
    """Close the current segment of every pixel that something has happened to: `closed` then holds its whole ramp.

    Parameters
    ----------
    n_used
        Number of reads used.
    times_s, first_sums, second_sums, moments, first_bad, start, closed, slow
        As in `advance`.
    """
    eventful, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    for y in range(slow.shape[0]):
        for block in range(slow.shape[1]):
            if slow[y, block] == 0:
                continue
            a, b = block * BLOCK, min((block + 1) * BLOCK, first_bad.shape[1])
            _find_eventful(first_bad[y, a:b], start[y, a:b], n_used, eventful)
            for i in range(_list_set(eventful, b - a, places)):
                x = a + places[i]
                _close(
                    y,
                    x,
                    np.int64(start[y, x]),
                    min(np.int64(first_bad[y, x]), n_used),
                    moments[y, 0, x],
                    moments[y, 1, x],
                    times_s,
                    first_sums,
                    second_sums,
                    closed,
                )


@kernel
def _add_slopes(moments, dq, exclude, y, a, b, mean_s, inverse, total, count):
    for x in range(a, b):
        slope = (moments[y, 1, x] - mean_s * moments[y, 0, x]) * inverse
        good = dq[y, x] & exclude == 0
        total[x] += slope if good else np.float32(0.0)
        count[x] += np.float32(1.0) if good else np.float32(0.0)


@kernel
def _add_plain_slopes(moments, dq, exclude, eventful, y, a, b, mean_s, inverse, total, count):
    """Do as `_add_slopes` with those pixels of a slow block that nothing has happened to."""
    for x in range(a, b):
        slope = (moments[y, 1, x] - mean_s * moments[y, 0, x]) * inverse
        good = (dq[y, x] & exclude == 0) & (eventful[x - a] == 0)
        total[x] += slope if good else np.float32(0.0)
        count[x] += np.float32(1.0) if good else np.float32(0.0)


@kernel
def _fold(total, binning, folded):
    """Sum neighbours in a row; all bins take their first pixel, then all their second: no sum waits for another."""
    folded[:] = 0.0
    for k in range(binning):
        for column in range(folded.size):
            folded[column] += total[column * binning + k]


@kernel
def preview_rate(
    moments, first_bad, start, closed, slow, n_used, first_sums, second_sums, gain, dq, exclude, binning, rate
):
    """Average the provisional slope over square bins, good pixels only.

    Parameters
    ----------
    moments, first_bad, start, closed, slow, first_sums, second_sums
        As in `advance`.
    n_used
        Number of reads used, at least 2.
    gain
        [e-/DN], float32.
    dq
        Static flags, uint32, (y, x); pixels with a bit of `exclude` take no part.
    binning
        Side of a bin in pixels; rows and columns beyond the last whole bin are left out.
    rate
        Mean rate [e-/s], float32, (y / binning, x / binning), overwritten; NaN for a bin with no good pixel.
    """
    nx = dq.shape[1]
    total, count, weight = np.empty(nx, np.float32), np.empty(nx, np.float32), np.empty(rate.shape[1], np.float32)
    eventful, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    mean = first_sums[n_used] / n_used
    mean_s = np.float32(mean)
    inverse = np.float32(gain / (second_sums[n_used] - n_used * mean * mean))
    for row in range(rate.shape[0]):
        total[:] = 0.0
        count[:] = 0.0
        for y in range(row * binning, (row + 1) * binning):
            for block in range(slow.shape[1]):
                # Unsigned bounds and no slices: counting the references of slices took a third of the time here.
                a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, nx))
                if slow[y, block] == 0:
                    _add_slopes(moments, dq, exclude, y, a, b, mean_s, inverse, total, count)
                    continue
                _find_eventful(first_bad[y, a:b], start[y, a:b], n_used, eventful)
                _add_plain_slopes(moments, dq, exclude, eventful, y, a, b, mean_s, inverse, total, count)
                for i in range(_list_set(eventful, np.int64(b - a), places)):
                    x = block * BLOCK + places[i]
                    if dq[y, x] & exclude != 0:
                        continue
                    slope = _flux(
                        y,
                        x,
                        min(np.int64(first_bad[y, x]), n_used),
                        moments[y, 0, x],
                        moments[y, 1, x],
                        np.int64(start[y, x]),
                        first_sums,
                        second_sums,
                        closed,
                    )
                    if slope == slope:
                        total[x] += np.float32(slope) * gain
                        count[x] += np.float32(1.0)
        _fold(total, binning, rate[row])
        _fold(count, binning, weight)
        for column in range(rate.shape[1]):
            some = weight[column] > 0.0
            rate[row, column] = rate[row, column] / weight[column] if some else np.float32(np.nan)
