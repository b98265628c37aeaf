"""Scaled sky and merged flags."""

import numpy as np
import pytest
from msgspec.structs import replace

from rtcal.calibration import Calibration, clipped_median
from rtcal.steps import ExposureSums
from streams.dq import Dq
from tests.fakes import FixedReferences, badpix_reference, dark_reference, flat_reference, sky_reference

SHAPE = (1000, 1000)


def sums_of(rate):
    sums = ExposureSums.allocate(rate.shape)
    sums.w_sum.fill(2.0)
    sums.w_rate[:] = 2.0 * rate
    return sums


def references(**given):
    return FixedReferences(**given).select({}, SHAPE, "utr", 0)


def sky_of(calibration, scaled):
    (entry,) = (one for one in calibration.provenance(scaled) if one.reftype == "sky")
    return entry


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(3)
    sky = np.full(SHAPE, 25.0)
    rate = 1.07 * sky + 4.0 + rng.normal(0, 5.0, SHAPE)
    rate[100:140, 100:140] += 3000  # a source
    return rate, sky


def test_a_sky_scale_of_1_07_is_found_to_0_2_per_cent(scene, calibration_settings):
    rate, sky = scene
    dark = dark_reference(np.full(SHAPE, 4.0), np.zeros(SHAPE))
    calibration = Calibration.build(references(dark=dark, sky=sky_reference(sky, np.zeros(SHAPE))), SHAPE, 4)
    scaled = calibration.sky(sums_of(rate), calibration_settings)
    assert scaled.problem == ""
    assert scaled.part.scale == pytest.approx(1.07, rel=0.002)
    assert 0 < scaled.part.scale_err < 0.002
    assert abs(scaled.part.scale - 1.07) < 5 * scaled.part.scale_err
    assert sky_of(calibration, scaled).status == "OK"


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_a_scale_outside_the_limits_is_1_and_a_mismatch(scene, calibration_settings, factor):
    rate, sky = scene
    calibration = Calibration.build(references(sky=sky_reference(sky * factor, np.zeros(SHAPE))), SHAPE, 4)
    scaled = calibration.sky(sums_of(rate), calibration_settings)
    assert scaled.part.scale == 1.0
    sky_entry = sky_of(calibration, scaled)
    assert sky_entry.status == "MISMATCH"
    assert "outside 0.5 to 2" in sky_entry.note


def test_fixed_and_off(scene, calibration_settings):
    rate, sky = scene
    calibration = Calibration.build(references(sky=sky_reference(sky, np.zeros(SHAPE))), SHAPE, 4)
    assert calibration.sky(sums_of(rate), replace(calibration_settings, sky="off")) is None
    fixed = calibration.sky(sums_of(rate), replace(calibration_settings, sky="fixed"))
    spectral = calibration.sky(sums_of(rate), calibration_settings, spectral=True)
    for unscaled in (fixed, spectral):
        assert (unscaled.part.scale, unscaled.part.scale_err, unscaled.problem) == (1.0, 0.0, "")


def test_no_sky_level_is_said(scene, calibration_settings):
    rate, sky = scene
    calibration = Calibration.build(references(sky=sky_reference(sky * 0, np.zeros(SHAPE))), SHAPE, 4)
    assert "no sky level" in calibration.sky(sums_of(rate), calibration_settings).problem


def test_flags_of_all_references_and_the_border_are_merged_and_kept_for_the_same_references():
    shape = (20, 30)
    dqs = [np.zeros(shape, "u4") for _ in range(4)]
    for dq, (y, bit) in zip(
        dqs, ((5, Dq.HOT), (6, Dq.WARM), (7, Dq.OTHER_BAD_PIXEL), (8, Dq.UNRELIABLE_FLAT)), strict=True
    ):
        dq[y, y] = bit
    one = np.ones(shape)
    given = FixedReferences(
        badpix=badpix_reference(dqs[0]),
        dark=dark_reference(one, one, dqs[1]),
        sky=sky_reference(one, one, dqs[2]),
        flat=flat_reference(one, one, dqs[3]),
    )
    made = Calibration.build(given.select({}, shape, "utr", 0), shape, 4)
    assert [int(made.static_dq[y, y]) for y in (5, 6, 7, 8)] == [
        Dq.HOT,
        Dq.WARM,
        Dq.OTHER_BAD_PIXEL,
        Dq.UNRELIABLE_FLAT,
    ]
    assert made.static_dq[0, 0] == Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE
    again = Calibration.build(given.select({}, shape, "utr", 1), shape, 4, made)
    assert again.static_dq is made.static_dq
    other = Calibration.build(FixedReferences().select({}, shape, "utr", 1), shape, 4, made)
    assert other.static_dq[5, 5] == 0


def test_clipped_median_ignores_sources_and_knows_its_error():
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(10, 2, 100_000), np.full(10_000, 500.0), [np.nan, np.inf]])
    level, error = clipped_median(values)
    assert level == pytest.approx(10, abs=0.05)
    assert error == pytest.approx(1.2533 * 2 / np.sqrt(100_000), rel=0.05)
    assert np.isnan(clipped_median(np.array([np.nan]))).all()
    assert clipped_median(np.full(9, 3.0)) == (3.0, 0.0)
