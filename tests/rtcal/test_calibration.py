"""Scaled sky and merged flags."""

import numpy as np
import pytest
from msgspec.structs import replace

from rtcal.calibration import NO_BIAS, Calibration, Limits
from rtcal.config import Detector
from streams.dq import Dq
from tests.fakes import (
    FixedReferences,
    badpix_reference,
    bias_reference,
    dark_reference,
    flat_reference,
    gain_reference,
    linearity_reference,
    read_noise_reference,
    saturation_reference,
    sky_reference,
)

SHAPE = (1000, 1000)


EVERY = slice(None)


def rate_less_dark(rate, calibration):
    return (rate - calibration.dark().rate).astype("f4")


def references(**given):
    return FixedReferences(**given).select({}, SHAPE, "utr", 0)


def sky_of(calibration, scaled):
    (entry,) = (one for one in calibration.provenance(sky=scaled) if one.reftype == "sky")
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
    scaled = calibration.sky(rate_less_dark(rate, calibration), EVERY, calibration_settings)
    assert scaled.problem == ""
    assert scaled.part.scale == pytest.approx(1.07, rel=0.002)
    assert 0 < scaled.part.scale_err < 0.002
    assert abs(scaled.part.scale - 1.07) < 5 * scaled.part.scale_err
    assert sky_of(calibration, scaled).status == "OK"


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_a_scale_outside_the_limits_is_1_and_a_mismatch(scene, calibration_settings, factor):
    rate, sky = scene
    calibration = Calibration.build(references(sky=sky_reference(sky * factor, np.zeros(SHAPE))), SHAPE, 4)
    scaled = calibration.sky(rate_less_dark(rate, calibration), EVERY, calibration_settings)
    assert scaled.part.scale == 1.0
    sky_entry = sky_of(calibration, scaled)
    assert sky_entry.status == "MISMATCH"
    assert "outside 0.5 to 2" in sky_entry.note


def test_fixed_and_off(scene, calibration_settings):
    rate, sky = scene
    calibration = Calibration.build(references(sky=sky_reference(sky, np.zeros(SHAPE))), SHAPE, 4)
    assert calibration.sky(rate_less_dark(rate, calibration), EVERY, replace(calibration_settings, sky="off")) is None
    fixed = calibration.sky(rate_less_dark(rate, calibration), EVERY, replace(calibration_settings, sky="fixed"))
    spectral = calibration.sky(rate_less_dark(rate, calibration), EVERY, calibration_settings, spectral=True)
    for unscaled in (fixed, spectral):
        assert (unscaled.part.scale, unscaled.part.scale_err, unscaled.problem) == (1.0, 0.0, "")


def test_no_sky_level_is_said(scene, calibration_settings):
    rate, sky = scene
    calibration = Calibration.build(references(sky=sky_reference(sky * 0, np.zeros(SHAPE))), SHAPE, 4)
    assert "no sky level" in calibration.sky(rate_less_dark(rate, calibration), EVERY, calibration_settings).problem


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


DETECTOR = Detector(gain_e_per_dn=2.0, read_noise_e=9.0, saturation_dn=60_000.0, reference_border=0, channels=0)
SMALL = (4, 300)


def linearity(valid_dn=np.inf):
    coefficients = np.zeros((SMALL[0], 3, SMALL[1]), "f4")
    coefficients[:, 1], coefficients[:, 2] = 1.0, 1e-6
    return linearity_reference(coefficients, valid_dn)


def small(**given):
    return Calibration.build(FixedReferences(**given).select({}, SMALL, "utr", 0), SMALL, 0)


def test_linearity_counts_from_the_bias_else_from_the_configured_level_else_it_is_not_applied():
    bias = np.full(SMALL, 950.0)
    assert small().curve(DETECTOR).coefficients.shape == (1, 0, SMALL[1])
    with_bias = small(linearity=linearity(), bias=bias_reference(bias)).curve(DETECTOR)
    np.testing.assert_array_equal(with_bias.bias_dn, bias)
    assert with_bias.coefficients.shape == (4, 3, 300)
    told = small(linearity=linearity())
    level = Detector(2.0, 9.0, 60_000.0, 0, 0, reset_level_dn=1000.0)
    assert told.curve(level).bias_dn.shape == (1, 300)
    assert (told.curve(level).bias_dn == 1000).all()
    assert told.curve(DETECTOR).coefficients.shape[1] == 0
    row = {one.reftype: one for one in told.provenance(DETECTOR)}["linearity"]
    assert (row.status, row.note) == ("MISMATCH", NO_BIAS)
    assert {one.reftype: one for one in told.provenance(level)}["linearity"].status == "OK"


def test_powers_that_the_reduction_does_not_know_are_not_applied_in_part():
    level = Detector(2.0, 9.0, 60_000.0, 0, 0, reset_level_dn=1000.0)
    coefficients = np.zeros((SMALL[0], 7, SMALL[1]), "f4")
    coefficients[:, 1], coefficients[:, 6] = 1.0, 1e-24
    high = small(linearity=linearity_reference(coefficients, 20_000.0))
    assert high.curve(level).coefficients.shape[1] == 0
    assert (high.levels(Limits(40_000.0, 0.0), level, np.dtype("<u2")).ceiling_dn == 40_000).all()
    row = {one.reftype: one for one in high.provenance(level)}["linearity"]
    assert (row.status, row.note) == ("MISMATCH", "powers above 5 are not known here; not applied")
    assert small(linearity=linearity_reference(coefficients[:, :6], 2e4)).curve(level).coefficients.shape[1] == 6


def test_saturation_levels_are_those_of_the_reference_and_where_linearity_ends():
    limits = Limits(40_000.0, 0.0)
    assert (small().levels(limits, DETECTOR, np.dtype("<u2")).ceiling_dn == 40_000).all()
    level = np.full(SMALL, 50_000.5)
    level[2, 7] = 3000
    made = small(saturation=saturation_reference(level))
    found = made.levels(limits, DETECTOR, np.dtype("<u2"))
    assert found.ceiling_dn.shape == SMALL
    assert (found.ceiling_dn[2, 7], found.ceiling_dn[0, 0]) == (3000, 50_000)
    assert (found.least_dn[2, 0], found.least_dn[2, 1]) == (3000, 50_000)
    assert made.levels(limits, DETECTOR, np.dtype("<u2")) is found  # made once
    assert made.levels(limits, DETECTOR, np.dtype("<f4")).ceiling_dn[0, 0] == np.float32(50_000.5)
    bounded = small(linearity=linearity(20_000.0), bias=bias_reference(np.full(SMALL, 950.0)))
    assert (bounded.levels(limits, DETECTOR, np.dtype("<u2")).ceiling_dn == 20_950).all()


def test_gain_and_read_noise_of_references_win_and_noise_was_measured_in_dn():
    def measured(**given):
        made = FixedReferences(**given).select({}, SMALL, "utr", 0)
        detector = Calibration(made, np.zeros(SMALL, "u4"), 0, np.zeros(SMALL, "u1")).measured(DETECTOR)
        return detector.gain_e_per_dn, detector.read_noise_e

    assert measured() == (2.0, 9.0)
    assert measured(gain=gain_reference(2.5)) == (2.5, 9.0)
    assert measured(readnoise=read_noise_reference(8.0)) == (2.0, 8.0)
    assert measured(gain=gain_reference(2.5), readnoise=read_noise_reference(8.0, GAIN=2.0)) == (2.5, 10.0)
