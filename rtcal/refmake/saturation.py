"""The level at which each pixel stops answering, from ramps that go beyond it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcal.buffers import FlagImage, FloatImage
from rtcal.errors import UsageError
from rtcal.refmake.combine import median_of
from rtcal.refmake.ramps import RampBand, RampStack, Signals
from rtcal.refmake.stacks import Advance, nobody
from streams.dq import Dq

LEAST_READS = 4
DEPARTED = 0.5
"""A step of less than this part of the first ones, with all that follow it, is where a pixel stopped."""
FLAT = 0.1
"""Steps of less than this part of the first ones, all of them, are a ceiling, not a bend."""
STEP_SIGMA = 10.0
"""First steps below so many times their noise tell nothing about where they stop."""
LEAST_LEVEL = 0.5
"""What stops below this part of the level that the headers give stops for another reason."""


@dataclass(frozen=True)
class Saturation:
    """Raw level of each pixel [DN] and its error, and where it was measured."""

    level_dn: FloatImage
    err_dn: FloatImage
    dq: FlagImage
    measured: NDArray[np.bool_]


def make_saturation(ramps: RampStack, fraction: float, advance: Advance = nobody) -> Saturation:
    """Measure the level from which each pixel is saturated: a fraction of where it stops.

    A pixel has saturated from where its steps fall below half of its first ones and stay there. It stops at the
    median of the reads on the ceiling that follows; where the ramp bends over without one, at the last read before
    the bend: from there on nothing can be corrected. Several ramps give their median. Pixels
    that never saturate take the level of the reads' headers (or of the detector's table), and the fraction of it.

    Parameters
    ----------
    ramps
        Some of which go beyond.
    fraction
        Reads on the ceiling scatter, and just below it part of the light is cut off already: a pixel is saturated
        from this fraction of it on.
    advance
        Told how many rows are done.

    Raises
    ------
    UsageError
        If there are too few reads, or no pixel saturates.
    """
    ramps.check("saturation", reads=LEAST_READS)
    detector, dq = ramps.detector, ramps.border_flags()
    noise_dn = np.sqrt(2) * detector.read_noise_e / detector.gain_e_per_dn
    found, err = np.full(ramps.shape, np.nan, np.float32), np.zeros(ramps.shape, np.float32)
    for rows, bands in ramps.bands(advance):
        levels = np.stack([saturated_level(band, STEP_SIGMA * noise_dn) for band in bands])
        levels[~(levels > LEAST_LEVEL * detector.saturation_dn)] = np.nan
        count = np.isfinite(levels).sum(axis=0)
        found[rows] = median_of(levels)
        spread = median_of(np.abs(levels - found[rows]))
        err[rows] = np.where(count > 1, 1.4826 * spread / np.sqrt(np.maximum(count, 1)), noise_dn)
    measured = np.isfinite(found) & (dq & np.uint32(Dq.REFERENCE_PIXEL) == 0)
    if not measured.any():
        raise UsageError("no pixel saturates in these ramps; give brighter or longer ones")
    level = np.where(measured, found, np.float32(detector.saturation_dn)) * np.float32(fraction)
    return Saturation(level, np.where(measured, err, 0), dq, measured)


def saturated_level(band: RampBand, least_step_dn: float) -> Signals:
    """Return the raw level at which each pixel of one ramp saturates [DN], (y, x); NaN where it does not."""
    raw, count = band.raw_dn, len(band.times_s)
    rates = np.diff(raw, axis=0) / np.diff(band.times_s)[:, None, None]
    first = np.median(rates[: max(3, count // 4)], axis=0)
    low = rates < DEPARTED * first
    # The first of the steps that are low to the end of the ramp.
    start = count - 1 - np.logical_and.accumulate(low[::-1], axis=0).sum(axis=0)
    departed = (start < count - 1) & (first * np.diff(band.times_s).min() > least_step_dn)
    after = np.arange(count)[:, None, None] > start  # reads of which the step before them was low
    on_ceiling = np.where(after, raw, np.nan)
    beyond = np.arange(count - 1)[:, None, None] > start
    flat = (beyond & (np.abs(rates) > FLAT * first)).sum(axis=0) == 0
    ceiling = flat & (after.sum(axis=0) >= 2)
    before = np.take_along_axis(raw, np.minimum(start, count - 1)[None], axis=0)[0]
    return np.where(departed, np.where(ceiling, median_of(on_ceiling), before), np.nan)
