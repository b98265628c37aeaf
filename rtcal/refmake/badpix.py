"""The bad-pixel map: what is wrong with a detector's pixels, from darks and from light."""

import numpy as np
from numpy.typing import NDArray

from rtcal.buffers import FlagImage, FloatImage
from rtcal.refmake.combine import check_alike, check_frames, combine, median_of
from rtcal.refmake.dark import make_dark
from rtcal.refmake.noise import LEAST_STEPS, channel_columns, channel_level, noisy_pixels, step_noise
from rtcal.refmake.ramps import RampStack
from rtcal.refmake.stacks import Advance, FrameStack, nobody, row_bands
from streams.dq import Dq

UNSTEADY_SIGMA = 6.0
DEAD_SIGMA = 4.0
DEAD_RESPONSE = 0.1
"""A pixel that sees less than this share of the light around it is dead."""
LOW_RESPONSE = 0.5
"""One that sees less than this is of low efficiency, and not used."""
OPEN_NEIGHBOURS = 1.05
"""Neighbours of an open pixel see, in the mean, more than so many times the light around: they have its charge."""
OPEN_EACH = 1.02
"""And each of them more than this: stars and flaws are not on all four sides."""
TELEGRAPH_STEPS = 2
"""Steps beyond 5 sigma up, and as many down, that make a pixel's noise a telegraph's: cosmic rays only add."""
FLAT_BOX = 15


def make_badpix(
    darks: FrameStack, lit: FrameStack, dark_ramps: RampStack | None = None, advance: Advance = nobody
) -> FlagImage:
    """Find the pixels that are not to be used: in darks hot, noisy and unsteady ones, in light those that miss it.

    Parameters
    ----------
    darks, lit
        Frames without and with light, either may be empty.
    dark_ramps
        The reads of the darks, for the noise within a ramp.
    advance
        Told how many rows are done, of each of the inputs.

    Returns
    -------
    NDArray of uint32
        DO_NOT_USE with HOT (as in `make_dark`, or saturated in a dark), TELEGRAPH (steps both ways, within a dark or
        from dark to dark), OTHER_BAD_PIXEL (noise), DEAD, LOW_QE, CROSS_BAD (open: its charge goes to its
        neighbours) or CROSS_BAD_NEIGH; WARM alone is usable; the border has REFERENCE_PIXEL.

    Raises
    ------
    UsageError
        If there is no frame.
    """
    check_frames(darks if len(darks) else lit, "bad-pixel map")
    if len(darks) and len(lit):
        check_alike(darks, lit)
    shape = darks.shape if len(darks) else lit.shape
    dq, dark_rate = np.zeros(shape, np.uint32), np.zeros(shape, np.float32)
    if len(darks):
        dq, dark_rate = _dark_flags(darks, advance)
    if dark_ramps is not None and len(dark_ramps):
        dq |= noise_flags(dark_ramps, advance)
    if len(lit):
        light = combine(lit, advance)
        dq |= light.dq & np.uint32(Dq.REFERENCE_PIXEL)
        dq |= response_flags(light.rate - dark_rate, light.err, dq)
    bad = Dq.HOT | Dq.TELEGRAPH | Dq.OTHER_BAD_PIXEL | Dq.REFERENCE_PIXEL
    dq[dq & np.uint32(bad) != 0] |= np.uint32(Dq.DO_NOT_USE)
    return dq


def _dark_flags(darks: FrameStack, advance: Advance) -> tuple[FlagImage, FloatImage]:
    dark = make_dark(darks, advance)
    dq = dark.dq & np.uint32(Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE | Dq.HOT | Dq.WARM)
    dq[dark.saturated] |= np.uint32(Dq.HOT)
    if len(darks) >= 3:
        for rows in row_bands(darks.shape, len(darks)):
            rates, errors, _ = darks.band(rows)
            dq[rows][unsteady(rates, errors)] |= np.uint32(Dq.TELEGRAPH)
    return dq, dark.rate


def unsteady(rates: FloatImage, errors: FloatImage) -> NDArray[np.bool_]:
    """Find pixels whose darks scatter both above and below their median by more than their errors allow."""
    with np.errstate(invalid="ignore", divide="ignore"):
        deviations = (rates - median_of(rates)) / errors
        return np.asarray((deviations.max(axis=0) > UNSTEADY_SIGMA) & (deviations.min(axis=0) < -UNSTEADY_SIGMA))


def noise_flags(ramps: RampStack, advance: Advance = nobody) -> FlagImage:
    """Flag the pixels whose reads jump both ways (TELEGRAPH), or scatter far more than their channel's.

    Darks with too few reads to tell flag nothing.
    """
    detector, dq = ramps.detector, ramps.border_flags() & np.uint32(Dq.REFERENCE_PIXEL)
    if sum(max(len(ramp.times_s) - 1, 0) for ramp in ramps.ramps) < LEAST_STEPS:
        return dq
    sigma = np.empty(ramps.shape, np.float32)
    for rows, bands in ramps.bands(advance):
        noise = step_noise(bands, detector.saturation_dn, detector.gain_e_per_dn)
        sigma[rows] = noise.sigma_dn
        jumps = (noise.up >= TELEGRAPH_STEPS) & (noise.down >= TELEGRAPH_STEPS)
        dq[rows][jumps & (dq[rows] == 0)] |= np.uint32(Dq.TELEGRAPH)
    for columns in channel_columns(ramps.shape[1], detector.channels):
        own, flags = sigma[:, columns], dq[:, columns]
        noisy = noisy_pixels(own, flags, channel_level(own, flags))
        flags[noisy & (flags == 0)] |= np.uint32(Dq.OTHER_BAD_PIXEL)
    return dq


def response_flags(rate: FloatImage, err: FloatImage, dq: FlagImage) -> FlagImage:
    """Flag the pixels that miss light: dead, of low efficiency, or open with the four neighbours that have it.

    Parameters
    ----------
    rate, err
        Of the lit frames, dark subtracted [e-/s].
    dq
        What is known of the pixels: hot ones and the border are left alone.
    """
    alone = dq & np.uint32(Dq.REFERENCE_PIXEL | Dq.HOT) == 0
    around = surroundings(rate, dq & np.uint32(Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE | Dq.HOT) == 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        response, sigma = rate / around, err / around
        low = alone & (around > 0) & (response < LOW_RESPONSE) & (response < 1 - DEAD_SIGMA * sigma)
        dead = low & (response < DEAD_RESPONSE)
    opened, robbed = open_pixels(response, sigma, low, alone)
    flags = np.zeros_like(dq)
    flags[low & ~dead & ~opened] |= np.uint32(Dq.LOW_QE | Dq.DO_NOT_USE)
    flags[dead & ~opened] |= np.uint32(Dq.DEAD | Dq.DO_NOT_USE)
    flags[opened] |= np.uint32(Dq.CROSS_BAD | Dq.DO_NOT_USE)
    flags[robbed & ~low] |= np.uint32(Dq.CROSS_BAD_NEIGH | Dq.DO_NOT_USE)
    return flags


def open_pixels(
    response: FloatImage, sigma: FloatImage, low: NDArray[np.bool_], alone: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find low pixels whose four neighbours are all too bright: an open pixel's charge goes to them.

    Returns
    -------
    tuple
        The open pixels, and their neighbours.
    """
    sides = ((0, 1), (2, 1), (1, 0), (1, 2))
    ny, nx = response.shape
    padded = np.pad(np.where(alone, response, np.nan), 1, constant_values=np.nan)
    noise = np.pad(np.where(alone, sigma, np.nan), 1, constant_values=np.nan)
    values = np.stack([padded[dy : dy + ny, dx : dx + nx] for dy, dx in sides])
    error = np.sqrt(sum(noise[dy : dy + ny, dx : dx + nx] ** 2 for dy, dx in sides)) / len(sides)
    with np.errstate(invalid="ignore"):
        mean = values.mean(axis=0)  # NaN beside what cannot be judged
        opened = low & (mean > OPEN_NEIGHBOURS) & (mean > 1 + DEAD_SIGMA * error) & (values > OPEN_EACH).all(axis=0)
    around = np.pad(opened, 1)
    robbed = np.any([around[dy : dy + ny, dx : dx + nx] for dy, dx in sides], axis=0)
    return opened, robbed


def surroundings(rate: FloatImage, usable: NDArray[np.bool_]) -> FloatImage:
    """Return the median of the usable pixels of the square blocks of `FLAT_BOX` pixels that tile the image."""
    out = np.full(rate.shape, np.nan, np.float32)
    for y in range(0, rate.shape[0], FLAT_BOX):
        for x in range(0, rate.shape[1], FLAT_BOX):
            block = (slice(y, y + FLAT_BOX), slice(x, x + FLAT_BOX))
            values = rate[block][usable[block]]
            if values.size:
                out[block] = np.median(values)
    return out
