"""Wavelengths from arcs: every trace's lines found, matched and fitted, the traces made to help each other.

First a few traces with many lines are matched from the user's guess. The best of them then is the guess for all
others, of which only the place on the detector is uncertain. At the end neighbours lend each other what they have
in common: a coefficient is drawn to its neighbours' by as much as its own error exceeds their true scatter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, Final

import numpy as np
from msgspec import Meta, Struct
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from rtcal.errors import RtcalError
from rtcal.kernels import lines as kernel
from rtcal.spectrograph.linelists import Floats, LineList, lamp_lines
from rtcal.spectrograph.matching import (
    ACCEPT_PX,
    BLEND_FWHM,
    POWER,
    Detected,
    Limits,
    Matched,
    blended,
    identify,
    linear_guess,
    match,
    polish,
    to_u,
    visible,
)
from rtcal.spectrograph.neighbours import FEWEST, nearest, share
from streams.lamps import LAMPS

MASKED: Final = 1
"""A line that no fit may use, by a person's word; 0 is the program's own judgement."""
NAMED: Final = 2
"""A line that the fit uses as the person said, whatever it does to the fit."""
UNNAMED: Final = 3
"""A line that has no name, though the program would give it one."""
LIGHT_KM_S: Final = 299_792.458
MOST_LINES: Final = 400
_FWHM: Final = 2.354820045
_PILOTS: Final = 12
_SAMPLE: Final = 40
_SAME_LINE_PX: Final = 1.0
_ODD_WIDTH: Final = 0.1
"""Widths differ by this part over the detector, and by noise."""
_LEAST_TOGETHER: Final = 0.25
_FEWEST_PILOT_LINES: Final = 4


class ArcError(RtcalError):
    """An arc that cannot be solved; says what was found and what was expected."""


class ArcSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[arc]`."""

    snr_min: Annotated[float, Meta(ge=3)]
    fwhm_min_px: Annotated[float, Meta(gt=0)]
    fwhm_max_px: Annotated[float, Meta(gt=0, le=20)]
    fit_half_px: Annotated[int, Meta(ge=2, le=20)]
    shift_px: Annotated[float, Meta(gt=0, le=200)]
    stretch: Annotated[float, Meta(ge=0, le=0.2)]
    stagger_px: Annotated[float, Meta(ge=0, le=2000)]
    order: Annotated[int, Meta(ge=0, le=8)]
    neighbours: Annotated[int, Meta(ge=0, le=1000)]
    max_rms_px: Annotated[float, Meta(gt=0)]


@dataclass(frozen=True, eq=False)
class Spectra:
    """One-dimensional arc spectra, one row for a trace.

    Attributes
    ----------
    flux, noise
        Float64, (trace, t); NaN where there is no value.
    saturated
        Bool, (trace, t).
    length
        Int64, (trace,): pixels of each spectrum; beyond is NaN.
    place
        Float64, (trace, 2): where each lies, to tell who is whose neighbour.
    """

    flux: Floats
    noise: Floats
    saturated: NDArray[np.bool_]
    length: NDArray[np.int64]
    place: Floats


@dataclass(frozen=True, eq=False)
class TraceSolution:
    """What is known of one trace's wavelengths.

    Attributes
    ----------
    status
        OK; SHIFTED: too few lines, its shape is its neighbours'; FAILED.
    reason
        Why it is not OK.
    found
        Its lines.
    matched
        None where FAILED.
    marks
        What a person said of each line (`MASKED`, `NAMED`, `UNNAMED`), int64; None: nothing.
    """

    status: str
    reason: str
    found: Detected
    matched: Matched | None
    marks: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class ArcSolution:
    """All traces, and the lines they were matched to."""

    traces: tuple[TraceSolution, ...]
    listed: LineList
    order: int

    @property
    def solved(self) -> list[int]:
        """Indices of the traces with wavelengths."""
        return [index for index, trace in enumerate(self.traces) if trace.matched is not None]

    def residuals(self) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
        """Return trace, position [px], wavelength [um] and residual [px] of each line used."""
        parts = [_residuals(index, trace) for index, trace in enumerate(self.traces)]
        joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
        return joined[0].astype(np.int64), joined[1], joined[2], joined[3]

    @property
    def rms_px(self) -> float:
        """Of all lines used."""
        residual = self.residuals()[3]
        return float(np.sqrt(np.mean(residual**2))) if residual.size else float("nan")

    @property
    def rms_km_s(self) -> float:
        """The same as a velocity."""
        traces, x, wavelength, residual = self.residuals()
        if residual.size == 0:
            return float("nan")
        per_px = np.empty(residual.size)
        for index in np.unique(traces):
            here = traces == index
            matched = self.traces[index].matched
            assert matched is not None
            per_px[here] = np.abs(matched.dispersion(x[here]))
        return float(np.sqrt(np.mean((LIGHT_KM_S * residual * per_px / wavelength) ** 2)))


def detect(arcs: Sequence[Spectra], settings: ArcSettings) -> list[Detected]:
    """Find the lines of every trace in all arcs; of two that are one the better stays."""
    found = [_detect_one(spectra, settings) for spectra in arcs]
    merged = found[0] if len(found) == 1 else [_merge(lines) for lines in zip(*found, strict=True)]
    return _doubted(merged) if len(merged) >= FEWEST else merged


def _doubted(found: list[Detected]) -> list[Detected]:
    """Raise the errors of lines that are wider or narrower than all traces' lines: blended or hit, off by as much."""
    every = np.concatenate([one.sigma_px[one.usable] for one in found])
    if every.size == 0:
        return found
    usual = float(np.median(every))

    def doubt(one: Detected) -> Floats:
        return np.nan_to_num(np.abs(one.sigma_px - usual) - _ODD_WIDTH * usual).clip(min=0)

    return [replace(one, err_px=np.hypot(one.err_px, doubt(one))) for one in found]


def _merge(several: Sequence[Detected]) -> Detected:
    joined = {name: np.concatenate([vars(one)[name] for one in several]) for name in vars(several[0])}
    best_first = np.lexsort((-joined["snr"], ~joined["usable"]))
    kept: list[int] = []
    for index in best_first:
        if all(abs(joined["x"][index] - joined["x"][other]) > _SAME_LINE_PX for other in kept):
            kept.append(int(index))
    order = sorted(kept, key=lambda index: float(joined["x"][index]))
    return Detected(**{name: values[order] for name, values in joined.items()})


def _detect_one(spectra: Spectra, settings: ArcSettings) -> list[Detected]:
    count = spectra.flux.shape[0]
    peaks = np.empty(MOST_LINES, np.int64)
    rows = np.zeros((1, MOST_LINES, 8))
    found = []
    for index in range(count):
        part = slice(index, index + 1)
        counts = np.zeros(1, np.int64)
        kernel.detect_lines(
            spectra.flux[part],
            spectra.noise[part],
            spectra.saturated[part],
            settings.snr_min,
            settings.fit_half_px,
            settings.fwhm_min_px / _FWHM,
            settings.fwhm_max_px / _FWHM,
            0,
            1,
            peaks,
            rows,
            counts,
        )
        found.append(_detected(rows[0, : counts[0]]))
    return found


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
        return _solve_again(found, near, spectra, settings, known, progress)
    master = _master(found, near, spectra.length, range_um, settings)
    limits = Limits(max(settings.stagger_px, settings.shift_px), 0.004, 2.0, 6)

    def follow(index: int, order: int | None) -> Matched | None:
        last_px = float(spectra.length[index] - 1)
        return match(found[index], near, _at_length(master, last_px), (0.0, last_px), limits, order)

    order = settings.order or _common_order([follow(index, None) for index in _sample(len(found))], master)
    traces: list[TraceSolution] = []
    for index, lines in enumerate(found):
        traces.append(_judge(lines, follow(index, order), settings))
        progress(index + 1, len(found))
    if _explained(traces) < _LEAST_TOGETHER:
        good = sum(trace.status == "OK" for trace in traces)
        raise ArcError(_why_nothing(found, near, spectra.length, range_um, settings, good))
    traces = _rescue(traces, near, spectra, settings)
    if settings.neighbours:
        traces = share_with_neighbours(traces, spectra.place, settings.neighbours)
    return ArcSolution(tuple(traces), near, order)


def _explained(traces: Sequence[TraceSolution]) -> float:
    """Return the part of the light in all traces' lines that has names: a wrong lamp's list names some by chance."""
    light = np.array([(trace.found.flux[trace.found.usable].clip(min=0) ** POWER).sum() for trace in traces])
    named = np.array([0.0 if trace.matched is None else trace.matched.explained for trace in traces])
    return float((light * named).sum() / max(light.sum(), 1e-30))


def _solve_again(
    found: Sequence[Detected],
    listed: LineList,
    spectra: Spectra,
    settings: ArcSettings,
    known: Sequence[Floats | None],
    progress: Callable[[int, int], None],
) -> ArcSolution:
    """Solve from an older solution of each trace, moved by what all lines together say."""
    seen = visible(listed, _all_lines(found))
    starts = [
        None if series is None else _start(series, float(spectra.length[index] - 1))
        for index, series in enumerate(known)
    ]
    shift_px = _common_shift(found, seen, starts, settings)
    order = settings.order or max(1, int(np.median([series.size for series in known if series is not None])) - 1)
    traces: list[TraceSolution] = []
    for index, (lines, start) in enumerate(zip(found, starts, strict=True)):
        traces.append(_again(lines, seen, start, shift_px, order, settings))
        progress(index + 1, len(found))
    if any(trace.status == "OK" for trace in traces):
        traces = _rescue(traces, seen, spectra, settings)
    if settings.neighbours:
        traces = share_with_neighbours(traces, spectra.place, settings.neighbours)
    return ArcSolution(tuple(traces), listed, order)


def _start(series: Floats, last_px: float) -> Matched:
    nothing = np.empty(0, np.int64)
    return Matched(series, 0.0, last_px, nothing, np.empty(0), np.empty(0, bool), np.inf, 0.0)


def _all_lines(found: Sequence[Detected]) -> Detected:
    return Detected(**{name: np.concatenate([vars(one)[name] for one in found]) for name in vars(found[0])})


def _common_shift(
    found: Sequence[Detected], listed: LineList, starts: Sequence[Matched | None], settings: ArcSettings
) -> float:
    """Return the shift [px] that brings most lines of all traces onto the list.

    Raises
    ------
    ArcError
        If it brings hardly any.
    """
    away: list[Floats] = []
    for lines, start in zip(found, starts, strict=True):
        if start is not None and lines.usable.any():
            x = lines.x[lines.usable]
            gaps = listed.wavelength_um[None, :] - start.wavelengths(x)[:, None]
            away.append((gaps / start.dispersion(x)[:, None]).ravel())
    gaps_px = np.concatenate(away) if away else np.empty(0)
    grid = np.arange(-settings.shift_px, settings.shift_px + 0.25, 0.25)
    near = [float(np.clip(1 - np.abs(gaps_px - shift), 0, None).sum()) for shift in grid]
    total = sum(int(lines.usable.sum()) for lines in found)
    if not total:
        raise ArcError(f"no usable lines found in {len(found)} spectra; was the lamp on?")
    if max(near) < _LEAST_TOGETHER * total:
        raise ArcError(
            f"of {total} usable lines in {len(found)} spectra hardly any falls onto the list after any shift of the "
            f"older solution by up to {settings.shift_px:g} px: check --lamps, and that --traces is of this mode"
        )
    return float(grid[int(np.argmax(near))])


def _again(
    lines: Detected, listed: LineList, start: Matched | None, shift_px: float, order: int, settings: ArcSettings
) -> TraceSolution:
    usable = int(lines.usable.sum())
    if start is None:
        return TraceSolution("FAILED", "it had failed in the older solution too", lines, None)
    if usable == 0:
        return TraceSolution("FAILED", "no lines", lines, None)
    um_per_px = float(start.dispersion(np.array([start.last_px / 2]))[0])
    moved = start.coefficients.copy()
    moved[0] += shift_px * um_per_px
    start = replace(start, coefficients=moved)
    close = identify(lines, listed, start, 1.5, min(order, 1), hold=True)
    fitted = polish(lines, listed, close, order) if close is not None and close.count >= order + 3 else None
    if fitted is None and usable >= order + 3:  # blends may still tell where the others are
        fitted = match(lines, listed, moved, (0.0, start.last_px), Limits(2.0, 0.002, 1.0, 4), order)
    if fitted is not None and fitted.rms_px <= settings.max_rms_px:
        return TraceSolution("OK", "", lines, fitted)
    shifted = _shift_and_scale(lines, listed, start, 1.5)
    if shifted is None:
        return TraceSolution("FAILED", f"{usable} usable lines, too few on the list", lines, None)
    return TraceSolution("SHIFTED", f"{shifted.count} lines: shape of the older solution", lines, shifted)


def _detected(rows: Floats) -> Detected:
    return Detected(
        x=rows[:, kernel.CENTRE].copy(),
        flux=rows[:, kernel.AREA].copy(),
        err_px=rows[:, kernel.CENTRE_ERR].copy(),
        sigma_px=rows[:, kernel.SIGMA].copy(),
        snr=rows[:, kernel.SNR].copy(),
        usable=(rows[:, kernel.STATE] == kernel.FITTED) & (rows[:, kernel.AREA] > 0),
        state=rows[:, kernel.STATE].astype(np.int64),
    )


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


def _at_length(master: Matched, last_px: float) -> Floats:
    """Return the master's series re-expanded over 0 ... last_px."""
    if last_px == master.last_px:
        return master.coefficients
    degree = master.coefficients.size - 1
    x = (np.cos(np.pi * np.arange(degree + 1) / max(degree, 1)) + 1) / 2 * last_px
    return np.asarray(chebyshev.chebfit(to_u(x, 0.0, last_px), master.wavelengths(x), degree))


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


def _rescue(
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
        moved = _shift_and_scale(trace.found, listed, shape, _limits_of(helpers, settings))
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
    series = [np.pad(_at_length(one, last_px), (0, size - one.coefficients.size)) for one in helpers]
    return replace(helpers[0], coefficients=np.median(series, axis=0), first_px=0.0, last_px=last_px)


def _shift_and_scale(found: Detected, listed: LineList, shape: Matched, reach_px: float) -> Matched | None:
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
    clear = ~blended(listed, BLEND_FWHM * _FWHM * sigma_um)
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


def _residuals(index: int, trace: TraceSolution) -> tuple[Floats, Floats, Floats, Floats]:
    one = trace.matched
    if one is None:
        empty = np.empty(0)
        return empty, empty, empty, empty
    x = trace.found.x[one.lines][one.used]
    wavelength = one.wavelength_um[one.used]
    residual = (one.wavelengths(x) - wavelength) / np.abs(one.dispersion(x))
    return np.full(x.size, float(index)), x, wavelength, residual
