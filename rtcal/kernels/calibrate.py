"""From the sums of an exposure to a calibrated rate, its error and its flags, one step after another.

Each kernel works in place on a band of rows; `variance` becomes `err` by the last one.
"""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.flags import AD_FLOOR, DO_NOT_USE, JUMP_DET, NOTHING, SATURATED


@kernel
def finish_rate(w_sum, w_rate, w_photon, saturated_from, marks, static_dq, always, noise_variance, rate, variance, dq):
    """Turn the sums of an exposure into rate, variance and flags.

    Parameters
    ----------
    w_sum, w_rate, w_photon
        Sums over ramps as `fit.fit` leaves them, float32, (y, x).
    saturated_from
        Uint16, 65535 where the pixel never saturated.
    marks
        Uint8: JUMP, FLOOR and SPILLED of `segments`.
    static_dq
        Flags of the references and of the border, uint32.
    always
        Flags that every pixel gets, uint32.
    noise_variance
        Square of the noise of one read [e-2].
    rate, variance
        [e-/s] and [e-2/s2], float32, overwritten; NaN, with DO_NOT_USE, where no ramp has a slope.
    dq
        Uint32, overwritten.
    """
    for y in range(rate.shape[0]):
        for x in range(rate.shape[1]):
            fitted = (w_sum[y, x] > 0.0) & (w_rate[y, x] == w_rate[y, x])  # NaN: a read was no number
            weight = w_sum[y, x] if fitted else np.float32(1.0)
            flux = w_rate[y, x] / weight
            spread = noise_variance / weight + max(flux, np.float32(0.0)) * w_photon[y, x] / (weight * weight)
            flags = static_dq[y, x] | always
            flags |= SATURATED if (saturated_from[y, x] != 65535) | (marks[y, x] & 4 != 0) else NOTHING
            flags |= JUMP_DET if marks[y, x] & 1 else NOTHING
            flags |= AD_FLOOR if marks[y, x] & 2 else NOTHING
            flags |= NOTHING if fitted else DO_NOT_USE
            rate[y, x] = flux if fitted else np.float32(np.nan)
            variance[y, x] = spread if fitted else np.float32(np.nan)
            dq[y, x] = flags


@kernel
def subtract(rate, variance, other, other_err, scale, scale_err):
    """Subtract a scaled rate: `A - s B`, variances added (with that of the scale).

    A dark is subtracted with scale 1 and error 0.
    """
    scale_variance = scale_err * scale_err
    for y in range(rate.shape[0]):
        for x in range(rate.shape[1]):
            value = other[y, x]
            sigma = scale * other_err[y, x]
            rate[y, x] -= scale * value
            variance[y, x] += sigma * sigma + value * value * scale_variance


@kernel
def divide(rate, variance, flat, flat_err):
    """Divide by a flat field that is above 0 everywhere; its error adds to the variance."""
    for y in range(rate.shape[0]):
        for x in range(rate.shape[1]):
            inverse = np.float32(1.0) / flat[y, x]
            ratio = rate[y, x] * inverse
            sigma = ratio * flat_err[y, x]
            rate[y, x] = ratio
            variance[y, x] = (variance[y, x] + sigma * sigma) * inverse * inverse


@kernel
def root(variance):
    """Turn variances into standard deviations, in place."""
    for y in range(variance.shape[0]):
        for x in range(variance.shape[1]):
            variance[y, x] = np.sqrt(variance[y, x])
