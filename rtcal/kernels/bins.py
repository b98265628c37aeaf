"""Averages over square bins, for the screen."""

import numpy as np

from rtcal.kernels._jit import kernel

HIGHEST = np.finfo(np.float32).max
"""Of numbers; a comparison with it is false for what is none, and needs no branch."""


@kernel
def _add_row(row, total):
    for i in range(row.size):
        total[i] += np.float32(row[i])


@kernel
def fold(total, binning, folded):
    """Sum neighbours in a row; all bins take their first pixel, then all their second: no sum waits for another."""
    folded[:] = 0.0
    for k in range(binning):
        for column in range(folded.size):
            folded[column] += total[column * binning + k]


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
        fold(total, binning, binned[row])
        for column in range(binned.shape[1]):
            binned[row, column] *= scale


@kernel
def _add_good_row(row, dq, reject, total, count):
    for i in range(row.size):
        value = row[i]
        good = (np.abs(value) <= HIGHEST) & (dq[i] & reject == 0)
        total[i] += value if good else np.float32(0.0)
        count[i] += np.float32(1.0) if good else np.float32(0.0)


@kernel
def bin_good(image, dq, reject, binning, binned):
    """Average the good pixels of an image over square bins.

    Parameters
    ----------
    image
        Float32, (y, x); what is not finite takes no part.
    dq
        Uint32, (y, x); pixels with a bit of `reject` take no part.
    reject
        Uint32.
    binning
        Side of a bin in pixels; rows and columns beyond the last whole bin are left out.
    binned
        Float32, (y / binning, x / binning), overwritten; NaN for a bin with no good pixel.
    """
    nx = image.shape[1]
    total, count = np.empty(nx, np.float32), np.empty(nx, np.float32)
    weight = np.empty(binned.shape[1], np.float32)
    for row in range(binned.shape[0]):
        total[:] = 0.0
        count[:] = 0.0
        for y in range(row * binning, (row + 1) * binning):
            _add_good_row(image[y], dq[y], reject, total, count)
        fold(total, binning, binned[row])
        fold(count, binning, weight)
        for column in range(binned.shape[1]):
            some = weight[column] > 0.0
            binned[row, column] = binned[row, column] / weight[column] if some else np.float32(np.nan)
