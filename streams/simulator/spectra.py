"""What the IFS detector looks at: rows of spectra, sky lines on a faint source's continuum.

The spectrograph's true layout is not published; this one is plain: two banks of straight traces,
each spectrum a fixed number of pixels long at R = 4000 with two pixels to a resolution element.
Positions are 0-based pixel centres. Wavelengths are vacuum [um].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.simulator.instrument import REFERENCE_BORDER
from streams.simulator.settings import Kind, SimulatorSettings

RESOLVING_POWER = 4000
_TRACE_PITCH_PX = 6
_TRACE_SIGMA_PX = 0.9
_LINE_SIGMA_PX = 2 / 2.355
_TILT = 0.002
_REACH_PX = 3
"""Rows on each side of a trace that get its light."""
_SKY_CONTINUUM = 0.02
_LINE_SHARE = 20.0
"""Brightest line's total and sky's continuum [e-/s a pixel] over the sky level of the settings."""
_SOURCE_SHARE = 8.0

OH_LINES: dict[str, tuple[tuple[float, float], ...]] = {
    "Z": (
        (0.83003, 0.24), (0.83471, 0.52), (0.84015, 0.35), (0.84325, 0.39), (0.84677, 0.27), (0.87685, 0.33),
        (0.87800, 0.37), (0.88296, 0.76), (0.88353, 0.28), (0.88883, 0.51), (0.89221, 0.58), (0.89605, 0.42),
        (0.93136, 0.56), (0.93255, 0.51), (0.93785, 1.00), (0.93878, 0.37),
    ),
    "Y": (
        (0.97938, 0.19), (0.99175, 0.15), (1.01924, 0.17), (1.02138, 0.21), (1.02895, 0.54), (1.02988, 0.19),
        (1.03756, 0.39), (1.03994, 0.15), (1.04214, 0.41), (1.04721, 0.27), (1.07316, 0.27), (1.07539, 0.32),
        (1.08343, 0.81), (1.08447, 0.30), (1.08986, 0.18), (1.09263, 0.59), (1.09513, 0.22), (1.09752, 0.63),
        (1.10093, 0.18), (1.10296, 0.43), (1.10900, 0.43), (1.13128, 0.19), (1.13311, 0.35), (1.13542, 0.40),
        (1.14399, 1.00),
    ),
    "J": (
        (1.15387, 0.59), (1.15653, 0.23), (1.15918, 0.65), (1.16510, 0.46), (1.17161, 0.48), (1.20308, 0.38),
        (1.21226, 0.93), (1.21360, 0.36), (1.22292, 0.67), (1.22578, 0.26), (1.22872, 0.75), (1.23259, 0.22),
        (1.23513, 0.55), (1.24233, 0.60), (1.27643, 0.23), (1.27825, 0.39), (1.29057, 1.00), (1.29211, 0.39),
        (1.30851, 0.83), (1.31278, 0.25), (1.31571, 0.62), (1.36921, 0.41), (1.38238, 1.00), (1.38421, 0.40),
    ),
    "H": (
        (1.48329, 0.27), (1.48878, 0.34), (1.52408, 0.68), (1.53324, 1.00), (1.55974, 0.30), (1.56548, 0.38),
        (1.58333, 1.00), (1.58480, 0.71), (1.61286, 1.00), (1.62349, 0.52), (1.64420, 0.29), (1.65022, 0.35),
        (1.69035, 0.68), (1.69550, 0.26), (1.70087, 1.00), (1.72486, 0.51), (1.76532, 0.74), (1.76718, 0.56),
        (1.78805, 0.55), (1.79943, 0.61),
    ),
    "K": (
        (1.97717, 0.39), (2.00081, 1.00), (2.00332, 0.39), (2.01932, 0.44), (2.02760, 0.75), (2.03394, 0.30),
        (2.04123, 0.88), (2.04994, 0.27), (2.05636, 1.00), (2.07290, 0.77), (2.09096, 0.35), (2.11764, 0.21),
        (2.12495, 0.23), (2.15073, 0.59), (2.15376, 0.24), (2.18021, 0.45), (2.18733, 0.19), (2.19560, 0.54),
        (2.21255, 0.87), (2.23127, 0.52),
    ),
}  # fmt: skip
"""Strong lines of the night sky by band: wavelength [um, vacuum], strength over the band's strongest."""


@dataclass(frozen=True)
class Traces:
    """Where each spectrum lies: one row for a trace, float64.

    Its centre is at y = `y0_px` + `tilt` (x - `x0_px`); the wavelength there is `start_um` +
    `step_um` (x - `x0_px`), for `length_px` pixels from `x0_px` on.
    """

    x0_px: NDArray[np.float64]
    y0_px: NDArray[np.float64]
    source: NDArray[np.float64]
    """Source's continuum over its brightest, where the trace looks."""
    length_px: int
    start_um: float
    step_um: float
    tilt: float = _TILT


def lay_traces(size: int, band_um: tuple[float, float]) -> Traces:
    """Lay two banks of traces; a smaller detector has shorter spectra of the same band."""
    middle_um = (band_um[0] + band_um[1]) / 2
    step_um = middle_um / RESOLVING_POWER / 2 * 4096 / size
    length = int((band_um[1] - band_um[0]) / step_um)
    lowest, highest = REFERENCE_BORDER + _REACH_PX, size - REFERENCE_BORDER - _REACH_PX - 1 - _TILT * length
    y0 = np.arange(lowest, highest, _TRACE_PITCH_PX, dtype=np.float64)
    room = size // 2 - REFERENCE_BORDER - length
    stagger = np.floor((np.arange(y0.size) * 0.381966) % 1 * room)
    x0 = np.concatenate([REFERENCE_BORDER + stagger, size // 2 + stagger])
    # Neighbouring traces look at neighbouring columns of a square field with the source in its middle.
    number = np.arange(2 * y0.size)
    side = int(np.ceil(np.sqrt(number.size)))
    away = np.hypot(number // side - side / 2, number % side - side / 2) / side
    source = np.exp(-((away / 0.2) ** 2) / 2)
    return Traces(x0, np.concatenate([y0, y0]), source, length, band_um[0], step_um)


def spectra_light(traces: Traces, settings: SimulatorSettings, kind: Kind) -> NDArray[np.float32]:
    """Return the light on the IFS detector [e-/s], float32, (size, size); no source for kind `sky`."""
    light = np.zeros((settings.size, settings.size), np.float32)
    sky = settings.sky_e_per_s * (_SKY_CONTINUUM + _LINE_SHARE * _line_spectrum(traces))
    x = np.arange(traces.length_px)
    slope = 1 + 0.3 * (x / traces.length_px - 0.5)
    for x0, y0, source in zip(traces.x0_px, traces.y0_px, traces.source, strict=True):
        continuum = source * _SOURCE_SHARE * settings.sky_e_per_s * slope if kind == "science" else 0.0
        centre = y0 + traces.tilt * x
        first = int(y0) - _REACH_PX
        rows = np.arange(first, int(centre[-1]) + _REACH_PX + 1)
        profile = np.exp(-(((rows[:, None] - centre) / _TRACE_SIGMA_PX) ** 2) / 2)
        profile /= np.sqrt(2 * np.pi) * _TRACE_SIGMA_PX
        light[first : first + rows.size, int(x0) : int(x0) + x.size] += (profile * (sky + continuum)).astype(np.float32)
    return light


def _line_spectrum(traces: Traces) -> NDArray[np.float64]:
    """Return the sky's lines along a trace, each line's total in pixels its relative strength."""
    spectrum = np.zeros(traces.length_px)
    x = np.arange(traces.length_px)
    for lines in OH_LINES.values():
        for wavelength_um, strength in lines:
            centre_px = (wavelength_um - traces.start_um) / traces.step_um
            spectrum += strength * np.exp(-(((x - centre_px) / _LINE_SIGMA_PX) ** 2) / 2)
    return np.asarray(spectrum / (np.sqrt(2 * np.pi) * _LINE_SIGMA_PX))
