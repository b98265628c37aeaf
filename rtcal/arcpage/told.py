"""What the page is told: all traces at a glance, and one trace in full."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal.arcpage.editor import ArcEditor
from rtcal.arcpage.refit import unclear
from rtcal.arcpage.together import Named
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.matching import Matched
from rtcal.spectrograph.solution import TraceSolution

FACTS = ("INSTRUME", "DETECTOR", "INSTMODE", "GRATING", "FILTER", "SCALE", "LLMSKST", "SLMSKST", "LAMPS", "USEAFTER")
MOST_LISTED = 2000


def overview(editor: ArcEditor) -> dict[str, Any]:
    """Return the facts of the file, a row for each trace, and the used lines of all."""
    arc = editor.solved.arc
    every = list(range(len(arc.traces)))
    return {
        "file": arc.name,
        "facts": {key: str(arc.header[key]) for key in FACTS if arc.header.get(key, "UNKNOWN") != "UNKNOWN"},
        "shape": arc.shape,
        "spectra": editor.solved.spectra is not None,
        "rows": rows(editor, every),
        "summary": summary(editor),
    }


def summary(editor: ArcEditor) -> dict[str, Any]:
    """Return the figures of the whole solution, and what can be undone."""
    solved, lines, rms_px, rms_km_s = editor.figures()
    return {
        "traces": len(editor.solved.arc.traces),
        "solved": solved,
        "lines": lines,
        "rms_px": _short(rms_px),
        "rms_km_s": _short(rms_km_s),
        "order": editor.solution.order,
        "edited": int(editor.edited.sum()),
        "undo": editor.undoable,
        "redo": editor.redoable,
    }


def rows(editor: ArcEditor, wanted: list[int]) -> list[dict[str, Any]]:
    """Return what the map and the list show of some traces."""
    traces, solution, edited = editor.solved.arc.traces, editor.solution.traces, editor.edited.tolist()
    middle, ident = np.round(traces.middle_y, 2).tolist(), traces.ident.tolist()
    column, length = traces.column.tolist(), traces.length.tolist()
    out = {
        index: {
            "index": index,
            "id": ident[index],
            "y": middle[index],
            "x0": column[index],
            "length": length[index],
            "status": solution[index].status,
            "reason": solution[index].reason,
            "edited": edited[index],
            "found": len(solution[index].found),
        }
        for index in wanted
    }
    solved = [index for index in wanted if solution[index].matched is not None]
    if solved:
        _add_lines(out, editor.named(solved), solved, solution)
    return list(out.values())


def _add_lines(
    out: dict[int, dict[str, Any]], named: Named, solved: list[int], solution: Sequence[TraceSolution]
) -> None:
    """Add to the rows of solved traces what their lines are."""
    x, wave = np.round(named.x, 1).tolist(), np.round(named.wavelength_um, 6).tolist()
    away = _numbers(named.away_px, 4)
    last = np.cumsum(named.size).tolist()
    for index, first, stop in zip(solved, [0, *last], last, strict=False):
        one = solution[index].matched
        assert one is not None
        out[index] |= {
            "used": one.count,
            "rms": _short(one.rms_px),
            "order": one.coefficients.size - 1,
            "x": x[first:stop],
            "wave": wave[first:stop],
            "away": away[first:stop],
            "kept": one.used.astype(int).tolist(),
        }


def detail(editor: ArcEditor, index: int, *, light: bool) -> dict[str, Any]:
    """Return the lines, the fit and the list of one trace; with `light` its spectrum too."""
    solved, trace = editor.solved, editor.solution.traces[index]
    length = int(solved.arc.traces.length[index])
    shape = editor.shape_of(index)
    told: dict[str, Any] = {
        "index": index,
        "id": int(solved.arc.traces.ident[index]),
        "length": length,
        "series": [] if shape is None else shape.coefficients.tolist(),
        "guessed": trace.matched is None,
        "lines": _lines(editor, index, shape),
        "list": [] if shape is None else _list(editor, shape, length),
    }
    if light and solved.spectra is not None:
        told["light"] = _numbers(solved.spectra[index, :length], None)
    return told


def _lines(editor: ArcEditor, index: int, shape: Matched | None) -> list[dict[str, Any]]:
    trace = editor.solution.traces[index]
    found, one = trace.found, trace.matched
    count = len(found)
    marks = np.zeros(count, int) if trace.marks is None else trace.marks
    wave, away, used, blend = (
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.zeros(count, bool),
        np.zeros(count, bool),
    )
    if one is not None:
        wave[one.lines], used[one.lines] = one.wavelength_um, one.used
        away[one.lines] = _away(one, found.x[one.lines], one.wavelength_um)
        per_px = float(abs(one.dispersion(np.array([(one.first_px + one.last_px) / 2]))[0]))
        blend[one.lines] = unclear(found, one.wavelength_um, per_px, editor.solution.listed)
    predicted = shape.wavelengths(found.x) if shape is not None else np.full(count, np.nan)
    listed = editor.solution.listed
    out = []
    for i in range(count):
        element = ""
        if np.isfinite(wave[i]):
            element = listed.element[int(np.abs(listed.wavelength_um - wave[i]).argmin())]
        out.append(
            {
                "x": round(float(found.x[i]), 3),
                "snr": _short(float(found.snr[i])),
                "flux": _short(float(found.flux[i])),
                "sigma": _short(float(found.sigma_px[i])),
                "err": _short(float(found.err_px[i])),
                "wave": _short(float(wave[i]), 9),
                "at": _short(float(predicted[i]), 9),
                "away": _short(float(away[i])),
                "element": element,
                "used": bool(used[i]),
                "blend": bool(blend[i]),
                "state": int(found.state[i]),
                "mark": int(marks[i]),
            }
        )
    return out


def _list(editor: ArcEditor, shape: Matched, length: int) -> list[list[Any]]:
    """Return wavelength, strength, element and predicted place of the lamps' lines on a trace and a little beyond."""
    x = np.arange(-20.0, length + 20.0)
    wavelengths = shape.wavelengths(x)
    order = np.argsort(wavelengths)
    listed = editor.solution.listed
    near = listed.between(float(wavelengths.min()), float(wavelengths.max()))
    place = np.interp(near.wavelength_um, wavelengths[order], x[order])
    chosen = np.argsort(-near.intensity, kind="stable")[:MOST_LISTED]
    return [
        [
            round(float(near.wavelength_um[i]), 8),
            _short(float(near.intensity[i])),
            near.element[i],
            round(float(place[i]), 2),
        ]
        for i in sorted(chosen)
    ]


def _away(one: Matched, x: Floats, wavelength_um: Floats) -> Floats:
    return np.asarray((one.wavelengths(x) - wavelength_um) / np.abs(one.dispersion(x)))


def _short(value: float, digits: int = 4) -> float | None:
    """Return a number with few digits; None for one that JSON cannot hold."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def _numbers(values: NDArray[np.floating], decimals: int | None) -> list[float | None]:
    if decimals is None:
        return [_short(float(value), 5) for value in values]
    out: list[float | None] = np.round(values, decimals).tolist()
    for place in np.flatnonzero(~np.isfinite(values)).tolist():
        out[place] = None
    return out
