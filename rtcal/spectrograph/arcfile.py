"""The ARC reference on disk: what the real-time path needs to know of wavelengths, and how it came about.

PRIMARY, WAVE (float64 [um], vacuum, NaN off the traces), DLAM (float32 [um/px]), TRACEID (int32, -1 off the traces),
PROFILE (float32, (trace, 2): sigma and height across the dispersion [px]), TRACES, LINES, LIST, SPECTRA, DQ, DQ_DEF.
`docs/spectrograph.md` lists the columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

import rtcal
from rtcal.errors import RtcalError
from rtcal.spectrograph.arc import ArcSolution, TraceSolution
from rtcal.spectrograph.linelists import Floats, LineList
from rtcal.spectrograph.matching import Detected, Matched
from rtcal.spectrograph.traces import Traces, from_columns
from streams.dq import Dq
from streams.fits_files import guarded, open_fits
from streams.fits_images import write_image
from streams.messages import Scalar

MATCH_KEYS = (
    "INSTERA", "INSTMODE", "GRATING", "FILTER", "SCALE", "LLMSKST", "SLMSKST", "SUBARRAY", "CHANNELS", "TELESCOP",
)  # fmt: skip
SOLVED = ("OK", "SHIFTED")


@dataclass(frozen=True, eq=False)
class Arc:
    """An ARC reference as the real-time path uses it.

    Attributes
    ----------
    name
        File name.
    header
        Cards of PRIMARY.
    traces
        Where the spectra lie.
    status
        OK, SHIFTED or FAILED for each trace.
    series
        Float64, (trace, term): Chebyshev series of the wavelength [um] over the trace's first to last pixel; NaN
        where FAILED.
    shape
        Rows and columns of the detector.
    """

    name: str
    header: Mapping[str, Scalar]
    traces: Traces
    status: tuple[str, ...]
    series: Floats
    shape: tuple[int, int]

    @property
    def solved(self) -> NDArray[np.bool_]:
        """Traces with wavelengths."""
        return np.array([status in SOLVED for status in self.status], bool)

    def edges(self) -> Floats:
        """Return the wavelengths of the pixels' edges, (trace, longest + 1) [um]; NaN beyond a trace's end."""
        return wavelengths_of(self.series, self.traces.length, -0.5, int(self.traces.length.max()) + 1)

    def centres(self) -> Floats:
        """Return the wavelengths of the pixels' centres, (trace, longest) [um]; NaN beyond a trace's end."""
        return wavelengths_of(self.series, self.traces.length, 0.0, int(self.traces.length.max()))


def wavelengths_of(series: Floats, length: NDArray[np.int64], first: float, count: int) -> Floats:
    """Evaluate series at `count` positions a pixel apart from `first` on; NaN more than half a pixel past the end."""
    t = first + np.arange(count)
    out = np.empty((len(series), count))
    for own in np.unique(length):  # traces of one length share their polynomials' values
        here = length == own
        basis = np.polynomial.chebyshev.chebvander(2 * t / max(own - 1, 1) - 1, series.shape[1] - 1)
        out[here] = series[here] @ basis.T
        out[np.ix_(here, t > own - 0.5)] = np.nan
    return out


def write_arc(
    path: Path,
    solution: ArcSolution,
    traces: Traces,
    shape: tuple[int, int],
    header: Mapping[str, Scalar],
    lamps: Sequence[str],
    start: str,
    history: Sequence[str],
    *,
    spectra: NDArray[np.floating] | None = None,
    pedigree: str = "GROUND",
    overwrite: bool = False,
) -> None:
    """Write an ARC reference.

    Parameters
    ----------
    path
        The file.
    solution
        One trace for each of `traces`.
    traces
        Where they lie.
    shape
        Rows and columns of the detector.
    header
        What the arcs' reads said; the keys that choose references are taken.
    lamps
        Elements.
    start
        ISO UTC from when on it may be used.
    history
        What it was made of.
    spectra
        Real, (trace, t): the arc's light that the lines were found in, to be looked at later; None: not kept.
    pedigree
        INFLIGHT, GROUND, SIMULATION or DUMMY.
    overwrite
        True to replace a file.

    Raises
    ------
    ImageError
        If it cannot be written.
    """
    ident = paint(traces, shape)
    series = _series(solution)
    wave, dispersion = maps(series, traces, ident)
    dq = np.zeros(shape, np.uint32)
    dq[~np.isfinite(wave)] |= np.uint32(Dq.NON_SCIENCE)
    failed = np.array([trace.matched is None for trace in solution.traces])
    if failed.any():
        dq[(ident >= 0) & np.isin(ident, traces.ident[failed])] |= np.uint32(Dq.UNRELIABLE_WS)
    wave_hdu = fits.ImageHDU(wave.astype(">f8"), name="WAVE")
    wave_hdu.header["BUNIT"] = ("um", "vacuum wavelength of pixel centres")
    dlam = fits.ImageHDU(dispersion.astype(">f4"), name="DLAM")
    dlam.header["BUNIT"] = "um/pixel"
    profile = np.column_stack([traces.sigma, traces.height]).astype(">f4")
    extra = [
        wave_hdu,
        dlam,
        fits.ImageHDU(ident.astype(">i4"), name="TRACEID"),
        fits.ImageHDU(profile, name="PROFILE"),
        _trace_table(solution, traces, series),
        _line_table(solution, traces),
        _list_table(solution.listed),
    ]
    if spectra is not None:
        kept = fits.ImageHDU(spectra.astype(">f4"), name="SPECTRA")
        kept.header["BUNIT"] = ("electron/s", "of all arcs together, (trace, pixel from X0)")
        extra.append(kept)
    cards = _cards(solution, header, lamps, start, history, pedigree)
    write_image(path, cards, None, None, dq, extra=extra, overwrite=overwrite)


def read_arc(path: Path) -> Arc:
    """Read what the real-time path needs of an ARC reference.

    Raises
    ------
    RtcalError
        If it is no ARC reference; says what it lacks.
    StreamsError
        If the file cannot be read.
    """
    with open_fits(path) as hdus, guarded(path):
        missing = [name for name in ("TRACES", "TRACEID") if name not in hdus]
        if missing:
            raise RtcalError(f"{path}: no ARC reference: it lacks {', '.join(missing)}; make one with rtcal arc solve")
        table = hdus["TRACES"].data
        columns = {name: np.array(table[name]) for name in table.names}
        header = {k: v for k, v in hdus[0].header.items() if isinstance(v, str | int | float | bool)}
        shape = hdus["TRACEID"].shape
    series = np.array(columns.get("WAVECOEF", np.full((len(table), 2), np.nan)), np.float64)
    status = tuple(str(text).strip() for text in columns.get("STATUS", ["FAILED"] * len(table)))
    return Arc(path.name, header, from_columns(columns), status, series, (int(shape[0]), int(shape[1])))


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


def read_traces(path: Path) -> Traces:
    """Read a table of traces: the extension TRACES of an ARC reference, or of a file of its own.

    Raises
    ------
    RtcalError
        If there is no such table, or it lacks columns.
    StreamsError
        If the file cannot be read.
    """
    with open_fits(path) as hdus, guarded(path):
        if "TRACES" not in hdus:
            raise RtcalError(f"{path}: no extension TRACES; found {', '.join(hdu.name or 'unnamed' for hdu in hdus)}")
        table = hdus["TRACES"].data
        return from_columns({name: np.array(table[name]) for name in table.names})


def read_solution(path: Path) -> list[Floats | None]:
    """Read the wavelengths of a table TRACES: a series for each trace, None where it failed; empty if it has none."""
    with open_fits(path) as hdus, guarded(path):
        table = hdus["TRACES"].data
        if "WAVECOEF" not in table.names:
            return []
        series = np.array(table["WAVECOEF"], np.float64)
    return [one if np.isfinite(one).all() else None for one in series]


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


def _series(solution: ArcSolution) -> Floats:
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


def _trace_table(solution: ArcSolution, traces: Traces, series: Floats) -> fits.BinTableHDU:
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


def _line_table(solution: ArcSolution, traces: Traces) -> fits.BinTableHDU:
    rows = [_lines_of(trace, int(traces.ident[i]), solution) for i, trace in enumerate(solution.traces)]
    joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    forms = {"ID": "J", "X": "D", "FLUX": "D", "SNR": "E", "SIGMA": "E", "XERR": "E", "WAVE": "D", "RESID": "E"}
    columns = [fits.Column(name, form, array=joined[name]) for name, form in forms.items()]
    columns += [fits.Column("ELEMENT", "2A", array=joined["ELEMENT"]), fits.Column("USED", "L", array=joined["USED"])]
    columns += [fits.Column(name, "I", array=joined[name]) for name in ("STATE", "MARK")]
    return fits.BinTableHDU.from_columns(columns, name="LINES")


def _list_table(listed: LineList) -> fits.BinTableHDU:
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


def _cards(
    solution: ArcSolution,
    header: Mapping[str, Scalar],
    lamps: Sequence[str],
    start: str,
    history: Sequence[str],
    pedigree: str,
) -> fits.Header:
    cards = reference_cards("ARC", header, start, pedigree)
    cards["DATAMODL"] = "ReferenceArc"
    cards["LAMPS"] = (",".join(lamps), "elements")
    cards["WAVEPOLY"] = ("CHEBYSHEV", "WAVECOEF over X0 ... X1")
    cards["ORDER"] = (solution.order, "of the wavelength polynomials")
    cards["NTRACE"] = (len(solution.traces), "traces")
    cards["NGOOD"] = (len(solution.solved), "traces with wavelengths")
    if solution.solved:
        cards["RMSPX"] = (solution.rms_px, "[pixel] of the lines used")
        cards["RMSKMS"] = (solution.rms_km_s, "[km/s] of the lines used")
    for line in history:
        cards["HISTORY"] = line
    return cards


def reference_cards(reftype: str, header: Mapping[str, Scalar], start: str, pedigree: str) -> fits.Header:
    """Return the cards by which a reference of spectra is chosen, and what it is.

    Parameters
    ----------
    reftype
        CRDS's type.
    header
        What the exposures said.
    start
        ISO UTC from when on it may be used.
    pedigree
        Where it comes from.
    """
    cards = fits.Header()
    cards["INSTRUME"] = str(header.get("INSTRUME", "UNKNOWN"))
    cards["DETECTOR"] = str(header.get("DETECTOR", "UNKNOWN"))
    for key in MATCH_KEYS:
        if key in header:
            cards[key] = header[key]
    cards["REFTYPE"] = (reftype, "type of reference")
    cards["REFVER"] = ("1", "version")
    cards["USEAFTER"] = (start[:19].replace("T", " "), "UTC")
    cards["PEDIGREE"] = (pedigree, "where it comes from")
    cards["DATE"] = (datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "UTC, file made")
    cards["ORIGIN"] = f"rtcal {rtcal.__version__}"
    return cards
