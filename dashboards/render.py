"""Arithmetic of the display: binning, smoothing, flags, 8-bit pixels.

Kernels write into arrays of the caller; the functions below them check, allocate and call.
Nothing here knows of sockets or of Bokeh.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dashboards.flags import Flags
from dashboards.limits import FloatImage, stretched
from dashboards.settings import Smoothing, Stretch

BAD = 0
"""Index of a pixel without a value; 1 to 255 run from the low to the high limit."""
LUT_SIZE = 65536
BAND_PIXELS = 1 << 18

_kernel: Any = njit(cache=True, nogil=True, error_model="numpy")


@_kernel
def _average_row(total, count, factor, out):  # type: ignore[no-untyped-def]
    for column in range(out.size):
        value = np.float32(0)
        good = np.float32(0)
        for x in range(column * factor, min((column + 1) * factor, total.size)):
            value += total[x]
            good += count[x]
        out[column] = value / good if good > 0 else np.float32(np.nan)


# Columns are summed first, over whole rows: that loop runs on vectors, one over small squares does not.
@_kernel
def _bin_good(data, dq, reject, factor, total, count, out):  # type: ignore[no-untyped-def]
    for row in range(out.shape[0]):
        total[:] = 0
        count[:] = 0
        for y in range(row * factor, min((row + 1) * factor, data.shape[0])):
            for x in range(data.shape[1]):
                value = data[y, x]
                good = np.isfinite(value) and dq[y, x] & reject == 0
                total[x] += value if good else np.float32(0)
                count[x] += np.float32(1) if good else np.float32(0)
        _average_row(total, count, factor, out[row])


@_kernel
def _bin_finite(data, factor, total, count, out):  # type: ignore[no-untyped-def]
    for row in range(out.shape[0]):
        total[:] = 0
        count[:] = 0
        for y in range(row * factor, min((row + 1) * factor, data.shape[0])):
            for x in range(data.shape[1]):
                value = data[y, x]
                good = np.isfinite(value)
                total[x] += value if good else np.float32(0)
                count[x] += np.float32(1) if good else np.float32(0)
        _average_row(total, count, factor, out[row])


@_kernel
def _mask(data, dq, reject, out):  # type: ignore[no-untyped-def]
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            out[y, x] = data[y, x] if dq[y, x] & reject == 0 else np.float32(np.nan)


@_kernel
def _to_bytes(data, low, scale, table, out):  # type: ignore[no-untyped-def]
    last = np.float32(table.size - 1)
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            value = data[y, x]
            level = (value - low) * scale
            if not np.isfinite(value):  # a NaN must never become an index, and an infinity is no brightness
                out[y, x] = 0
            elif level >= last:
                out[y, x] = table[table.size - 1]
            elif level > 0:
                out[y, x] = table[int(level)]
            else:
                out[y, x] = table[0]


# Rows first, then columns; both loops run along rows, so that they stay on vectors.
@_kernel
def _smooth(data, weights, rows, out):  # type: ignore[no-untyped-def]
    height, width = data.shape
    reach = weights.size // 2
    total, weight = rows[0], rows[1]
    for y in range(height):
        total[y, :] = 0
        weight[y, :] = 0
        for k in range(weights.size):
            w = weights[k]
            shift = k - reach
            for x in range(max(0, -shift), min(width, width - shift)):
                value = data[y, x + shift]
                good = np.isfinite(value)
                total[y, x] += w * value if good else np.float32(0)
                weight[y, x] += w if good else np.float32(0)
    for y in range(height):
        below = np.zeros(width, np.float32)
        out[y, :] = 0
        for k in range(weights.size):
            row = y + k - reach
            if 0 <= row < height:
                w = weights[k]
                for x in range(width):
                    out[y, x] += w * total[row, x]
                    below[x] += w * weight[row, x]
        for x in range(width):
            out[y, x] = out[y, x] / below[x] if np.isfinite(data[y, x]) and below[x] > 0 else np.float32(np.nan)


@_kernel
def _classify(dq, factor, kinds, out):  # type: ignore[no-untyped-def]
    wanted = np.uint32(0)
    for k in range(kinds.size):
        wanted |= kinds[k]
    for y in range(dq.shape[0]):
        for x in range(dq.shape[1]):
            flags = dq[y, x] & wanted
            if flags != 0:
                for k in range(kinds.size):
                    if flags & kinds[k] != 0:
                        held = out[y // factor, x // factor]
                        if held == 0 or held > k + 1:
                            out[y // factor, x // factor] = k + 1
                        break


def bin_mean(
    data: FloatImage, factor: int, dq: Flags | NDArray[np.uint32] | None = None, reject: int = 0
) -> FloatImage:
    """Average squares of `factor` pixels, leaving out what has no value.

    Parameters
    ----------
    data
        Image, float32, (y, x); non-finite pixels are left out.
    factor
        Side of the squares, 1 or more; those at the far edges may be cut short.
    dq
        Flags of the pixels, uint32, (y, x); pixels with a bit of `reject` are left out.
    reject
        Bits of `dq`.

    Returns
    -------
    float32, (y, x), sides rounded up; NaN where a square holds no good pixel.
    """
    out = np.empty((-(-data.shape[0] // factor), -(-data.shape[1] // factor)), np.float32)
    total, count = np.empty(data.shape[1], np.float32), np.empty(data.shape[1], np.float32)
    if dq is None:
        _bin_finite(data, factor, total, count, out)
        return out
    for rows, binned in _bands(data.shape, factor):
        if factor == 1:
            _mask(data[rows], dq[rows], np.uint32(reject), out[binned])
        else:
            _bin_good(data[rows], dq[rows], np.uint32(reject), factor, total, count, out[binned])
    return out


def _bands(shape: tuple[int, ...], factor: int) -> Iterator[tuple[slice, slice]]:
    """Return rows of an image and of the binned one, in turn: packed flags are unpacked for one band at a time."""
    step = max(1, BAND_PIXELS // max(1, shape[1] * factor))
    for first in range(0, -(-shape[0] // factor), step):
        yield slice(first * factor, (first + step) * factor), slice(first, first + step)


@lru_cache(maxsize=8)
def _table(stretch: Stretch) -> NDArray[np.uint8]:
    brightness = stretched(np.linspace(0.0, 1.0, LUT_SIZE), stretch)
    table = (1 + np.round(brightness * 254)).astype(np.uint8)
    table.setflags(write=False)
    return table


def to_bytes(data: FloatImage, low: float, high: float, stretch: Stretch) -> NDArray[np.uint8]:
    """Turn values into palette indices: 1 at `low` and below, 255 at `high` and above, 0 for NaN and infinities.

    Parameters
    ----------
    data
        Image, float32, (y, x).
    low, high
        Limits in the image's unit, `low < high`.
    stretch
        Curve between them; taken from a table of 65536 entries, so good to one level.
    """
    out = np.empty(data.shape, np.uint8)
    scale = np.float32((LUT_SIZE - 1) / (high - low))
    _to_bytes(data, np.float32(low), scale, _table(stretch), out)
    return out


def smoothing_weights(kind: Smoothing, size: float) -> NDArray[np.float32]:
    """Return the weights of one axis, an odd number of them: a Gaussian of sigma `size`, or a box `size` wide."""
    if kind == "gaussian" and size > 0.2:
        reach = max(1, math.ceil(3 * size))
        return np.exp(-0.5 * (np.arange(-reach, reach + 1) / size) ** 2).astype(np.float32)
    if kind == "boxcar" and size > 1:
        reach = math.ceil((size - 1) / 2)
        weights = np.ones(2 * reach + 1, np.float32)
        weights[[0, -1]] = (size - 1) / 2 - (reach - 1)  # the part of the outermost pixels that the box covers
        return weights
    return np.ones(1, np.float32)


def smooth(data: FloatImage, weights: NDArray[np.float32]) -> FloatImage:
    """Average an image over its neighbourhood, the same weights in both axes.

    Parameters
    ----------
    data
        Image, float32, (y, x). Pixels without a value have no weight and keep none themselves.
    weights
        Along one axis, an odd number.
    """
    out = np.empty(data.shape, np.float32)
    rows = np.empty((2, *data.shape), np.float32)
    _smooth(data, weights, rows, out)
    return out


def classify(dq: Flags | NDArray[np.uint32], factor: int, kinds: tuple[int, ...]) -> NDArray[np.uint8]:
    """Say of each square of `factor` pixels which flag is in it: the number of the first of `kinds`, from 1, or 0.

    Parameters
    ----------
    dq
        Flags, uint32, (y, x).
    factor
        Side of the squares.
    kinds
        Bits of each kind, the one that is to be seen before the others first.
    """
    out = np.zeros((-(-dq.shape[0] // factor), -(-dq.shape[1] // factor)), np.uint8)
    for rows, binned in _bands(dq.shape, factor):
        _classify(dq[rows], factor, np.array(kinds, np.uint32), out[binned])
    return out


def compile_kernels() -> None:
    """Compile every kernel for the types that it will meet, before a socket opens.

    Received arrays are read-only, those made here are not, and cut-outs are not contiguous: these are
    different types to Numba.
    """
    for flags in (True, False):
        data, dq = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.uint32)
        data.setflags(write=flags)
        dq.setflags(write=flags)
        for cut in (slice(None), slice(1, 3)):
            bin_mean(data[:, cut], 2)
            to_bytes(data[:, cut], 0.0, 1.0, "linear")
            smooth(data[:, cut], np.ones(3, np.float32))
            for held in (dq[:, cut], dq[:, cut].copy()):  # as it came, and unpacked
                bin_mean(data[:, cut], 2, held, 1)
                bin_mean(data[:, cut], 1, held, 1)
                classify(held, 2, (1,))
