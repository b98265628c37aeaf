"""Emission lines of spectra: peaks found, centres fitted, and lines voted onto a list.

A line is a Gaussian integrated over each pixel, on a constant. Positions are 0-based pixel centres.
"""

import math

import numpy as np

from rtcal.kernels._jit import kernel

CENTRE, AREA, SIGMA, BASE, CENTRE_ERR, SNR, CHI2, STATE = range(8)
"""Columns of a row of results."""
FITTED, SATURATED, WIDTH, LOST = 0.0, 1.0, 2.0, 3.0
"""STATE: usable; touches a saturated pixel; width outside the limits; the fit did not converge."""

_ROOT2 = math.sqrt(2.0)
_ROOT2PI = math.sqrt(2.0 * math.pi)


@kernel
def find_peaks(flux, noise, snr_min, reach, peaks):
    """Find the pixels that stand out of what lies on both sides.

    Parameters
    ----------
    flux
        One spectrum, float64, (x,); NaN where there is no value.
    noise
        Sigma of each pixel, float64, (x,).
    snr_min
        Least height over the higher of the two sides' minima, in sigmas.
    reach
        Pixels looked at on each side.
    peaks
        Integers, overwritten from the start.

    Returns
    -------
    int
        Number of peaks; those beyond the room of `peaks` are left out.
    """
    count = 0
    size = flux.size
    for x in range(1, size - 1):
        here = flux[x]
        # A plateau counts once, at its left end; NaN compares false and ends the search.
        if not (here > flux[x - 1] and here >= flux[x + 1]):
            continue
        left, right = here, here
        for step in range(1, reach + 1):
            if x - step < 0 or not flux[x - step] <= here:
                break
            left = min(left, flux[x - step])
        for step in range(1, reach + 1):
            if x + step >= size or not flux[x + step] <= here:
                break
            right = min(right, flux[x + step])
        if here - max(left, right) > snr_min * noise[x] and count < peaks.size:
            peaks[count] = x
            count += 1
    return count


@kernel
def _solve4(matrix, vector):
    """Solve a 4 x 4 system in place by elimination with pivots; False where it is singular."""
    for k in range(4):
        best = k
        for i in range(k + 1, 4):
            if abs(matrix[i, k]) > abs(matrix[best, k]):
                best = i
        if matrix[best, k] == 0.0:
            return False
        if best != k:
            for j in range(4):
                matrix[k, j], matrix[best, j] = matrix[best, j], matrix[k, j]
            vector[k], vector[best] = vector[best], vector[k]
        for i in range(k + 1, 4):
            factor = matrix[i, k] / matrix[k, k]
            for j in range(k, 4):
                matrix[i, j] -= factor * matrix[k, j]
            vector[i] -= factor * vector[k]
    for k in range(3, -1, -1):
        for j in range(k + 1, 4):
            vector[k] -= matrix[k, j] * vector[j]
        vector[k] /= matrix[k, k]
    return True


@kernel
def _sum_normal(flux, noise, first, last, p, normal, gradient):
    """Add up the normal equations of a window for the parameters p; return chi square and the pixels used."""
    centre, area, sigma, base = p[0], p[1], p[2], p[3]
    normal[:] = 0.0
    gradient[:] = 0.0
    chi2 = 0.0
    used = 0
    d = np.empty(4)
    low = (first - 0.5 - centre) / sigma
    e_low, g_low = math.erf(low / _ROOT2), math.exp(-0.5 * low * low) / _ROOT2PI
    for x in range(first, last + 1):
        high = (x + 0.5 - centre) / sigma
        e_high, g_high = math.erf(high / _ROOT2), math.exp(-0.5 * high * high) / _ROOT2PI
        if math.isfinite(flux[x]) and noise[x] > 0.0:
            share = 0.5 * (e_high - e_low)
            d[0] = -area * (g_high - g_low) / sigma
            d[1] = share
            d[2] = -area * (high * g_high - low * g_low) / sigma
            d[3] = 1.0
            weight = 1.0 / (noise[x] * noise[x])
            residual = flux[x] - base - area * share
            chi2 += weight * residual * residual
            used += 1
            for i in range(4):
                gradient[i] += weight * d[i] * residual
                for j in range(4):
                    normal[i, j] += weight * d[i] * d[j]
        low, e_low, g_low = high, e_high, g_high
    return chi2, used


@kernel
def fit_line(flux, noise, first, last, peak, row):
    """Fit a pixel-integrated Gaussian and a constant to a window (Levenberg and Marquardt).

    Parameters
    ----------
    flux, noise
        One spectrum and its sigma, float64, (x,); pixels without value or sigma take no part.
    first, last
        Window, both ends included.
    peak
        Pixel of the peak, inside.
    row
        Float64, (8,): CENTRE ... STATE, overwritten; STATE is FITTED or LOST.
    """
    base = math.inf
    for x in range(first, last + 1):
        if flux[x] < base:
            base = flux[x]
    p, trial = np.empty(4), np.empty(4)
    p[0], p[1], p[2], p[3] = peak, (flux[peak] - base) * 2.2, 0.85, base
    normal, damped = np.empty((4, 4)), np.empty((4, 4))
    gradient, step = np.empty(4), np.empty(4)
    chi2, used = _sum_normal(flux, noise, first, last, p, normal, gradient)
    row[STATE] = LOST
    damping = 1e-3
    for _ in range(40):
        damped[:] = normal
        step[:] = gradient
        for i in range(4):
            damped[i, i] *= 1.0 + damping
        if used < 5 or not _solve4(damped, step):
            break
        for i in range(4):
            trial[i] = p[i] + step[i]
        inside = first - 1 <= trial[0] <= last + 1 and 0.2 < trial[2] < last - first + 1
        new = math.inf
        if inside:
            new, _ = _sum_normal(flux, noise, first, last, trial, damped, step)
        if new <= chi2:
            moved = abs(trial[0] - p[0]) + abs(trial[2] - p[2])
            p[:] = trial
            chi2 = new
            damping *= 0.2
            _sum_normal(flux, noise, first, last, p, normal, gradient)
            if moved < 1e-5:
                row[STATE] = FITTED
                break
        else:
            damping *= 8.0
            if damping > 1e8:
                break
    # The inverse's corner, the variance of the centre, is the solution for a unit vector.
    damped[:] = normal
    step[:] = 0.0
    step[0] = 1.0
    solved = _solve4(damped, step)
    row[CENTRE], row[AREA], row[SIGMA], row[BASE] = p[0], p[1], p[2], p[3]
    row[CENTRE_ERR] = math.sqrt(step[0]) if solved and step[0] > 0.0 else math.nan
    row[CHI2] = chi2 / (used - 4) if used > 4 else math.nan


@kernel
def detect_lines(flux, noise, saturated, snr_min, half, sigma_min, sigma_max, first, last, peaks, rows, counts):
    """Find and fit the lines of some of the spectra.

    Parameters
    ----------
    flux, noise
        Float64, (spectrum, x): flux and its sigma; NaN where there is no value.
    saturated
        Bool, (spectrum, x).
    snr_min
        Least height in sigmas of its pixel.
    half
        Pixels fitted on each side of a peak; fewer where another peak is nearer.
    sigma_min, sigma_max
        Limits of the lines' width [px].
    first, last
        Range of spectra, `last` not included.
    peaks
        Int64, room for the peaks of one spectrum.
    rows
        Float64, (spectrum, line, 8), overwritten, in order of position.
    counts
        Int64, (spectrum,): lines found, whatever their STATE.
    """
    for i in range(first, last):
        found = find_peaks(flux[i], noise[i], snr_min, half, peaks)
        size = flux.shape[1]
        for k in range(found):
            peak = peaks[k]
            low, high = max(0, peak - half), min(size - 1, peak + half)
            if k > 0:
                low = max(low, (peaks[k - 1] + peak + 1) // 2)
            if k + 1 < found:
                high = min(high, (peaks[k + 1] + peak) // 2)
            row = rows[i, k]
            fit_line(flux[i], noise[i], low, high, peak, row)
            row[SNR] = (flux[i, peak] - row[BASE]) / noise[i, peak]
            if row[STATE] == FITTED and not sigma_min <= row[SIGMA] <= sigma_max:
                row[STATE] = WIDTH
            for x in range(max(low, peak - 2), min(high, peak + 2) + 1):
                if saturated[i, x]:
                    row[STATE] = SATURATED
        counts[i] = found


@kernel
def vote(u, weight, shifts, stretches, bends, origin, step, template, score):
    """Score how well lines fall onto a list for every shift, stretch and bend of a guess.

    Parameters
    ----------
    u, weight
        Float64, (line,): position from -1 to 1 over the spectrum; weight.
    shifts, stretches, bends
        Float64: what is tried, in units of the wavelength from the spectrum's centre to its end: a position u
        has the coordinate `shift + u (1 + stretch) + bend (u^2 - 1/3)`.
    origin, step, template
        Template on an even grid of that coordinate, float64: 1 or less where the list has a line.
    score
        Float64, (bend, stretch, shift), overwritten: sum of weight times template.
    """
    for b in range(bends.size):
        for s in range(stretches.size):
            score[b, s, :] = 0.0
            for i in range(u.size):
                place = (u[i] * (1.0 + stretches[s]) + bends[b] * (u[i] * u[i] - 1.0 / 3.0) - origin) / step
                for k in range(shifts.size):
                    index = int(place + shifts[k] / step + 0.5)
                    if 0 <= index < template.size:
                        score[b, s, k] += weight[i] * template[index]
