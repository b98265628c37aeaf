"""Spectra out of a detector image, and onto an even grid of wavelength.

Positions are 0-based pixel centres; spectra run along x. A pixel with a bit of `unusable` in its flags, or without a
finite value, takes no part.
"""

import math

import numpy as np

from rtcal.kernels._jit import kernel

_ROOT2 = math.sqrt(2.0)


@kernel
def _share(edge_low, edge_high, centre, sigma, half):
    """Return the part of a trace's light in a row: of a Gaussian with sigma > 0, else of a box of 2 half rows."""
    if sigma > 0.0:
        scale = 1.0 / (_ROOT2 * sigma)
        return 0.5 * (math.erf((edge_high - centre) * scale) - math.erf((edge_low - centre) * scale))
    low, high = max(edge_low, centre - half), min(edge_high, centre + half)
    return (high - low) / (2.0 * half) if high > low else 0.0


@kernel
def extract(
    data, variance, dq, unusable, column, length, y_poly, sigma, half, weighted, start, stop, flux, flux_var, flux_dq
):
    """Sum or fit the light of some traces, column by column.

    Parameters
    ----------
    data, variance
        Float32, (y, x): image and its variance.
    dq
        Uint32, (y, x).
    unusable
        Bits of pixels that take no part.
    column, length
        Int64, (trace,): first column and number of columns of each trace; all inside the image.
    y_poly
        Float64, (trace, 3): centre at y = p0 + p1 t + p2 t^2, t = x - column.
    sigma
        Float64, (trace,): width of a Gaussian profile; 0 for light spread evenly over the rows within `half`.
    half
        Float64, (trace,): rows on each side of the centre that are looked at (fractions count).
    weighted
        True: f = sum(P d / v) / sum(P^2 / v), best for light of profile P. False: the sum of the rows within
        `half` (by the part of a row that is inside), scaled for what unusable rows would have held.
    start, stop
        Range of traces, `stop` not included.
    flux, flux_var, flux_dq
        Float32, float32, uint32, (trace, t), overwritten; NaN, NaN and DO_NOT_USE where no row is usable. Flags
        of the rows that took part are joined.
    """
    ny = data.shape[0]
    for i in range(start, stop):
        for t in range(flux.shape[1]):
            flux[i, t], flux_var[i, t], flux_dq[i, t] = np.nan, np.nan, np.uint32(1)
        for t in range(min(length[i], flux.shape[1])):
            x = column[i] + t
            centre = y_poly[i, 0] + t * (y_poly[i, 1] + t * y_poly[i, 2])
            first = max(0, math.floor(centre - half[i] + 0.5))
            last = min(ny - 1, math.floor(centre + half[i] + 0.5))
            total, norm, noise, seen = 0.0, 0.0, 0.0, 0.0
            flags = np.uint32(0)
            for y in range(first, last + 1):
                inside = min(y + 0.5, centre + half[i]) - max(y - 0.5, centre - half[i])
                if inside <= 0.0:
                    continue
                share = _share(y - 0.5, y + 0.5, centre, sigma[i], half[i])
                value, var = data[y, x], variance[y, x]
                if (dq[y, x] & unusable) != 0 or not math.isfinite(value):
                    continue
                flags |= dq[y, x]
                seen += share
                if weighted:
                    weight = share / var if var > 0.0 else 0.0
                    total += weight * value
                    norm += weight * share
                    noise += weight * weight * var
                else:
                    total += inside * value
                    noise += inside * inside * var
            if weighted and norm > 0.0:
                flux[i, t], flux_var[i, t], flux_dq[i, t] = total / norm, noise / (norm * norm), flags
            elif not weighted and seen > 0.0:
                whole = 0.0
                for y in range(math.floor(centre - half[i] + 0.5), math.floor(centre + half[i] + 0.5) + 1):
                    inside = min(y + 0.5, centre + half[i]) - max(y - 0.5, centre - half[i])
                    if inside > 0.0:
                        whole += _share(y - 0.5, y + 0.5, centre, sigma[i], half[i])
                scale = whole / seen
                flux[i, t], flux_var[i, t], flux_dq[i, t] = total * scale, noise * scale * scale, flags


@kernel
def resample(flux, variance, dq, edges, rising, origin, step, start, stop, out, out_var, out_dq, covered):
    """Put spectra on an even grid of wavelength, conserving their flux.

    out_j = sum_i f_i overlap(i, j) / width_i; the variance goes with the square of that share (neighbouring bins
    share pixels: their covariance is left out).

    Parameters
    ----------
    flux, variance, dq
        Float32, float32, uint32, (spectrum, t); NaN or DO_NOT_USE takes no part.
    edges
        Float64, (spectrum, t + 1): wavelength of the pixels' edges, in order; NaN beyond a spectrum's end.
    rising
        Bool, (spectrum,): whether the wavelength rises with t.
    origin, step
        Centre of the grid's first bin, and the bins' width.
    start, stop
        Range of spectra, `stop` not included.
    out, out_var, out_dq
        Float32, float32, uint32, (spectrum, bin), overwritten. Flags are joined where a pixel covers more than a
        tenth of a bin. A bin of which less than half is covered is NaN with DO_NOT_USE; a bin covered in part is
        scaled to the whole.
    covered
        Float64, room for one spectrum's bins.
    """
    bins = out.shape[1]
    for i in range(start, stop):
        out[i, :] = 0.0
        out_var[i, :] = 0.0
        out_dq[i, :] = np.uint32(0)
        covered[:] = 0.0
        for t in range(flux.shape[1]):
            low, high = edges[i, t], edges[i, t + 1]
            if not rising[i]:
                low, high = high, low
            if not high > low:
                continue
            first = math.floor((low - origin) / step + 0.5)
            last = math.floor((high - origin) / step + 0.5)
            usable = math.isfinite(flux[i, t]) and (dq[i, t] & np.uint32(1)) == 0
            for j in range(max(first, 0), min(last, bins - 1) + 1):
                left = origin + (j - 0.5) * step
                overlap = min(high, left + step) - max(low, left)
                if overlap <= 0.0:
                    continue
                if overlap > 0.1 * step:
                    out_dq[i, j] |= dq[i, t]
                if usable:
                    share = overlap / (high - low)
                    out[i, j] += flux[i, t] * share
                    out_var[i, j] += variance[i, t] * share * share
                    covered[j] += overlap / step
        for j in range(bins):
            if covered[j] < 0.5:
                out[i, j], out_var[i, j] = np.nan, np.nan
                out_dq[i, j] |= np.uint32(1)
            else:
                if covered[j] < 0.999999:
                    out[i, j] /= covered[j]
                    out_var[i, j] /= covered[j] * covered[j]
                out_dq[i, j] &= ~np.uint32(1)


@kernel
def find_isolated(data, variance, ratio, snr, first, last, isolated):
    """Mark pixels that stand alone: far above all eight neighbours, as no line of two pixels' width can.

    Parameters
    ----------
    data, variance
        Float32, (y, x).
    ratio
        How many times the highest neighbour a pixel must exceed.
    snr
        How many sigmas it must stand above that.
    first, last
        Range of rows, `last` not included.
    isolated
        Bool, (y, x), overwritten in these rows.
    """
    ny, nx = data.shape
    for y in range(first, last):
        for x in range(nx):
            highest = 0.0
            for v in range(max(0, y - 1), min(ny, y + 2)):
                for u in range(max(0, x - 1), min(nx, x + 2)):
                    if (v != y or u != x) and data[v, u] > highest:
                        highest = data[v, u]
            above = data[y, x] - ratio * highest
            isolated[y, x] = above > 0.0 and above * above > snr * snr * variance[y, x]
