"""What an ARC reference holds, as FITS tables and maps of the detector."""

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from rtcal.spectrograph.arcfile import wavelengths_of
from rtcal.spectrograph.linelists import Floats, LineList
from rtcal.spectrograph.solution import ArcSolution, TraceSolution
from rtcal.spectrograph.traces import Traces


def trace_table(traces: Traces) -> fits.BinTableHDU:
    """Return a table TRACES of where spectra lie, without wavelengths."""
    return fits.BinTableHDU.from_columns(_place_columns(traces), name="TRACES")


def paint(traces: Traces, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return the number of the trace that each pixel belongs to, -1 for none; the nearer trace wins."""
    ident = np.full(shape, -1, np.int32)
    nearest = np.full(shape, np.inf, np.float32)
    for index in range(len(traces)):
        t = np.arange(traces.length[index])
        centre = traces.y[index, 0] + t * (traces.y[index, 1] + t * traces.y[index, 2])
        reach = traces.height[index] / 2
        columns = traces.column[index] + t
        for step in range(-int(np.ceil(reach)), int(np.ceil(reach)) + 1):
            row = np.rint(centre).astype(int) + step
            away = np.abs(row - centre)
            inside = (away <= reach + 1e-9) & (row >= 0) & (row < shape[0]) & (columns < shape[1])
            rows, cols, distance = row[inside], columns[inside], away[inside]
            closer = distance < nearest[rows, cols]
            ident[rows[closer], cols[closer]] = traces.ident[index]
            nearest[rows[closer], cols[closer]] = distance[closer]
    return ident


def maps(series: Floats, traces: Traces, ident: NDArray[np.int32]) -> tuple[Floats, Floats]:
    """Return wavelength and its step from pixel to pixel of every pixel that belongs to a trace; NaN elsewhere."""
    longest = int(traces.length.max())
    values = wavelengths_of(series, traces.length, 0.0, longest)
    middle = wavelengths_of(series, traces.length + 1, -0.5, longest + 1)
    last = wavelengths_of(series, traces.length, -0.5, longest + 1)
    steps = np.abs(np.diff(np.where(np.isfinite(last), last, middle), axis=1))
    row_of = np.full(int(traces.ident.max()) + 1, -1)
    row_of[traces.ident] = np.arange(len(traces))
    wave, dispersion = np.full(ident.shape, np.nan), np.full(ident.shape, np.nan)
    y, x = np.nonzero(ident >= 0)
    index = row_of[ident[y, x]]
    t = x - traces.column[index]
    wave[y, x] = values[index, t]
    dispersion[y, x] = steps[index, t]
    return wave, dispersion


def series_of(solution: ArcSolution) -> Floats:
    """Return the Chebyshev series of all traces, (trace, term); NaN where there is none."""
    sizes = [trace.matched.coefficients.size for trace in solution.traces if trace.matched is not None]
    out = np.full((len(solution.traces), max(sizes, default=2)), np.nan)
    for row, trace in zip(out, solution.traces, strict=True):
        if trace.matched is not None:
            row[:] = 0.0
            row[: trace.matched.coefficients.size] = trace.matched.coefficients
    return out


def _place_columns(traces: Traces) -> list[fits.Column]:
    last = traces.column + traces.length - 1
    return [
        fits.Column("ID", "J", array=traces.ident),
        fits.Column("IX", "J", array=traces.ix),
        fits.Column("IY", "J", array=traces.iy),
        fits.Column("X0", "J", unit="pixel", array=traces.column),
        fits.Column("X1", "J", unit="pixel", array=last),
        *(fits.Column(f"Y{k}", "D", array=traces.y[:, k]) for k in range(3)),
        fits.Column("SIGMA", "D", unit="pixel", array=traces.sigma),
        fits.Column("HEIGHT", "D", unit="pixel", array=traces.height),
    ]


def solution_table(solution: ArcSolution, traces: Traces, series: Floats) -> fits.BinTableHDU:
    """Return the table TRACES: where spectra lie, and their wavelengths."""
    ends = wavelengths_of(series, traces.length, 0.0, int(traces.length.max()))
    matched = [trace.matched for trace in solution.traces]
    last = ends[np.arange(len(traces)), traces.length - 1]
    columns = [
        *_place_columns(traces),
        fits.Column("WAVECOEF", f"{series.shape[1]}D", unit="um", array=series),
        fits.Column("WAVE0", "D", unit="um", array=ends[:, 0]),
        fits.Column("WAVE1", "D", unit="um", array=last),
        fits.Column("NFOUND", "J", array=[len(trace.found) for trace in solution.traces]),
        fits.Column("NLINES", "J", array=[one.count if one else 0 for one in matched]),
        fits.Column("RMS_PX", "D", unit="pixel", array=[one.rms_px if one else np.nan for one in matched]),
        fits.Column("STATUS", "8A", array=[trace.status for trace in solution.traces]),
        fits.Column("REASON", "80A", array=[trace.reason[:80] for trace in solution.traces]),
    ]
    return fits.BinTableHDU.from_columns(columns, name="TRACES")


def line_table(solution: ArcSolution, traces: Traces) -> fits.BinTableHDU:
    """Return the table LINES: every line of every trace, with its name."""
    rows = [_lines_of(trace, int(traces.ident[i]), solution) for i, trace in enumerate(solution.traces)]
    joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    forms = {"ID": "J", "X": "D", "FLUX": "D", "SNR": "E", "SIGMA": "E", "XERR": "E", "WAVE": "D", "RESID": "E"}
    columns = [fits.Column(name, form, array=joined[name]) for name, form in forms.items()]
    columns += [fits.Column("ELEMENT", "2A", array=joined["ELEMENT"]), fits.Column("USED", "L", array=joined["USED"])]
    columns += [fits.Column(name, "I", array=joined[name]) for name in ("STATE", "MARK")]
    return fits.BinTableHDU.from_columns(columns, name="LINES")


def list_table(listed: LineList) -> fits.BinTableHDU:
    """Return the table LIST: the lamps' lines that were looked for."""
    columns = [
        fits.Column("WAVE", "D", unit="um", array=listed.wavelength_um),
        fits.Column("INTENSITY", "E", array=listed.intensity),
        fits.Column("ELEMENT", "2A", array=list(listed.element)),
    ]
    return fits.BinTableHDU.from_columns(columns, name="LIST")


def _lines_of(trace: TraceSolution, ident: int, solution: ArcSolution) -> dict[str, NDArray[np.generic]]:
    found, one = trace.found, trace.matched
    wave, residual = np.full(len(found), np.nan), np.full(len(found), np.nan)
    used = np.zeros(len(found), bool)
    element = np.full(len(found), "", "U2")
    if one is not None:
        wave[one.lines] = one.wavelength_um
        away = one.wavelengths(found.x[one.lines]) - one.wavelength_um
        residual[one.lines] = away / np.abs(one.dispersion(found.x[one.lines]))
        used[one.lines] = one.used
        index = np.searchsorted(solution.listed.wavelength_um, one.wavelength_um)
        element[one.lines] = [solution.listed.element[i] for i in index]
    return {
        "MARK": np.zeros(len(found), np.int64) if trace.marks is None else trace.marks,
        "ID": np.full(len(found), ident), "X": found.x, "FLUX": found.flux, "SNR": found.snr, "SIGMA": found.sigma_px,
        "XERR": found.err_px, "WAVE": wave, "RESID": residual, "ELEMENT": element, "USED": used, "STATE": found.state,
    }  # fmt: skip
