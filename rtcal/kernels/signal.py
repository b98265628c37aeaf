"""From raw pixels to the signal that ramps are made of: zero level, reference pixels, linearity. Row by row."""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.planes import row_of

MOST_POWERS = 5
"""The highest power of a curve that is known here."""


@kernel
def signal_row(y, raw, zero, column_dn, row_dn, signal):
    """Take the zero level and the reference-pixel terms off a row of a read.

    Parameters
    ----------
    y
        The row.
    raw, column_dn, row_dn
        As in `planes.Sample`.
    zero
        Raw pixels of the ramp's first read, which all signals are relative to, (y, x).
    signal
        Float32, (x,), overwritten [DN].
    """
    offset = row_dn[y]
    for x in range(signal.size):
        signal[x] = np.float32(raw[y, x]) - np.float32(zero[y, x]) - column_dn[x] - offset


@kernel
def base_row(y, zero, curve, base):
    """Find the level above the bias that the signals of a row count from [DN], float32, (x,), overwritten."""
    bias = row_of(curve.bias_dn, y)
    for x in range(base.size):
        base[x] = np.float32(zero[y, x]) - curve.bias_dn[bias, x]


@kernel
def _powers(coefficients):
    """Return, for the powers 2 to 5, where their coefficients stand and by what they count: 0 where there are none."""
    last = coefficients.shape[1] - 1
    places = (min(2, last), min(3, last), min(4, last), min(5, last))
    factors = (np.float32(last >= 2), np.float32(last >= 3), np.float32(last >= 4), np.float32(last >= 5))
    return places, factors


@kernel
def linearise_row(y, base, coefficients, signal):
    """Make a row of signals linear: the curve at their level less the curve at the level that they count from.

    Parameters
    ----------
    y
        The row.
    base
        As `base_row` leaves it.
    coefficients
        As in `planes.Curve`, of powers up to `MOST_POWERS`.
    signal
        Float32, (x,), in place [DN].
    """
    row, (places, factors) = row_of(coefficients, y), _powers(coefficients)
    for x in range(base.size):
        c1, c2 = coefficients[row, 1, x], factors[0] * coefficients[row, places[0], x]
        c3 = factors[1] * coefficients[row, places[1], x]
        c4, c5 = factors[2] * coefficients[row, places[2], x], factors[3] * coefficients[row, places[3], x]
        low = base[x]
        level = low + signal[x]
        linear = level * (c1 + level * (c2 + level * (c3 + level * (c4 + level * c5))))
        signal[x] = linear - low * (c1 + low * (c2 + low * (c3 + low * (c4 + low * c5))))


@kernel
def linearise_rows(y, base, coefficients, first, second, third):
    """Do as `linearise_row` with the same row of three reads: the coefficients, most of the bytes, are read once."""
    row, (places, factors) = row_of(coefficients, y), _powers(coefficients)
    for x in range(base.size):
        c1, c2 = coefficients[row, 1, x], factors[0] * coefficients[row, places[0], x]
        c3 = factors[1] * coefficients[row, places[1], x]
        c4, c5 = factors[2] * coefficients[row, places[2], x], factors[3] * coefficients[row, places[3], x]
        low = base[x]
        below = low * (c1 + low * (c2 + low * (c3 + low * (c4 + low * c5))))
        level = low + first[x]
        first[x] = level * (c1 + level * (c2 + level * (c3 + level * (c4 + level * c5)))) - below
        level = low + second[x]
        second[x] = level * (c1 + level * (c2 + level * (c3 + level * (c4 + level * c5)))) - below
        level = low + third[x]
        third[x] = level * (c1 + level * (c2 + level * (c3 + level * (c4 + level * c5)))) - below


@kernel
def stretch_row(y, level, coefficients, stretch):
    """Find by how much linearity stretches a small change: the slope of the curve.

    Parameters
    ----------
    y
        The row.
    level
        Level above the bias [DN], float32, (x,).
    coefficients
        As in `linearise_row`.
    stretch
        Float32, (x,), overwritten.
    """
    row, last = row_of(coefficients, y), coefficients.shape[1] - 1
    for x in range(stretch.size):
        stretch[x] = np.float32(last) * coefficients[row, last, x]
    for k in range(last - 1, 0, -1):
        factor = np.float32(k)
        for x in range(stretch.size):
            stretch[x] = stretch[x] * level[x] + factor * coefficients[row, k, x]


@kernel
def linear_signal_row(y, sample, zero, curve, base, signal):
    """Find the linear signal of a row of a read: zero level, reference pixels, and linearity if there is a curve.

    Parameters
    ----------
    y
        The row.
    sample, zero, curve
        As in `read.add_read`, which does the same with three reads at once.
    base, signal
        Float32, (x,), overwritten [DN]; `base` where there is a curve.
    """
    signal_row(y, sample.raw, zero, sample.column_dn, sample.row_dn, signal)
    if curve.coefficients.shape[1] > 0:
        base_row(y, zero, curve, base)
        linearise_row(y, base, curve.coefficients, signal)
