"""The simulator's spectra as an arc that knows them perfectly, and images of them, for tests."""

import numpy as np
from astropy.io import fits

from rtcal.spectrograph.arcfile import Arc
from rtcal.spectrograph.arctables import paint, trace_table
from rtcal.spectrograph.traces import Traces
from streams.simulator.instrument import band_um
from streams.simulator.spectra import lay_traces, spectra_light
from tests.simulated import simulated


def field(mode="slicer", size=512, **changes):
    """Settings and traces of a simulated mode."""
    settings = simulated(size=size, detectors=["IFS"], ifs_mode=mode, **changes)
    return settings, lay_traces(size, band_um(settings.filter), mode)


def true_arc(traces, size, name="true_arc.fits", header=None):
    count, length = traces.ix.size, traces.length_px
    u = 2 * np.arange(length) / (length - 1) - 1
    series = np.array([np.polynomial.chebyshev.chebfit(u, traces.wavelengths(i), 2) for i in range(count)])
    return Arc(name, header or {}, table_of(traces), ("OK",) * count, series, (size, size))


def table_of(traces):
    count = traces.ix.size
    return Traces(
        ident=np.arange(count),
        ix=traces.ix,
        iy=traces.iy,
        column=traces.x0_px,
        length=np.full(count, traces.length_px),
        y=np.column_stack([traces.y0_px, np.full(count, traces.tilt), np.zeros(count)]),
        sigma=np.full(count, traces.sigma_px),
        height=np.full(count, traces.rows_px),
    )


def light(settings, traces, kind="science"):
    return spectra_light(traces, settings, kind)


def planes(image, sigma=1.0, noise=0.0, seed=1):
    """An image as data, err and dq, with noise if wanted."""
    data = image + noise * np.random.default_rng(seed).normal(0, 1, image.shape)
    return data.astype(np.float32), np.full(image.shape, sigma, np.float32), np.zeros(image.shape, np.uint32)


def write_true_arc(path, traces, size, status=None, **cards):
    """Write the truth as an ARC reference."""
    arc = true_arc(traces, size)
    table = trace_table(arc.traces)
    status = status or ["OK"] * len(arc.status)
    columns = fits.ColDefs(
        [
            fits.Column("WAVECOEF", f"{arc.series.shape[1]}D", array=arc.series),
            fits.Column("STATUS", "8A", array=status),
            fits.Column("WAVE0", "D", array=arc.centres()[:, 0]),
            fits.Column("WAVE1", "D", array=arc.centres()[:, -1]),
        ]
    )
    primary = fits.PrimaryHDU()
    for key, value in {"INSTRUME": "IRIS", "DETECTOR": "IFU", "REFTYPE": "ARC", "PEDIGREE": "GROUND", **cards}.items():
        primary.header[key] = value
    ident = fits.ImageHDU(paint(arc.traces, (size, size)), name="TRACEID")
    whole = fits.BinTableHDU.from_columns(table.columns + columns, name="TRACES")
    fits.HDUList([primary, ident, whole]).writeto(path, overwrite=True)
    return path
