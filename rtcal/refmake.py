"""References made here from ramps: master dark, bad-pixel map, sky.

The inputs go through the very same pipeline as science reads; what comes out is combined per pixel.
Arrays are `(y, x)`, rates in e-/s, errors are sigma.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcal.errors import UsageError
from rtcal.steps import FlagImage, FloatImage
from streams.dq import Dq
from streams.messages import Frame

OUTLIER_SIGMA = 5.0
HOT_SIGMA = 5.0
NOISY_SIGMA = 6.0
DEAD_SIGMA = 4.0
DEAD_RESPONSE = 0.5
"""A pixel that sees less than this share of the light around it is dead."""
FLAT_BOX = 15
PASSING = Dq.SATURATED | Dq.JUMP_DET | Dq.MISSING_READ | Dq.AD_FLOOR | Dq.UNRELIABLE_SLOPE
"""Flags that tell of one ramp, not of the detector: a reference does not hand them on."""
CROSS_TALK = 0.02
"""A pixel with less than this share of a neighbour's excess owes it to that neighbour (capacitive coupling)."""


@dataclass(frozen=True)
class Combined:
    """Frames of the same scene combined: rate, error and flags, and where any of them was saturated."""

    rate: FloatImage
    err: FloatImage
    dq: FlagImage
    saturated: NDArray[np.bool_]


def check_frames(frames: Sequence[Frame], what: str) -> None:
    """Refuse frames that do not belong together.

    Raises
    ------
    UsageError
        If there are none, or they differ in detector or shape.
    """
    if not frames:
        raise UsageError(f"no frame came out of the inputs for {what}; a ramp needs two reads")
    detectors = sorted({frame.header.detector for frame in frames})
    shapes = sorted({frame.data.shape for frame in frames})
    if len(detectors) > 1 or len(shapes) > 1:
        raise UsageError(f"inputs for one {what} must be of one detector and shape, found {detectors} and {shapes}")


def combine(frames: Sequence[Frame]) -> Combined:
    """Average frames per pixel without outliers.

    A value is left out if it lies more than 5 sigma above the lowest value of its pixel: cosmic rays only
    add. With three or more frames the median, not the lowest, is the yardstick.

    Returns
    -------
    Combined
        NaN with DO_NOT_USE where no frame has a value.
    """
    rates = np.stack([frame.data for frame in frames])
    errors = np.stack([frame.err for frame in frames])
    flags = np.stack([frame.dq for frame in frames])
    unusable = (flags & int(Dq.DO_NOT_USE) != 0) & (flags & int(Dq.REFERENCE_PIXEL) == 0)
    rates = np.where(unusable, np.nan, rates)
    present = np.isfinite(rates)
    filled = np.where(present, rates, np.inf)
    yardstick = filled.min(axis=0) if len(frames) < 3 else _median(rates)
    limit = OUTLIER_SIGMA * np.hypot(errors, np.nanmin(np.where(present, errors, np.inf), axis=0))
    with np.errstate(invalid="ignore"):
        kept = present & (np.abs(rates - yardstick) <= limit)
    count = kept.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(kept, rates, 0).sum(axis=0) / count
        err = np.sqrt(np.where(kept, errors**2, 0).sum(axis=0)) / count
    seen = np.bitwise_or.reduce(flags, axis=0)
    dq = seen & ~np.uint32(Dq.DO_NOT_USE | PASSING)
    dq[count == 0] |= np.uint32(Dq.DO_NOT_USE)
    border = np.bitwise_and.reduce(flags, axis=0) & np.uint32(Dq.REFERENCE_PIXEL)
    dq |= border
    return Combined(rate.astype(np.float32), err.astype(np.float32), dq, seen & np.uint32(Dq.SATURATED) != 0)


def make_dark(frames: Sequence[Frame]) -> Combined:
    """Combine dark frames; pixels above the rest by more than 5 sigma are flagged.

    HOT if the excess is their own, WARM if it is no more than a hot neighbour's capacitive coupling: such a
    pixel is right again once the dark is subtracted.
    """
    check_frames(frames, "dark")
    dark = combine(frames)
    active = dark.dq & np.uint32(Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE) == 0
    level, sigma = _level(dark.rate[active])
    excess = np.where(active, dark.rate - level, 0)
    high = excess > HOT_SIGMA * sigma
    coupled = high & (excess < CROSS_TALK * _highest_neighbour(excess))
    dark.dq[coupled] |= np.uint32(Dq.WARM)
    dark.dq[high & ~coupled] |= np.uint32(Dq.HOT)
    return dark


def make_badpix(darks: Sequence[Frame], lit: Sequence[Frame]) -> FlagImage:
    """Find the pixels that are not to be used: hot and noisy ones in darks, dead ones in illuminated frames.

    Hot as in `make_dark` (or saturated in a dark). Noisy: three or more darks that lie both above and below
    their median by more than 6 of their errors; a cosmic ray only adds. Dead: less than half of the light of the
    surroundings.

    Returns
    -------
    NDArray of uint32
        DO_NOT_USE with HOT, TELEGRAPH or DEAD; WARM alone is usable; the border has REFERENCE_PIXEL.
    """
    check_frames([*darks, *lit], "bad-pixel map")
    dq = _dark_flags(darks) if darks else np.zeros(lit[0].data.shape, np.uint32)
    if lit:
        light = combine(lit)
        rate = light.rate - (combine(darks).rate if darks else np.float32(0))
        border = light.dq & np.uint32(Dq.REFERENCE_PIXEL)
        around = _surroundings(rate, (light.dq | dq) & np.uint32(Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE) == 0)
        with np.errstate(invalid="ignore"):
            dead = (rate < DEAD_RESPONSE * around) & (rate < around - DEAD_SIGMA * light.err)
        dead &= (border == 0) & (dq & np.uint32(Dq.HOT) == 0)
        dq[dead] |= np.uint32(Dq.DEAD | Dq.DO_NOT_USE)
        dq |= border
    dq[dq & np.uint32(Dq.REFERENCE_PIXEL) != 0] |= np.uint32(Dq.DO_NOT_USE)
    return dq


def _dark_flags(darks: Sequence[Frame]) -> FlagImage:
    dark = make_dark(darks)
    dq = dark.dq & np.uint32(Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE | Dq.HOT | Dq.WARM)
    dq[dark.saturated] |= np.uint32(Dq.HOT)
    if len(darks) >= 3:
        dq[_noisy(darks)] |= np.uint32(Dq.TELEGRAPH | Dq.DO_NOT_USE)
    dq[dq & np.uint32(Dq.HOT) != 0] |= np.uint32(Dq.DO_NOT_USE)
    return dq


def make_sky(frames: Sequence[Frame]) -> Combined:
    """Combine sky frames, without registering them: sources at different places drop out as outliers."""
    check_frames(frames, "sky")
    return combine(frames)


def _median(rates: FloatImage) -> FloatImage:
    """Return the median over frames of the values that are there; NaN where none is."""
    ordered = np.sort(rates, axis=0)  # NaN last
    count = np.isfinite(rates).sum(axis=0)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[None], axis=0)[0]
    high = np.take_along_axis(ordered, np.maximum(count // 2, 0).clip(max=len(rates) - 1)[None], axis=0)[0]
    return np.asarray((low + high) / 2)


def _level(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return median and 1.4826 MAD."""
    level = float(np.median(values))
    return level, 1.4826 * float(np.median(np.abs(values - level)))


def _highest_neighbour(image: FloatImage) -> FloatImage:
    """Return the highest of the eight neighbours of each pixel (the edge has fewer)."""
    padded = np.pad(image, 1, constant_values=-np.inf)
    ny, nx = image.shape
    shifts = [(dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1)]
    return np.asarray(np.max([padded[dy : dy + ny, dx : dx + nx] for dy, dx in shifts], axis=0))


def _noisy(darks: Sequence[Frame]) -> NDArray[np.bool_]:
    """Find pixels whose darks scatter both above and below their median by more than their errors allow."""
    rates = np.stack([dark.data for dark in darks])
    deviations = (rates - _median(rates)) / np.stack([dark.err for dark in darks])
    with np.errstate(invalid="ignore"):
        return np.asarray((deviations.max(axis=0) > NOISY_SIGMA) & (deviations.min(axis=0) < -NOISY_SIGMA))


def _surroundings(rate: FloatImage, usable: NDArray[np.bool_]) -> FloatImage:
    """Return the median of the usable pixels of the square blocks of `FLAT_BOX` pixels that tile the image."""
    out = np.full(rate.shape, np.nan, np.float32)
    for y in range(0, rate.shape[0], FLAT_BOX):
        for x in range(0, rate.shape[1], FLAT_BOX):
            block = (slice(y, y + FLAT_BOX), slice(x, x + FLAT_BOX))
            values = rate[block][usable[block]]
            if values.size:
                out[block] = np.median(values)
    return out
