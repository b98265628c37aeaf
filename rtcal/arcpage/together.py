"""All traces of an arc fitted at once: their lines side by side, (trace, line), padded with lines that nothing uses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rtcal.arcpage.refit import FWHM_OF_SIGMA, LEAST, fitted
from rtcal.spectrograph.fitting import HIGHEST_ORDER, Lines, fit_clipped, least_squares
from rtcal.spectrograph.linelists import Floats, LineList
from rtcal.spectrograph.matching import (
    BLEND_FWHM,
    Detected,
    Matched,
    nearest_strong,
    order_by_residuals,
    orders_to_try,
    weights_of,
)
from rtcal.spectrograph.series import derivatives, values
from rtcal.spectrograph.solution import LIGHT_KM_S, NAMED, TraceSolution

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class AllLines:
    """The lines of all traces one after the other: they stay while names, masks and fits change.

    Attributes
    ----------
    first
        Place of each trace's first line.
    x, weight
        Position [px] and inverse error of each line [1/px].
    usable
        Bool, of each line.
    sigma_px
        Float64, (trace,): median width of its usable lines.
    """

    first: Ints
    x: Floats
    weight: Floats
    usable: Mask
    sigma_px: Floats

    @classmethod
    def of(cls, found: Sequence[Detected]) -> "AllLines":
        """Gather the lines of traces."""
        size = np.array([len(one) for one in found], np.int64)
        usable = np.concatenate([one.usable for one in found])
        row, column = _places(size)
        sigma = np.full((size.size, max(1, int(size.max(initial=0)))), np.nan)
        sigma[row[usable], column[usable]] = np.concatenate([one.sigma_px for one in found])[usable]
        seen = np.isfinite(sigma).any(axis=1)
        middle = np.ones(size.size)
        middle[seen] = np.nanmedian(sigma[seen], axis=1)
        weight = np.concatenate([weights_of(one, np.arange(len(one))) for one in found])
        return cls(np.cumsum(size) - size, np.concatenate([one.x for one in found]), weight, usable, middle)


class Named:
    """The named lines of some traces, each with a fit, side by side.

    Parameters
    ----------
    all_lines
        Those of all traces.
    traces
        All of them.
    wanted
        Indices of those that are meant.

    Attributes
    ----------
    size
        Named lines of each.
    x, wavelength_um, away_px
        Float64: position, name and residual of each named line, one trace after the other.
    used
        Bool, (trace, line): those that the fits used.
    um_per_px
        Float64, (trace,): dispersion in the middle.
    """

    def __init__(self, all_lines: AllLines, traces: Sequence[TraceSolution], wanted: Sequence[int]) -> None:
        fits = [one for i in wanted if (one := traces[i].matched) is not None]
        self.size = np.array([one.lines.size for one in fits], np.int64)
        self._place = _places(self.size)
        row = self._place[0]
        flat = np.concatenate([one.lines for one in fits]) + all_lines.first[list(wanted)][row]
        span = np.array([(one.first_px, one.last_px) for one in fits])
        series = np.zeros((len(fits), max(one.coefficients.size for one in fits)))
        for line, one in zip(series, fits, strict=True):
            line[: one.coefficients.size] = one.coefficients
        per_px = 2 / (span[:, 1] - span[:, 0])
        self.x = all_lines.x[flat]
        self._u = (self.x - span[row, 0]) * per_px[row] - 1
        self.wavelength_um = np.concatenate([one.wavelength_um for one in fits])
        self._per_px = np.abs(derivatives(series[row], self._u) * per_px[row])
        self.away_px = (values(series[row], self._u) - self.wavelength_um) / self._per_px
        self._usable = all_lines.usable[flat]
        self._marks = np.concatenate([_marks_of(traces[i]) for i in wanted])
        self._sigma_px = all_lines.sigma_px[list(wanted)]
        self._weight = all_lines.weight[flat]
        self.used = self._padded(np.concatenate([one.used for one in fits]))
        self.um_per_px = np.abs(derivatives(series, np.zeros(len(fits))) * per_px)

    def lines(self, listed: LineList) -> Lines:
        """Return what fits go through (`refit.prepared`)."""
        clear = ~self._unclear(listed)
        free = self._padded(clear & (self._marks == 0) & self._usable)
        held = self._padded(self._marks == NAMED)
        u, wave, weight = (self._padded(one) for one in (self._u, self.wavelength_um, self._weight))
        return Lines(u, wave, weight, free, held, self.um_per_px)

    def best_orders(self) -> Ints:
        """Return the order that each trace's lines ask for (`matching.best_order`), 1 where there are too few."""
        count = self.used.sum(axis=1)
        u, wave = self._padded(self._u), self._padded(self.wavelength_um)
        px_per_um = self._padded(1 / self._per_px)  # 0 where there is no line
        weight = self._padded(self._weight) * self.used
        lowest, highest = orders_to_try(count)
        criteria = np.full((self.size.size, HIGHEST_ORDER + 1), np.inf)
        for order in range(max(0, int(lowest.min(initial=0))), int(highest.max(initial=0)) + 1):
            tried = (lowest <= order) & (order <= highest) & (count >= 4)
            if tried.any():
                design = np.polynomial.chebyshev.chebvander(u[tried], order)
                series, _ = least_squares(design, wave[tried], weight[tried])
                away = np.abs(np.einsum("tlk,tk->tl", design, series) - wave[tried]) * px_per_um[tried]
                criteria[tried, order] = order_by_residuals(away, self.size[tried], order)
        return np.where(count >= 4, criteria.argmin(axis=1), 1)

    def sums(self) -> Floats:
        """Return lines used, their squares of residuals in px and in km/s, (trace, 3)."""
        speed = LIGHT_KM_S * self.away_px * self._per_px / self.wavelength_um
        parts = np.ones(speed.size), self.away_px**2, speed**2
        return np.column_stack([(self._padded(one) * self.used).sum(axis=1) for one in parts])

    def _unclear(self, listed: LineList) -> Mask:
        """Tell which are blends at the width that is seen (`refit.unclear`)."""
        if len(listed) == 0 or self.wavelength_um.size == 0:
            return np.zeros(self.wavelength_um.size, bool)
        reach = BLEND_FWHM * FWHM_OF_SIGMA * self._sigma_px * self.um_per_px
        after = np.searchsorted(listed.wavelength_um, self.wavelength_um).clip(1, max(1, len(listed) - 1))
        pair = np.stack([after - 1, np.minimum(after, len(listed) - 1)])
        nearer = np.abs(listed.wavelength_um[pair] - self.wavelength_um).argmin(axis=0)
        which = np.take_along_axis(pair, nearer[None], 0)[0]
        return np.asarray(nearest_strong(listed, float(reach.max()))[which] < reach[self._place[0]])

    def _padded(self, flat: NDArray[_T]) -> NDArray[_T]:
        out = np.zeros((self.size.size, max(1, int(self.size.max(initial=0)))), flat.dtype)
        out[self._place] = flat
        return out


def fit_together(
    named: Named, traces: Sequence[TraceSolution], wanted: Sequence[int], orders: Ints, listed: LineList
) -> list[TraceSolution]:
    """Fit traces to the names that their lines have, each with its order; all of one order at once."""
    ready = named.lines(listed)
    enough = (ready.free | ready.held).sum(axis=1) >= orders + 2
    out: dict[int, TraceSolution] = {}
    for row in np.flatnonzero(~enough).tolist():
        out[row] = _alone(traces[wanted[row]], int(orders[row]), listed)
    for order in np.unique(orders[enough]):
        rows = np.flatnonzero(enough & (orders == order))
        series, used, residual = fit_clipped(ready.rows(rows), int(order), LEAST)
        rms = np.sqrt((residual**2 * used).sum(axis=1) / used.sum(axis=1))
        for row, own, kept, px in zip(rows.tolist(), series, used, rms.tolist(), strict=True):
            out[row] = _refitted(traces[wanted[row]], own, kept, px)
    return [out[row] for row in range(len(wanted))]


def _refitted(trace: TraceSolution, series: Floats, used: Mask, rms_px: float) -> TraceSolution:
    one = trace.matched
    assert one is not None
    kept = used[: one.lines.size].copy()
    fit = Matched(series.copy(), one.first_px, one.last_px, one.lines, one.wavelength_um, kept, rms_px, one.explained)
    return TraceSolution("OK", "", trace.found, fit, trace.marks)


def _alone(trace: TraceSolution, order: int, listed: LineList) -> TraceSolution:
    one = trace.matched
    assert one is not None
    wave = np.full(len(trace.found), np.nan)
    wave[one.lines] = one.wavelength_um
    marks = np.zeros(len(trace.found), np.int64) if trace.marks is None else trace.marks
    return fitted(trace.found, wave, marks, one, order, listed)


def _marks_of(trace: TraceSolution) -> Ints:
    assert trace.matched is not None
    lines = trace.matched.lines
    return np.zeros(lines.size, np.int64) if trace.marks is None else trace.marks[lines]


def _places(size: Ints) -> tuple[Ints, Ints]:
    """Return row and column of each of the lines of rows of some sizes."""
    row = np.repeat(np.arange(size.size), size)
    return row, np.arange(row.size) - np.repeat(np.cumsum(size) - size, size)
