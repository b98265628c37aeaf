"""The ARC reference that fits the simulation: the true wavelengths, as if an arc had given them."""

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from streams.simulator.spectra import Traces


def trace_columns(traces: Traces) -> list[fits.Column]:
    """Return the columns that say where spectra lie."""
    count = traces.ix.size
    return [
        fits.Column("ID", "J", array=np.arange(count)),
        fits.Column("IX", "J", array=traces.ix),
        fits.Column("IY", "J", array=traces.iy),
        fits.Column("X0", "J", unit="pixel", array=traces.x0_px),
        fits.Column("X1", "J", unit="pixel", array=traces.x0_px + traces.length_px - 1),
        fits.Column("Y0", "D", unit="pixel", array=traces.y0_px),
        fits.Column("Y1", "D", array=np.full(count, traces.tilt)),
        fits.Column("Y2", "D", array=np.zeros(count)),
        fits.Column("SIGMA", "D", unit="pixel", array=np.full(count, traces.sigma_px)),
        fits.Column("HEIGHT", "D", unit="pixel", array=np.full(count, traces.rows_px)),
        fits.Column("WAVE0", "D", unit="um", array=traces.start_um),
    ]


def arc_extensions(traces: Traces, size: int) -> list[fits.ImageHDU | fits.BinTableHDU]:
    """Return WAVE, TRACEID and TRACES of an ARC reference (`docs/spectrograph.md`)."""
    wave, ident = np.full((size, size), np.nan), np.full((size, size), -1, np.int32)
    t = np.arange(traces.length_px)
    for index in range(traces.ix.size):
        centre = traces.y0_px[index] + traces.tilt * t
        for step in np.arange(np.ceil(traces.rows_px)) - (np.ceil(traces.rows_px) - 1) / 2:
            y, x = np.rint(centre + step).astype(int), traces.x0_px[index] + t
            wave[y, x], ident[y, x] = traces.wavelengths(index), index
    series = _series(traces)
    count = traces.ix.size
    columns = [
        *trace_columns(traces),
        fits.Column("WAVECOEF", f"{series.shape[1]}D", unit="um", array=series),
        fits.Column("STATUS", "8A", array=["OK"] * count),
    ]
    return [
        fits.ImageHDU(wave.astype(">f8"), name="WAVE"),
        fits.ImageHDU(ident.astype(">i4"), name="TRACEID"),
        fits.BinTableHDU.from_columns(columns, name="TRACES"),
    ]


def _series(traces: Traces) -> NDArray[np.float64]:
    """Return the wavelengths as Chebyshev series over each trace, (trace, 3)."""
    middle = (traces.length_px - 1) / 2
    bend = traces.bend_um * middle**2 / 2  # u^2 is half of T2 and half of T0
    first = traces.start_um + traces.step_um * middle + bend
    return np.column_stack([first, np.full(first.size, traces.step_um * middle), np.full(first.size, bend)])
