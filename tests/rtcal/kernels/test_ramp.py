"""Kernels of the ramp against slow float64 oracles; they run compiled and, in `make test`, as plain Python too."""

import numpy as np
import pytest

from rtcal.bands import Bands
from rtcal.estimator import end_factors, slope_tables
from rtcal.kernels import ramp
from rtcal.steps import ExposureSums, RampPlanes, add_end, add_read, close_ramp, preview, start_ramp

SHAPE = (5, 300)  # a row of one whole block and a part of one
GAIN = 2.0


@pytest.fixture
def bands():
    with Bands(1) as pool:
        yield pool


def random_ramp(seed, n=9, dtype="<u2", shape=SHAPE):
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0, 800, shape)
    return np.cumsum(rng.poisson(rate, (n, *shape)), axis=0).astype(dtype) + np.asarray(4000, dtype)


def run(cube, times_s, ceiling_dn, bands, ends=None):
    planes, sums = RampPlanes.allocate(cube.shape[1:], cube.dtype), ExposureSums.allocate(cube.shape[1:])
    start_ramp(planes, cube[0], bands, ends=ends is not None)
    for index, (read, time_s) in enumerate(zip(cube, times_s, strict=True)):
        add_read(planes, read, time_s, ceiling_dn, index, bands)
        if ends is not None:
            near, far = ends
            if near[index]:
                add_end(planes.head, planes.first, read, bands)
            if far[index]:
                add_end(planes.tail, planes.first, read, bands)
    tables = slope_tables(times_s, GAIN)
    factors = None if ends is None else end_factors(times_s, *ends, GAIN)
    close_ramp(planes, tables, factors, sums, bands)
    return planes, sums, tables


def polyfit_rate(cube, times_s, valid):
    """The oracle: a straight line through the first `valid` reads of each pixel, float64."""
    rate = np.full(cube.shape[1:], np.nan)
    for y, x in np.ndindex(rate.shape):
        n = valid[y, x]
        if n >= 2:
            rate[y, x] = np.polyfit(times_s[:n], cube[:n, y, x].astype(float), 1)[0] * GAIN
    return rate


@pytest.mark.parametrize("dtype", ["<u2", "<f4"])
@pytest.mark.parametrize("seed", [1, 2])
def test_slope_is_the_straight_line_fit_for_uneven_times_and_saturated_pixels(seed, dtype, bands):
    rng = np.random.default_rng(seed)
    cube = random_ramp(seed, dtype=dtype)
    times_s = np.sort(rng.uniform(0, 20, len(cube)))
    ceiling_dn = 7000.0
    above = cube > ceiling_dn
    valid = np.where(above.any(axis=0), above.argmax(axis=0), len(cube))
    planes, sums, _ = run(cube, times_s, ceiling_dn, bands)
    assert 0 < (valid < len(cube)).mean() < 1
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = sums.w_rate / sums.w_sum
    np.testing.assert_allclose(rate, polyfit_rate(cube, times_s, valid), rtol=1e-4, atol=1e-3)
    assert (planes.gone.any(axis=1) == (valid < len(cube)).any(axis=1)).all()


def test_a_pixel_stays_saturated_when_its_level_falls_again(bands):
    cube = np.full((4, *SHAPE), 1000, "<u2")
    cube[2, 0, 0] = 50_000
    planes, sums, _ = run(cube, np.arange(4.0), 40_000.0, bands)
    assert planes.first_bad[0, 0] == 2
    assert planes.first_bad[0, 1] == ramp.NEVER
    weights = slope_tables(np.arange(4.0), GAIN).weight
    assert sums.w_sum[0, 0] == weights[2]
    assert sums.w_sum[0, 1] == weights[4]


def test_fewer_than_two_valid_reads_give_no_weight(bands):
    cube = np.full((4, *SHAPE), 1000, "<u2")
    cube[0, 1, 1] = 50_000
    cube[1:, 2, 2] = 50_000
    _, sums, _ = run(cube, np.arange(4.0), 40_000.0, bands)
    assert sums.w_sum[1, 1] == 0
    assert sums.w_sum[2, 2] == 0
    assert sums.w_rate[1, 1] == 0


@pytest.mark.parametrize(("near_reads", "far_reads"), [(1, 1), (3, 3), (3, 2)])
def test_ends_are_the_difference_of_means_and_saturated_pixels_fall_back_to_the_slope(near_reads, far_reads, bands):
    cube = random_ramp(3)
    times_s = np.arange(len(cube)) * 0.72
    index = np.arange(len(cube))
    near, far = index < near_reads, index >= len(cube) - far_reads
    ceiling_dn = 8500.0
    above = cube > ceiling_dn
    valid = np.where(above.any(axis=0), above.argmax(axis=0), len(cube))
    _, sums, _ = run(cube, times_s, ceiling_dn, bands, ends=(near, far))
    length = times_s[far].mean() - times_s[near].mean()
    oracle = (cube[far].astype(float).mean(axis=0) - cube[near].astype(float).mean(axis=0)) / length * GAIN
    oracle = np.where(valid < len(cube), polyfit_rate(cube, times_s, valid), oracle)
    np.testing.assert_allclose(sums.w_rate / sums.w_sum, oracle, rtol=1e-4, atol=1e-3)


def test_a_long_ramp_on_a_high_pedestal_keeps_its_precision(bands):
    """200 reads at 50 kDN: the float32 sums stay within a hundredth of the read noise of a slope."""
    rng = np.random.default_rng(4)
    n, shape = 200, (2, 260)
    cube = (50_000 + rng.normal(0, 3, (n, *shape)) + np.arange(n)[:, None, None] * 2).astype("<u2")
    times_s = (np.arange(n) - n / 2) * 0.72
    _, sums, _ = run(cube, times_s, 65_000.0, bands)
    oracle = polyfit_rate(cube, times_s, np.full(shape, n))
    sigma = 9.0 / np.sqrt(slope_tables(times_s, GAIN).weight[n])
    assert np.abs(sums.w_rate / sums.w_sum - oracle).max() < 0.01 * sigma


def test_earliest_saturation_over_ramps_is_kept(bands):
    cube = np.full((4, *SHAPE), 1000, "<u2")
    cube[3, 0, 5] = cube[2:, 1, 299] = 50_000
    planes, sums, _ = run(cube, np.arange(4.0), 40_000.0, bands)
    ramp.note_saturation(planes.first_bad, planes.gone, np.array([0, 1, 2, 5], "u2"), sums.saturated_from)
    ramp.note_saturation(planes.first_bad, planes.gone, np.array([0, 1, 3, 4], "u2"), sums.saturated_from)
    assert sums.saturated_from[0, 5] == 4
    assert sums.saturated_from[1, 299] == 2
    assert (sums.saturated_from != ramp.NEVER).sum() == 2


def test_preview_is_the_mean_slope_of_the_good_pixels_of_a_bin(bands):
    cube = random_ramp(5)
    times_s = np.arange(len(cube)) * 0.72
    ceiling_dn = 8000.0
    above = cube > ceiling_dn
    valid = np.where(above.any(axis=0), above.argmax(axis=0), len(cube))
    planes, _, tables = run(cube, times_s, ceiling_dn, bands)
    dq = np.zeros(SHAPE, "u4")
    dq[0, :7] = 1
    dq[0:4, 40:44] = 1
    dq[3, 3] = 2
    raw, rate = preview(planes, tables, cube[-1], dq, 4, bands)
    slopes = np.where((dq & 1) | (valid < 2), np.nan, polyfit_rate(cube, times_s, valid))
    bins = slopes[:4, :300].reshape(1, 4, 75, 4).transpose(0, 2, 1, 3).reshape(1, 75, 16)
    assert np.isnan(rate[0, 10])
    good = np.arange(75) != 10
    np.testing.assert_allclose(rate[0, good], np.nanmean(bins[0, good], axis=1), rtol=1e-4)
    whole = cube[-1, :4, :300].astype(float).reshape(1, 4, 75, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(raw, whole, rtol=1e-6)


def test_preview_before_the_second_read_has_no_rate(bands):
    cube = random_ramp(6)[:1]
    planes = RampPlanes.allocate(SHAPE, cube.dtype)
    start_ramp(planes, cube[0], bands, ends=False)
    raw, rate = preview(planes, slope_tables(np.zeros(1), GAIN), cube[0], np.zeros(SHAPE, "u4"), 1, bands)
    assert np.isnan(rate).all()
    np.testing.assert_array_equal(raw, cube[0])
