"""What the imager detectors look at: a star cluster on sky background.

All light is in e-/s a pixel as a detector of flat response would count it. Detector coordinates put
the centre of the lower left pixel at (0, 0).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.simulator import kernels
from streams.simulator.instrument import GAP_PX, MOSAIC, random_for
from streams.simulator.psf import FINE, STAMP, Psf, moffat
from streams.simulator.settings import SimulatorSettings

_CLUSTERS = ((0.33, 0.67, 0.12, 0.40), (0.74, 0.28, 0.06, 0.20))
"""Centre x, y and scale radius over the field's side, and share of the stars; the rest lies evenly."""
_LUMINOSITY_SLOPE = 0.30
"""Stars of magnitude m go as 10^(0.3 m): many faint ones, as in a cluster."""
_COARSE = 8
"""The halo is smooth: it is worked out on cells this wide [px]."""


@dataclass(frozen=True)
class Stars:
    """Stars by place [px] on a grid of 1 / FINE pixel, and flux [e-/s]; float64, one length."""

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    flux_e_per_s: NDArray[np.float64]

    def moved(self, x_px: int, y_px: int) -> "Stars":
        """Return the stars as seen from an origin at (x, y)."""
        return Stars(self.x_px - x_px, self.y_px - y_px, self.flux_e_per_s)

    def within(self, size: int, margin: int) -> "Stars":
        """Return those that lie on a detector or not further than `margin` from it [px]."""
        inside = (self.x_px > -margin) & (self.x_px < size - 1 + margin)
        inside &= (self.y_px > -margin) & (self.y_px < size - 1 + margin)
        return Stars(self.x_px[inside], self.y_px[inside], self.flux_e_per_s[inside])


def detector_origin(detector: str, size: int) -> tuple[int, int]:
    """Return where (x, y) a detector's first pixel lies in the field [px]."""
    row, column = MOSAIC[detector]
    return column * pitch_px(size), row * pitch_px(size)


def pitch_px(size: int) -> int:
    """Distance between detectors; a smaller detector's gaps shrink with it."""
    return size + round(GAP_PX * size / 4096)


def draw_field(settings: SimulatorSettings) -> Stars:
    """Draw the stars of the whole field: two clusters and an even background of stars."""
    random = random_for(settings.seed, "stars")
    side_px = settings.size + pitch_px(settings.size)
    count = round(settings.stars_per_mpx * side_px**2 / 1e6)
    places = random.uniform(0, side_px, (2, count))
    first = 0
    for x, y, scale, share in _CLUSTERS:
        last = first + round(share * count)
        places[:, first:last] = np.array([[x], [y]]) * side_px + _plummer(random, last - first, scale * side_px)
        first = last
    places = np.round(places * FINE) / FINE
    return Stars(places[0], places[1], _fluxes(random, count, settings))


def _plummer(random: np.random.Generator, count: int, scale_px: float) -> NDArray[np.float64]:
    """Draw places (x, y) about a centre with Plummer's projected density."""
    share = random.uniform(0, 0.97, count)
    radius_px = scale_px * np.sqrt(share / (1 - share))
    angle = random.uniform(0, 2 * np.pi, count)
    return np.stack([radius_px * np.cos(angle), radius_px * np.sin(angle)])


def _fluxes(random: np.random.Generator, count: int, settings: SimulatorSettings) -> NDArray[np.float64]:
    """Draw fluxes between the limits, fainter stars being more numerous."""
    span_mag = 2.5 * np.log10(settings.brightest_e_per_s / settings.faintest_e_per_s)
    share = random.uniform(0, 1, count)
    fainter_mag = np.log10(1 + share * (10 ** (_LUMINOSITY_SLOPE * span_mag) - 1)) / _LUMINOSITY_SLOPE
    return np.asarray(settings.brightest_e_per_s * 10 ** (-0.4 * fainter_mag))


def star_light(stars: Stars, psf: Psf, size: int) -> NDArray[np.float32]:
    """Return the stars' light on a detector [e-/s], float32, (size, size).

    Stars beyond the edges count with the light that falls on the detector.
    """
    light = _halos(stars, psf, size)
    near = stars.within(size, STAMP // 2)
    for x_px, y_px, flux in zip(near.x_px, near.y_px, near.flux_e_per_s, strict=True):
        x, y = round(float(x_px)), round(float(y_px))
        core = psf.core[round((y_px - y) * FINE) + FINE // 2, round((x_px - x) * FINE) + FINE // 2]
        kernels.add_stamp(light, core, np.float32(flux * psf.strehl), y - STAMP // 2, x - STAMP // 2)
    return light


def _halos(stars: Stars, psf: Psf, size: int) -> NDArray[np.float32]:
    """Spread the light out of phase over seeing's Moffat, on coarse cells, and draw it smoothly finer."""
    margin = 2 * round(psf.halo_fwhm_px / _COARSE + 1)
    cells = size // _COARSE + 2 * margin
    near = stars.within(size, margin * _COARSE)
    grid = np.zeros((cells, cells))
    column, right = np.divmod((near.x_px + 0.5) / _COARSE - 0.5 + margin, 1)
    row, up = np.divmod((near.y_px + 0.5) / _COARSE - 0.5 + margin, 1)
    flux = near.flux_e_per_s * (1 - psf.strehl)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        part = np.where(dy, up, 1 - up) * np.where(dx, right, 1 - right)
        at = (np.clip(row.astype(int) + dy, 0, cells - 1), np.clip(column.astype(int) + dx, 0, cells - 1))
        np.add.at(grid, at, flux * part)
    # The kernel is as wide as twice the grid, so that nothing wraps around.
    offset_px = np.fft.fftfreq(2 * cells, 1 / (2 * cells)) * _COARSE
    kernel = moffat(np.hypot(offset_px[:, None], offset_px[None, :]), psf.halo_fwhm_px)
    shape = (2 * cells, 2 * cells)
    smooth = np.fft.irfft2(np.fft.rfft2(grid, shape) * np.fft.rfft2(kernel), shape)[:cells, :cells]
    finer = _finer(size, cells, margin)
    return np.asarray(finer @ smooth.astype(np.float32) @ finer.T)


def _finer(size: int, cells: int, margin: int) -> NDArray[np.float32]:
    """Return the matrix, (size, cells), that interpolates linearly to the pixels behind the margin."""
    cell, part = np.divmod((np.arange(size) + 0.5) / _COARSE - 0.5 + margin, 1)
    matrix = np.zeros((size, cells), np.float32)
    matrix[np.arange(size), cell.astype(int)] = 1 - part
    matrix[np.arange(size), cell.astype(int) + 1] = part
    return matrix
