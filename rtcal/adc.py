"""The colour smear of the atmosphere, and what the prisms of the dispersion corrector leave of it.

Angles on the sky are in milliarcseconds, `d(wavelength)` is the refraction relative to a reference wavelength:
positive, blueward, toward the zenith. Directions are angles from the x axis of the instrument's frame. Two
prisms of dispersion p at angles A and B leave

    r = d u(phi) + p (u(A) + u(B))

with u a unit vector and phi the direction of the atmosphere's dispersion: opposed prisms cancel, and at full power
both stand at phi + 180 degrees.
"""

from dataclasses import dataclass

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MAS_PER_RAD = np.degrees(3.6e6)
FWHM_PER_SIGMA = 2.3548200450309493
STANDIN_ZENITH_DEG = 65.0
"""Prisms without a measured curve just null the atmosphere at this zenith distance."""


@dataclass(frozen=True)
class Air:
    """The air at the telescope."""

    pressure_hpa: float
    temperature_c: float
    humidity: float
    """Relative, 0 to 1."""


def refraction_mas(wavelength_um: ArrayLike, zenith_deg: float, air: Air) -> Floats:
    """Return the refraction A tan z + B tan^3 z [mas] at an observed zenith distance.

    Notes
    -----
    A and B of `erfa.refco`, which is good to the dispersion's sub-mas except for that of water vapour.
    """
    wavelengths = np.asarray(wavelength_um, dtype=np.float64)
    a, b = erfa.refco(air.pressure_hpa, air.temperature_c, air.humidity, wavelengths)
    tangent = np.tan(np.radians(zenith_deg))
    return np.asarray((a * tangent + b * tangent**3) * MAS_PER_RAD)


def dispersion_mas(wavelength_um: ArrayLike, reference_um: float, zenith_deg: float, air: Air) -> Floats:
    """Return the refraction relative to that at the reference wavelength [mas]."""
    return refraction_mas(wavelength_um, zenith_deg, air) - refraction_mas(reference_um, zenith_deg, air)


def standin_prism_mas(wavelength_um: ArrayLike, reference_um: float, air: Air) -> Floats:
    """Return the dispersion of one prism as long as no curve is measured: half of the atmosphere's at 65 degrees."""
    return dispersion_mas(wavelength_um, reference_um, STANDIN_ZENITH_DEG, air) / 2


def unit(angle_deg: float) -> Floats:
    """Return the unit vector of a direction, (x, y)."""
    angle = np.radians(angle_deg)
    return np.array([np.cos(angle), np.sin(angle)])


def residual_mas(d_mas: Floats, phi_deg: float, p_mas: Floats, a_deg: float, b_deg: float) -> Floats:
    """Return what atmosphere and prisms leave, (wavelength, 2): x and y [mas]."""
    return np.outer(d_mas, unit(phi_deg)) + np.outer(p_mas, unit(a_deg) + unit(b_deg))


@dataclass(frozen=True)
class Smear:
    """What a residual does to an image."""

    edge_mas: Floats
    """From the shortest to the longest wavelength, (x, y)."""
    shift_mas: Floats
    """The weighted mean: where the light of the band lies, (x, y)."""
    rms_mas: float
    """Weighted scatter about the mean."""
    axis_deg: float
    """Direction along which an image is longest, -90 to 90."""
    elongation_mas: float
    """Added in square to the width at half maximum along the axis."""


def covariance_of(residual: Floats, weight: Floats) -> Floats:
    """Return the weighted covariance of a residual about its mean [mas^2], (2, 2); the parameters as in `smear_of`."""
    share = _shares(weight)
    from_mean = residual - share @ residual
    return np.asarray((from_mean * share[:, None]).T @ from_mean)


def _shares(weight: Floats) -> Floats:
    total = weight.sum()
    return weight / total if total > 0 else np.full(len(weight), 1 / len(weight))


def smear_of(wavelength_um: Floats, residual: Floats, weight: Floats) -> Smear:
    """Sum a residual up over a band.

    Parameters
    ----------
    wavelength_um
        In any order, (wavelength).
    residual
        As of `residual_mas`.
    weight
        Of each wavelength, (wavelength); their sum need not be 1, all zero counts as all equal.
    """
    covariance = covariance_of(residual, weight)
    variances, axes = np.linalg.eigh(covariance)
    axis = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
    return Smear(
        edge_mas=residual[np.argmin(wavelength_um)] - residual[np.argmax(wavelength_um)],
        shift_mas=_shares(weight) @ residual,
        rms_mas=float(np.sqrt(max(np.trace(covariance), 0.0))),
        axis_deg=float((axis + 90) % 180 - 90),
        elongation_mas=float(FWHM_PER_SIGMA * np.sqrt(max(variances[1], 0.0))),
    )
