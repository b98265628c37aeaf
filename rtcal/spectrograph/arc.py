"""Wavelengths from arcs: every trace's lines found, matched and fitted, the traces made to help each other.

First a few traces with many lines are matched from the user's guess. The best of them then is the guess for all
others, of which only the place on the detector is uncertain. At the end neighbours lend each other what they have
in common: a coefficient is drawn to its neighbours' by as much as its own error exceeds their true scatter.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels import lines as kernel
from rtcal.spectrograph.again import LEAST_TOGETHER, solve_again
from rtcal.spectrograph.detection import Spectra, detect
from rtcal.spectrograph.linelists import Floats, LineList, lamp_lines
from rtcal.spectrograph.matching import POWER, Detected, Limits, Matched, linear_guess, match
from rtcal.spectrograph.rescue import at_length, rescue, share_with_neighbours
from rtcal.spectrograph.settings import ArcSettings
from rtcal.spectrograph.solution import ArcError, ArcSolution, TraceSolution
from streams.lamps import LAMPS

_PILOTS: Final = 12
_SAMPLE: Final = 40
_FEWEST_PILOT_LINES: Final = 4


def solve(
    arcs: Sequence[Spectra],
    listed: LineList,
    range_um: tuple[float, float],
    settings: ArcSettings,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    known: Sequence[Floats | None] = (),
) -> ArcSolution:
    """Solve all traces of an arc.

    Parameters
    ----------
    arcs
        Spectra of the same traces in one arc or several, e.g. one for each lamp.
    listed
        Lines of the lamps that were on.
    range_um
        Wavelengths at the first and last pixel of the spectra, good to `shift_px` and `stretch`; falling ones are
        right for spectra that run to the blue.
    settings
        The table `[arc]`.
    progress
        Called with the traces done and their number.
    known
        An older solution of each trace, Chebyshev series over its pixels, None where it had failed: all lines
        together then tell how far it has moved, and `range_um` only which lines are looked at. Empty: there is none.

    Raises
    ------
    ArcError
        If no trace can be matched: says how many lines were found, and what would be more like them.
    """
    spectra = arcs[0]
    found = detect(arcs, settings)
    near = _nearby(listed, range_um, settings)
    if any(series is not None for series in known):
        return solve_again(found, near, spectra, settings, known, progress)
    master = _master(found, near, spectra.length, range_um, settings)
    limits = Limits(max(settings.stagger_px, settings.shift_px), 0.004, 2.0, 6)

    def follow(index: int, order: int | None) -> Matched | None:
        last_px = float(spectra.length[index] - 1)
        return match(found[index], near, at_length(master, last_px), (0.0, last_px), limits, order)

    order = settings.order or _common_order([follow(index, None) for index in _sample(len(found))], master)
    traces: list[TraceSolution] = []
    for index, lines in enumerate(found):
        traces.append(_judge(lines, follow(index, order), settings))
        progress(index + 1, len(found))
    if _explained(traces) < LEAST_TOGETHER:
        good = sum(trace.status == "OK" for trace in traces)
        raise ArcError(_why_nothing(found, near, spectra.length, range_um, settings, good))
    traces = rescue(traces, near, spectra, settings)
    if settings.neighbours:
        traces = share_with_neighbours(traces, spectra.place, settings.neighbours)
    return ArcSolution(tuple(traces), near, order)


def _explained(traces: Sequence[TraceSolution]) -> float:
    """Return the part of the light in all traces' lines that has names: a wrong lamp's list names some by chance."""
    light = np.array([(trace.found.flux[trace.found.usable].clip(min=0) ** POWER).sum() for trace in traces])
    named = np.array([0.0 if trace.matched is None else trace.matched.explained for trace in traces])
    return float((light * named).sum() / max(light.sum(), 1e-30))


def _nearby(listed: LineList, range_um: tuple[float, float], settings: ArcSettings) -> LineList:
    low, high = sorted(range_um)
    spare = (high - low) * (0.1 + settings.stretch)
    near = listed.between(low - spare, high + spare)
    if len(near) < _FEWEST_PILOT_LINES:
        raise ArcError(
            f"the list has {len(near)} lines from {low - spare:.4f} to {high + spare:.4f} um, {_FEWEST_PILOT_LINES} or "
            "more are needed; check --wave-range (um), --lamps and --lines"
        )
    return near


def _master(
    found: Sequence[Detected],
    listed: LineList,
    length: NDArray[np.int64],
    range_um: tuple[float, float],
    settings: ArcSettings,
) -> Matched:
    """Return the best match among the traces with the most lines."""
    ranking = sorted(range(len(found)), key=lambda i: (-int(found[i].usable.sum()), i))
    best: Matched | None = None
    limits = Limits(settings.shift_px, settings.stretch)
    for start in range(0, min(len(ranking), 4 * _PILOTS), _PILOTS):
        for index in ranking[start : start + _PILOTS]:
            span = (0.0, float(length[index] - 1))
            matched = match(found[index], listed, linear_guess(*range_um), span, limits, settings.order or None)
            if matched is not None and (best is None or _rank(matched) > _rank(best)):
                best = matched
        if best is not None and best.rms_px <= settings.max_rms_px:
            return best
    raise ArcError(_why_nothing(found, listed, length, range_um, settings))


def _sample(count: int) -> list[int]:
    """Return the indices of some traces, spread over all."""
    return sorted({int(index) for index in np.linspace(0, count - 1, min(count, _SAMPLE))})


def _common_order(matched: Sequence[Matched | None], master: Matched) -> int:
    """Return the order that the middle trace asks for: the spectrograph is one and the same for all."""
    orders = sorted(one.coefficients.size - 1 for one in matched if one is not None)
    return orders[(len(orders) - 1) // 2] if orders else master.coefficients.size - 1


def _rank(matched: Matched) -> float:
    return matched.explained * matched.count / (matched.rms_px + 0.05)


def _judge(found: Detected, matched: Matched | None, settings: ArcSettings) -> TraceSolution:
    usable = int(found.usable.sum())
    if matched is None:
        saturated = int((found.state == int(kernel.SATURATED)).sum())
        note = f", {saturated} saturated" if saturated else ""
        return TraceSolution("FAILED", f"{usable} usable lines{note}, no match better than chance", found, None)
    if matched.rms_px > settings.max_rms_px:
        reason = f"rms {matched.rms_px:.2f} px of {matched.count} lines, above {settings.max_rms_px:g}"
        return TraceSolution("FAILED", reason, found, None)
    return TraceSolution("OK", "", found, matched)


def _why_nothing(
    found: Sequence[Detected],
    listed: LineList,
    length: NDArray[np.int64],
    range_um: tuple[float, float],
    settings: ArcSettings,
    matched: int = 0,
) -> str:
    """Say what was found and what was expected; some traces may match by chance."""
    total = sum(len(one) for one in found)
    usable = sum(int(one.usable.sum()) for one in found)
    saturated = sum(int((one.state == int(kernel.SATURATED)).sum()) for one in found)
    low, high = sorted(range_um)
    expected = len(listed.between(low, high))
    elements = ", ".join(sorted({name for name in listed.element if name})) or "the list"
    which = f"only {matched} of {len(found)} traces match" if matched else "no trace matches"
    text = (
        f"{which} {elements} from {low:.4f} to {high:.4f} um: {total} lines found in {len(found)} spectra, "
        f"{usable} of them usable; the list has {expected} lines there"
    )
    if total == 0:
        return f"no lines found in {len(found)} spectra above {settings.snr_min:g} sigma; was the lamp on?"
    if saturated > total / 2:
        return f"{saturated} of {total} lines are saturated; take a shorter arc"
    if usable == 0:
        return f"{total} lines found in {len(found)} spectra, none as wide as a line should be; was the lamp on?"
    if usable < _FEWEST_PILOT_LINES:
        return text + "; fewer than the four that a match needs: a longer arc, or a lower [arc] snr_min"
    others = _other_lamps(found, listed, length, range_um, settings)
    if others:
        return text + f"; they do match {others}: check --lamps, and the lamp in the arc's header"
    return (
        text + f"; the guess may be off by more than {settings.shift_px:g} px or {100 * settings.stretch:g} %: "
        "check --wave-range, or raise [arc] shift_px and stretch"
    )


def _other_lamps(
    found: Sequence[Detected],
    listed: LineList,
    length: NDArray[np.int64],
    range_um: tuple[float, float],
    settings: ArcSettings,
) -> str:
    """Return the lamp, or the two, that were not asked for and do match."""
    index = max(range(len(found)), key=lambda i: int(found[i].usable.sum()))
    span = (0.0, float(length[index] - 1))
    limits = Limits(settings.shift_px, settings.stretch)
    asked = {name for name in listed.element if name}
    low, high = sorted(range_um)
    spare = 0.1 * (high - low)
    for lamps in (*combinations(LAMPS, 1), *combinations(LAMPS, 2)):
        if set(lamps) <= asked:
            continue
        lines = lamp_lines(lamps).between(low - spare, high + spare)
        matched = match(found[index], lines, linear_guess(*range_um), span, limits, settings.order or None)
        if matched is not None and matched.rms_px <= settings.max_rms_px and matched.explained > 0.5:
            return f"{' and '.join(lamps)} ({matched.count} lines, rms {matched.rms_px:.3f} px)"
    return ""
