"""Linearity from flat ramps: of each pixel the polynomial that turns its signal into a straight line in time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcal.bands import BAND_BYTES, Bands
from rtcal.buffers import FlagImage, FloatImage
from rtcal.errors import UsageError
from rtcal.refmake.curves import SPARE_READS, Floats, Noise, fit_pixels
from rtcal.refmake.noise import channel_columns
from rtcal.refmake.ramps import RampBand, RampStack, usable
from rtcal.refmake.shrink import shrink
from rtcal.refmake.stacks import Advance, nobody
from streams.dq import Dq

LEAST_REACH = 0.5
"""Part of the typical highest signal that a pixel must have reached: its polynomial says nothing beyond."""
TRUSTED = 1.1
"""A polynomial is believed up to so many times the signal that was typically reached."""
LEAST_LIGHT = 0.2
"""Part of saturation that flats must reach."""
BAND_ROWS = 32
"""Rows that are fitted together at least: their pixels lend each other what they have in common."""
SLOPE_SAMPLES = 16


@dataclass(frozen=True)
class Linearity:
    """Coefficients of each pixel, ascending in DN above the bias, and up to where they hold."""

    coefficients: NDArray[np.float32]
    """(k, y, x); 0, 1, 0 ... where there is no polynomial."""
    dq: FlagImage
    """NO_LIN_CORR where there is no polynomial; the border has REFERENCE_PIXEL."""
    reach_dn: FloatImage
    """Highest signal that was used, (y, x), or saturation, if a ramp went on beyond it."""
    valid_dn: float
    """Signal up to which the polynomials are to be believed: somewhat more than is typical of `reach_dn`."""
    saturated_dn: float
    """Typical signal at saturation."""


@dataclass(frozen=True)
class _Levels:
    """What signals count from, from where on they are not used [DN, raw], and which pixels see light; (y, x)."""

    zero_dn: Floats
    ceiling_dn: Floats
    active: NDArray[np.bool_]


def make_linearity(
    ramps: RampStack,
    order: int,
    bias_dn: FloatImage | None,
    ceiling_dn: float | FloatImage,
    pool: Bands,
    advance: Advance = nobody,
) -> Linearity:
    """Fit the linearity of every pixel.

    Parameters
    ----------
    ramps
        Flat ramps, of any brightness each.
    order
        Highest power, from 2.
    bias_dn
        Level that signals count from [DN], (y, x); None: where each pixel's ramps point to at the reset.
    ceiling_dn
        Raw level from which reads are not used [DN], one or (y, x).
    pool
        Threads, to which the output channels are dealt out.
    advance
        Told how many rows are done.

    Raises
    ------
    UsageError
        If there are too few reads, or no pixel can be fitted.
    """
    ramps.check("linearity", reads=order + SPARE_READS + 1)
    shape, detector = ramps.shape, ramps.detector
    noise = Noise(detector.read_noise_e / detector.gain_e_per_dn, detector.gain_e_per_dn)
    channels = channel_columns(shape[1], detector.channels)
    coefficients, reach = np.zeros((order + 1, *shape), np.float32), np.zeros(shape, np.float32)
    dq, saturated = ramps.border_flags(), []
    active = dq & np.uint32(Dq.REFERENCE_PIXEL) == 0
    for rows, bands in ramps.bands(advance, margin=BAND_ROWS):
        ceiling = np.broadcast_to(ceiling_dn, shape)[rows].astype(np.float64)
        zero = extrapolated_bias(bands, ceiling) if bias_dn is None else bias_dn[rows].astype(np.float64)
        levels = _Levels(zero, ceiling, active[rows])
        saturated.append(float(np.median(ceiling - zero)))

        def work(part: slice, rows: slice = rows, bands: list[RampBand] = bands, levels: _Levels = levels) -> None:
            for columns in channels[part]:
                found = _fit_channel(bands, columns, levels, order, noise)
                coefficients[:, rows, columns], reach[rows, columns] = found

        pool.run(work, (len(channels), 1), BAND_BYTES)
    return _checked(coefficients, reach, dq, float(np.median(saturated)))


def _fit_channel(
    bands: Sequence[RampBand], columns: slice, levels: _Levels, order: int, noise: Noise
) -> tuple[Floats, Floats]:
    """Return coefficients, (k, y, x), and reach, (y, x), of some rows of one output channel."""
    zero, ceiling, active = levels.zero_dn[:, columns], levels.ceiling_dn[:, columns], levels.active[:, columns]
    raw = [band.raw_dn[:, :, columns] for band in bands]
    signals = [(band.signal_dn[:, :, columns] - zero).reshape(len(band.times_s), -1) for band in bands]
    used = [(usable(own, ceiling) & active).reshape(len(own), -1) for own in raw]
    fit = fit_pixels(signals, [band.times_s for band in bands], used, order, noise)
    # Each pixel is drawn towards the others of its output as far as noise demands.
    found = fit.coefficients(shrink(fit.scaled, fit.covariance)).reshape(order + 1, *zero.shape)
    # Where a ramp went on beyond saturation the polynomial holds up to it, not only up to the read before.
    beyond = np.any([(own >= ceiling).any(axis=0) for own in raw], axis=0)
    return found, np.where(beyond, ceiling - zero, fit.reach_dn.reshape(zero.shape))


def extrapolated_bias(bands: Sequence[RampBand], ceiling_dn: Floats) -> Floats:
    """Return the level that each pixel's first two reads point to at the time of the reset, mean over ramps."""
    levels = []
    for band in bands:
        (first_s, second_s), (first, second) = band.times_s[:2], band.signal_dn[:2]
        level = first - (second - first) * first_s / (second_s - first_s)
        levels.append(np.where(band.raw_dn[1] < ceiling_dn, level, np.nan))
    known = np.isfinite(levels)
    return np.asarray(np.where(known, levels, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def _checked(coefficients: NDArray[np.float32], reach_dn: FloatImage, dq: FlagImage, saturated_dn: float) -> Linearity:
    """Leave out the polynomials of pixels that reached too little, or that turn over within their reach."""
    good = (dq & np.uint32(Dq.REFERENCE_PIXEL) == 0) & np.isfinite(coefficients).all(axis=0)
    if good.any():
        good &= reach_dn >= LEAST_REACH * np.median(reach_dn[good])
    for part in np.linspace(0, 1, SLOPE_SAMPLES):
        slope = np.zeros(reach_dn.shape, np.float32)
        for power in range(len(coefficients) - 1, 0, -1):
            slope = slope * (part * reach_dn) + power * np.where(good, coefficients[power], 0)
        good &= slope > 0
    if not good.any():
        raise UsageError("no pixel can be fitted: more reads below saturation are needed, or a lower --order")
    reached_dn = float(np.median(reach_dn[good]))
    if reached_dn < LEAST_LIGHT * saturated_dn:
        raise UsageError(
            f"the flats reach {reached_dn:.0f} of {saturated_dn:.0f} DN, too little to show a bend; give brighter ones"
        )
    coefficients[:, ~good] = 0
    coefficients[1][~good] = 1
    dq[~good & (dq == 0)] |= np.uint32(Dq.NO_LIN_CORR)
    return Linearity(coefficients, dq, reach_dn, TRUSTED * reached_dn, saturated_dn)
