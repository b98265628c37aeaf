"""Polynomials through lines, outliers clipped: of one trace or of thousands at once.

All arrays are (trace, line); traces with fewer lines than others are padded with lines that nothing uses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

HIGHEST_ORDER = 8
CENTRE_FLOOR_PX = 0.01
"""No line's centre is believed to be better known than this."""
_FREE_ORDER = 3
_TIE_PX = 3.0
_ALONE_PX = 1.5
_CLIP_SIGMA = 3.0
_CLIP_FLOOR_PX = 0.05
_ROUNDS = 6
_TOLD = 1e-9
"""Least pivot, over the greatest, of lines that tell all terms."""


@dataclass(frozen=True, eq=False)
class Lines:
    """What polynomials are laid through.

    Attributes
    ----------
    u
        Float64: position, -1 ... 1 over the trace.
    value
        Float64: wavelength, or what is left of it above terms that are held [um].
    weight
        Float64: inverse error of the position [1/px].
    free
        Bool: may be used, unless it is clipped.
    held
        Bool: is used whatever it does to the fit.
    um_per_px
        Float64, (trace,): dispersion.
    """

    u: Floats
    value: Floats
    weight: Floats
    free: Mask
    held: Mask
    um_per_px: Floats

    def rows(self, chosen: NDArray[np.int64]) -> "Lines":
        """Return those of some traces."""
        return Lines(**{name: whole[chosen] for name, whole in vars(self).items()})


def fit_clipped(lines: Lines, order: int, least: float = 0.0) -> tuple[Floats, Mask, Floats]:
    """Fit Chebyshev series, and leave out lines beyond three robust sigmas, or that the others miss by 1.5 px.

    Parameters
    ----------
    lines
        Each trace has at least one that is free or held.
    order
        Of the series.
    least
        Share of a trace's lines that are never left out.

    Returns
    -------
    series, used, residual
        (trace, order + 1) [um]; (trace, line) bool; (trace, line): fit less value [px], of unused lines too.

    Notes
    -----
    Where there are no lines a polynomial of more than three orders is tied, loosely, to one of three.
    """
    used = lines.free | lines.held
    enough = np.maximum(order + 2, least * used.sum(axis=1))
    series, residual = np.empty((used.shape[0], order + 1)), np.empty(used.shape)
    going = np.arange(used.shape[0])  # a trace that has lost no line in a round stays as it is
    for _ in range(_ROUNDS):
        part = lines.rows(going)
        design: Floats = np.asarray(chebyshev.chebvander(part.u, order), np.float64)
        series[going], leverage = _tied(part, design, used[going], order)
        away = (np.einsum("tlk,tk->tl", design, series[going]) - part.value) / part.um_per_px[:, None]
        residual[going] = away
        kept = _kept(part, np.abs(away), used[going], leverage)
        changed = (kept.sum(axis=1) >= enough[going]) & (kept != used[going]).any(axis=1)
        going = going[changed]
        if going.size == 0:
            break
        used[going] = kept[changed]
    return series, used, residual


def _kept(lines: Lines, away: Floats, used: Mask, leverage: Floats) -> Mask:
    """Tell which lines lie near enough a fit to be used for the next one."""
    spread = 1.4826 * np.nanmedian(np.where(used, away, np.nan), axis=1)
    alone = np.where(used, away / np.maximum(1 - leverage, 1e-6), away)  # how far the others' fit would miss it
    near = away <= np.maximum(_CLIP_SIGMA * spread, _CLIP_FLOOR_PX)[:, None]
    return np.asarray(lines.held | (lines.free & near & (alone <= _ALONE_PX)))


def _tied(lines: Lines, design: Floats, used: Mask, order: int) -> tuple[Floats, Floats]:
    """Return the weighted series, and each line's leverage: how much of it is in its own fitted value."""
    weight = np.where(used, lines.weight, 0.0)
    value = np.where(used, lines.value, 0.0)
    if order <= _FREE_ORDER:
        return least_squares(design, value, weight)
    calm, _ = least_squares(design[..., : _FREE_ORDER + 1], value, weight)
    first = np.where(used, lines.u, np.inf).min(axis=1)
    last = np.where(used, lines.u, -np.inf).max(axis=1)
    steps = np.arange(8) / 8  # between the ends and the outermost lines
    empty = np.concatenate([first[:, None] * steps - (1 - steps), last[:, None] * steps + (1 - steps)], axis=1)
    ties = chebyshev.chebvander(empty, order)
    tied = np.einsum("tlk,tk->tl", ties[..., : _FREE_ORDER + 1], calm)
    series, leverage = least_squares(
        np.concatenate([design, ties], axis=1),
        np.concatenate([value, tied], axis=1),
        np.concatenate([weight, np.full(empty.shape, 1 / _TIE_PX)], axis=1),
    )
    return series, leverage[:, : lines.u.shape[1]]


def least_squares(design: Floats, value: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Fit many weighted series at once.

    Parameters
    ----------
    design
        (trace, line, term).
    value, weight
        (trace, line).

    Returns
    -------
    series, leverage
        (trace, term), the smallest where lines do not tell; (trace, line).
    """
    terms = design.shape[-1]
    if design.shape[1] < terms:  # fewer lines than terms: rows of zeros make a square of it
        short = ((0, 0), (0, terms - design.shape[1]))
        design, value, weight = np.pad(design, (*short, (0, 0))), np.pad(value, short), np.pad(weight, short)
    q, r = np.linalg.qr(design * weight[..., None])
    right = np.einsum("tlk,tl->tk", q, value * weight)
    pivots = np.abs(np.diagonal(r, axis1=1, axis2=2))
    told = pivots.min(axis=1) > _TOLD * pivots.max(axis=1)
    series = np.empty_like(right)
    series[told] = np.linalg.solve(r[told], right[told, :, None])[..., 0]
    series[~told] = np.einsum("tij,tj->ti", np.linalg.pinv(r[~told]), right[~told])
    return series, np.einsum("tlk,tlk->tl", q, q)
