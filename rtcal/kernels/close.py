"""The end of a ramp: its last read judged, its segments closed, its rate added to those of other ramps.

Ramps combine by the inverse of their read variance, which does not depend on the measured rate and so does
not bias it (Fixsen et al. 2000, PASP 112, 1350).
"""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.jumps import end_row
from rtcal.kernels.planes import BLOCK, hold, list_set
from rtcal.kernels.segments import close_segment
from rtcal.kernels.signal import linear_signal_row


@kernel
def find_eventful(y, a, b, first_bad, start, n_used, eventful):
    """Mark the pixels of a slow block that have saturated or jumped; `eventful` begins at `a`."""
    for x in range(a, b):
        eventful[x - a] = (first_bad[y, x] < n_used) | (start[y, x] != 0)


@kernel
def close_row(y, n_used, judge, pending, previous, times, settings, state):
    """Judge the last read of a row, and close the current segments of the pixels that something has happened to.

    Parameters
    ----------
    y
        The row.
    n_used
        Number of reads used.
    judge, times, settings, state
        As in `read.add_read`.
    pending, previous
        Signals of the last two reads, the latest first [DN], float32, (x,); looked at from four reads on.
    """
    eventful, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    if judge and n_used > 3:
        end_row(y, n_used, pending, previous, times, settings, state)
    for block in range(state.slow.shape[1]):
        if state.slow[y, block] == 0:
            continue
        a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, pending.size))
        find_eventful(y, a, b, state.first_bad, state.start, n_used, eventful)
        for i in range(list_set(eventful, np.int64(b - a), places)):
            x = block * BLOCK + places[i]
            start, stop = np.int64(state.start[y, x]), min(np.int64(state.first_bad[y, x]), n_used)
            close_segment(y, x, start, stop, state.moments[y, 0, x], state.moments[y, 1, x], times, state.closed)


@kernel
def close_ramp(y_start, y_stop, n_used, pending, previous, zero, curve, judge, settings, times, state):
    """Close the current segment of every pixel that something has happened to: `closed` then holds its whole ramp.

    Parameters
    ----------
    y_start, y_stop
        The band of rows.
    n_used
        Number of reads used.
    pending, previous
        The last two reads, the latest first (`planes.Sample`).
    zero, curve, judge, settings, times, state
        As in `read.add_read`.
    """
    nx = zero.shape[1]
    signal, base = np.empty((2, nx), np.float32), np.empty(nx, np.float32)
    for y in range(y_start, y_stop):
        if judge and n_used > 3:
            linear_signal_row(y, pending, zero, curve, base, signal[0])
            linear_signal_row(y, previous, zero, curve, base, signal[1])
        close_row(y, n_used, judge, signal[0], signal[1], times, settings, state)


@kernel
def begin_gathering(y, block, a, b, n_used, state, eventful):
    """Mark the pixels of a block whose ramps are in `closed` already, and make the rest of it valid."""
    if state.slow[y, block] == 0:
        eventful[:] = 0
    else:
        find_eventful(y, a, b, state.first_bad, state.start, n_used, eventful)
    hold(y, block, a, b, state)


@kernel
def add_ramp(y_start, y_stop, n_used, values, factors, weight, spread, state):
    """Add the rate of the pixels to which nothing has happened to `closed`, where the ramps of an exposure gather.

    Parameters
    ----------
    y_start, y_stop
        The band of rows.
    n_used
        Number of reads used.
    values
        Sums that the estimate is made of [DN or DN s], float32, (y, 2, x): `state.moments`, or those over the ends.
    factors
        Of the two in the rate [DN/s], float32, (2,).
    weight, spread
        Of the estimate, float32: the square of the read noise over the read variance [s2]; its square times the
        photon variance for 1 e-/s [s3].
    state
        See `planes.State`.
    """
    eventful = np.zeros(BLOCK, np.uint8)
    for y in range(y_start, y_stop):
        for block in range(state.slow.shape[1]):
            a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, values.shape[2]))
            begin_gathering(y, block, a, b, n_used, state, eventful)
            _add_plain(y, a, b, values, factors, weight, spread, eventful, state.closed)


@kernel
def _add_plain(y, a, b, values, factors, weight, spread, eventful, closed):
    for x in range(a, b):
        plain = eventful[x - a] == 0
        rate = values[y, 0, x] * factors[0] + values[y, 1, x] * factors[1]
        closed[y, 0, x] += weight * rate if plain else np.float32(0.0)
        closed[y, 1, x] += weight if plain else np.float32(0.0)
        closed[y, 2, x] += spread if plain else np.float32(0.0)
