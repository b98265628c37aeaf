"""The light within circles, summed by a kernel: a curve of growth looks at every pixel near a source."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_kernel: Any = njit(cache=True, nogil=True, error_model="numpy")


@_kernel
def _profile(data, good, x0, y0, background, total, count):  # type: ignore[no-untyped-def]
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            ring = int(np.sqrt((x - x0) ** 2 + (y - y0) ** 2) + 0.5)
            if ring < total.size and good[y, x]:
                total[ring] += data[y, x] - background
                count[ring] += 1


@_kernel
def _grow(data, good, x0, y0, background, mean, radii, sums):  # type: ignore[no-untyped-def]
    last = radii[radii.size - 1]
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            away = np.sqrt((x - x0) ** 2 + (y - y0) ** 2)
            if away < last + 0.5:
                value = data[y, x] - background if good[y, x] else mean[int(away + 0.5)]
                k = radii.size - 1
                while k >= 0 and radii[k] > away - 0.5:
                    sums[k] += value * min(radii[k] - away + 0.5, 1.0)
                    k -= 1


def growth(
    data: NDArray[np.float32],
    good: NDArray[np.bool_],
    x: float,
    y: float,
    background: float,
    radii: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Sum the light within each radius around a point.

    Parameters
    ----------
    data, good
        Image, float32, (y, x), and which pixels may be used; another one counts as the mean of its ring.
    x, y
        The middle, 0-based [px].
    background
        Taken off each pixel.
    radii
        Rising [px]. A pixel on the rim counts by the part inside, taken along the radius.
    """
    rings = int(radii[-1]) + 3
    total, count = np.zeros(rings), np.zeros(rings)
    _profile(data, good, x, y, background, total, count)
    mean = np.divide(total, count, out=np.zeros(rings), where=count > 0)
    sums = np.zeros(radii.size)
    _grow(data, good, x, y, background, mean, radii, sums)
    return sums
