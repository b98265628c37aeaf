"""From the sums of an exposure to a calibrated rate, its error and its flags, every step on a row in the cache."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels._jit import kernel
from rtcal.kernels.close import find_eventful
from rtcal.kernels.flags import AD_FLOOR, DO_NOT_USE, JUMP_DET, NOTHING, SATURATED, UNRELIABLE_SLOPE
from rtcal.kernels.planes import BLOCK, FLOOR, JUMP, NEVER, SPILLED, list_set, row_of
from rtcal.kernels.signal import base_row, stretch_row


class Estimate(NamedTuple):
    """How the rate of a pixel to which nothing has happened follows from the sums of the last ramp."""

    values: NDArray[np.float32]
    """Sums [DN or DN s], (y, 2, x): the moments of the ramp, or the sums over its ends."""
    factors: NDArray[np.float32]
    """Of the two in the rate [e-/DN/s or e-/DN/s2], (2,)."""
    n_used: int
    """Number of reads used."""
    weight: np.float32
    """Square of the read noise over the read variance [s2]."""
    spread: np.float32
    """Photon variance of the rate for 1 e-/s, times the square of the weight [s3]."""
    gathered: bool
    """Whether `closed` holds every pixel's rate already (exposures of several ramps)."""


class Noise(NamedTuple):
    """What the read noise of a rate follows from."""

    gain_e_per_dn: np.float32
    read_variance_e2: np.float32
    """Square of the noise of one read [e-2], before linearity stretches it."""
    zero: NDArray[Any]
    """Raw pixels of the ramp's first read, (y, x), and the curve: for how far linearity stretches the noise."""
    curve: Any


class Product(NamedTuple):
    """A rate to subtract, (y or 1, x), with a scale and its error."""

    rate: NDArray[np.float32]
    err: NDArray[np.float32]
    scale: np.float32
    scale_err: np.float32


class Output(NamedTuple):
    """The planes of a frame, overwritten: [e-/s] float32, uint32, uint16."""

    rate: NDArray[np.float32]
    err: NDArray[np.float32]
    dq: NDArray[np.uint32]
    saturated_from: NDArray[np.uint16]


@kernel
def finish_rows(
    y_start, y_stop, step, state, estimate, noise, static_dq, always, dark, sky, flat, flat_err, limit, out
):
    """Calibrate some rows: slope, minus dark, minus scaled sky, over flat; error; flags.

    Parameters
    ----------
    y_start, y_stop, step
        The rows.
    state, estimate, noise
        See `planes.State`, `Estimate`, `Noise`; `close.close_ramp` comes first.
    static_dq
        Flags of the references and of the border, uint32, (y, x).
    always
        Flags that every pixel gets, uint32.
    dark, sky
        See `Product`; a row of zeros serves where there is none.
    flat, flat_err
        Float32, (y or 1, x), positive; a row of 1 and one of 0 where there is none.
    limit
        Error above which UNRELIABLE_SLOPE is set [e-/s], float32.
    out
        See `Output`. A pixel without a slope is NaN with DO_NOT_USE.
    """
    nx = static_dq.shape[1]
    rows = np.empty((3, nx), np.float32)
    eventful, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    read_variance = rows[2]
    for x in range(nx):
        read_variance[x] = noise.read_variance_e2
    for y in range(y_start, y_stop, step):
        if noise.curve.coefficients.shape[1] > 0:
            _stretched_noise(y, state, estimate, noise, rows[0], rows[1], read_variance)
        rate, err = out.rate, out.err
        for block in range(state.slow.shape[1]):
            a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, nx))
            if estimate.gathered:
                _gathered_rate(y, a, b, state.closed, noise.gain_e_per_dn, read_variance, rate, err)
                continue
            _plain_rate(y, a, b, estimate, read_variance, rate, err)
            if state.slow[y, block] != 0:
                find_eventful(y, a, b, state.first_bad, state.start, estimate.n_used, eventful)
                for i in range(list_set(eventful, np.int64(b - a), places)):
                    x = np.uint64(block * BLOCK + places[i])
                    _gathered_rate(y, x, x + np.uint64(1), state.closed, noise.gain_e_per_dn, read_variance, rate, err)
        _flags(y, static_dq, always, state.saturated_from, state.marks, rate, out.dq)
        _subtract(y, row_of(dark.rate, y), dark.rate, dark.err, dark.scale, dark.scale_err, rate, err)
        _subtract(y, row_of(sky.rate, y), sky.rate, sky.err, sky.scale, sky.scale_err, rate, err)
        _divide(y, row_of(flat, y), flat, flat_err, rate, err)
        _root(y, err)
        _flag_unreliable(y, err, limit, out.dq)
        for x in range(nx):
            out.saturated_from[y, x] = state.saturated_from[y, x]


@kernel
def _stretched_noise(y, state, estimate, noise, level, stretch, read_variance):
    """Let linearity stretch the noise of the reads: by the slope of its curve at the mean level of the ramp."""
    base_row(y, noise.zero, noise.curve, level)
    per_read = np.float32(1.0 / max(estimate.n_used, 1))
    for x in range(level.size):
        level[x] += state.moments[y, 0, x] * per_read
    stretch_row(y, level, noise.curve.coefficients, stretch)
    for x in range(level.size):
        read_variance[x] = noise.read_variance_e2 * stretch[x] * stretch[x]


@kernel
def _plain_rate(y, a, b, estimate, read_variance, rate, variance):
    """Find rate and variance of a block to which nothing has happened."""
    values, near, far = estimate.values, estimate.factors[0], estimate.factors[1]
    some = estimate.weight > 0.0
    inverse = np.float32(1.0) / estimate.weight if some else np.float32(np.nan)
    photon = estimate.spread * inverse * inverse
    for x in range(a, b):
        flux = values[y, 0, x] * near + values[y, 1, x] * far
        spread = read_variance[x] * inverse + max(flux, np.float32(0.0)) * photon
        fitted = some & (flux == flux)  # NaN: a read was no number
        rate[y, x] = flux if fitted else np.float32(np.nan)
        variance[y, x] = spread if fitted else np.float32(np.nan)


@kernel
def _gathered_rate(y, a, b, closed, gain, read_variance, rate, variance):
    """Find rate and variance from closed segments; NaN where none has a slope."""
    for x in range(a, b):
        weight = closed[y, 1, x]
        some = (weight > 0.0) & (closed[y, 0, x] == closed[y, 0, x])
        inverse = np.float32(1.0) / (weight if some else np.float32(1.0))
        flux = closed[y, 0, x] * inverse * gain
        spread = read_variance[x] * inverse + max(flux, np.float32(0.0)) * closed[y, 2, x] * inverse * inverse
        rate[y, x] = flux if some else np.float32(np.nan)
        variance[y, x] = spread if some else np.float32(np.nan)


@kernel
def _flags(y, static_dq, always, saturated_from, marks, rate, dq):
    for x in range(dq.shape[1]):
        mark = marks[y, x]
        flags = static_dq[y, x] | always
        flags |= SATURATED if (saturated_from[y, x] != NEVER) | (mark & SPILLED != 0) else NOTHING
        flags |= JUMP_DET if mark & JUMP else NOTHING
        flags |= AD_FLOOR if mark & FLOOR else NOTHING
        flags |= NOTHING if rate[y, x] == rate[y, x] else DO_NOT_USE  # NaN: no slope, or a read was no number
        dq[y, x] = flags


@kernel
def _subtract(y, row, other, other_err, scale, scale_err, rate, variance):
    """Subtract a scaled rate: `A - s B`, variances added, with that of the scale."""
    scale_variance = scale_err * scale_err
    for x in range(rate.shape[1]):
        value = other[row, x]
        sigma = scale * other_err[row, x]
        rate[y, x] -= scale * value
        variance[y, x] += sigma * sigma + value * value * scale_variance


@kernel
def _divide(y, row, flat, flat_err, rate, variance):
    """Divide by a flat field that is above 0 everywhere; its error adds to the variance."""
    for x in range(rate.shape[1]):
        inverse = np.float32(1.0) / flat[row, x]
        ratio = rate[y, x] * inverse
        sigma = ratio * flat_err[row, x]
        rate[y, x] = ratio
        variance[y, x] = (variance[y, x] + sigma * sigma) * inverse * inverse


@kernel
def _root(y, variance):
    for x in range(variance.shape[1]):
        variance[y, x] = np.sqrt(variance[y, x])


@kernel
def _flag_unreliable(y, err, limit, dq):
    for x in range(err.shape[1]):
        dq[y, x] |= UNRELIABLE_SLOPE if err[y, x] > limit else NOTHING
