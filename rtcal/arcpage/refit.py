"""One trace fitted to the names that its lines have, as a person changes them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from rtcal.errors import UsageError
from rtcal.spectrograph.fitting import Lines, fit_clipped
from rtcal.spectrograph.linelists import Floats, LineList
from rtcal.spectrograph.matching import (
    ACCEPT_PX,
    BLEND_FWHM,
    Detected,
    Matched,
    best_order,
    blended,
    identify,
    to_u,
    weights_of,
)
from rtcal.spectrograph.solution import MASKED, NAMED, TraceSolution

FWHM_OF_SIGMA = 2.355
SAME_UM = 1e-9
LEAST = 2 / 3
"""A fit that a person looks at leaves out a third of the lines at most: more is for the person to decide."""


def fitted(
    found: Detected,
    wave: Floats,
    marks: NDArray[np.int64],
    shape: Matched,
    order: int,
    listed: LineList,
    *,
    strict: bool = False,
) -> TraceSolution:
    """Fit a trace to its named lines.

    Parameters
    ----------
    found
        Its lines.
    wave
        Float64: name of each line [um], NaN for none.
    marks
        What a person said of each.
    shape
        Where lines are too few for the order its higher terms stay, and the lines move it.
    order
        Of the polynomial.
    listed
        Lines of the lamps, to know blends.
    strict
        True: refuse an order that there are too few lines for.

    Raises
    ------
    UsageError
        With `strict`.
    """
    lines = np.flatnonzero(np.isfinite(wave))
    ready = prepared(found, lines, wave[lines], marks, shape, listed)
    count = int((ready.free | ready.held).sum())
    if strict and count < order + 2:
        raise UsageError(f"{count} lines are too few for order {order}: it takes {order + 2}")
    if count == 0:
        return TraceSolution("FAILED", "no line has a name and may be used", found, None, marks)
    few = count < order + 2
    terms = order if not few else 1 if count >= 3 else 0
    base = shape.coefficients if few else np.zeros(1)
    left = replace(ready, value=ready.value - chebyshev.chebval(ready.u, base))
    series, used, residual = fit_clipped(left, terms, LEAST)
    coefficients = np.zeros(max(base.size, terms + 1, 2))
    coefficients[: base.size] += base
    coefficients[: terms + 1] += series[0]
    rms = float(np.sqrt(np.mean(residual[0][used[0]] ** 2)))
    explained = lines.size / max(1, int(found.usable.sum()))
    matched = replace(
        shape, coefficients=coefficients, lines=lines, wavelength_um=wave[lines], used=used[0], rms_px=rms,
        explained=explained,
    )  # fmt: skip
    reason = f"{count} lines: shape as it was" if few else ""
    return TraceSolution("SHIFTED" if few else "OK", reason, found, matched, marks)


def prepared(
    found: Detected, lines: NDArray[np.int64], wave: Floats, marks: NDArray[np.int64], shape: Matched, listed: LineList
) -> Lines:
    """Return what a fit of one trace goes through."""
    um_per_px = float(abs(shape.dispersion(np.array([(shape.first_px + shape.last_px) / 2]))[0]))
    clear = ~unclear(found, wave, um_per_px, listed)
    free = clear & (marks[lines] == 0) & found.usable[lines]
    u = to_u(found.x[lines], shape.first_px, shape.last_px)
    weight, held = weights_of(found, lines), marks[lines] == NAMED
    return Lines(u[None], wave[None], weight[None], free[None], held[None], np.array([um_per_px]))


def unclear(found: Detected, wave: Floats, um_per_px: float, listed: LineList) -> NDArray[np.bool_]:
    """Tell which named lines are blends at the width that is seen."""
    if wave.size == 0 or len(listed) == 0:
        return np.zeros(wave.size, bool)
    usable = found.sigma_px[found.usable]
    sigma = float(np.median(usable)) if usable.size else 1.0
    which = np.abs(listed.wavelength_um[:, None] - wave).argmin(axis=0)
    return np.asarray(blended(listed, BLEND_FWHM * FWHM_OF_SIGMA * sigma * um_per_px)[which])


def unmask(marks: NDArray[np.int64], wave: Floats, lines: Sequence[int], trace: TraceSolution) -> None:
    """Take masks off lines, or hold those that the fit leaves out, in place."""
    used = np.zeros(marks.size, bool)
    if trace.matched is not None:
        used[trace.matched.lines] = trace.matched.used
    for line in lines:
        if not np.isfinite(wave[line]):
            raise UsageError("a line without a name cannot be used: name it first (i)")
        if marks[line] == MASKED:
            marks[line] = 0
        elif not used[line]:
            marks[line] = NAMED


def suggest(found: Detected, listed: LineList, shape: Matched, marks: NDArray[np.int64], wave: Floats) -> None:
    """Name the lines that nobody said anything of, in place."""
    suggested = identify(found, listed, shape, ACCEPT_PX, max(1, min(2, shape.coefficients.size - 1)), hold=True)
    if suggested is None:
        raise UsageError("too few lines fall onto the list: name two or three by hand (i)")
    own = marks == 0
    wave[own] = np.nan
    for line, wavelength in zip(suggested.lines, suggested.wavelength_um, strict=True):
        if own[line] and not (np.abs(wave - wavelength) < SAME_UM).any():
            wave[line] = wavelength


def best_of(found: Detected, matched: Matched | None) -> int:
    """Return the order that the lines ask for."""
    if matched is None or matched.count < 4:
        return 1
    return best_order(found, matched)


def with_line(listed: LineList, wavelength_um: float) -> LineList:
    """Return the list with a line that a person typed, unless it is there."""
    if len(listed) and np.abs(listed.wavelength_um - wavelength_um).min() < SAME_UM:
        return listed
    at = int(np.searchsorted(listed.wavelength_um, wavelength_um))
    faint = float(listed.intensity.min()) if len(listed) else 1.0
    elements = (*listed.element[:at], "", *listed.element[at:])
    return LineList(
        np.insert(listed.wavelength_um, at, wavelength_um), np.insert(listed.intensity, at, faint), elements
    )
