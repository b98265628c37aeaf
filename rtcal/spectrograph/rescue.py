"""Traces that have too few lines of their own: their neighbours' shape, moved onto the lines that there are."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from rtcal.spectrograph.detection import FWHM_OF_SIGMA, Spectra
from rtcal.spectrograph.linelists import Floats, LineList
from rtcal.spectrograph.matching import ACCEPT_PX, BLEND_FWHM, Detected, Matched, blended, to_u
from rtcal.spectrograph.neighbours import nearest, share
from rtcal.spectrograph.settings import ArcSettings
from rtcal.spectrograph.solution import ArcError, TraceSolution


def rescue(
    traces: list[TraceSolution], listed: LineList, spectra: Spectra, settings: ArcSettings
) -> list[TraceSolution]:
    """Give traces with few lines their neighbours' shape, with a shift and, if lines allow, a scale of their own."""
    good = [index for index, trace in enumerate(traces) if trace.status == "OK"]
    if not good:
        raise ArcError(f"none of {len(traces)} traces has a fit better than {settings.max_rms_px:g} px")
    out = list(traces)
    for index, trace in enumerate(traces):
        if trace.status != "FAILED":
            continue
        if not trace.found.usable.any():
            out[index] = replace(trace, reason=trace.reason or "no lines")
            continue
        order = np.argsort(np.hypot(*(spectra.place[good] - spectra.place[index]).T), kind="stable")[:9]
        helpers = [traces[good[k]].matched for k in order]
        shape = median_shape([one for one in helpers if one is not None], float(spectra.length[index] - 1))
        moved = shift_and_scale(trace.found, listed, shape, _limits_of(helpers, settings))
        if moved is not None:
            reason = f"{moved.count} lines: shape of its neighbours"
            out[index] = TraceSolution("SHIFTED", reason, trace.found, moved)
    return out


def _limits_of(helpers: Sequence[Matched | None], settings: ArcSettings) -> float:
    """Return how far a trace may be from its neighbours' median [px]: three times as far as they are."""
    good = [one for one in helpers if one is not None]
    per_px = float(np.median([abs(one.dispersion(np.array([one.last_px / 2]))[0]) for one in good]))
    starts = np.array([one.coefficients[0] for one in good]) / per_px
    spread = 1.4826 * float(np.median(np.abs(starts - np.median(starts))))
    return float(np.clip(3 * spread, 1.0, settings.stagger_px + 1))


def median_shape(helpers: Sequence[Matched], last_px: float) -> Matched:
    """Return the median of some fits' coefficients, expanded over 0 ... `last_px`; its lines are nobody's."""
    size = max(one.coefficients.size for one in helpers)
    series = [np.pad(at_length(one, last_px), (0, size - one.coefficients.size)) for one in helpers]
    return replace(helpers[0], coefficients=np.median(series, axis=0), first_px=0.0, last_px=last_px)


def at_length(master: Matched, last_px: float) -> Floats:
    """Return the master's series re-expanded over 0 ... last_px."""
    if last_px == master.last_px:
        return master.coefficients
    degree = master.coefficients.size - 1
    x = (np.cos(np.pi * np.arange(degree + 1) / max(degree, 1)) + 1) / 2 * last_px
    return np.asarray(chebyshev.chebfit(to_u(x, 0.0, last_px), master.wavelengths(x), degree))


def shift_and_scale(found: Detected, listed: LineList, shape: Matched, reach_px: float) -> Matched | None:
    """Move a shape onto the lines: by a shift alone, and with three lines or more by a scale too.

    One line is enough only where neighbours say to two pixels where it must be.
    """
    um_per_px = float(abs(shape.dispersion(np.array([shape.last_px / 2]))[0]))
    usable = np.flatnonzero(found.usable)
    best, most = None, (0, 0.0)
    for shift in np.arange(-np.ceil(reach_px), np.ceil(reach_px) + 0.5, 0.5) * um_per_px:
        moved = replace(shape, coefficients=shape.coefficients + np.eye(1, shape.coefficients.size)[0] * shift)
        pairs = _nearest(moved, found, listed, 1.0 * um_per_px, usable)
        away = listed.wavelength_um[pairs[1]] - moved.wavelengths(found.x[pairs[0]])
        merit = (pairs[0].size, -float(np.abs(away).sum()))
        if pairs[0].size and merit > most:
            best, most = (moved, pairs, away), merit
    if best is None:
        return None
    moved, (lines, which), away = best
    if lines.size < (1 if reach_px <= 2 else 3) or lines.size < 0.4 * usable.size:
        return None
    u = to_u(found.x[lines], moved.first_px, moved.last_px)
    terms = 1 if lines.size >= 3 and np.ptp(u) > 0.5 else 0
    correction = chebyshev.chebfit(u, away, terms)
    coefficients = moved.coefficients.copy()
    coefficients[: terms + 1] += correction
    residual = (away - chebyshev.chebval(u, correction)) / um_per_px
    rms = float(np.sqrt(np.mean(residual**2)))
    if rms > ACCEPT_PX:
        return None
    used = np.ones(lines.size, bool)
    return replace(
        moved,
        coefficients=coefficients,
        lines=lines,
        wavelength_um=listed.wavelength_um[which],
        used=used,
        rms_px=rms,
        explained=lines.size / usable.size,
    )


def _nearest(
    moved: Matched, found: Detected, listed: LineList, tolerance_um: float, usable: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair lines with the strong ones of the list within a tolerance; lines that may be blends are left out."""
    sigma_um = float(np.median(found.sigma_px[usable])) * tolerance_um
    clear = ~blended(listed, BLEND_FWHM * FWHM_OF_SIGMA * sigma_um)
    choices = np.flatnonzero(clear & (listed.intensity >= 0.02 * listed.intensity.max()))
    if choices.size == 0:
        return usable[:0], choices
    predicted = moved.wavelengths(found.x[usable])
    index = np.abs(listed.wavelength_um[choices] - predicted[:, None]).argmin(axis=1)
    near = np.abs(listed.wavelength_um[choices[index]] - predicted) < tolerance_um
    return usable[near], choices[index[near]]


def share_with_neighbours(
    traces: Sequence[TraceSolution], place: Floats, count: int, near: NDArray[np.int64] | None = None
) -> list[TraceSolution]:
    """Let the traces that are OK lend each other what they have in common (`neighbours.share`).

    `near` are the neighbours of the traces that are OK where they are known already.
    """
    good = [i for i, trace in enumerate(traces) if trace.status == "OK"]
    matched = [one for i in good if (one := traces[i].matched) is not None]
    near = nearest(place[good], count) if near is None else near
    out = list(traces)
    for i, one in zip(good, share([traces[i].found for i in good], matched, place[good], near), strict=True):
        out[i] = replace(traces[i], matched=one)
    return out
