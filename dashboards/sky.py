"""Where a frame lies on the sky, by its world coordinates (a tangent plane), and what dispersion is left in it."""

import math
from collections.abc import Mapping
from typing import Any

from streams.messages import AdcResidual

MATRIX = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")
NAMES = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", *MATRIX)


def compass(wcs: Mapping[str, object]) -> dict[str, list[float]] | None:
    """Return the directions `north` and `east` in a frame, unit vectors (x, y); None without world coordinates."""
    numbers = [float(value) for value in (wcs.get(name) for name in MATRIX) if isinstance(value, int | float)]
    if len(numbers) != len(MATRIX):
        return None
    cd11, cd12, cd21, cd22 = numbers
    determinant = cd11 * cd22 - cd12 * cd21
    if not (math.isfinite(determinant) and determinant):
        return None
    sign = math.copysign(1.0, determinant)
    return {"north": _unit(-sign * cd12, sign * cd11), "east": _unit(sign * cd22, -sign * cd21)}


def _unit(x: float, y: float) -> list[float]:
    length = math.hypot(x, y)
    return [x / length, y / length]


def residual(adc: AdcResidual | None) -> dict[str, Any] | None:
    """Return what pages show of the dispersion left: its vector in the detector's axes [mas], where it is known."""
    if adc is None:
        return None
    return {
        "status": adc.status,
        "edge": adc.edge_mas,
        "rms": adc.rms_mas,
        "atmosphere": adc.atmosphere_mas,
        "guides": adc.guides
        and {
            "elongation": adc.guides.elongation_mas,
            "axis": adc.guides.axis_deg,
            "unexplained": adc.guides.unexplained_mas,
        },
        "band": [min(adc.wavelength_um), max(adc.wavelength_um)] if adc.wavelength_um else None,
    }


def radec_deg(wcs: Mapping[str, object], x: float, y: float) -> tuple[float, float] | None:
    """Return right ascension and declination [deg] of a pixel, 0-based; None without world coordinates."""
    if wcs.get("CTYPE1") != "RA---TAN" or wcs.get("CTYPE2") != "DEC--TAN":
        return None
    found = [wcs.get(name) for name in NAMES]
    numbers = [float(value) for value in found if isinstance(value, int | float)]
    if len(numbers) != len(NAMES):
        return None
    px, py, ra0, dec0, cd11, cd12, cd21, cd22 = numbers
    dx, dy = x + 1 - px, y + 1 - py
    xi, eta = math.radians(cd11 * dx + cd12 * dy), math.radians(cd21 * dx + cd22 * dy)
    sine, cosine = math.sin(math.radians(dec0)), math.cos(math.radians(dec0))
    below = cosine - eta * sine
    ra = math.radians(ra0) + math.atan2(xi, below)
    dec = math.atan2(sine + eta * cosine, math.hypot(xi, below))
    return math.degrees(ra) % 360.0, math.degrees(dec)


def sexagesimal(ra_deg: float, dec_deg: float) -> str:
    """Write a place as hours and degrees, to a milliarcsecond or so."""
    total = round(ra_deg / 15 * 3600 * 1e4) % (24 * 3600 * 10_000)
    hours, rest = divmod(total, 3600 * 10_000)
    minutes, seconds = divmod(rest, 60 * 10_000)
    arc = round(abs(dec_deg) * 3600 * 1e3)
    degrees, rest = divmod(arc, 3600 * 1000)
    arcmin, arcsec = divmod(rest, 60 * 1000)
    sign = "−" if dec_deg < 0 else "+"
    right = f"{hours:02d} {minutes:02d} {seconds / 1e4:07.4f}"
    return f"{right}  {sign}{degrees:02d} {arcmin:02d} {arcsec / 1e3:06.3f}"
