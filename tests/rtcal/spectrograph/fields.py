"""The simulator's spectra as an arc that knows them perfectly, and images of them, for tests."""

import numpy as np

from rtcal.spectrograph.arcfile import Arc
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
