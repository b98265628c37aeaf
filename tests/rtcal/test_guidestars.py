"""Guide stars against dispersion: shapes drawn as clouds of light, measured by their moments."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from rtcal.dispersion import dispersion_of
from rtcal.guidestars import with_guide_stars
from rtcal.midexposure import MidExposure
from streams.messages import AdcResidual, GuideStars, TelemetryRow
from streams.simulator.faults import Fault
from streams.simulator.night import Night
from streams.telemetry_keys import load_keys
from tests.rigs import settings_with
from tests.simulated import simulated

SETTINGS = settings_with().adc
FWHM = 2.354820045


def residual(x: list[float] | None = None, y: list[float] | None = None) -> AdcResidual:
    known = [1.0] * len(x or [])
    made = AdcResidual(status="OK", atmosphere="TCS", air="OK", wavelength_um=known, weight=known)
    return replace(made, x_mas=x or [], y_mas=y or [])


def middle(size1: Any, size2: Any, rot: Any, status: Any = "OK") -> MidExposure:
    values = {"ODGWIMS1": size1, "ODGWIMS2": size2, "ODGWIMRT": rot}
    rows = [TelemetryRow(key="X", param=key, fits=key, value=value, status=status) for key, value in values.items()]
    return MidExposure(rows)


def measured(*given: Any, left: AdcResidual | None = None) -> tuple[GuideStars, list[str]]:
    made, notes = with_guide_stars(left or residual(), middle(*given), SETTINGS, 4.0)
    assert made.guides is not None
    return made.guides, notes


def axes_of(points: np.ndarray) -> tuple[float, float, float]:
    """Return the larger and the smaller sigma of a cloud (point, 2), and the direction of the larger [deg]."""
    variances, axes = np.linalg.eigh(np.cov(points.T, bias=True))
    return *np.sqrt(variances[::-1]), float((np.degrees(np.arctan2(axes[1, 1], axes[0, 1])) + 90) % 180 - 90)


@pytest.mark.parametrize(("first", "second", "angle"), [(2.0, 1.0, 30.0), (1.0, 2.0, -60.0), (2.0, 1.0, 210.0)])
def test_one_ellipse_however_its_axes_are_called(first: float, second: float, angle: float) -> None:
    guides, notes = measured([first], [second], [angle])
    assert guides.fwhm_mas == pytest.approx(FWHM * 4 * np.sqrt(2.0))
    assert guides.elongation_mas == pytest.approx(FWHM * 4 * np.sqrt(3.0))
    assert guides.axis_deg == pytest.approx(30.0)
    assert guides.unexplained_mas is None
    assert notes == []


def test_windows_are_averaged_and_those_that_are_not_in_use_do_not_count() -> None:
    random = np.random.default_rng(5)
    shapes = [(1.5, 1.0, 20.0), (0.0, 0.0, 0.0), (1.1, 1.3, 80.0), (2.0, 0.5, -35.0)]
    clouds = []
    for first, second, angle in shapes:
        turn = np.radians(angle)
        light = random.standard_normal((400_000, 2)) * (first, second)
        clouds.append(light @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]))
    major, minor, axis = axes_of(4.0 * np.concatenate([clouds[0], *clouds[2:]]))
    guides, _ = measured(*map(list, zip(*shapes, strict=True)))
    assert guides.fwhm_mas == pytest.approx(FWHM * np.sqrt(major * minor), rel=2e-3)
    assert guides.elongation_mas == pytest.approx(FWHM * np.sqrt(major**2 - minor**2), rel=5e-3)
    assert guides.axis_deg == pytest.approx(axis, abs=0.5)


def test_dispersion_explains_what_it_predicts_and_no_more() -> None:
    x, y = np.array([-6.0, -2.0, 1.0, 7.0]), np.array([3.0, 1.0, -0.5, -3.5])
    left = residual(x.tolist(), y.tolist())
    core = 5.0
    smeared = core**2 * np.eye(2) + np.cov([x, y], bias=True)
    variances, axes = np.linalg.eigh(smeared)
    shape = np.sqrt(variances[::-1]) / 4, np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
    guides, notes = measured([shape[0][0]], [shape[0][1]], [shape[1]], left=left)
    assert guides.elongation_mas == pytest.approx(FWHM * np.sqrt(np.var(x) + np.var(y)), rel=1e-9)
    assert guides.unexplained_mas == pytest.approx(0.0, abs=1e-5)
    assert notes == []


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (([2.0], [1.25], [0.0]), "elongated by 14.7 mas at 0 deg, dispersion predicts 0.0 mas"),
        (([1.25], [1.25], [0.0]), ""),
    ],
)
def test_what_dispersion_does_not_explain_is_said(shape: Any, words: str) -> None:
    guides, notes = measured(*shape, left=residual([0.01, -0.01], [0.0, 0.0]))
    assert len(notes) == bool(words)
    assert words in "".join(notes)
    assert guides.unexplained_mas == pytest.approx(guides.elongation_mas, abs=0.1)


def test_round_stars_where_dispersion_predicts_long_ones_are_said_too() -> None:
    guides, notes = measured([1.25], [1.25], [0.0], left=residual([-6.0, 6.0], [0.0, 0.0]))
    assert guides.unexplained_mas == pytest.approx(FWHM * 6)
    assert "elongated by 0.0 mas" in notes[0]
    assert "dispersion predicts 14.1 mas at 0 deg" in notes[0]


@pytest.mark.parametrize(
    ("values", "status"),
    [(([0.0], [0.0], [0.0]), "OK"), (([1.0], [1.0], [0.0]), "STALE"), (([1.0], [1.0], []), "OK")],
)
def test_without_a_window_in_use_and_in_time_nothing_is_said(values: Any, status: str) -> None:
    left = residual([1.0, 2.0], [0.0, 0.0])
    assert with_guide_stars(left, middle(*values, status), SETTINGS, 4.0) == (left, [])


EVENTS = {  # when each is published; the telescope announces dispersion two seconds ahead
    "TCS.pk.currentPosition": 3000.0,
    "TCS.cmIRIS.imgAtmDispersion": 2998.0,
    "IRIS.imager.adc.PRISM_current": 3000.0,
    "IRIS.imager.adc.RETRACT_position": 3000.0,
    "NFIRAOS.rtc.odgwImage": 3000.0,
}


def simulated_guides(*faults: Fault) -> GuideStars:
    table, tables = load_keys(""), settings_with()
    night = Night(simulated(faults=list(faults)), table, 10**18)
    rows = []
    for event, time_s in EVENTS.items():
        values, _ = night.of(event, time_s)
        for key in table.keys[event]:
            if key.parameter in values:
                value = values[key.parameter]
                rows.append(TelemetryRow(key=event, param=key.parameter, fits=key.fits, value=value, status="OK"))
    found = dispersion_of(MidExposure(rows), {"FILTER": "H"}, tables.adc, tables.filters, 30.0)
    assert found is not None
    made, notes = with_guide_stars(found.residual, MidExposure(rows), tables.adc, 4.0)
    assert made.guides is not None
    assert notes == []
    return made.guides


def test_simulated_guide_stars_show_what_the_simulated_prisms_leave() -> None:
    usual, standing = simulated_guides(), simulated_guides(Fault("adc", 0, 4000))
    assert standing.elongation_mas > usual.elongation_mas + 2
    assert usual.unexplained_mas == pytest.approx(usual.elongation_mas, abs=0.01)  # their own
    assert standing.unexplained_mas == pytest.approx(usual.unexplained_mas, abs=0.1)
