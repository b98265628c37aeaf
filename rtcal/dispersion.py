"""A frame's atmospheric dispersion: what telemetry tells of air, telescope and prisms, put into `adc`'s algebra."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec.structs import replace

from rtcal.adc import Air, Floats, dispersion_mas, residual_mas, smear_of, standin_prism_mas
from rtcal.midexposure import MidExposure
from rtcal.sky_settings import AdcSettings
from streams.bandpass import band_of
from streams.messages import AdcResidual, Scalar

POINTS = 9
"""Wavelengths that stand for a band where the telescope names none."""
DIFFRACTION = 1.03
"""Width at half maximum of a diffraction-limited image in lambda / D."""
MAS_PER_RAD = np.degrees(3.6e6)


@dataclass(frozen=True)
class Band:
    """Wavelengths that stand for what the filter lets through."""

    wavelength_um: Floats
    weight: Floats
    reference_um: float


@dataclass(frozen=True)
class Dispersion:
    """A frame's residual, and what should be said of it."""

    residual: AdcResidual
    notes: list[str]


def dispersion_of(
    middle: MidExposure,
    setup: Mapping[str, Scalar],
    settings: AdcSettings,
    filters: Mapping[str, tuple[float, float]],
    diameter_m: float,
) -> Dispersion | None:
    """Work out what atmosphere and prisms do to a frame.

    Returns
    -------
    Dispersion
        None where neither the telescope's dispersion nor zenith distance and filter are known.
    """
    band = _band(middle, setup, filters)
    if band is None:
        return None
    air, air_status = _air(middle, settings)
    zenith_deg = _zenith_deg(middle)
    d_mas, source, notes = _atmosphere(middle, band, zenith_deg, air, settings)
    if d_mas is None:
        return None
    phi_deg = _orientation_deg(middle, settings)
    known = AdcResidual(
        status="UNKNOWN",
        atmosphere=source,
        air=air_status,
        reference_um=band.reference_um,
        zenith_deg=zenith_deg,
        orientation_deg=phi_deg,
        atmosphere_mas=float(np.ptp(d_mas)),
        wavelength_um=band.wavelength_um.tolist(),
        weight=band.weight.tolist(),
    )
    prisms = _prisms(middle)
    if phi_deg is None or prisms is None:
        return Dispersion(known, notes)
    p_mas = np.zeros(len(d_mas)) if prisms == "OUT" else _prism_curve(band, air, settings)
    angles = (0.0, 0.0) if prisms == "OUT" else prisms
    residual = residual_mas(d_mas, phi_deg, p_mas, *angles)
    following = None if prisms == "OUT" else _following_mas(middle, band, d_mas, phi_deg, p_mas, angles)
    status: Literal["OUT", "STALE", "OK"] = "OUT" if prisms == "OUT" else "STALE" if middle.stale else "OK"
    return Dispersion(_filled(known, band, residual, status, following, diameter_m), notes)


def _filled(
    known: AdcResidual,
    band: Band,
    residual: Floats,
    status: Literal["OUT", "STALE", "OK"],
    following: float | None,
    diameter_m: float,
) -> AdcResidual:
    smear = smear_of(band.wavelength_um, residual, band.weight)
    diffraction = DIFFRACTION * float(np.average(band.wavelength_um, weights=_weights(band))) * 1e-6 / diameter_m
    return replace(
        known,
        status=status,
        x_mas=residual[:, 0].tolist(),
        y_mas=residual[:, 1].tolist(),
        edge_mas=smear.edge_mas.tolist(),
        shift_mas=smear.shift_mas.tolist(),
        rms_mas=smear.rms_mas,
        axis_deg=smear.axis_deg,
        elongation_mas=smear.elongation_mas,
        fwhm_mas=float(np.hypot(diffraction * MAS_PER_RAD, smear.elongation_mas)),
        following_mas=following,
    )


def _weights(band: Band) -> Floats:
    return band.weight if band.weight.sum() > 0 else np.ones(len(band.weight))


def _band(middle: MidExposure, setup: Mapping[str, Scalar], filters: Mapping[str, tuple[float, float]]) -> Band | None:
    """Take the telescope's wavelengths, else those between the edges of the filter."""
    edges = band_of(str(setup.get("FILTER") or middle.text("FILTER")), filters)
    reference = middle.number("IMGDISRW")
    waves, weight = middle.numbers("IMGDISWV"), middle.numbers("IMGDISWT")
    if len(waves) >= 2 and len(middle.numbers("IMGDISVL")) == len(waves) and reference is not None:
        shares = np.array(weight) if len(weight) == len(waves) else np.ones(len(waves))
        return Band(np.array(waves), shares, reference)
    if edges is None:
        return None
    return Band(np.linspace(*edges, POINTS), np.full(POINTS, 1 / POINTS), reference or sum(edges) / 2)


def _air(middle: MidExposure, settings: AdcSettings) -> tuple[Air, Literal["OK", "DEFAULT"]]:
    pressure, temperature = middle.number("ENVPRES"), middle.number("ENVTAIR")
    humidity = middle.number("ENVRHUM")
    air = Air(
        settings.pressure_hpa if pressure is None else pressure,
        settings.temperature_c if temperature is None else temperature,
        settings.humidity if humidity is None else humidity / 100,
    )
    return air, "DEFAULT" if None in (pressure, temperature, humidity) else "OK"


def _zenith_deg(middle: MidExposure) -> float | None:
    zenith, elevation = middle.number("TELZ"), middle.number("EL")
    if zenith is None and elevation is not None:
        return 90 - elevation
    return zenith


def _atmosphere(
    middle: MidExposure, band: Band, zenith_deg: float | None, air: Air, settings: AdcSettings
) -> tuple[Floats | None, Literal["TCS", "MODEL", "NONE"], list[str]]:
    """Take the telescope's dispersion, checked against the computed one, or that alone."""
    model = None if zenith_deg is None else dispersion_mas(band.wavelength_um, band.reference_um, zenith_deg, air)
    told = middle.numbers("IMGDISVL")
    if len(told) != len(band.wavelength_um) or not middle.numbers("IMGDISWV"):
        return model, "MODEL", []
    d_mas = np.array(told) * 1000
    notes = []
    if model is not None:
        worst = float(np.abs(d_mas - model).max())
        if worst > settings.check_mas:
            notes.append(f"atmospheric dispersion: the telescope's and the computed one differ by {worst:.1f} mas")
    return d_mas, "TCS", notes


def _orientation_deg(middle: MidExposure, settings: AdcSettings) -> float | None:
    """Return where blue light goes: as the telescope says, else along the parallactic angle."""
    told = middle.number("IMGDISOR")
    if told is None:
        told = middle.number("PARANG")
    if told is None:
        return None
    return settings.orientation_sign * told + settings.orientation_offset_deg


def _prisms(middle: MidExposure) -> tuple[float, float] | Literal["OUT"] | None:
    place = middle.text("ADCPOS")
    if place == "OUT":
        return "OUT"
    a_deg, b_deg = middle.number("ADCROTA"), middle.number("ADCROTB")
    if place in ("HALFWAY", "UNKNOWN") or a_deg is None or b_deg is None:
        return None
    return a_deg, b_deg


def _prism_curve(band: Band, air: Air, settings: AdcSettings) -> Floats:
    if not settings.curve_um:
        return standin_prism_mas(band.wavelength_um, band.reference_um, air)
    curve = np.interp([*band.wavelength_um, band.reference_um], settings.curve_um, settings.curve_mas)
    return np.asarray(curve[:-1] - curve[-1])


def _following_mas(
    middle: MidExposure, band: Band, d_mas: Floats, phi_deg: float, p_mas: Floats, angles: tuple[float, float]
) -> float | None:
    """Return what the prisms' distance from their targets makes, edge to edge."""
    errors = middle.number("ADCERRA"), middle.number("ADCERRB")
    if errors[0] is None or errors[1] is None:
        return None
    actual = residual_mas(d_mas, phi_deg, p_mas, *angles)
    meant = residual_mas(d_mas, phi_deg, p_mas, angles[0] - errors[0], angles[1] - errors[1])
    return float(np.hypot(*smear_of(band.wavelength_um, actual - meant, band.weight).edge_mas))
