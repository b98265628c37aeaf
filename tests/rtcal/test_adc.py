"""Refraction against published numbers and erfa; the prisms' algebra against closed forms."""

import math

import erfa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcal.adc import (
    FWHM_PER_SIGMA,
    Air,
    dispersion_mas,
    refraction_mas,
    residual_mas,
    smear_of,
    standin_prism_mas,
    unit,
)

AIR = Air(615.0, 2.0, 0.2)
BANDS = {
    "Z": (0.83, 0.925), "Y": (0.97, 1.07), "J": (1.166, 1.33), "H": (1.485, 1.781), "K": (2.0, 2.4),
    "Jbb": (1.135, 1.389), "Hbb": (1.474, 1.800), "Kbb": (1.975, 2.412),
}  # fmt: skip
# Edge to edge [mas] at 615 hPa, 2 degC, 20 %.
TABLE = {
    30: {"Z": 33.7, "Y": 22.5, "J": 20.1, "H": 16.2, "K": 9.0, "Jbb": 30.4, "Hbb": 17.8, "Kbb": 9.9},
    60: {"Z": 100.9, "Y": 67.2, "J": 60.1, "H": 48.6, "K": 26.8, "Jbb": 91.0, "Hbb": 53.3, "Kbb": 29.6},
}


def edge(band: str, zenith_deg: float, air: Air = AIR) -> float:
    low, high = BANDS[band]
    return float(dispersion_mas([low], high, zenith_deg, air)[0])


@pytest.mark.parametrize("zenith_deg", TABLE)
@pytest.mark.parametrize("band", BANDS)
def test_dispersion_from_edge_to_edge(band: str, zenith_deg: int) -> None:
    assert edge(band, zenith_deg) == pytest.approx(TABLE[zenith_deg][band], abs=0.1)


def test_how_it_depends_on_the_air() -> None:
    middle = edge("Hbb", 45)
    assert middle == pytest.approx(30.82, abs=0.01)
    assert edge("Hbb", 45, Air(616.0, 2.0, 0.2)) - middle == pytest.approx(0.050, abs=0.002)
    assert edge("Hbb", 45, Air(615.0, 3.0, 0.2)) - middle == pytest.approx(-0.112, abs=0.002)


def test_refraction_is_that_of_erfa() -> None:
    """Against erfa's whole reduction from the zenith distance in space, which inverts the same two terms."""
    for zenith_deg in (5.0, 40.0, 63.0):
        for wavelength_um in (0.9, 1.65, 2.3):
            a, b = erfa.refco(AIR.pressure_hpa, AIR.temperature_c, AIR.humidity, wavelength_um)
            t = math.tan(math.radians(zenith_deg))
            expected = math.degrees(a * t + b * t**3) * 3.6e6
            assert refraction_mas(wavelength_um, zenith_deg, AIR) == pytest.approx(expected, rel=1e-9)
    assert refraction_mas(0.5, 45.0, Air(1010.0, 10.0, 0.5)) == pytest.approx(57_500, rel=0.02)  # about 58"


def test_blue_lies_toward_the_zenith() -> None:
    d = dispersion_mas(np.array([1.4, 1.65, 1.8]), 1.65, 50.0, AIR)
    assert d[0] > d[1] == 0 > d[2]


WAVES = np.linspace(1.485, 1.781, 9)
D60 = dispersion_mas(WAVES, 1.781, 60.0, AIR)


def test_prisms_at_full_power_null_what_they_were_made_for() -> None:
    d, p = dispersion_mas(WAVES, 1.65, 65.0, AIR), standin_prism_mas(WAVES, 1.65, AIR)
    np.testing.assert_allclose(residual_mas(d, 30.0, p, 210.0, 210.0), 0, atol=1e-6)


def test_opposed_prisms_change_nothing() -> None:
    np.testing.assert_allclose(residual_mas(D60, 30.0, D60, 75.0, 255.0), np.outer(D60, unit(30.0)), atol=1e-6)


def test_a_common_error_of_a_quarter_degree() -> None:
    r = residual_mas(D60, 30.0, D60 / 2, 210.28, 210.28)
    assert D60[0] == pytest.approx(48.6, abs=0.1)
    assert np.hypot(*r[0]) == pytest.approx(2 * D60[0] * math.sin(math.radians(0.14)), abs=1e-9)
    assert np.hypot(*r[0]) == pytest.approx(0.24, abs=0.01)


@given(st.floats(-180, 180), st.floats(0, 180), st.floats(0.1, 100))
def test_the_power_of_two_prisms_is_the_cosine_of_half_their_angle(mean: float, apart: float, p: float) -> None:
    r = residual_mas(np.zeros(1), 0.0, np.array([p]), mean + apart / 2, mean - apart / 2)[0]
    np.testing.assert_allclose(r, 2 * p * math.cos(math.radians(apart / 2)) * unit(mean), atol=1e-9)


@given(st.floats(-180, 180), st.floats(-180, 180))
def test_turning_everything_turns_the_residual(phi: float, turn: float) -> None:
    one = residual_mas(D60, phi, D60 / 3, phi + 170, phi - 160)
    other = residual_mas(D60, phi + turn, D60 / 3, phi + 170 + turn, phi - 160 + turn)
    rotation = np.column_stack([unit(turn), unit(turn + 90)])
    np.testing.assert_allclose(one @ rotation.T, other, atol=1e-9)


def test_what_a_residual_does_to_an_image() -> None:
    waves = np.array([1.5, 1.6, 1.7])
    residual = np.outer([4.0, 0.0, -4.0], unit(120.0))
    smear = smear_of(waves, residual, np.array([1.0, 2.0, 1.0]))
    np.testing.assert_allclose(smear.edge_mas, 8 * unit(120.0))
    np.testing.assert_allclose(smear.shift_mas, 0, atol=1e-12)
    assert smear.rms_mas == pytest.approx(math.sqrt(8.0))
    assert smear.elongation_mas == pytest.approx(FWHM_PER_SIGMA * math.sqrt(8.0))
    assert smear.axis_deg == pytest.approx(-60.0)
    shifted = smear_of(waves, residual + 3.0, np.zeros(3))
    np.testing.assert_allclose(shifted.shift_mas, 3.0)
    assert shifted.rms_mas == pytest.approx(math.sqrt(32 / 3))
