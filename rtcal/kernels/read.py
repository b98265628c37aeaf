"""A read into the sums of its ramp: every step on one row while it is in the cache, then the next row."""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.close import close_row
from rtcal.kernels.jumps import advance_row, begin_row
from rtcal.kernels.limits import OVER, UNDER, cut_row, look_row, mark_floor_row
from rtcal.kernels.planes import BLOCK
from rtcal.kernels.signal import base_row, linear_signal_row, linearise_row, linearise_rows, signal_row
from rtcal.kernels.sums import add_all, add_unsaturated


@kernel
def open_ramp(y_start, y_stop, state):
    """Begin a ramp on a band of rows: nothing summed, nothing happened."""
    for y in range(y_start, y_stop):
        for block in range(state.slow.shape[1]):
            state.slow[y, block] = 0
        for x in range(state.moments.shape[2]):
            state.moments[y, 0, x] = 0.0
            state.moments[y, 1, x] = 0.0


@kernel
def add_read(
    y_start, y_stop, index, number, now, pending, previous, zero, curve, levels, judge, closes, settings, times, state
):
    """Add a read to the sums of a band of rows: levels, signal, the test of the read before, sums; close the last.

    Parameters
    ----------
    y_start, y_stop
        The band; of the rows beside it only the raw pixels are looked at.
    index, number
        Of the read: among those used, and in the ramp.
    now, pending, previous
        The last three reads, the latest first (`planes.Sample`); without a judgement the latter two are not looked at.
    zero
        Raw pixels of the ramp's first read, (y, x).
    curve, levels, times, state
        See `planes`; `state` changes in place.
    judge
        Whether the steps between reads are tested (`jumps`).
    closes
        Whether this read ends its ramp, which is closed with it (`close`) while all of it is in the cache.
    settings
        Of the test.
    """
    nx, blocks, linear = zero.shape[1], state.slow.shape[1], curve.coefficients.shape[1] == 0
    signal, base, found = np.empty((3, nx), np.float32), np.empty(nx, np.float32), np.zeros(3, np.uint8)
    over, hot = np.zeros((3, nx + 2), np.uint8), np.zeros((3, blocks + 2), np.uint8)
    steps = 0 if not judge or index < 3 else min(index - 2, 2)
    for y in range(y_start - 1, y_start + 1):
        found[y % 3] = look_row(y, now.raw, levels, over[y % 3], hot[y % 3])
    for y in range(y_start, y_stop):
        above, own, below = (y - 1) % 3, y % 3, (y + 1) % 3
        found[below] = look_row(y + 1, now.raw, levels, over[below], hot[below])
        if (found[above] | found[own] | found[below]) & OVER != 0:
            rows = (over[above], over[own], over[below]), (hot[above], hot[own], hot[below])
            cut_row(y, np.uint16(index), np.uint16(number), rows[0], rows[1], state)
        if found[own] & UNDER != 0:
            mark_floor_row(y, now.raw, levels.floor_dn, state.marks)
        if index == 0:
            continue  # its signal is 0
        signal_row(y, now.raw, zero, now.column_dn, now.row_dn, signal[0])
        if steps > 0:
            signal_row(y, pending.raw, zero, pending.column_dn, pending.row_dn, signal[1])
            signal_row(y, previous.raw, zero, previous.column_dn, previous.row_dn, signal[2])
        if not linear:
            base_row(y, zero, curve, base)
            if steps > 0:
                linearise_rows(y, base, curve.coefficients, signal[0], signal[1], signal[2])
            else:
                linearise_row(y, base, curve.coefficients, signal[0])
        if steps == 0:
            _add_row(y, np.float32(times.times_s[index]), signal[0], state)
        elif steps == 1:
            begin_row(y, signal[0], signal[1], signal[2], times, settings, state)
        else:
            advance_row(y, index, signal[0], signal[1], signal[2], times, settings, state)
        if closes:
            close_row(y, index + 1, judge, signal[0], signal[1], times, settings, state)


@kernel
def _add_row(y, time_s, signal, state):
    """Add a row to the sums without a test: the first three reads, and all where jumps are not looked for."""
    for block in range(state.slow.shape[1]):
        a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, signal.size))
        if state.slow[y, block] == 0:
            add_all(y, a, b, signal, time_s, state.moments)
        else:
            add_unsaturated(y, a, b, signal, time_s, state.moments, state.first_bad)


@kernel
def add_end(y_start, y_stop, end, sample, zero, curve, ends):
    """Add a read's signal to the sum over one end of the ramp (CDS, MCDS).

    Parameters
    ----------
    y_start, y_stop
        The band of rows.
    end
        0 for the near end, 1 for the far one.
    sample, zero, curve
        As in `add_read`.
    ends
        Sums over the ends [DN], float32, (y, 2, x), in place.
    """
    nx = zero.shape[1]
    signal, base = np.empty(nx, np.float32), np.empty(nx, np.float32)
    for y in range(y_start, y_stop):
        linear_signal_row(y, sample, zero, curve, base, signal)
        for x in range(nx):
            ends[y, end, x] += signal[x]
