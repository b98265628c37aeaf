"""The master dark: the mean of dark frames, with the pixels that are hot or warm."""

import numpy as np
from numpy.typing import NDArray

from rtcal.buffers import FlagImage, FloatImage
from rtcal.refmake.combine import Combined, check_frames, combine, level
from rtcal.refmake.stacks import Advance, Frames, nobody, row_bands
from rtcal.steps import sample_step
from streams.dq import Dq

HOT_SIGMA = 5.0
SCRATCH_PLANES = 8
"""What the search for hot pixels has in memory for each row."""
CROSS_TALK = 0.02
"""A pixel with less than this share of a neighbour's excess owes it to that neighbour (capacitive coupling)."""


def make_dark(frames: Frames, advance: Advance = nobody) -> Combined:
    """Combine dark frames; pixels above the rest by more than 5 sigma are flagged.

    HOT if the excess is their own, WARM if it is no more than a hot neighbour's capacitive coupling: such a
    pixel is right again once the dark is subtracted.

    Raises
    ------
    UsageError
        If there is no frame.
    """
    check_frames(frames, "dark")
    dark = combine(frames, advance)
    some = slice(None, None, sample_step(frames.shape))
    typical, sigma = level(dark.rate[some][_active(dark.dq[some])])
    for rows in row_bands(frames.shape, SCRATCH_PLANES):
        around = slice(max(rows.start - 1, 0), rows.stop + 1)
        own = slice(rows.start - around.start, rows.stop - around.start)
        excess = np.where(_active(dark.dq[around]), dark.rate[around] - np.float32(typical), np.float32(0))
        high = excess[own] > HOT_SIGMA * sigma
        coupled = high & (excess[own] < CROSS_TALK * _highest_neighbour(excess)[own])
        dark.dq[rows][coupled] |= np.uint32(Dq.WARM)
        dark.dq[rows][high & ~coupled] |= np.uint32(Dq.HOT)
    return dark


def _active(dq: FlagImage) -> NDArray[np.bool_]:
    return np.asarray(dq & np.uint32(Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE) == 0)


def _highest_neighbour(image: FloatImage) -> FloatImage:
    """Return the highest of the eight neighbours of each pixel (the edge has fewer)."""
    padded = np.pad(image, 1, constant_values=-np.inf)
    (ny, nx), highest = image.shape, np.full_like(image, -np.inf)
    for dy, dx in ((dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1)):
        np.maximum(highest, padded[dy : dy + ny, dx : dx + nx], out=highest)
    return highest
