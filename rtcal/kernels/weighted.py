"""The rate by the light of each pixel: between the slope, best for read noise, and the ends, best for photons."""

from typing import Any, NamedTuple

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.close import begin_gathering
from rtcal.kernels.planes import BLOCK
from rtcal.kernels.signal import linear_signal_row


class Weighting(NamedTuple):
    """What the part of the ends in a rate follows from (`estimator.Slope.weighting`); float32."""

    near: Any
    far: Any
    """Factors of the two moments in the slope [s-1, s-2]."""
    per_s: Any
    """One over the time from the first read to the last."""
    photon: Any
    """Photon variance that the slope has more than the ends, for 1 DN/s [s-1]."""
    read: Any
    """Read variance that the ends have more than the slope [DN/s2]."""
    weight: Any
    spread: Any
    """Of the slope, as in `close.add_ramp`."""


@kernel
def add_weighted_ramp(y_start, y_stop, n_used, last, zero, curve, weighting, state):
    """Do as `close.add_ramp`, with weights of the reads that follow the light of each pixel.

    Parameters
    ----------
    y_start, y_stop
        The band of rows.
    n_used
        Number of reads used.
    last, zero, curve
        The last read (`planes.Sample`), and as in `read.add_read`.
    weighting
        See `Weighting`.
    state
        See `planes.State`; `close.close_ramp` comes first.

    Notes
    -----
    Among all weights the slope's have the least read variance and those of the two ends the least photon variance, so
    each has the same covariance with any other estimate as with itself (Gauss and Markov), and the best mixture has the
    part `f Q / (R + f Q)` of the ends: Q and R are what one has more photon and the other more read variance. Its
    photon variance is the slope's less that part of Q, with the read variance as it is.
    """
    nx = zero.shape[1]
    signal, base, eventful = np.empty(nx, np.float32), np.empty(nx, np.float32), np.zeros(BLOCK, np.uint8)
    for y in range(y_start, y_stop):
        linear_signal_row(y, last, zero, curve, base, signal)
        for block in range(state.slow.shape[1]):
            a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, nx))
            begin_gathering(y, block, a, b, n_used, state, eventful)
            _add_weighted(y, a, b, state.moments, signal, weighting, eventful, state.closed)


@kernel
def _add_weighted(y, a, b, moments, signal, weighting, eventful, closed):
    near, far, per_s, photon, read, weight, spread = weighting
    saved = photon * weight * weight
    for x in range(a, b):
        plain = eventful[x - a] == 0
        slope = moments[y, 0, x] * near + moments[y, 1, x] * far
        light = max(slope, np.float32(0.0)) * photon
        part = light / (light + read)
        rate = slope + part * (signal[x] * per_s - slope)
        closed[y, 0, x] += weight * rate if plain else np.float32(0.0)
        closed[y, 1, x] += weight if plain else np.float32(0.0)
        closed[y, 2, x] += spread - part * saved if plain else np.float32(0.0)
