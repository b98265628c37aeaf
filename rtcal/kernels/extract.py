"""Spectra out of a detector image, and onto an even grid of wavelength.

Positions are 0-based pixel centres; spectra run along x. A pixel with a bit of `unusable` in its flags, or without a
finite value, takes no part.
"""

import math

import numpy as np

from rtcal.kernels._jit import kernel

_ROOT2 = math.sqrt(2.0)


@kernel
def fill_profiles(length, y_poly, sigma, half, rows, start, stop, first, share):
    """Work out which rows hold the light of some traces, and how much of it each.

    Parameters
    ----------
    length
        Int64, (trace,): number of columns of each trace.
    y_poly
        Float64, (trace, 3): centre at y = p0 + p1 t + p2 t^2, t columns from the trace's first.
    sigma
        Float64, (trace,): width of a Gaussian; 0 for light spread evenly over the rows within `half`.
    half
        Float64, (trace,): rows on each side of the centre that are looked at.
    rows
        Rows of the detector.
    start, stop
        Range of traces, `stop` not included.
    first
        Int32, (trace, t), overwritten: first row; t beyond the length and traces that leave the detector have -1.
    share
        Float32, (trace, t, row), overwritten: part of the light in row `first` + k; 0 beyond the rows looked at.
    """
    most = share.shape[2]
    for i in range(start, stop):
        for t in range(first.shape[1]):
            first[i, t] = -1
            share[i, t, :] = 0.0
            if t >= length[i]:
                continue
            centre = y_poly[i, 0] + t * (y_poly[i, 1] + t * y_poly[i, 2])
            low = math.floor(centre - half[i] + 0.5)
            if low < 0 or math.floor(centre + half[i] + 0.5) >= rows:
                continue
            first[i, t] = low
            for k in range(most):
                below, above = low + k - 0.5, low + k + 0.5
                if sigma[i] > 0.0:
                    if below < centre + half[i]:
                        scale = 1.0 / (_ROOT2 * sigma[i])
                        share[i, t, k] = 0.5 * (math.erf((above - centre) * scale) - math.erf((below - centre) * scale))
                else:
                    inside = min(above, centre + half[i]) - max(below, centre - half[i])
                    share[i, t, k] = max(0.0, inside) / (2.0 * half[i])


@kernel
def extract(data, err, dq, unusable, column, first, share, width, weighted, start, stop, flux, flux_var, flux_dq):
    """Take the light of some traces out of an image, column by column.

    Parameters
    ----------
    data, err
        Float32, (y, x): image and its sigma.
    dq
        Uint32, (y, x).
    unusable
        Bits of pixels that take no part.
    column
        Int64, (trace,): first column of each trace.
    first, share
        From `fill_profiles`.
    width
        Float64, (trace,): rows of a trace that is summed: a share times this is the part of the row inside.
    weighted
        True: f = sum(P d / v) / sum(P^2 / v), best for light of profile P. False: the sum of the rows, each by the
        part of it that is the trace's, scaled for what unusable rows would have held.
    start, stop
        Range of traces, `stop` not included.
    flux, flux_var, flux_dq
        Float32, float32, uint32, (trace, t), overwritten; NaN, NaN and DO_NOT_USE where no row is usable. Flags
        of the rows that took part are joined.
    """
    for i in range(start, stop):
        for t in range(first.shape[1]):
            flux[i, t], flux_var[i, t], flux_dq[i, t] = np.nan, np.nan, np.uint32(1)
            if first[i, t] < 0:
                continue
            x = column[i] + t
            total, norm, noise, seen, whole = 0.0, 0.0, 0.0, 0.0, 0.0
            flags = np.uint32(0)
            for k in range(share.shape[2]):
                part = share[i, t, k]
                if part <= 0.0:
                    continue
                y = first[i, t] + k
                whole += part
                value, var = data[y, x], err[y, x] * err[y, x]
                if (dq[y, x] & unusable) != 0 or not math.isfinite(value):
                    continue
                flags |= dq[y, x]
                seen += part
                if weighted:
                    weight = part / var if var > 0.0 else 0.0
                    total += weight * value
                    norm += weight * part
                    noise += weight * part
                else:
                    total += part * value
                    noise += part * part * var
            if weighted and norm > 0.0:
                flux[i, t], flux_var[i, t], flux_dq[i, t] = total / norm, 1.0 / norm, flags
            elif not weighted and seen > 0.0:
                scale = width[i] * whole / seen
                flux[i, t], flux_var[i, t], flux_dq[i, t] = total * scale, noise * scale * scale, flags


@kernel
def render(flux, column, first, share, low, high, model):
    """Draw the image that spectra and their profiles make: each in its rows, added where they overlap.

    Parameters
    ----------
    flux
        Float32, (trace, t); NaN draws nothing.
    column, first, share
        As in `extract`.
    low, high
        Range of the detector's columns, `high` not included.
    model
        Float32, (y, x), overwritten in these columns.
    """
    model[:, low:high] = 0.0
    for i in range(first.shape[0]):
        for t in range(max(0, low - column[i]), min(first.shape[1], high - column[i])):
            if first[i, t] < 0 or not math.isfinite(flux[i, t]):
                continue
            for k in range(share.shape[2]):
                part = share[i, t, k]
                if part > 0.0:
                    model[first[i, t] + k, column[i] + t] += part * flux[i, t]


@kernel
def weigh_rest(data, err, dq, unusable, low, high, model):
    """Turn a model into what it leaves of the data, over the variance; 0 where a pixel takes no part.

    Parameters
    ----------
    data, err, dq, unusable
        As in `extract`.
    low, high
        Range of rows, `high` not included.
    model
        Float32, (y, x): from `render`, changed in place in these rows.
    """
    for y in range(low, high):
        for x in range(model.shape[1]):
            variance = err[y, x] * err[y, x]
            rest = (data[y, x] - model[y, x]) / variance
            good = (dq[y, x] & unusable) == 0 and variance > 0.0 and math.isfinite(rest)
            model[y, x] = rest if good else 0.0


@kernel
def correct(column, first, share, rest, variance, part, push, start, stop, flux, before):
    """Move spectra towards the least-squares solution, by what the model of all leaves of the data.

    A step goes from f to before + push (f + part c - before), c = v sum(P_i rest) with v = 1 / sum(P_i^2 / variance):
    with `push` 1 that of Jacobi, with others one that takes along where the last one led (Chebyshev). It is
    additive, so that rates below zero, as noise leaves them, stay what they are.

    Parameters
    ----------
    column, first, share, start, stop
        As in `extract`.
    rest
        Float32, (y, x): from `weigh_rest`.
    variance
        Float32, (trace, t): that of the spectra, from `extract` of the same image.
    part, push
        See above.
    flux, before
        Float32, (trace, t), changed in place: spectra, and those of the step before; NaN stays NaN.
    """
    for i in range(start, stop):
        for t in range(first.shape[1]):
            if first[i, t] < 0 or not math.isfinite(flux[i, t]):
                continue
            total = 0.0
            for k in range(share.shape[2]):
                own = share[i, t, k]
                if own > 0.0:
                    total += own * rest[first[i, t] + k, column[i] + t]
            last = flux[i, t]
            flux[i, t] = before[i, t] + push * (last + part * total * variance[i, t] - before[i, t])
            before[i, t] = last


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
def find_isolated(data, err, ratio, snr, first, last, isolated):
    """Mark pixels that stand alone: far above all eight neighbours, as no line of two pixels' width can.

    Parameters
    ----------
    data, err
        Float32, (y, x): image and its sigma.
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
            isolated[y, x] = above > 0.0 and above > snr * err[y, x]
