"""A frame's dispersion from its telemetry: what is known, what is assumed, what is said."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rtcal.adc import Air, dispersion_mas, standin_prism_mas
from rtcal.dispersion import Dispersion, dispersion_of
from rtcal.midexposure import MidExposure
from rtcal.sky_settings import AdcSettings
from streams.messages import TelemetryRow
from streams.telemetry_keys import load_keys
from tests.rigs import settings_with

SETTINGS = settings_with()
AIR = {"ENVPRES": 615.0, "ENVTAIR": 2.0, "ENVRHUM": 20.0}
PRISMS = {"ADCROTA": 230.0, "ADCROTB": 190.0, "ADCPOS": "IN"}
SKY = {"TELZ": 60.0, "IMGDISOR": 30.0}
H = {"FILTER": "H"}


def row(keyword: str, value: Any, status: Any = "OK") -> TelemetryRow:
    return TelemetryRow(key="X.y", param="z", fits=keyword, value=value, status=status)


def found(
    values: dict[str, Any], setup: dict[str, Any] = H, settings: AdcSettings = SETTINGS.adc, **statuses: str
) -> Dispersion:
    rows = [row(keyword, value, statuses.get(keyword, "OK")) for keyword, value in values.items()]
    made = dispersion_of(MidExposure(rows), setup, settings, SETTINGS.filters, 30.0)
    assert made is not None
    return made


def test_the_whole_chain_by_hand() -> None:
    made = found(SKY | AIR | PRISMS).residual
    waves = np.linspace(1.485, 1.781, 9)
    air = Air(615.0, 2.0, 0.2)
    d, p = dispersion_mas(waves, 1.633, 60.0, air), standin_prism_mas(waves, 1.633, air)
    assert (made.status, made.atmosphere, made.air) == ("OK", "MODEL", "OK")
    assert made.atmosphere_mas == pytest.approx(48.6, abs=0.1)
    # Angles 230 and 190: mean 210 = 30 + 180, half their difference 20 degrees.
    left = d - 2 * p * np.cos(np.radians(20))
    np.testing.assert_allclose(made.x_mas, left * np.cos(np.radians(30)), atol=1e-9)
    np.testing.assert_allclose(made.y_mas, left * np.sin(np.radians(30)), atol=1e-9)
    assert made.edge_mas == pytest.approx([(left[0] - left[-1]) * np.cos(np.pi / 6), (left[0] - left[-1]) * 0.5])
    assert made.axis_deg == pytest.approx(30.0)
    assert made.elongation_mas == pytest.approx(2.3548 * np.std(left), rel=1e-4)
    diffraction = 1.03 * 1.633e-6 / 30 * np.degrees(3.6e6)
    assert made.fwhm_mas == pytest.approx(np.hypot(diffraction, made.elongation_mas))
    assert made.following_mas is None


def test_elevation_serves_for_the_zenith_distance() -> None:
    assert found(AIR | {"EL": 30.0}).residual.atmosphere_mas == found(AIR | {"TELZ": 60.0}).residual.atmosphere_mas


def test_the_telescope_s_own_dispersion_comes_first_and_is_checked() -> None:
    waves = [1.5, 1.65, 1.78]
    told = dispersion_mas(waves, 1.65, 60.0, Air(615.0, 2.0, 0.2)) / 1000
    tcs = {"IMGDISWV": waves, "IMGDISVL": told.tolist(), "IMGDISWT": [0.25, 0.5, 0.25], "IMGDISRW": 1.65}
    made = found(SKY | AIR | PRISMS | tcs)
    assert made.residual.atmosphere == "TCS"
    assert made.residual.wavelength_um == waves
    assert made.residual.weight == [0.25, 0.5, 0.25]
    assert not made.notes
    wrong = found(SKY | AIR | PRISMS | tcs | {"IMGDISVL": (told * 1.2).tolist()})
    assert wrong.notes[0].startswith("atmospheric dispersion: the telescope's and the computed one differ by")
    without_zenith = found(AIR | PRISMS | tcs | {"IMGDISOR": 30.0})
    assert without_zenith.residual.status == "OK"
    assert without_zenith.residual.zenith_deg is None


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "OK"),
        ({"ADCPOS": "OUT"}, "OUT"),
        ({"ADCPOS": "HALFWAY"}, "UNKNOWN"),
        ({"ADCROTA": None}, "UNKNOWN"),
        ({"IMGDISOR": None}, "UNKNOWN"),
        ({"IMGDISOR": None, "PARANG": 30.0}, "OK"),
    ],
)
def test_what_can_be_known(changes: dict[str, Any], status: str) -> None:
    made = found(SKY | AIR | PRISMS | changes).residual
    assert made.status == status
    assert made.atmosphere_mas == pytest.approx(48.6, abs=0.1)
    assert (made.edge_mas is None) == (status == "UNKNOWN")
    if status == "OUT":
        assert np.hypot(*made.edge_mas or []) == pytest.approx(48.6, abs=0.1)


def test_held_values_make_it_stale_and_missing_air_is_that_of_the_configuration() -> None:
    made = found(SKY | AIR | PRISMS, ADCROTA="STALE").residual
    assert made.status == "STALE"
    made = found(SKY | PRISMS | {"ENVPRES": 615.0}).residual
    assert (made.status, made.air) == ("OK", "DEFAULT")
    made = found(SKY | AIR | PRISMS, ENVTAIR="SUSPECT").residual
    assert made.air == "DEFAULT"


def test_of_several_sources_of_one_quantity_one_in_time_comes_first() -> None:
    rows = [row("ENVTAIR", 5.0, "STALE"), row("ENVTAIR", 2.0), row("ENVTAIR", 9.0)]
    middle = MidExposure(rows)
    assert middle.number("ENVTAIR") == 2.0
    assert not middle.stale
    assert MidExposure(rows[:1]).number("ENVTAIR") == 5.0


def test_prisms_off_their_targets() -> None:
    made = found(SKY | AIR | PRISMS | {"ADCERRA": 0.28, "ADCERRB": 0.28}).residual
    assert made.following_mas == pytest.approx(_turned_mas(0.28), rel=1e-9)
    assert found(SKY | AIR | PRISMS | {"ADCERRA": 0.0, "ADCERRB": 0.0}).residual.following_mas == 0


def _turned_mas(error_deg: float) -> float:
    """Both prisms turned by a common error: the chord of what they make together."""
    air = Air(615.0, 2.0, 0.2)
    p = standin_prism_mas([1.485, 1.781], 1.633, air)
    return float(abs(p[0] - p[1]) * 2 * np.cos(np.radians(20)) * 2 * np.sin(np.radians(error_deg / 2)))


def test_sign_offset_and_a_measured_curve() -> None:
    settings = replace(
        SETTINGS.adc,
        orientation_sign=-1,
        orientation_offset_deg=15.0,
        curve_um=[1.4, 1.633, 1.9],
        curve_mas=[10.0, 0.0, -10.0],
    )
    made = found(SKY | AIR | PRISMS, settings=settings).residual
    assert made.orientation_deg == -15.0
    plain = found(SKY | AIR | PRISMS).residual
    assert made.rms_mas != plain.rms_mas
    opposed = found(SKY | AIR | PRISMS | {"ADCROTA": 100.0, "ADCROTB": 280.0}, settings=settings).residual
    assert np.hypot(*opposed.edge_mas or []) == pytest.approx(plain.atmosphere_mas)


@given(
    st.dictionaries(
        st.sampled_from(["TELZ", "EL", "IMGDISOR", "PARANG", "ADCROTA", "ADCROTB", "ADCERRA", "ADCERRB", *AIR]),
        st.floats(-1, 1),
    ),
    st.lists(st.tuples(st.floats(0.5, 3), st.floats(0, 1), st.floats(-5, 5)), max_size=4),
)
def test_anything_in_range_gives_finite_numbers(parts: dict[str, float], curve: list[tuple[float, ...]]) -> None:
    """What a frame carries has to travel: the wire refuses NaN and infinity."""
    table = load_keys("")
    values: dict[str, Any] = {"ADCPOS": "IN", "IMGDISRW": 1.6}
    for keyword, part in parts.items():
        about = table.named(keyword)[0].about
        assert about.low is not None
        assert about.high is not None
        values[keyword] = about.low + (about.high - about.low) * (part + 1) / 2
    values |= {name: [one[i] for one in curve] for i, name in enumerate(("IMGDISWV", "IMGDISWT", "IMGDISVL"))}
    rows = [row(keyword, value) for keyword, value in values.items()]
    made = dispersion_of(MidExposure(rows), H, SETTINGS.adc, SETTINGS.filters, 30.0)
    if made is not None:
        lists = [one if isinstance(one, list) else [one] for one in msgspec.to_builtins(made.residual).values()]
        assert np.isfinite([one for each in lists for one in each if isinstance(one, float)]).all()


def test_without_filter_or_zenith_nothing_is_said() -> None:
    for values, setup in ((SKY, {}), ({"IMGDISOR": 30.0}, H), (SKY, {"FILTER": "moon"})):
        rows = [row(keyword, value) for keyword, value in values.items()]
        assert dispersion_of(MidExposure(rows), setup, SETTINGS.adc, SETTINGS.filters, 30.0) is None
    assert found(SKY | {"FILTER": "br-gamma"}, {}).residual.reference_um == pytest.approx(2.166)


def test_a_curve_that_is_no_curve_is_refused() -> None:
    with pytest.raises(Exception, match="one value for each wavelength"):
        settings_with(adc={"curve_um": [1.0, 2.0], "curve_mas": [1.0]})
