"""Cubes: spectra put into their spaxels, and means over wavelength. Cubes are (wavelength, spaxel)."""

import math

import numpy as np

from rtcal.kernels._jit import kernel

_BLOCK = 32


@kernel
def place(flux, variance, dq, spaxel, first, last, data, err, out_dq):
    """Put spectra into the spaxels of a cube.

    Parameters
    ----------
    flux, variance, dq
        Float32, float32, uint32, (spectrum, bin).
    spaxel
        Int64, (spectrum,): where each goes; no two the same.
    first, last
        Range of bins, `last` not included.
    data, err, out_dq
        Float32, float32, uint32, (bin, spaxel): value, its sigma, flags; spaxels of no spectrum stay as they are.
    """
    for low in range(first, last, _BLOCK):  # a block of bins of one spectrum is read at once, and written row by row
        high = min(low + _BLOCK, last)
        for i in range(spaxel.size):
            at = spaxel[i]
            for j in range(low, high):
                data[j, at] = flux[i, j]
                err[j, at] = math.sqrt(variance[i, j])
                out_dq[j, at] = dq[i, j]


@kernel
def average(data, err, first, last, start, stop, mean, sigma):
    """Average a cube over a range of bins; bins without a finite value take no part.

    Parameters
    ----------
    data, err
        Float32, (bin, spaxel).
    first, last
        Range of bins, `last` not included.
    start, stop
        Range of spaxels, `stop` not included.
    mean, sigma
        Float32, (spaxel,): mean and its sigma, overwritten; NaN where no bin has a value.
    """
    count = stop - start
    total, noise, seen = np.zeros(count), np.zeros(count), np.zeros(count, np.int64)
    for j in range(first, last):
        for i in range(count):
            value = data[j, start + i]
            if math.isfinite(value):
                own = np.float64(err[j, start + i])
                total[i] += value
                noise[i] += own * own
                seen[i] += 1
    for i in range(count):
        if seen[i] > 0:
            mean[start + i], sigma[start + i] = total[i] / seen[i], math.sqrt(noise[i]) / seen[i]
        else:
            mean[start + i], sigma[start + i] = np.nan, np.nan


@kernel
def average_spectra(flux, variance, edges, low, high, step, start, stop, mean, noise):
    """Average spectra over a range of wavelength, without resampling; pixels without a finite value take no part.

    Parameters
    ----------
    flux, variance
        Float32, (spectrum, t).
    edges
        Float64, (spectrum, t + 1): wavelength of the pixels' edges, in order; NaN beyond a spectrum's end.
    low, high
        The range; of a pixel that lies across an end the part inside counts.
    step
        Width of the bins of which the mean is taken.
    start, stop
        Range of spectra, `stop` not included.
    mean, noise
        Float64, (spectrum,): mean of a bin and its variance, overwritten; NaN where no pixel has a value.
    """
    for i in range(start, stop):
        total, spread, bins = 0.0, 0.0, 0.0
        for t in range(flux.shape[1]):
            blue, red = min(edges[i, t], edges[i, t + 1]), max(edges[i, t], edges[i, t + 1])
            inside = min(red, high) - max(blue, low)
            if inside > 0.0 and math.isfinite(flux[i, t]):
                share = inside / (red - blue)
                total += share * flux[i, t]
                spread += share * share * variance[i, t]
                bins += inside / step
        mean[i], noise[i] = (total / bins, spread / bins**2) if bins > 0.0 else (np.nan, np.nan)
