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

from streams.lamps import lamp_table, oh_table
from streams.simulator import kernels
from streams.simulator.instrument import REFERENCE_BORDER
from streams.simulator.settings import SCAN_STEPS, IfsMode, Kind, SimulatorSettings

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


def spectra_light(traces: Traces, settings: SimulatorSettings, kind: Kind, step: int = 0) -> NDArray[np.float32]:
    """Return the light on the IFS detector [e-/s], float32, (size, size); sources for the kind `science` alone.

    `step` says which spectra the mask of a scan leaves open: each SCAN_STEPS-th from this one on.
    """
    light = np.zeros((settings.size, settings.size), np.float32)
    parts = _source(traces, settings) if kind == "science" else None
    lines = [] if kind == "scan" else _lamp_lines(settings) if kind == "arc" else _sky_lines(settings)
    levels: dict[Kind, float] = {"arc": 0.0, "scan": settings.flat_e_per_s}
    level = levels.get(kind, settings.sky_e_per_s * _SKY_CONTINUUM)
    t = np.arange(traces.length_px)
    slope = 1 + 0.3 * (t / traces.length_px - 0.5)
    wavelengths, areas = np.array([one[0] for one in lines]), np.array([one[1] for one in lines])
    wings = settings.lenslet_wings
    for index in range(step, traces.x0_px.size, SCAN_STEPS) if kind == "scan" else range(traces.x0_px.size):
        own_um = traces.wavelengths(index)
        spectrum = np.full(traces.length_px, level)
        kernels.draw_lines(spectrum, np.interp(wavelengths, own_um, t, -99.0, -99.0), areas, _LINE_SIGMA_PX)
        if parts is not None:
            spectrum += parts.continuum[index] * slope
            places = np.interp(parts.line_um[index], own_um, t, -99.0, -99.0)
            kernels.draw_lines(spectrum, places, parts.line_area[index], _LINE_SIGMA_PX)
        kernels.draw_trace(
            light, int(traces.x0_px[index]), traces.y0_px[index], traces.tilt, traces.sigma_px, traces.rows_px, wings,
            spectrum,
        )  # fmt: skip
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
    return [(wavelength, total * strength) for wavelength, strength in oh_table()]


def _lamp_lines(settings: SimulatorSettings) -> list[tuple[float, float]]:
    """Return the lamps' lines; the strongest of a lamp has `arc_e_per_s` in all its pixels together."""
    return [
        (wavelength, settings.arc_e_per_s * intensity)
        for lamp in settings.lamps
        for wavelength, intensity in lamp_table(lamp)
        if intensity > 1e-3
    ]
