"""Averages over square bins, for the screen."""

import numpy as np

from rtcal.kernels._jit import kernel


@kernel
def _add_row(row, total):
    for i in range(row.size):
        total[i] += np.float32(row[i])


@kernel
def bin_mean(image, binning, binned):
    """Average an image over square bins.

    Parameters
    ----------
    image
        Any numbers, (y, x).
    binning
        Side of a bin in pixels; rows and columns beyond the last whole bin are left out.
    binned
        Float32, (y / binning, x / binning), overwritten.
    """
    scale = np.float32(1.0) / np.float32(binning * binning)
    total = np.empty(image.shape[1], np.float32)
    for row in range(binned.shape[0]):
        total[:] = 0.0
        for y in range(row * binning, (row + 1) * binning):
            _add_row(image[y], total)
        for column in range(binned.shape[1]):
            value = np.float32(0.0)
            for x in range(column * binning, (column + 1) * binning):
                value += total[x]
            binned[row, column] = value * scale
