"""From the sums of an exposure to a calibrated rate, its error and its flags, every step on a row in the cache."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels._jit import kernel
from rtcal.kernels.close import find_eventful
from rtcal.kernels.flags import AD_FLOOR, DO_NOT_USE, JUMP_DET, NOTHING, SATURATED, UNRELIABLE_SLOPE
from rtcal.kernels.planes import BLOCK, FLOOR, JUMP, NEVER, SPILLED, list_set, row_of
from rtcal.kernels.signal import base_row, stretch_row
from rtcal.kernels.stream import stream_out


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
    """A rate to subtract, (y or 1, x), with a scale and its error; a row of zeros where there is none."""

    rate: NDArray[np.float32]
    err: NDArray[np.float32]
    scale: np.float32
    scale_err: np.float32


class Applied(NamedTuple):
    """The references that a rate is calibrated with."""

    static_dq: NDArray[np.uint32]
    """Flags of the references and of the border, (y, x)."""
    always: np.uint32
    """Flags that every pixel gets."""
    dark: Product
    sky: Product
    flat: NDArray[np.float32]
    """(y or 1, x), above 0 everywhere; a row of 1 where there is none."""
    flat_err: NDArray[np.float32]


class Output(NamedTuple):
    """Planes of a frame, or of some of its rows, overwritten, (y, x): [e-/s] float32, uint32, uint16."""

    rate: NDArray[np.float32]
    err: NDArray[np.float32]
    dq: NDArray[np.uint32]
    saturated_from: NDArray[np.uint16]


@kernel
def finish_rows(y_start, y_stop, step, first, state, estimate, noise, applied, limit, out):
    """Calibrate some rows: slope, minus dark, minus scaled sky, over flat; error; flags.

    Parameters
    ----------
    y_start, y_stop, step
        The rows.
    first
        The row of `out` that the first of them goes to; the others follow it.
    state, estimate, noise
        See `planes.State`, `Estimate`, `Noise`; `close.close_ramp` comes first.
    applied
        See `Applied`.
    limit
        Error above which UNRELIABLE_SLOPE is set [e-/s], float32.
    out
        See `Output`. A pixel without a slope is NaN with DO_NOT_USE.
    """
    nx, dark, sky = state.marks.shape[1], applied.dark, applied.sky
    rows = np.empty((3, nx), np.float32)
    eventful, places = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    read_variance = rows[2]
    for x in range(nx):
        read_variance[x] = noise.read_variance_e2
    rate, err, dq, row = out.rate, out.err, out.dq, first
    for y in range(y_start, y_stop, step):
        if noise.curve.coefficients.shape[1] > 0:
            _stretched_noise(y, state, estimate, noise, rows[0], rows[1], read_variance)
        for block in range(state.slow.shape[1]):
            a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, nx))
            if estimate.gathered:
                _gathered_rate(y, a, b, state.closed, noise.gain_e_per_dn, read_variance, row, rate, err)
            else:
                _plain_rate(y, a, b, estimate, read_variance, row, rate, err)
                if state.slow[y, block] != 0:
                    find_eventful(y, a, b, state.first_bad, state.start, estimate.n_used, eventful)
                    for i in range(list_set(eventful, np.int64(b - a), places)):
                        x = np.uint64(block * BLOCK + places[i])
                        end = x + np.uint64(1)
                        _gathered_rate(y, x, end, state.closed, noise.gain_e_per_dn, read_variance, row, rate, err)
            _flags(y, a, b, applied, state.saturated_from, state.marks, row, rate, dq)
            _subtract(row_of(dark.rate, y), a, b, dark.rate, dark.err, dark.scale, dark.scale_err, row, rate, err)
            _subtract(row_of(sky.rate, y), a, b, sky.rate, sky.err, sky.scale, sky.scale_err, row, rate, err)
            _divide(row_of(applied.flat, y), a, b, applied.flat, applied.flat_err, row, rate, err)
            _root(a, b, row, err)
            _flag_unreliable(a, b, err, limit, row, dq)
            for x in range(a, b):
                out.saturated_from[row, x] = state.saturated_from[y, x]
        row += 1


@kernel
def put_rows(begin, end, part, start, out):
    """Put finished rows where their frame is, around the caches: nobody looks at it soon.

    Parameters
    ----------
    begin, end
        The rows of `part`.
    part
        Some rows; see `Output`.
    start
        The row of `out` that the first of them goes to.
    out
        The frame.
    """
    for row in range(begin, end):
        y = start + row - begin
        stream_out(out.rate[y], part.rate[row])
        stream_out(out.err[y], part.err[row])
        stream_out(out.dq[y], part.dq[row])
        stream_out(out.saturated_from[y], part.saturated_from[row])


@kernel
def move_up(first, count, part):
    """Move rows to the top of where they are."""
    for row in range(count):
        part.rate[row] = part.rate[first + row]
        part.err[row] = part.err[first + row]
        part.dq[row] = part.dq[first + row]
        part.saturated_from[row] = part.saturated_from[first + row]


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
def _plain_rate(y, a, b, estimate, read_variance, row, rate, variance):
    """Find rate and variance of a block to which nothing has happened."""
    values, near, far = estimate.values, estimate.factors[0], estimate.factors[1]
    some = estimate.weight > 0.0
    inverse = np.float32(1.0) / estimate.weight if some else np.float32(np.nan)
    photon = estimate.spread * inverse * inverse
    for x in range(a, b):
        flux = values[y, 0, x] * near + values[y, 1, x] * far
        spread = read_variance[x] * inverse + max(flux, np.float32(0.0)) * photon
        fitted = some & (flux == flux)  # NaN: a read was no number
        rate[row, x] = flux if fitted else np.float32(np.nan)
        variance[row, x] = spread if fitted else np.float32(np.nan)


@kernel
def _gathered_rate(y, a, b, closed, gain, read_variance, row, rate, variance):
    """Find rate and variance from closed segments; NaN where none has a slope."""
    for x in range(a, b):
        weight = closed[y, 1, x]
        some = (weight > 0.0) & (closed[y, 0, x] == closed[y, 0, x])
        inverse = np.float32(1.0) / (weight if some else np.float32(1.0))
        flux = closed[y, 0, x] * inverse * gain
        spread = read_variance[x] * inverse + max(flux, np.float32(0.0)) * closed[y, 2, x] * inverse * inverse
        rate[row, x] = flux if some else np.float32(np.nan)
        variance[row, x] = spread if some else np.float32(np.nan)


@kernel
def _flags(y, a, b, applied, saturated_from, marks, row, rate, dq):
    for x in range(a, b):
        mark = marks[y, x]
        flags = applied.static_dq[y, x] | applied.always
        flags |= SATURATED if (saturated_from[y, x] != NEVER) | (mark & SPILLED != 0) else NOTHING
        flags |= JUMP_DET if mark & JUMP else NOTHING
        flags |= AD_FLOOR if mark & FLOOR else NOTHING
        flags |= NOTHING if rate[row, x] == rate[row, x] else DO_NOT_USE  # NaN: no slope, or a read was no number
        dq[row, x] = flags


@kernel
def _subtract(of, a, b, other, other_err, scale, scale_err, row, rate, variance):
    """Subtract a scaled rate: `A - s B`, variances added, with that of the scale."""
    scale_variance = scale_err * scale_err
    for x in range(a, b):
        value = other[of, x]
        sigma = scale * other_err[of, x]
        rate[row, x] -= scale * value
        variance[row, x] += sigma * sigma + value * value * scale_variance


@kernel
def _divide(of, a, b, flat, flat_err, row, rate, variance):
    """Divide by a flat field that is above 0 everywhere; its error adds to the variance."""
    for x in range(a, b):
        inverse = np.float32(1.0) / flat[of, x]
        ratio = rate[row, x] * inverse
        sigma = ratio * flat_err[of, x]
        rate[row, x] = ratio
        variance[row, x] = (variance[row, x] + sigma * sigma) * inverse * inverse


@kernel
def _root(a, b, row, variance):
    for x in range(a, b):
        variance[row, x] = np.sqrt(variance[row, x])


@kernel
def _flag_unreliable(a, b, err, limit, row, dq):
    for x in range(a, b):
        dq[row, x] |= UNRELIABLE_SLOPE if err[row, x] > limit else NOTHING
