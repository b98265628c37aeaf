"""An arc's solution under a person's hands: lines masked and named, orders changed, fits made anew at once.

Nothing of a solution is ever changed in place, so that undoing is to go back to the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from rtcal.errors import UsageError
from rtcal.spectrograph.arc import (
    LIGHT_KM_S,
    MASKED,
    NAMED,
    UNNAMED,
    ArcSettings,
    ArcSolution,
    TraceSolution,
    median_shape,
    share_with_neighbours,
)
from rtcal.spectrograph.arcfile import SolvedArc
from rtcal.spectrograph.fitting import HIGHEST_ORDER, Lines, fit_clipped
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
from rtcal.spectrograph.neighbours import nearest

FWHM_OF_SIGMA = 2.355
SAME_UM = 1e-9
MOST_UNDONE = 500
HELPERS = 9
LEAST = 2 / 3
"""A fit that a person looks at leaves out a third of the lines at most: more is for the person to decide."""

Ident = int
Which = Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1, max_length=1000)]


class Mask(Struct, frozen=True, forbid_unknown_fields=True, tag="mask"):
    """No fit uses these lines of a trace."""

    trace: Ident
    lines: Which


class Use(Struct, frozen=True, forbid_unknown_fields=True, tag="use"):
    """Take masks off lines; those that the fit itself leaves out, it shall use whatever they do to it."""

    trace: Ident
    lines: Which


class Name(Struct, frozen=True, forbid_unknown_fields=True, tag="name"):
    """A line has this wavelength [um]."""

    trace: Ident
    line: Annotated[int, Meta(ge=0)]
    wavelength_um: Annotated[float, Meta(gt=0.1, lt=40)]


class Unname(Struct, frozen=True, forbid_unknown_fields=True, tag="unname"):
    """These lines have no name."""

    trace: Ident
    lines: Which


class Auto(Struct, frozen=True, forbid_unknown_fields=True, tag="auto"):
    """Give the lines of which nobody said anything the names that the present fit suggests."""

    trace: Ident


class Order(Struct, frozen=True, forbid_unknown_fields=True, tag="order"):
    """Fit with this order; 0: what the lines ask for. Without a trace all are fitted anew."""

    order: Annotated[int, Meta(ge=0, le=HIGHEST_ORDER)]
    trace: Ident | None = None


class Reset(Struct, frozen=True, forbid_unknown_fields=True, tag="reset"):
    """Make a trace, or all, what they were in the file."""

    trace: Ident | None = None


class Undo(Struct, frozen=True, forbid_unknown_fields=True, tag="undo"):
    """Take the last change back."""


class Redo(Struct, frozen=True, forbid_unknown_fields=True, tag="redo"):
    """Make the change that was taken back again."""


Edit = Mask | Use | Name | Unname | Auto | Order | Reset | Undo | Redo


@dataclass(frozen=True, eq=False)
class _State:
    traces: tuple[TraceSolution, ...]
    listed: LineList
    order: int
    what: str
    touched: frozenset[int]


class ArcEditor:
    """The present state of an edited arc, and those before it.

    Parameters
    ----------
    solved
        As read from the file.
    settings
        The table `[arc]`; `neighbours` counts where all traces are fitted anew.
    """

    def __init__(self, solved: SolvedArc, settings: ArcSettings) -> None:
        self.solved = solved
        self._settings = settings
        arc = solved.arc
        self._index = {int(number): index for index, number in enumerate(arc.traces.ident)}
        self._place = np.column_stack([arc.traces.column, arc.traces.middle_y]).astype(np.float64)
        start = solved.solution
        self._states = [_State(start.traces, start.listed, start.order, "", frozenset(range(len(start.traces))))]
        self._now = 0
        self._near: tuple[tuple[int, ...], NDArray[np.int64]] | None = None
        self._sums = np.zeros((len(start.traces), 3))
        self._sum_up(range(len(start.traces)))

    @property
    def solution(self) -> ArcSolution:
        """The solution as it is now."""
        state = self._states[self._now]
        return ArcSolution(state.traces, state.listed, state.order)

    @property
    def undoable(self) -> str:
        """What `Undo` would take back, in words; empty: nothing."""
        return self._states[self._now].what

    @property
    def redoable(self) -> str:
        """What `Redo` would make again, in words; empty: nothing."""
        return self._states[self._now + 1].what if self._now + 1 < len(self._states) else ""

    @property
    def edited(self) -> NDArray[np.bool_]:
        """Traces that are not as the file has them."""
        before = self.solved.solution.traces
        return np.array([now is not then for now, then in zip(self.solution.traces, before, strict=True)])

    def figures(self) -> tuple[int, int, float, float]:
        """Return traces solved, lines used, their rms [px] and [km/s]."""
        lines, px2, kms2 = self._sums.sum(axis=0)
        solved = sum(trace.matched is not None for trace in self._states[self._now].traces)
        count = max(lines, 1)
        return solved, int(lines), float(np.sqrt(px2 / count)), float(np.sqrt(kms2 / count))

    def index_of(self, ident: int) -> int:
        """Return the index of a trace.

        Raises
        ------
        UsageError
            If there is none of that number.
        """
        if ident not in self._index:
            raise UsageError(f"there is no trace {ident}; there are {min(self._index)} to {max(self._index)}")
        return self._index[ident]

    def apply(self, edit: Edit) -> list[int]:
        """Make a change; return the indices of the traces that it touched.

        Raises
        ------
        UsageError
            If it cannot be made; says why, and nothing has changed.
        """
        match edit:
            case Undo():
                touched = self._move(-1)
            case Redo():
                touched = self._move(1)
            case Order(trace=None):
                order = edit.order or self._states[self._now].order
                touched = self._advance(self._all_with(edit.order), order, f"order {edit.order or 'auto'} for all")
            case Reset(trace=None):
                touched = self._reset_all()
            case _:
                touched = self._one(edit)
        self._sum_up(touched)
        return touched

    def shape_of(self, index: int) -> Matched | None:
        """Return the fit of a trace, or what its neighbours suggest where it has none; None if nothing does."""
        trace = self._states[self._now].traces[index]
        if trace.matched is not None:
            return trace.matched
        was = self.solved.solution.traces[index].matched
        if was is not None:
            return was
        traces = self._states[self._now].traces
        good = np.array([i for i, one in enumerate(traces) if one.status == "OK"], np.int64)
        if good.size == 0:
            return None
        nearby = good[np.argsort(np.hypot(*(self._place[good] - self._place[index]).T), kind="stable")[:HELPERS]]
        helpers = [one for i in nearby if (one := traces[i].matched) is not None]
        shape = median_shape(helpers, float(self.solved.arc.traces.length[index] - 1))
        nothing = np.empty(0, np.int64)
        return replace(shape, lines=nothing, wavelength_um=np.empty(0), used=np.empty(0, bool))

    def _one(self, edit: Mask | Use | Name | Unname | Auto | Order | Reset) -> list[int]:
        assert edit.trace is not None
        index = self.index_of(edit.trace)
        listed = self._states[self._now].listed
        if isinstance(edit, Reset):
            trace = self.solved.solution.traces[index]
        else:
            if isinstance(edit, Name):
                listed = _with_line(listed, edit.wavelength_um)
            trace = self._changed(index, edit, listed)
        what = f"{edit.__struct_config__.tag}, trace {edit.trace}"
        return self._advance({index: trace}, self._states[self._now].order, what, listed)

    def _changed(self, index: int, edit: Mask | Use | Name | Unname | Auto | Order, listed: LineList) -> TraceSolution:
        trace = self._states[self._now].traces[index]
        count = len(trace.found)
        marks = np.zeros(count, np.int64) if trace.marks is None else trace.marks.copy()
        shape = self.shape_of(index)
        if shape is None:
            raise UsageError("no trace has wavelengths yet from which this one's could begin; solve the arc anew")
        wave = np.full(count, np.nan)
        if trace.matched is not None:
            wave[trace.matched.lines] = trace.matched.wavelength_um
        order = shape.coefficients.size - 1
        for line in getattr(edit, "lines", [getattr(edit, "line", 0)] if isinstance(edit, Name) else []):
            if line >= count:
                raise UsageError(f"trace has {count} lines, there is no line {line}")
        match edit:
            case Mask(lines=lines):
                marks[lines] = MASKED
            case Use(lines=lines):
                _unmask(marks, wave, lines, trace)
            case Name(line=line, wavelength_um=wavelength):
                wave[np.abs(wave - wavelength) < SAME_UM] = np.nan  # a line of the list is one line of the lamp
                wave[line] = listed.wavelength_um[np.abs(listed.wavelength_um - wavelength).argmin()]
                marks[line] = NAMED
            case Unname(lines=lines):
                wave[lines], marks[lines] = np.nan, UNNAMED
            case Auto():
                _name(trace.found, listed, shape, marks, wave)
            case Order(order=wanted):
                order = wanted or _best(trace.found, trace.matched)
        return fitted(trace.found, wave, marks, shape, order, listed, strict=isinstance(edit, Order))

    def _all_with(self, order: int) -> dict[int, TraceSolution]:
        """Fit all traces that have names anew, and let neighbours share."""
        state = self._states[self._now]
        traces = list(state.traces)
        wanted = [i for i, trace in enumerate(traces) if trace.matched is not None]
        orders = {i: order or _best(traces[i].found, traces[i].matched) for i in wanted}
        if not order and orders:
            middle = int(np.median(list(orders.values())))
            orders = dict.fromkeys(orders, middle)
        done = fit_together([(traces[i], orders[i]) for i in wanted], state.listed)
        for i, trace in zip(wanted, done, strict=True):
            traces[i] = trace
        if self._settings.neighbours:
            traces = share_with_neighbours(traces, self._place, self._settings.neighbours, self._nearest(traces))
        return {i: traces[i] for i in wanted}

    def _nearest(self, traces: Sequence[TraceSolution]) -> NDArray[np.int64]:
        """Return the neighbours of the traces that are OK; they are looked up once while these are the same."""
        good = tuple(i for i, trace in enumerate(traces) if trace.status == "OK")
        if self._near is None or self._near[0] != good:
            self._near = good, nearest(self._place[list(good)], self._settings.neighbours)
        return self._near[1]

    def _advance(
        self, new: dict[int, TraceSolution], order: int, what: str, listed: LineList | None = None
    ) -> list[int]:
        state = self._states[self._now]
        traces = list(state.traces)
        for index, trace in new.items():
            traces[index] = trace
        del self._states[self._now + 1 :]
        self._states.append(_State(tuple(traces), listed or state.listed, order, what, frozenset(new)))
        del self._states[: max(0, len(self._states) - MOST_UNDONE)]
        self._now = len(self._states) - 1
        return list(new)

    def _reset_all(self) -> list[int]:
        start = self.solved.solution
        new = {i: trace for i, trace in enumerate(start.traces) if self._states[self._now].traces[i] is not trace}
        return self._advance(new, start.order, "reset of all", start.listed) if new else []

    def _move(self, by: int) -> list[int]:
        if not 0 <= self._now + by < len(self._states):
            raise UsageError("there is nothing to undo" if by < 0 else "there is nothing to make again")
        touched = self._states[max(self._now, self._now + by)].touched
        self._now += by
        return sorted(touched)

    def _sum_up(self, touched: Sequence[int] | range) -> None:
        for index in touched:
            one = self._states[self._now].traces[index].matched
            self._sums[index] = 0.0
            if one is not None and one.count:
                x = self._states[self._now].traces[index].found.x[one.lines][one.used]
                wavelength, per_px = one.wavelength_um[one.used], np.abs(one.dispersion(x))
                away = (one.wavelengths(x) - wavelength) / per_px
                speed = LIGHT_KM_S * away * per_px / wavelength
                self._sums[index] = x.size, float((away**2).sum()), float((speed**2).sum())


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
    ready = _ready(found, lines, wave[lines], marks, shape, listed)
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


def fit_together(wanted: Sequence[tuple[TraceSolution, int]], listed: LineList) -> list[TraceSolution]:
    """Fit many traces to the names that their lines have, each with its order; all of one order at once."""
    out: list[TraceSolution | None] = [None] * len(wanted)
    groups: dict[int, list[tuple[int, Lines]]] = {}
    for number, (trace, order) in enumerate(wanted):
        one, marks = trace.matched, _marks(trace)
        assert one is not None
        ready = _ready(trace.found, one.lines, one.wavelength_um, marks, one, listed)
        if int((ready.free | ready.held).sum()) >= order + 2:
            groups.setdefault(order, []).append((number, ready))
        else:
            out[number] = fitted(trace.found, _names(trace), marks, one, order, listed)
    for order, group in groups.items():
        series, used, residual = fit_clipped(_stacked([ready for _, ready in group]), order, LEAST)
        for (number, ready), row, kept, away in zip(group, series, used, residual, strict=True):
            trace = wanted[number][0]
            assert trace.matched is not None
            size = ready.u.size
            rms = float(np.sqrt(np.mean(away[:size][kept[:size]] ** 2)))
            matched = replace(trace.matched, coefficients=row.copy(), used=kept[:size].copy(), rms_px=rms)
            out[number] = TraceSolution("OK", "", trace.found, matched, trace.marks)
    return [trace for trace in out if trace is not None]


def _ready(
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


def _stacked(ready: Sequence[Lines]) -> Lines:
    """Put the lines of many traces into one, padded with lines that nothing uses."""
    most = max(one.u.size for one in ready)

    def rows(name: str) -> NDArray[Any]:
        first = getattr(ready[0], name)
        out = np.zeros((len(ready), most), first.dtype)
        for row, one in zip(out, ready, strict=True):
            row[: one.u.size] = getattr(one, name)[0]
        return out

    um_per_px = np.concatenate([one.um_per_px for one in ready])
    return Lines(rows("u"), rows("value"), rows("weight"), rows("free"), rows("held"), um_per_px)


def _marks(trace: TraceSolution) -> NDArray[np.int64]:
    return np.zeros(len(trace.found), np.int64) if trace.marks is None else trace.marks


def _names(trace: TraceSolution) -> Floats:
    wave = np.full(len(trace.found), np.nan)
    if trace.matched is not None:
        wave[trace.matched.lines] = trace.matched.wavelength_um
    return wave


def _unmask(marks: NDArray[np.int64], wave: Floats, lines: Sequence[int], trace: TraceSolution) -> None:
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


def _name(found: Detected, listed: LineList, shape: Matched, marks: NDArray[np.int64], wave: Floats) -> None:
    """Name the lines that nobody said anything of, in place."""
    suggested = identify(found, listed, shape, ACCEPT_PX, max(1, min(2, shape.coefficients.size - 1)), hold=True)
    if suggested is None:
        raise UsageError("too few lines fall onto the list: name two or three by hand (i)")
    own = marks == 0
    wave[own] = np.nan
    for line, wavelength in zip(suggested.lines, suggested.wavelength_um, strict=True):
        if own[line] and not (np.abs(wave - wavelength) < SAME_UM).any():
            wave[line] = wavelength


def _best(found: Detected, matched: Matched | None) -> int:
    if matched is None or matched.count < 4:
        return 1
    return best_order(found, matched)


def _with_line(listed: LineList, wavelength_um: float) -> LineList:
    """Return the list with a line that a person typed, unless it is there."""
    if len(listed) and np.abs(listed.wavelength_um - wavelength_um).min() < SAME_UM:
        return listed
    at = int(np.searchsorted(listed.wavelength_um, wavelength_um))
    faint = float(listed.intensity.min()) if len(listed) else 1.0
    elements = (*listed.element[:at], "", *listed.element[at:])
    return LineList(
        np.insert(listed.wavelength_um, at, wavelength_um), np.insert(listed.intensity, at, faint), elements
    )
