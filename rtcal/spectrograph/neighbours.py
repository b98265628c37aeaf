"""Traces that help each other: what neighbours have in common is better known than one trace's lines tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.matching import Detected, Matched
from rtcal.spectrograph.series import derivatives

FEWEST: Final = 8
"""Fewer traces than this have no neighbourhood."""
_STRANGER_SIGMA: Final = 3.0
_BLOCK: Final = 256


def share(
    found: Sequence[Detected], matched: Sequence[Matched], place: Floats, near: NDArray[np.int64]
) -> list[Matched]:
    """Draw each coefficient to a plane through its neighbours', by its own error over their true scatter.

    The highest term comes first; the lower ones are fitted again with it, and so on down. Traces that differ from
    their neighbours by more than their errors, for whatever cause, stay as they are.

    Parameters
    ----------
    found, matched
        Lines and solution of each trace.
    place
        Float64, (trace, 2): where each lies.
    near
        Neighbours of each, from `nearest`.
    """
    if len(matched) < FEWEST or near.shape[1] == 0:
        return list(matched)
    lines = _used_lines(found, matched)
    shared = np.zeros((len(matched), lines.design.shape[2]))
    through = _through(place, near)
    for term in range(shared.shape[1] - 1, -1, -1):
        values, errors = _term(lines, term, shared)
        predicted = _planes(values, through, near)
        away = values - predicted
        scatter = 1.4826 * float(np.median(np.abs(away)))
        scatter2 = max(scatter**2 - float(np.median(errors**2)), 0.0)
        weight = errors**2 / (errors**2 + scatter2 + 1e-30)
        # At the end of a slice neighbours on the detector are none on the sky: such a trace stands out and stays.
        weight[np.abs(away) > _STRANGER_SIGMA * np.sqrt(errors**2 + scatter2)] = 0.0
        shared[:, term] = values + weight * (predicted - values)
    residual = (np.einsum("tlk,tk->tl", lines.design, shared) - lines.wavelength_um) / lines.um_per_px[:, None]
    rms = np.sqrt((residual**2 * lines.used).sum(axis=1) / lines.used.sum(axis=1))
    return [
        Matched(row, one.first_px, one.last_px, one.lines, one.wavelength_um, one.used, px, one.explained)
        for one, row, px in zip(matched, shared, rms.tolist(), strict=True)
    ]


def nearest(place: Floats, count: int) -> NDArray[np.int64]:
    """Return the nearest others of each, (trace, count), the nearest first; fewer if there are not so many."""
    count = min(count, len(place) - 1)
    if count < 1:
        return np.empty((len(place), 0), np.int64)
    near = np.empty((len(place), count), np.int64)
    for first in range(0, len(place), _BLOCK):
        own = np.arange(first, min(first + _BLOCK, len(place)))
        distance = np.hypot(*(place[own, None] - place[None]).transpose(2, 0, 1))
        distance[own - first, own] = np.inf
        closest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distance, closest, axis=1), axis=1, kind="stable")
        near[own] = np.take_along_axis(closest, order, axis=1)
    return near


@dataclass(frozen=True, eq=False)
class _Used:
    """The lines that fits used, (trace, line), padded; rows of `design` that are padding are zero."""

    design: Floats
    wavelength_um: Floats
    used: NDArray[np.bool_]
    um_per_px: Floats
    size: NDArray[np.int64]
    sigma2: Floats


def _used_lines(found: Sequence[Detected], matched: Sequence[Matched]) -> _Used:
    size = np.array([one.coefficients.size for one in matched])
    count = np.array([one.count for one in matched])
    span = np.array([(one.first_px, one.last_px) for one in matched])
    row = np.repeat(np.arange(len(matched)), count)
    at = row, np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
    kept = [one.lines[one.used] for one in matched]
    x = np.concatenate([lines.x[own] for lines, own in zip(found, kept, strict=True)])
    series = np.zeros((len(matched), int(size.max())))
    for line, one in zip(series, matched, strict=True):
        line[: one.coefficients.size] = one.coefficients
    per_px = 2 / (span[:, 1] - span[:, 0])
    flat_u = (x - span[row, 0]) * per_px[row] - 1
    slope = np.abs(derivatives(series[row], flat_u) * per_px[row])
    um_per_px = np.bincount(row, slope, len(matched)) / count
    shape = len(matched), max(int(count.max()), int(size.max()))
    u, wavelength_um, used = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    u[at], used[at] = flat_u, True
    wavelength_um[at] = np.concatenate([one.wavelength_um[one.used] for one in matched])
    design = np.asarray(chebyshev.chebvander(u, int(size.max()) - 1), np.float64) * used[..., None]
    design *= np.arange(size.max()) < size[:, None, None]
    rms_um = np.maximum([one.rms_px for one in matched], 0.01) * um_per_px
    return _Used(design, wavelength_um, used, um_per_px, size, rms_um**2 * count / np.maximum(count - size, 1))


def _term(lines: _Used, number: int, held: Floats) -> tuple[Floats, Floats]:
    """Return a term and its error of every trace, fitted together with the lower ones; the higher are held."""
    above = np.einsum("tlk,tk->tl", lines.design[..., number + 1 :], held[:, number + 1 :])
    design = lines.design[..., : number + 1]
    inverse = np.linalg.pinv(np.einsum("tli,tlj->tij", design, design), hermitian=True)
    series = np.einsum("tij,tlj,tl->ti", inverse, design, lines.wavelength_um - above, optimize=True)
    errors = np.sqrt(np.maximum(inverse[:, number, number], 0.0) * lines.sigma2)
    has = number < lines.size  # a term that the fit never had is its neighbours' alone
    return np.where(has, series[:, number], 0.0), np.where(has, errors, 1.0)


def _through(where: Floats, near: NDArray[np.int64]) -> Floats:
    """Return how much each neighbour's value counts at a trace's place, on a plane through all, (trace, count)."""
    offset = where[near] - where[:, None]
    offset = np.where(np.ptp(offset, axis=1, keepdims=True) > 0, offset, 0.0)
    design = np.concatenate([np.ones((*near.shape, 1)), offset], axis=2)
    return np.asarray(np.linalg.pinv(design)[:, 0])


def _planes(values: Floats, through: Floats, near: NDArray[np.int64]) -> Floats:
    """Predict every trace's value from a plane through its neighbours'."""
    # Outliers among the neighbours are drawn in to three robust sigmas before the plane is laid.
    theirs = values[near]
    middle = np.median(theirs, axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(theirs - middle), axis=1, keepdims=True)
    calm = np.clip(theirs, middle - 3 * spread, middle + 3 * spread)
    return np.asarray(np.einsum("tl,tl->t", through, calm))
