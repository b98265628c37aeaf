"""Wavelengths from an older solution: moved by what all lines together say, then each trace's own fit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from rtcal.spectrograph.detection import Spectra
from rtcal.spectrograph.linelists import Floats, LineList
from rtcal.spectrograph.matching import Detected, Limits, Matched, identify, match, polish, visible
from rtcal.spectrograph.rescue import rescue, share_with_neighbours, shift_and_scale
from rtcal.spectrograph.settings import ArcSettings
from rtcal.spectrograph.solution import ArcError, ArcSolution, TraceSolution

LEAST_TOGETHER: Final = 0.25


def solve_again(
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
        traces = rescue(traces, seen, spectra, settings)
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
    if max(near) < LEAST_TOGETHER * total:
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
    shifted = shift_and_scale(lines, listed, start, 1.5)
    if shifted is None:
        return TraceSolution("FAILED", f"{usable} usable lines, too few on the list", lines, None)
    return TraceSolution("SHIFTED", f"{shifted.count} lines: shape of the older solution", lines, shifted)
