"""An ARC reference read back with all that a person needs to judge and change it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal.errors import RtcalError
from rtcal.spectrograph.arcfile import SOLVED, Arc, read_arc
from rtcal.spectrograph.linelists import LineList
from rtcal.spectrograph.matching import Detected, Matched
from rtcal.spectrograph.solution import ArcSolution, TraceSolution
from streams.fits_files import guarded, open_fits


@dataclass(frozen=True, eq=False)
class SolvedArc:
    """An ARC reference with all that a person needs to judge and change it.

    Attributes
    ----------
    arc
        What the real-time path uses.
    solution
        Lines, names and fits of each trace.
    spectra
        Float32, (trace, t) [e-/s]; None where the file does not hold them.
    history
        What it was made of.
    """

    arc: Arc
    solution: ArcSolution
    spectra: NDArray[np.float32] | None
    history: tuple[str, ...]


def read_solved(path: Path) -> SolvedArc:
    """Read an ARC reference back as it was solved.

    Raises
    ------
    RtcalError
        If it lacks the tables of lines; says which.
    StreamsError
        If the file cannot be read.
    """
    arc = read_arc(path)
    with open_fits(path) as hdus, guarded(path):
        missing = [name for name in ("LINES", "LIST") if name not in hdus]
        if missing:
            raise RtcalError(f"{path}: lacks {', '.join(missing)}, so its lines cannot be edited; solve the arc anew")
        lines = {name: np.array(hdus["LINES"].data[name]) for name in hdus["LINES"].data.names}
        listed = hdus["LIST"].data
        listed = LineList(
            np.array(listed["WAVE"], np.float64),
            np.array(listed["INTENSITY"], np.float64),
            tuple(str(name).strip() for name in listed["ELEMENT"]),
        )
        reasons = [str(text).strip() for text in hdus["TRACES"].data["REASON"]]
        spectra = np.array(hdus["SPECTRA"].data, np.float32) if "SPECTRA" in hdus else None
        history = tuple(str(line) for line in hdus[0].header.get("HISTORY", ()))
    by_trace = np.argsort(lines["ID"], kind="stable")
    bounds = np.searchsorted(lines["ID"][by_trace], np.stack([arc.traces.ident, arc.traces.ident + 1]))
    traces = [
        _solved_trace(
            {name: values[by_trace[first:last]] for name, values in lines.items()}, arc, index, reasons[index]
        )
        for index, (first, last) in enumerate(bounds.T)
    ]
    order = int(arc.header.get("ORDER", arc.series.shape[1] - 1))
    return SolvedArc(arc, ArcSolution(tuple(traces), listed, order), spectra, history)


def _solved_trace(lines: Mapping[str, NDArray[Any]], arc: Arc, index: int, reason: str) -> TraceSolution:
    state = lines["STATE"].astype(np.int64)
    real = {name: lines[name].astype(np.float64) for name in ("X", "FLUX", "XERR", "SIGMA", "SNR", "WAVE", "RESID")}
    usable = (state == 0) & (real["FLUX"] > 0)
    found = Detected(real["X"], real["FLUX"], real["XERR"], real["SIGMA"], real["SNR"], usable, state)
    marks = lines["MARK"].astype(np.int64)
    if arc.status[index] not in SOLVED:
        return TraceSolution("FAILED", reason, found, None, marks)
    named = np.flatnonzero(np.isfinite(real["WAVE"]))
    used = lines["USED"].astype(bool)[named]
    rms = float(np.sqrt(np.mean(real["RESID"][named][used] ** 2))) if used.any() else float("nan")
    series = np.trim_zeros(arc.series[index], "b") if arc.series[index].any() else arc.series[index]
    matched = Matched(
        np.pad(series, (0, max(0, 2 - series.size))), 0.0, float(arc.traces.length[index] - 1), named,
        real["WAVE"][named], used, rms, named.size / max(1, int(usable.sum())),
    )  # fmt: skip
    return TraceSolution(arc.status[index], reason, found, matched, marks)
