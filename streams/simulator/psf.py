"""The point-spread function: a diffraction core on a halo of seeing.

Light that adaptive optics has put in phase, a fraction S (the Strehl ratio), falls into the core that
the telescope's pupil gives; the rest falls into a seeing-limited halo (Marechal's approximation). Where images
shake the core is smeared out.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streams.simulator.instrument import MAS_PER_RADIAN, OBSCURATION, PIXEL_MAS, TELESCOPE_M

FINE = 3
"""Steps to a pixel: stars sit on a grid this fine, so that their images need no interpolation."""
STAMP = 255
"""Side of a core's image [px]; an odd number, a star's pixel is its centre."""
_GRID = 1024
_WAVELENGTHS = 5
MOFFAT_BETA = 4.765
"""Fits a turbulent atmosphere (Trujillo et al. 2001, MNRAS 328, 977)."""


@dataclass(frozen=True)
class Psf:
    """How a star's light is spread.

    `core[j, i]` is the image of a star j, i fine steps (0 to FINE - 1, minus 1) above and right of the
    centre of the stamp's middle pixel, float32, (y, x), sum 1.
    """

    strehl: float
    core: NDArray[np.float32]
    halo_fwhm_px: float


def make_psf(band_um: tuple[float, float], wavefront_error_nm: float, r0_m: float, jitter_mas: float = 0.0) -> Psf:
    """Work out the point-spread function of a band.

    Parameters
    ----------
    band_um
        Edges of the filter [um].
    wavefront_error_nm
        What adaptive optics leaves, root mean square [nm].
    r0_m
        Fried's parameter at 500 nm [m].
    jitter_mas
        How far the image shakes, root mean square in each axis [mas].
    """
    middle_um = (band_um[0] + band_um[1]) / 2
    return Psf(strehl(wavefront_error_nm, middle_um), _core(band_um, jitter_mas), halo_fwhm_px(middle_um, r0_m))


def strehl(wavefront_error_nm: float, wavelength_um: float) -> float:
    """Return Marechal's exp(-(2 pi sigma / lambda)^2)."""
    return float(np.exp(-((2 * np.pi * wavefront_error_nm / (1000 * wavelength_um)) ** 2)))


def halo_fwhm_px(wavelength_um: float, r0_m: float) -> float:
    """Return the full width at half maximum of seeing, 0.98 lambda / r0, r0 growing as lambda^1.2."""
    r0_there_m = r0_m * (wavelength_um / 0.5) ** 1.2
    return float(0.98 * wavelength_um * 1e-6 / r0_there_m * MAS_PER_RADIAN / PIXEL_MAS)


def moffat(radius_px: NDArray[np.float64], fwhm_px: float) -> NDArray[np.float64]:
    """Return the halo's surface brightness at a radius, integral 1 over the plane [1/px^2]."""
    alpha = fwhm_px / (2 * np.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    peak = (MOFFAT_BETA - 1) / (np.pi * alpha**2)
    return np.asarray(peak * (1 + (radius_px / alpha) ** 2) ** -MOFFAT_BETA)


@lru_cache(maxsize=4)
def _core(band_um: tuple[float, float], jitter_mas: float) -> NDArray[np.float32]:
    """Average the diffraction patterns over the band and bin them at each fine position."""
    fine = np.zeros((_GRID, _GRID))
    edges = np.linspace(*band_um, 2 * _WAVELENGTHS + 1)
    for wavelength_um in edges[1::2]:
        fine += _diffraction(float(wavelength_um))
    if jitter_mas:
        fine = _shaken(fine, jitter_mas / PIXEL_MAS * FINE)
    side = STAMP * FINE
    core = np.empty((FINE, FINE, STAMP, STAMP), np.float32)
    for j in range(FINE):
        for i in range(FINE):
            # A star one step up puts the pattern's middle one step up, so the cut starts one step lower.
            y, x = (_GRID // 2 - side // 2 - (step - FINE // 2) for step in (j, i))
            stamp = fine[y : y + side, x : x + side].reshape(STAMP, FINE, STAMP, FINE).sum(axis=(1, 3))
            core[j, i] = stamp / stamp.sum()
    core.setflags(write=False)
    return core


def _shaken(pattern: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Return a pattern smeared by a Gaussian of `sigma` steps."""
    along, across = np.fft.rfftfreq(_GRID), np.fft.fftfreq(_GRID)
    transfer = np.exp(-2 * (np.pi * sigma) ** 2 * (across[:, None] ** 2 + along[None, :] ** 2))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(pattern) * transfer, pattern.shape).clip(0))


def _diffraction(wavelength_um: float) -> NDArray[np.float64]:
    """Return the pattern of the annular pupil, sum 1, middle at `_GRID // 2`, steps of a fine pixel."""
    step_rad = PIXEL_MAS / FINE / MAS_PER_RADIAN
    metres_per_cell = wavelength_um * 1e-6 / (_GRID * step_rad)
    axis_m = (np.arange(_GRID) - _GRID // 2) * metres_per_cell
    radius_m = np.hypot(axis_m[:, None], axis_m[None, :])
    # A cell on the rim counts by the part that lies inside, or the pupil's size would jump with wavelength.
    outer = np.clip((TELESCOPE_M / 2 - radius_m) / metres_per_cell + 0.5, 0, 1)
    inner = np.clip((OBSCURATION * TELESCOPE_M / 2 - radius_m) / metres_per_cell + 0.5, 0, 1)
    pattern = np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(outer - inner)))) ** 2
    return np.asarray(pattern / pattern.sum())
