"""Frames of one scene combined pixel by pixel, without what only one of them shows.

Arrays are `(y, x)`, rates in e-/s, errors are sigma.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcal.buffers import FlagImage, FloatImage
from rtcal.errors import UsageError
from rtcal.kernels.combine import combine_rows
from rtcal.refmake.stacks import Advance, Frames, nobody, row_bands
from streams.dq import Dq

PASSING = Dq.SATURATED | Dq.JUMP_DET | Dq.MISSING_READ | Dq.AD_FLOOR | Dq.UNRELIABLE_SLOPE | Dq.PERSISTENCE | Dq.WINDOW
"""Flags that tell of one ramp, not of the detector: a reference does not hand them on."""


@dataclass(frozen=True)
class Combined:
    """Frames of the same scene combined: rate, error and flags, and where any of them was saturated."""

    rate: FloatImage
    err: FloatImage
    dq: FlagImage
    saturated: NDArray[np.bool_]


def check_frames(frames: Frames, what: str) -> None:
    """Refuse to make something of nothing.

    Raises
    ------
    UsageError
        If there is no frame.
    """
    if not len(frames):
        raise UsageError(f"no frame came out of the inputs for {what}; a ramp needs two reads")


def check_alike(one: Frames, other: Frames) -> None:
    """Refuse two stacks of different detectors or shapes.

    Raises
    ------
    UsageError
        Names both.
    """
    names = [f"{stack.headers[0].detector} {stack.shape}" for stack in (one, other)]
    if names[0] != names[1]:
        raise UsageError(f"inputs for one reference must be of one detector and shape, found {' and '.join(names)}")


def combine(
    frames: Frames, advance: Advance = nobody, *, median: bool = False, scales: Sequence[float] | None = None
) -> Combined:
    """Average frames per pixel without outliers.

    A value is left out if it lies more than 5 sigma above the lowest value of its pixel: cosmic rays only
    add. With three or more frames the median, not the lowest, is the yardstick.

    Parameters
    ----------
    frames
        One or more.
    advance
        Told how many rows are done.
    median
        True to take the median itself where three or more frames have a value.
    scales
        What to multiply each frame by.

    Returns
    -------
    Combined
        NaN with DO_NOT_USE where no frame has a value.
    """
    shape = frames.shape
    rate, err = np.empty(shape, np.float32), np.empty(shape, np.float32)
    dq, saturated = np.empty(shape, np.uint32), np.empty(shape, np.bool_)
    factors = np.ones(len(frames), np.float32) if scales is None else np.asarray(scales, np.float32)
    for rows in row_bands(shape, len(frames), advance):
        rates, errors, flags = frames.band(rows)
        combine_rows(rates, errors, flags, factors, median, np.uint32(PASSING), rate[rows], err[rows], dq[rows])
        saturated[rows] = (flags & np.uint32(Dq.SATURATED) != 0).any(axis=0)
    return Combined(rate, err, dq, saturated)


def median_of(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the median along the first axis of the values that are there; NaN where none is."""
    ordered = np.sort(values, axis=0)  # NaN last
    count = np.isfinite(values).sum(axis=0)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[None], axis=0)[0]
    high = np.take_along_axis(ordered, (count // 2).clip(max=len(values) - 1)[None], axis=0)[0]
    return np.asarray((low + high) / 2)


def level(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return median and 1.4826 MAD; NaN for no values."""
    if not values.size:
        return float("nan"), float("nan")
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))
