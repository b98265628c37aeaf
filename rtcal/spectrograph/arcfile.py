"""The ARC reference on disk: what the real-time path needs to know of wavelengths, and how it came about.

PRIMARY, WAVE (float64 [um], vacuum, NaN off the traces), DLAM (float32 [um/px]), TRACEID (int32, -1 off the traces),
PROFILE (float32, (trace, 2): sigma and height across the dispersion [px]), TRACES, LINES, LIST, SPECTRA, DQ, DQ_DEF.
`docs/spectrograph.md` lists the columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtcal.errors import RtcalError
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.traces import Traces, from_columns
from streams.fits_files import guarded, open_fits
from streams.messages import Scalar

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
