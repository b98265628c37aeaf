"""Slices of a cube moved against what the dispersion corrector leaves of the atmosphere's colour smear."""

import numpy as np

from rtcal.spectrograph.cube import Cube
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.profiles import UNUSABLE, Image

LEAST_SHIFT = 0.1
"""Below a tenth of a spaxel nothing is moved."""


def shift_slices(cube: Cube, shift: Floats) -> float | None:
    """Move each slice by its shift, in place; the flux inside is kept.

    Parameters
    ----------
    cube
        Changed.
    shift
        Spaxels (y, x) of each wavelength bin, (wavelength, 2).

    Returns
    -------
    float or None
        The largest shift; None where all are below a tenth of a spaxel, and nothing was done.

    Notes
    -----
    Linear interpolation: a spaxel's light is shared out among the four that it falls on. Where a part of the four
    has no value the rest is taken, by its share; below a half there is no value. Errors keep the shares' squares,
    their covariance is left out.
    """
    usable = np.isfinite(shift).all(axis=1)
    largest = float(np.abs(shift[usable]).max()) if usable.any() else 0.0
    if largest <= LEAST_SHIFT:
        return None
    for index in np.flatnonzero(usable & (np.abs(shift).max(axis=1) > 0)):
        _shift_one(cube.data[index], cube.err[index], cube.dq[index], shift[index, 0], shift[index, 1])
    return largest


def _shift_one(data: Image, err: Image, dq: np.ndarray, dy: float, dx: float) -> None:
    good = np.isfinite(data)
    values, squares = np.where(good, data, 0).astype(np.float64), np.where(good, err, 0).astype(np.float64) ** 2
    whole_y, whole_x = int(np.floor(dy)), int(np.floor(dx))
    fy, fx = dy - whole_y, dx - whole_x
    total, variance, seen = np.zeros(data.shape), np.zeros(data.shape), np.zeros(data.shape)
    flags = np.zeros(data.shape, np.uint32)
    for step_y, share_y in ((0, 1 - fy), (1, fy)):
        for step_x, share_x in ((0, 1 - fx), (1, fx)):
            share = share_y * share_x
            if share == 0:
                continue
            to, source = _overlap(data.shape, whole_y + step_y, whole_x + step_x)
            total[to] += share * values[source]
            variance[to] += share**2 * squares[source]
            seen[to] += share * good[source]
            if share > 0.1:
                flags[to] |= dq[source] & ~UNUSABLE
    kept = seen >= 0.5
    with np.errstate(invalid="ignore", divide="ignore"):
        data[:] = np.where(kept, total / seen, np.nan)
        err[:] = np.where(kept, np.sqrt(variance) / seen, np.nan)
    dq[:] = flags | np.where(kept, np.uint32(0), UNUSABLE)


def _overlap(shape: tuple[int, ...], dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the parts of target and source that meet when the source is moved by whole spaxels."""
    ny, nx = shape[0], shape[1]
    to = slice(max(0, dy), max(0, min(ny, ny + dy))), slice(max(0, dx), max(0, min(nx, nx + dx)))
    source = slice(max(0, -dy), max(0, min(ny, ny - dy))), slice(max(0, -dx), max(0, min(nx, nx - dx)))
    return to, source
