"""Calibration kernels against the formulas of the specification, float64."""

import numpy as np

from rtcal.kernels import badpix, calibrate, segments
from streams.dq import Dq

SHAPE = (6, 40)
F32 = np.float32


def planes(seed, *lows):
    rng = np.random.default_rng(seed)
    return [rng.uniform(low, low + 5, SHAPE).astype("f4") for low in lows]


def test_rate_variance_and_flags_follow_from_the_sums():
    weight, rate, photon = planes(1, 1.0, -3.0, 0.1)
    weight[0, 0] = 0
    saturated = np.full(SHAPE, 65535, "u2")
    saturated[1, 1] = 3
    static, marks = np.zeros(SHAPE, "u4"), np.zeros(SHAPE, "u1")
    static[2, 2] = Dq.HOT
    marks[4, :3] = segments.JUMP, segments.FLOOR, segments.SPILLED
    rate[5, 5] = np.nan
    out, variance, dq = np.empty(SHAPE, "f4"), np.empty(SHAPE, "f4"), np.empty(SHAPE, "u4")
    w_rate, w_photon = weight * rate, weight**2 * photon
    calibrate.finish_rate(
        weight, w_rate, w_photon, saturated, marks, static, np.uint32(Dq.MISSING_READ), F32(81.0), out, variance, dq
    )
    good = np.ones(SHAPE, bool)
    good[0, 0] = good[5, 5] = False
    np.testing.assert_allclose(out[good], rate[good], rtol=1e-6)
    expected = 81.0 / weight.astype(float)[good] + np.maximum(rate, 0).astype(float)[good] * photon.astype(float)[good]
    np.testing.assert_allclose(variance[good], expected, rtol=1e-5)
    assert np.isnan(out[0, 0])
    assert np.isnan(variance[0, 0])
    assert dq[0, 0] == Dq.DO_NOT_USE | Dq.MISSING_READ
    assert dq[1, 1] == Dq.SATURATED | Dq.MISSING_READ
    assert dq[2, 2] == Dq.HOT | Dq.MISSING_READ
    assert dq[3, 3] == Dq.MISSING_READ
    assert [int(value) ^ Dq.MISSING_READ for value in dq[4, :3]] == [Dq.JUMP_DET, Dq.AD_FLOOR, Dq.SATURATED]
    assert dq[5, 5] & Dq.DO_NOT_USE
    assert np.isnan(variance[5, 5])


def test_constant_dark_is_subtracted_exactly_and_its_error_added():
    rate, variance = np.full(SHAPE, 12.5, "f4"), np.full(SHAPE, 4.0, "f4")
    dark, err = np.full(SHAPE, 2.25, "f4"), np.full(SHAPE, 3.0, "f4")
    calibrate.subtract(rate, variance, dark, err, F32(1), F32(0))
    assert (rate == 10.25).all()
    calibrate.root(variance)
    np.testing.assert_allclose(variance, np.sqrt(13.0), rtol=1e-6)


def test_scaled_sky_carries_the_error_of_its_scale():
    rate, variance, sky, err = planes(2, 100, 1, 50, 0.5)
    before, var_before = rate.astype(float), variance.astype(float)
    calibrate.subtract(rate, variance, sky, err, F32(1.07), F32(0.01))
    np.testing.assert_allclose(rate, before - 1.07 * sky, rtol=1e-6)
    expected = var_before + (1.07 * err.astype(float)) ** 2 + (sky.astype(float) * 0.01) ** 2
    np.testing.assert_allclose(variance, expected, rtol=1e-5)


def test_flat_divides_and_its_error_propagates():
    rate, variance, flat, err = planes(3, 100, 1, 0.5, 0.01)
    expected_rate = rate.astype(float) / flat
    expected = (variance.astype(float) + (rate.astype(float) * err / flat) ** 2) / flat.astype(float) ** 2
    calibrate.divide(rate, variance, flat, err)
    np.testing.assert_allclose(rate, expected_rate, rtol=1e-6)
    np.testing.assert_allclose(variance, expected, rtol=1e-5)


def test_repair_takes_the_median_of_the_good_neighbours_and_raises_the_error():
    rng = np.random.default_rng(4)
    rate, err = rng.normal(10, 1, SHAPE).astype("f4"), np.full(SHAPE, 1.0, "f4")
    dq = np.zeros(SHAPE, "u4")
    dq[2, 10] = dq[2, 11] = Dq.DO_NOT_USE
    dq[0, 0] = Dq.DO_NOT_USE | Dq.DEAD
    dq[5, 39] = Dq.DO_NOT_USE | Dq.REFERENCE_PIXEL
    rate[2, 10], rate[2, 11], rate[0, 0] = 1e6, np.nan, -1e6
    original = rate.copy()
    badpix.repair(rate, err, dq, 0, SHAPE[0])
    around = [original[y, x] for y in (1, 2, 3) for x in (9, 10, 11) if (y, x) not in ((2, 10), (2, 11))]
    assert rate[2, 10] == np.float32(np.median(np.array(around, "f4")))
    expected = np.sqrt(1 + np.mean((np.array(around) - rate[2, 10]) ** 2))
    np.testing.assert_allclose(err[2, 10], expected, rtol=1e-5)
    assert rate[0, 0] == np.float32(np.median([original[0, 1], original[1, 0], original[1, 1]]))
    assert rate[5, 39] == original[5, 39]
    untouched = dq == 0
    np.testing.assert_array_equal(rate[untouched], original[untouched])
    assert dq[2, 10] & Dq.DO_NOT_USE


def test_repair_looks_further_when_all_near_neighbours_are_bad_and_gives_up_beyond():
    rate, err, dq = np.full((9, 9), 5.0, "f4"), np.ones((9, 9), "f4"), np.zeros((9, 9), "u4")
    dq[3:6, 3:6] = Dq.DO_NOT_USE
    rate[dq > 0] = 99.0
    badpix.repair(rate, err, dq, 0, 9)
    assert (rate == 5.0).all()
    dq[2:7, 2:7] = Dq.DO_NOT_USE
    badpix.repair(rate, err, dq, 0, 9)
    assert np.isnan(rate[4, 4])
    assert np.isnan(err[4, 4])
    assert rate[3, 3] == 5.0


def test_repair_in_bands_is_repair_of_the_whole():
    rng = np.random.default_rng(5)
    shape = (40, 30)
    rate, err = rng.normal(10, 1, shape).astype("f4"), np.ones(shape, "f4")
    dq = (rng.random(shape) < 0.3).astype("u4")
    whole, parts = rate.copy(), rate.copy()
    badpix.repair(whole, err.copy(), dq, 0, shape[0])
    for start in (32, 8, 24, 0, 16):
        badpix.repair(parts, err, dq, start, min(start + 8, shape[0]))
    np.testing.assert_array_equal(whole, parts)


def test_blank_and_unreliable_flags():
    rate, err, dq = np.ones(SHAPE, "f4"), np.ones(SHAPE, "f4"), np.zeros(SHAPE, "u4")
    dq[1, 1] = Dq.DO_NOT_USE
    dq[2, 2] = Dq.DO_NOT_USE | Dq.REFERENCE_PIXEL
    err[3, 3] = 11
    badpix.blank(rate, err, dq)
    badpix.flag_unreliable(err, dq, F32(10))
    assert np.isnan(rate[1, 1])
    assert np.isnan(rate).sum() == 1
    assert dq[3, 3] == Dq.UNRELIABLE_SLOPE
    assert (dq != 0).sum() == 3
