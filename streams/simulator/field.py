"""A field that is tracked past the meridian: where it stands, the air before it, and what prisms leave of its colours.

Angles follow from spherical astronomy, dispersion from the air. Times are seconds from the simulation's start.
"""

import math

import erfa
import numpy as np
from numpy.typing import NDArray

from streams.simulator.faults import Faults
from streams.simulator.instrument import MAS_PER_RADIAN, random_for
from streams.telemetry_keys import Value

Values = dict[str, Value]
Floats = NDArray[np.float64]

RA_DEG, DEC_DEG, LATITUDE_DEG = 150.1, 2.2, 19.826
START_HOUR_ANGLE_DEG = 7.5
SIDEREAL = 15.041067 / 3600
"""Degrees of hour angle in a second."""
POSITION_ANGLE_DEG = 30.0
NULL_ZENITH_DEG = 65.0
PRISM_NOISE_DEG = 0.02
DISPERSION_POINTS = 5


class Field:
    """A field of the night.

    Parameters
    ----------
    band_um
        Edges of the filter [um].
    faults
        When prisms do not follow.
    seed
        For the noise of the prisms.
    """

    def __init__(self, band_um: tuple[float, float], faults: Faults, seed: int) -> None:
        self._waves_um: Floats = np.linspace(*band_um, DISPERSION_POINTS)
        self._reference_um = sum(band_um) / 2
        self._faults = faults
        self._seed = seed

    def angles(self, time_s: float) -> tuple[float, float, float, float]:
        """Return hour angle, elevation, azimuth and parallactic angle [deg]."""
        hour = math.radians(START_HOUR_ANGLE_DEG + SIDEREAL * time_s)
        dec, latitude = math.radians(DEC_DEG), math.radians(LATITUDE_DEG)
        up = math.sin(latitude) * math.sin(dec) + math.cos(latitude) * math.cos(dec) * math.cos(hour)
        north = math.tan(dec) * math.cos(latitude) - math.cos(hour) * math.sin(latitude)
        turn = math.tan(latitude) * math.cos(dec) - math.sin(dec) * math.cos(hour)
        azimuth = math.degrees(math.atan2(-math.sin(hour), north)) % 360
        return math.degrees(hour), math.degrees(math.asin(up)), azimuth, math.degrees(math.atan2(math.sin(hour), turn))

    def direction(self, time_s: float) -> float:
        """Return the direction of dispersion in the instrument's frame [deg, -180 to 180]."""
        return half_turn(self.angles(time_s)[3] - POSITION_ANGLE_DEG)

    def air(self, time_s: float) -> tuple[float, float, float]:
        """Return pressure [hPa], temperature [degC] and relative humidity (0 to 1)."""
        return 615 + 0.3 * wave(time_s, 11_000), 2 - min(time_s, 36_000) / 7200, 0.2 + 0.02 * wave(time_s, 5600)

    def dispersion(self, time_s: float) -> Values:
        """Return what the telescope says of the atmosphere's dispersion [arcsec]; it knows neither prisms nor delay."""
        return {
            "referenceWavelength": self._reference_um,
            "orientation": self.direction(time_s),
            "wavelength": self._waves_um.tolist(),
            "weight": [1 / DISPERSION_POINTS] * DISPERSION_POINTS,
            "dispersion": (self._spread_mas(self._zenith_tangent(time_s), time_s) / 1000).tolist(),
        }

    def prisms(self, time_s: float) -> Values:
        """Return where the prisms stand: as they should to 0.02 degrees, or where they stopped."""
        fault = self._faults.of("adc", time_s)
        held_s = time_s if fault is None else fault.start_s
        zenith = 90 - self.angles(held_s)[1]
        part = min(1.0, math.tan(math.radians(zenith)) / math.tan(math.radians(NULL_ZENITH_DEG)))
        half, middle = math.degrees(math.acos(part)), self.direction(held_s) + 180
        noise = random_for(self._seed, "prisms", str(round(held_s))).normal(0, PRISM_NOISE_DEG, 2)
        return {
            "rotationA": half_turn(middle + half + noise[0]),
            "rotationB": half_turn(middle - half + noise[1]),
            "error_rotationA": float(noise[0]),
            "error_rotationB": float(noise[1]),
            "power": 2 * half,
            "orientation": half_turn(middle),
        }

    def left_mas(self, time_s: float) -> Floats:
        """Return what atmosphere and prisms leave at the wavelengths of `dispersion`, (wavelength, (x, y)).

        A prism has half of the atmosphere's dispersion at 65 degrees from the zenith.
        """
        prism = self._spread_mas(math.tan(math.radians(NULL_ZENITH_DEG)), time_s) / 2
        prisms = self.prisms(time_s)
        left = np.outer(self._spread_mas(self._zenith_tangent(time_s), time_s), unit(self.direction(time_s)))
        for name in ("rotationA", "rotationB"):
            left += np.outer(prism, unit(float(prisms[name])))  # type: ignore[arg-type]
        return left

    def _zenith_tangent(self, time_s: float) -> float:
        return 1 / math.tan(math.radians(self.angles(time_s)[1]))

    def _spread_mas(self, tangent: float, time_s: float) -> Floats:
        """Return the refraction relative to the reference wavelength, at a tangent of the zenith distance."""
        a, b = erfa.refco(*self.air(time_s), np.append(self._waves_um, self._reference_um))
        refraction = np.asarray((a * tangent + b * tangent**3) * MAS_PER_RADIAN)
        return np.asarray(refraction[:-1] - refraction[-1])


def wave(time_s: float, period_s: float) -> float:
    """Return a sine of time."""
    return math.sin(2 * math.pi * time_s / period_s)


def half_turn(angle_deg: float) -> float:
    """Return an angle between -180 and 180 degrees."""
    return (angle_deg + 180) % 360 - 180


def unit(angle_deg: float) -> tuple[float, float]:
    """Return the unit vector in a direction, (x, y)."""
    return math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
