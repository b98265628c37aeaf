"""Windows in FITS reads: whose reads a file holds, and where a full frame lacks its pixels."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from streams.errors import ReadsError
from streams.messages import Scalar
from streams.windows import MAX_WINDOWS, WINDOWS, Window, base_detector, is_window, listed

MAP = "SUBARR_MAP"
"""Image of a full frame's file: 0, or the number of the window that a pixel belongs to."""
NUMBER = "SUBARRID"
"""Setup key of a window's reads: its number in the map."""


def source_name(detector: str, setup: dict[str, Scalar]) -> str:
    """Return the name under which reads of a setup go: the detector's, or that of its window.

    A part of the detector that does not say where it lies goes under the detector's name.
    """
    x, y, number = (setup.get(key) for key in ("XSTART", "YSTART", NUMBER))
    placed = isinstance(x, int) and isinstance(y, int) and min(x, y) >= 1
    if not (placed and is_window(setup)) or base_detector(detector) != detector:
        return detector
    numbered = isinstance(number, int) and 1 <= number <= MAX_WINDOWS
    return f"{detector}.W{number}" if numbered else f"{detector}.WX{x}Y{y}"


def windows_of(path: Path, hdus: fits.HDUList) -> dict[str, Scalar]:
    """Return the setup key that lists the windows of a full frame, from its map; nothing without a map.

    Raises
    ------
    ReadsError
        If the map is no image of whole numbers from 0 to 10, or a window is no rectangle.
    """
    if MAP not in hdus:
        return {}
    numbers = hdus[MAP].data
    if not isinstance(numbers, np.ndarray) or numbers.ndim != 2 or numbers.dtype.kind not in "iu":
        raise ReadsError(f"{path}: {MAP} is no image of whole numbers; write 0, and 1 to {MAX_WINDOWS} in windows")
    if numbers.size and not 0 <= numbers.min() <= numbers.max() <= MAX_WINDOWS:
        raise ReadsError(f"{path}: {MAP} has numbers from {numbers.min()} to {numbers.max()}, not 0 to {MAX_WINDOWS}")
    found = [_rectangle(path, numbers, int(number)) for number in np.unique(numbers[numbers > 0])]
    return {WINDOWS: listed(found)} if found else {}


def _rectangle(path: Path, numbers: NDArray[np.integer], number: int) -> Window:
    inside = numbers == number
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = Window(int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)
    if not inside[window.slices].all():
        raise ReadsError(f"{path}: window {number} of {MAP} is no rectangle")
    return window
