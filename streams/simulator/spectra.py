"""What the spectrograph's detector looks at: spectra of every spaxel of a small field, through slicer or lenslets.

The spectrograph's true layout is not published; these are plain: banks of slightly tilted traces, each spectrum a
fixed number of pixels long at R = 4000 with two pixels to a resolution element. The slicer spreads a spaxel over two
rows, its neighbours in the slice touch; a lenslet's spectrum is a line of light that overlaps with the next.
Positions are 0-based pixel centres. Wavelengths are vacuum [um].
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streams.lamps import lamp_table
from streams.simulator import kernels
from streams.simulator.instrument import REFERENCE_BORDER
from streams.simulator.settings import IfsMode, Kind, SimulatorSettings

RESOLVING_POWER = 4000
_TILT = 0.002
_LINE_SIGMA_PX = 2 / 2.355
_SKY_CONTINUUM = 0.02
_LINE_SHARE = 20.0
"""Brightest line's total and sky's continuum [e-/s a pixel] over the sky level of the settings."""
_STAR_SHARE = 8.0
_STAR_SIGMA = 1.3
_STARS = ((0.30, 0.35, 1.0), (0.64, 0.71, 0.4))
"""Place in the field (x, y from 0 to 1) and flux over that of the brightest."""
_GALAXY = (0.58, 0.40, 0.11)
"""Centre and width over the field's side."""
_GALAXY_SHARE = 0.3
_GALAXY_LINES = ((0.37, 12.0), (0.61, 6.0))
"""Place in the band, total over the sky's level at the galaxy's centre."""
_ROTATION_PX = 3.0
_NARROW = 0.05

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Mode:
    """A way to feed the detector.

    Attributes
    ----------
    instmode
        Its INSTMODE.
    banks
        Groups of spectra side by side.
    rows
        Rows from one spaxel's spectrum to the next.
    sigma_px
        Width of a lenslet's light; 0 where it is spread evenly over the rows.
    narrow
        Whether a filter of 5 % keeps spectra short.
    field
        Most spaxels (y, x).
    mask
        Name of the mask in the way.
    """

    instmode: Literal["SLICER", "LENSLET"]
    banks: int
    rows: float
    sigma_px: float
    narrow: bool
    field: tuple[int, int]
    mask: str


MODES: dict[IfsMode, Mode] = {
    "slicer": Mode("SLICER", 2, 2.0, 0.0, False, (88, 45), "FULL"),
    "slicer_half": Mode("SLICER", 1, 2.0, 0.0, False, (44, 45), "HALF"),
    "lenslet": Mode("LENSLET", 10, 2.48, 0.7, True, (128, 128), "128x128"),
    "lenslet_112": Mode("LENSLET", 10, 2.48, 0.7, True, (112, 128), "112x128"),
    "lenslet_16": Mode("LENSLET", 1, 1.98, 0.6, False, (128, 16), "16x128"),
}
_SLICE_GAP = 2

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
    """Where each spectrum lies: one element for a trace.

    Its centre is at y = `y0_px` + `tilt` t, t = x - `x0_px`; the wavelength there is `start_um` + `step_um` t +
    `bend_um` (t - middle)^2, for `length_px` pixels from `x0_px` on.

    Attributes
    ----------
    ix, iy
        Spaxel.
    field
        Spaxels (y, x).
    rows_px
        Rows that a spectrum has for itself.
    """

    ix: NDArray[np.int64]
    iy: NDArray[np.int64]
    x0_px: NDArray[np.int64]
    y0_px: Float
    start_um: Float
    step_um: float
    bend_um: float
    length_px: int
    field: tuple[int, int]
    sigma_px: float
    rows_px: float
    tilt: float = _TILT

    def wavelengths(self, index: int) -> Float:
        """Return the wavelengths of a trace's pixels [um]."""
        t = np.arange(self.length_px)
        return np.asarray(self.start_um[index] + self.step_um * t + self.bend_um * (t - (self.length_px - 1) / 2) ** 2)


def lay_traces(size: int, band_um: tuple[float, float], mode: IfsMode = "slicer") -> Traces:
    """Lay the traces of a mode; a smaller detector has shorter spectra of the same band, and a smaller field."""
    how = MODES[mode]
    middle_um = (band_um[0] + band_um[1]) / 2
    width_um = min(band_um[1] - band_um[0], _NARROW * middle_um) if how.narrow else band_um[1] - band_um[0]
    scale = 4096 / size
    step_um = middle_um / RESOLVING_POWER / 2 * scale
    length = int(width_um / step_um)
    ix, iy, y0, bank, field = _places(size, how, length)
    pitch = (size - 2 * REFERENCE_BORDER) / how.banks
    length = min(length, int(pitch) - 1)
    x0 = (REFERENCE_BORDER + np.floor(bank * pitch + (pitch - length) / 2)).astype(np.int64)
    # Slices and lenslets do not begin at the same wavelength; neighbours nearly do.
    offset_px = 4 * np.sin(2 * np.pi * iy / field[0]) + 3 * (ix / field[1] - 0.5)
    start_um = middle_um - step_um * (length - 1) / 2 + step_um * offset_px
    bend_um = 4 * step_um / max(length, 1) ** 2 * 2
    return Traces(ix, iy, x0, y0, start_um, step_um, bend_um, length, field, how.sigma_px, how.rows)


def _places(
    size: int, how: Mode, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float, NDArray[np.int64], tuple[int, int]]:
    """Return spaxel, row and bank of each trace, and the field."""
    rows = size - 2 * REFERENCE_BORDER - 2 - _TILT * length
    lowest = REFERENCE_BORDER + 1
    if how.instmode == "SLICER":
        width = how.field[1]
        high = int(rows // (width * how.rows + _SLICE_GAP))
        field = (min(how.field[0], high * how.banks), width)
        number = np.arange(field[0] * width)
        iy, ix = np.divmod(number, width)
        bank, place = np.divmod(iy, -(-field[0] // how.banks))
        y0 = lowest + place * (width * how.rows + _SLICE_GAP) + how.rows * ix + (how.rows - 1) / 2
        return ix, iy, y0, bank, field
    in_bank = int(rows // how.rows)
    field = _lenslet_field(how.field, in_bank * how.banks)
    iy, ix = np.divmod(np.arange(field[0] * field[1]), field[1])
    bank, place = np.divmod(np.arange(iy.size), in_bank)
    return ix, iy, lowest + 1 + place * how.rows, bank, field


def _lenslet_field(most: tuple[int, int], room: int) -> tuple[int, int]:
    """Return the largest field of the shape of `most` that has room."""
    share = min(1.0, np.sqrt(room / (most[0] * most[1])))
    return max(1, int(most[0] * share)), max(1, int(most[1] * share))


def spectra_light(traces: Traces, settings: SimulatorSettings, kind: Kind) -> NDArray[np.float32]:
    """Return the light on the IFS detector [e-/s], float32, (size, size); no source for kinds `sky` and `arc`."""
    light = np.zeros((settings.size, settings.size), np.float32)
    parts = _source(traces, settings) if kind == "science" else None
    lines = _lamp_lines(settings) if kind == "arc" else _sky_lines(settings)
    level = 0.0 if kind == "arc" else settings.sky_e_per_s * _SKY_CONTINUUM
    t = np.arange(traces.length_px)
    slope = 1 + 0.3 * (t / traces.length_px - 0.5)
    wavelengths, areas = np.array([one[0] for one in lines]), np.array([one[1] for one in lines])
    for index in range(traces.x0_px.size):
        own_um = traces.wavelengths(index)
        spectrum = np.full(traces.length_px, level)
        kernels.draw_lines(spectrum, np.interp(wavelengths, own_um, t, -99.0, -99.0), areas, _LINE_SIGMA_PX)
        if parts is not None:
            spectrum += parts.continuum[index] * slope
            places = np.interp(parts.line_um[index], own_um, t, -99.0, -99.0)
            kernels.draw_lines(spectrum, places, parts.line_area[index], _LINE_SIGMA_PX)
        kernels.draw_trace(
            light, int(traces.x0_px[index]), traces.y0_px[index], traces.tilt, traces.sigma_px, traces.rows_px, spectrum
        )
    return light


@dataclass(frozen=True)
class Source:
    """The objects of the field, by trace: continuum [e-/s a pixel]; lines' wavelengths [um] and totals [e-/s]."""

    continuum: Float
    line_um: Float
    line_area: Float


@dataclass(frozen=True)
class PointSource:
    """A star: place in spaxels and light in all spaxels together [e-/s a pixel, in the middle of the band]."""

    x: float
    y: float
    flux_e_per_s: float


def point_sources(traces: Traces, settings: SimulatorSettings) -> list[PointSource]:
    """Return the stars of the field."""
    height, width = traces.field
    whole = _STAR_SHARE * settings.sky_e_per_s * 2 * np.pi * _STAR_SIGMA**2
    return [PointSource(x * (width - 1), y * (height - 1), share * whole) for x, y, share in _STARS]


def _source(traces: Traces, settings: SimulatorSettings) -> Source:
    height, width = traces.field
    continuum = np.zeros(traces.ix.size)
    for star in point_sources(traces, settings):
        away2 = (traces.ix - star.x) ** 2 + (traces.iy - star.y) ** 2
        continuum += star.flux_e_per_s * np.exp(-away2 / 2 / _STAR_SIGMA**2) / (2 * np.pi * _STAR_SIGMA**2)
    x, y, sigma = _GALAXY
    dx, dy = traces.ix / max(width - 1, 1) - x, traces.iy / max(height - 1, 1) - y
    shape = np.exp(-(dx**2 + dy**2) / 2 / sigma**2)
    continuum += _GALAXY_SHARE * settings.sky_e_per_s * shape
    low, high = traces.start_um.mean(), traces.start_um.mean() + traces.step_um * traces.length_px
    places = np.array([low + place * (high - low) for place, _ in _GALAXY_LINES])
    line_um = places + _ROTATION_PX * traces.step_um * np.clip(dx / sigma, -2, 2)[:, None]
    line_area = settings.sky_e_per_s * shape[:, None] * np.array([area for _, area in _GALAXY_LINES])
    return Source(continuum, line_um, line_area)


def _sky_lines(settings: SimulatorSettings) -> list[tuple[float, float]]:
    total = settings.sky_e_per_s * _LINE_SHARE
    return [(wavelength, total * strength) for lines in OH_LINES.values() for wavelength, strength in lines]


def _lamp_lines(settings: SimulatorSettings) -> list[tuple[float, float]]:
    """Return the lamps' lines; the strongest of a lamp has `arc_e_per_s` in all its pixels together."""
    return [
        (wavelength, settings.arc_e_per_s * intensity)
        for lamp in settings.lamps
        for wavelength, intensity in lamp_table(lamp)
        if intensity > 1e-3
    ]
