"""The master dark: the mean of dark frames, with the pixels that are hot or warm."""

import numpy as np

from rtcal.buffers import FloatImage
from rtcal.refmake.combine import Combined, check_frames, combine, level
from rtcal.refmake.stacks import Advance, FrameStack, nobody
from streams.dq import Dq

HOT_SIGMA = 5.0
CROSS_TALK = 0.02
"""A pixel with less than this share of a neighbour's excess owes it to that neighbour (capacitive coupling)."""


def make_dark(frames: FrameStack, advance: Advance = nobody) -> Combined:
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
    active = dark.dq & np.uint32(Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE) == 0
    typical, sigma = level(dark.rate[active])
    excess = np.where(active, dark.rate - typical, 0)
    high = excess > HOT_SIGMA * sigma
    coupled = high & (excess < CROSS_TALK * _highest_neighbour(excess))
    dark.dq[coupled] |= np.uint32(Dq.WARM)
    dark.dq[high & ~coupled] |= np.uint32(Dq.HOT)
    return dark


def _highest_neighbour(image: FloatImage) -> FloatImage:
    """Return the highest of the eight neighbours of each pixel (the edge has fewer)."""
    padded = np.pad(image, 1, constant_values=-np.inf)
    (ny, nx), highest = image.shape, np.full_like(image, -np.inf)
    for dy, dx in ((dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1)):
        np.maximum(highest, padded[dy : dy + ny, dx : dx + nx], out=highest)
    return highest
