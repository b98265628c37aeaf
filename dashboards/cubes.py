"""Cubes made flat: slices, means, medians and sums over wavelength, spectra over spaxels."""

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from dashboards.limits import FloatImage
from streams.dq import Dq
from streams.messages import Cube

CUBE_SUFFIX = "-cube"
"""Added to a detector's name: its cube is shown as if it were a detector of its own."""

Bin = Annotated[int, Meta(ge=0, le=20_000)]
Flags = NDArray[np.uint32]


class Collapse(Struct, frozen=True, forbid_unknown_fields=True):
    """Which wavelength bins, both ends included, and how they become one image."""

    how: Literal["mean", "median", "sum"]
    first: Bin
    last: Bin


def collapsed(cube: Cube, collapse: Collapse | None) -> tuple[FloatImage, FloatImage, Flags]:
    """Return image, error and flags of a cube, (y, x); None takes the mean of all wavelengths.

    DO_NOT_USE and NaN voxels take no part. The median's error is that of the mean times root pi/2. A spaxel
    without a good voxel is NaN and DO_NOT_USE; other flags are joined.
    """
    how, part = ("mean", slice(None)) if collapse is None else (collapse.how, _bins(cube, collapse))
    data, err, dq = cube.data[part], cube.err[part], cube.dq[part]
    good = np.isfinite(data) & (dq & np.uint32(Dq.DO_NOT_USE) == 0)
    count = good.sum(axis=0)
    values = np.where(good, data, np.float32(0))
    total = values.sum(axis=0, dtype=np.float64)
    noise = np.sqrt((np.where(good, err, np.float32(0)).astype(np.float64) ** 2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        if how == "sum":
            image = np.where(count > 0, total, np.nan)
        else:
            image, noise = total / count, noise / count
        if how == "median":
            image, noise = _median(np.where(good, data, np.nan), count), noise * np.sqrt(np.pi / 2)
    flags = np.bitwise_or.reduce(dq & np.uint32(0xFFFFFFFF ^ int(Dq.DO_NOT_USE)), axis=0)
    flags = np.where(count > 0, flags, flags | np.uint32(Dq.DO_NOT_USE)).astype(np.uint32)
    return image.astype(np.float32), np.where(count > 0, noise, np.nan).astype(np.float32), flags


def _bins(cube: Cube, collapse: Collapse) -> slice:
    """Return the bins as far as there are any; at least one."""
    last_bin = cube.data.shape[0] - 1
    first, last = sorted((min(collapse.first, last_bin), min(collapse.last, last_bin)))
    return slice(first, last + 1)


def _median(values: FloatImage, count: NDArray[np.int_]) -> NDArray[np.floating]:
    """Return the median of the finite values along the first axis."""
    ordered = np.sort(values, axis=0)  # NaN last
    upper = np.take_along_axis(ordered, np.minimum(count // 2, len(ordered) - 1)[None], axis=0)[0]
    lower = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[None], axis=0)[0]
    middle: NDArray[np.floating] = np.where(count > 0, (lower.astype(np.float64) + upper) / 2, np.nan)
    return middle


def spectrum(cube: Cube, inside: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Sum the good voxels of the spaxels in a mask, (y, x), at each wavelength.

    Returns
    -------
    Rate and error [e-/s], float64, (wavelength,), NaN where no voxel is good, and the number of spaxels.
    """
    data, err, dq = cube.data[:, inside], cube.err[:, inside], cube.dq[:, inside]
    good = np.isfinite(data) & (dq & np.uint32(Dq.DO_NOT_USE) == 0)
    rate = np.where(good, data, 0.0).sum(axis=1, dtype=np.float64)
    noise = np.sqrt((np.where(good, err, 0.0).astype(np.float64) ** 2).sum(axis=1))
    some = good.any(axis=1)
    return np.where(some, rate, np.nan), np.where(some, noise, np.nan), int(inside.sum())


def wavelengths_um(cube: Cube) -> NDArray[np.float64]:
    """Return the middle of each bin, vacuum [um]."""
    header = cube.header
    return np.asarray(header.wave_first_um + header.wave_step_um * np.arange(cube.data.shape[0]), np.float64)
