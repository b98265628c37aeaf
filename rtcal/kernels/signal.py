"""From raw pixels to the signal that ramps are made of: zero level, reference pixels, linearity."""

import numpy as np

from rtcal.kernels._jit import kernel


@kernel
def subtract_zero(read, zero, column_dn, row_dn, signal):
    """Take the zero level and the reference-pixel terms off a read.

    Parameters
    ----------
    read
        Raw pixels [DN], uint16 or float32, (y, x).
    zero
        Zero level [DN], uint16 or float32, (y, x): the bias, or the ramp's first read.
    column_dn, row_dn
        Reference-pixel terms [DN], float32, (x,) and (y,); 0 where there are none.
    signal
        Float32, (y, x), overwritten [DN].
    """
    for y in range(read.shape[0]):
        _subtract_row(read[y], zero[y], column_dn, row_dn[y], signal[y])


@kernel
def _subtract_row(read, zero, column_dn, row_dn, signal):
    for x in range(read.size):
        signal[x] = np.float32(read[x]) - np.float32(zero[x]) - column_dn[x] - row_dn


@kernel
def linearise(signal, coefficients):
    """Turn a measured signal into a linear one, `y = sum c_k x^k`, in place.

    Parameters
    ----------
    signal
        Float32, (y, x) [DN above the bias].
    coefficients
        Float32, (y, k, x), ascending, finite: a pixel without coefficients has 0, 1, 0 ...
    """
    measured = np.empty(signal.shape[1], np.float32)
    last = coefficients.shape[1] - 1
    for y in range(signal.shape[0]):
        _copy(signal[y], measured)
        _copy(coefficients[y, last], signal[y])
        for k in range(last - 1, -1, -1):
            _horner(measured, coefficients[y, k], signal[y])


@kernel
def _copy(values, into):
    for x in range(values.size):
        into[x] = values[x]


@kernel
def _horner(measured, coefficient, linear):
    for x in range(measured.size):
        linear[x] = linear[x] * measured[x] + coefficient[x]
