"""An arc's solution under a person's hands: lines masked and named, orders changed, fits made anew at once.

Nothing of a solution is ever changed in place, so that undoing is to go back to the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rtcal.arcpage.edits import Auto, Edit, Mask, Name, Order, Redo, Reset, Undo, Unname, Use
from rtcal.arcpage.refit import SAME_UM, best_of, fitted, suggest, unmask, with_line
from rtcal.arcpage.together import AllLines, Named, fit_together
from rtcal.errors import UsageError
from rtcal.spectrograph.linelists import LineList
from rtcal.spectrograph.matching import Matched
from rtcal.spectrograph.neighbours import nearest
from rtcal.spectrograph.rescue import median_shape, share_with_neighbours
from rtcal.spectrograph.settings import ArcSettings
from rtcal.spectrograph.solution import MASKED, NAMED, UNNAMED, ArcSolution, TraceSolution
from rtcal.spectrograph.solvedarc import SolvedArc

MOST_UNDONE = 500
HELPERS = 9


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
        self._lines = AllLines.of([trace.found for trace in start.traces])
        self._sums = np.zeros((len(start.traces), 3))
        self._sum_up(range(len(start.traces)))
        if settings.neighbours:
            self._nearest(start.traces)  # while the page opens

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

    def named(self, wanted: Sequence[int]) -> Named:
        """Return the named lines of some traces that have fits."""
        return Named(self._lines, self._states[self._now].traces, wanted)

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
                listed = with_line(listed, edit.wavelength_um)
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
                unmask(marks, wave, lines, trace)
            case Name(line=line, wavelength_um=wavelength):
                wave[np.abs(wave - wavelength) < SAME_UM] = np.nan  # a line of the list is one line of the lamp
                wave[line] = listed.wavelength_um[np.abs(listed.wavelength_um - wavelength).argmin()]
                marks[line] = NAMED
            case Unname(lines=lines):
                wave[lines], marks[lines] = np.nan, UNNAMED
            case Auto():
                suggest(trace.found, listed, shape, marks, wave)
            case Order(order=wanted):
                order = wanted or best_of(trace.found, trace.matched)
        return fitted(trace.found, wave, marks, shape, order, listed, strict=isinstance(edit, Order))

    def _all_with(self, order: int) -> dict[int, TraceSolution]:
        """Fit all traces that have names anew, and let neighbours share."""
        state = self._states[self._now]
        traces = list(state.traces)
        wanted = [i for i, trace in enumerate(traces) if trace.matched is not None]
        if not wanted:
            return {}
        named = Named(self._lines, traces, wanted)
        orders = np.full(len(wanted), order or int(np.median(named.best_orders())), np.int64)
        for i, trace in zip(wanted, fit_together(named, traces, wanted, orders, state.listed), strict=True):
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
        traces = self._states[self._now].traces
        wanted = [index for index in touched if traces[index].matched is not None]
        self._sums[list(touched)] = 0.0
        if wanted:
            self._sums[wanted] = self.named(wanted).sums()
