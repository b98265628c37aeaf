"""The bias: the level of each pixel right after a reset."""

import numpy as np

from rtcal.refmake.combine import Combined, level, median_of
from rtcal.refmake.ramps import RampStack
from rtcal.refmake.stacks import Advance, nobody
from streams.dq import Dq

OUTLIER_SIGMA = 5.0
PRIOR = 5
"""Resets that what is typical of all pixels is worth."""
UNSTEADY = 5.0
"""A pixel whose level scatters from reset to reset so many times more than the rest is unreliable."""


def make_bias(ramps: RampStack, advance: Advance = nobody) -> Combined:
    """Average the first reads of ramps, best of darks: what light left until then is part of it.

    Reads are first brought to the level of the first one by their reference pixels, so the border of the result is
    that which the reduction measures drift against. Values more than 5 sigma of their pixel's median
    are left out.

    Returns
    -------
    Combined
        Level and error [DN]; UNRELIABLE_BIAS where the scatter is far above the rest's.

    Raises
    ------
    UsageError
        If there is no ramp.
    """
    ramps.check("bias", reads=1)
    detector, shape = ramps.detector, ramps.shape
    mean, err, scatter = (np.empty(shape, np.float32) for _ in range(3))
    noise_dn = detector.read_noise_e / detector.gain_e_per_dn
    for rows, bands in ramps.bands(advance, reads=1):
        first = np.stack([band.signal_dn[0] for band in bands])
        middle = median_of(first)
        spread = 1.4826 * median_of(np.abs(first - middle))
        # With a few resets a pixel's own spread may be small by chance: it is never less than what is typical.
        kept = np.abs(first - middle) <= OUTLIER_SIGMA * np.maximum(spread, max(float(np.median(spread)), noise_dn))
        count = kept.sum(axis=0)
        mean[rows] = np.where(kept, first, 0).sum(axis=0) / count
        square = np.where(kept, (first - mean[rows]) ** 2, 0).sum(axis=0)
        scatter[rows] = np.sqrt(square / np.maximum(count - 1, 1)) if len(bands) > 1 else noise_dn
        # A few resets tell a pixel's own scatter badly: it counts as much as those of all once there are some.
        near = scatter[rows][scatter[rows] <= UNSTEADY * max(float(np.median(scatter[rows])), noise_dn)]
        own, all_dn2 = len(bands) - 1, np.mean(near**2)
        err[rows] = np.sqrt((own * scatter[rows] ** 2 + PRIOR * all_dn2) / (own + PRIOR) / count)
    dq = ramps.border_flags()
    active = dq & np.uint32(Dq.REFERENCE_PIXEL) == 0
    if len(ramps) > 2:
        typical, _ = level(scatter[active])
        dq[active & (scatter > UNSTEADY * typical)] |= np.uint32(Dq.UNRELIABLE_BIAS)
    return Combined(mean, err, dq, np.zeros(shape, bool))
