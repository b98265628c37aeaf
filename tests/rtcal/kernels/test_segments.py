"""The kernels of a ramp against slow float64 oracles; they run compiled and, in `make test`, as plain Python too."""

import numpy as np
import pytest

from rtcal.bands import Bands
from rtcal.estimator import Timeline, ends_of
from rtcal.kernels import segments
from rtcal.steps import (
    BorderTerms,
    ExposureSums,
    JumpTest,
    Limits,
    RampPlanes,
    add_end,
    add_read,
    close_ramp,
    mark_limits,
    preview,
    start_ramp,
)
from streams.dq import Dq
from tests.rtcal.kernels.oracle import pixel_rate

SHAPE = (5, 300)  # a row of one whole block and a part of one
GAIN = 2.0
TEST = JumpTest(read_noise_dn=4.5, gain_e_per_dn=GAIN, threshold_sigma=5.0)


@pytest.fixture
def bands():
    with Bands(1) as pool:
        yield pool


def random_ramp(seed, n=9, dtype="<u2", shape=SHAPE):
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0, 800, shape)
    return np.cumsum(rng.poisson(rate, (n, *shape)), axis=0).astype(dtype) + np.asarray(4000, dtype)


def run(cube, times_s, ceiling_dn, bands, ends=None, test=None, floor_dn=-np.inf):
    planes, sums = RampPlanes.allocate(cube.shape[1:], cube.dtype), ExposureSums.allocate(cube.shape[1:])
    timeline, terms = Timeline(), BorderTerms.none(cube.shape[1:])
    start_ramp(planes, cube[0], bands, ends=ends is not None)
    for index, (read, time_s) in enumerate(zip(cube, times_s, strict=True)):
        timeline.append(time_s)
        mark_limits(planes, sums, read, Limits(ceiling_dn, floor_dn), index, index, bands)
        add_read(planes, sums, read, terms, timeline, test, bands)
        if ends is not None and ends[0][index]:
            add_end(planes, planes.head, index, bands)
        if ends is not None and ends[1][index]:
            add_end(planes, planes.tail, index, bands)
    shown = preview(planes, timeline, GAIN, cube[-1], np.zeros(cube.shape[1:], "u4"), 1, bands)
    close_ramp(planes, sums, timeline, None if ends is None else ends_of(times_s, *ends), GAIN, test, bands)
    return planes, sums, shown


def rates(sums):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums.w_sum > 0, sums.w_rate / sums.w_sum, np.nan)


def grown_valid(cube, ceiling_dn):
    """The number of reads before the first at which a pixel or one of its neighbours is above the ceiling."""
    n, ny, nx = cube.shape
    above = np.zeros((n, ny + 2, nx + 2), bool)
    for dy in range(3):
        for dx in range(3):
            above[:, dy : dy + ny, dx : dx + nx] |= cube > ceiling_dn
    above = above[:, 1:-1, 1:-1]
    return np.where(above.any(axis=0), above.argmax(axis=0), n)


def polyfit_rate(cube, times_s, valid):
    """A straight line through the first `valid` reads of each pixel, float64."""
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
    ceiling_dn = 9800.0
    valid = grown_valid(cube, ceiling_dn)
    assert 0.1 < (valid < len(cube)).mean() < 1
    _, sums, shown = run(cube, times_s, ceiling_dn, bands)
    expected = polyfit_rate(cube, times_s, valid)
    np.testing.assert_allclose(rates(sums), expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(shown[1], expected, rtol=1e-4, atol=1e-2)


def test_a_pixel_stays_saturated_when_its_level_falls_again_and_takes_its_neighbours_with_it(bands):
    cube = np.full((4, *SHAPE), 1000, "<u2")
    cube[2, 2, 255] = 50_000
    planes, sums, _ = run(cube, np.arange(4.0), 40_000.0, bands)
    spilled = np.zeros(SHAPE, bool)
    spilled[1:4, 254:257] = True
    spilled[2, 255] = False
    cut = np.where(planes.slow.repeat(segments.BLOCK, axis=1)[:, :300] > 0, planes.first_bad < 4, False)
    own = np.zeros(SHAPE, bool)
    own[2, 255] = True
    np.testing.assert_array_equal(cut, spilled | own)
    np.testing.assert_array_equal(sums.marks & segments.SPILLED != 0, spilled)
    np.testing.assert_array_equal(sums.saturated_from == 2, own)
    assert (sums.saturated_from[~own] == segments.NEVER).all()
    assert sums.w_sum[2, 255] == sums.w_sum[1, 254] == 0.5
    assert sums.w_sum[0, 0] == 5.0


def test_fewer_than_two_valid_reads_give_no_weight(bands):
    cube = np.full((4, 9, 9), 1000, "<u2")
    cube[0, 1, 1] = 50_000
    cube[1:, 7, 7] = 50_000
    _, sums, _ = run(cube, np.arange(4.0), 40_000.0, bands)
    assert (sums.w_sum[:3, :3] == 0).all()
    assert (sums.w_sum[6:, 6:] == 0).all()
    assert (sums.w_rate == 0).all()
    assert sums.w_sum[4, 4] == 5.0


@pytest.mark.parametrize(("near_reads", "far_reads"), [(1, 1), (3, 3), (3, 2)])
def test_ends_are_the_difference_of_means_and_saturated_pixels_fall_back_to_the_slope(near_reads, far_reads, bands):
    cube = random_ramp(3)
    times_s = np.arange(len(cube)) * 0.72
    index = np.arange(len(cube))
    near, far = index < near_reads, index >= len(cube) - far_reads
    ceiling_dn = 10_500.0
    valid = grown_valid(cube, ceiling_dn)
    assert 0.1 < (valid < len(cube)).mean() < 1
    _, sums, _ = run(cube, times_s, ceiling_dn, bands, ends=(near, far))
    length = times_s[far].mean() - times_s[near].mean()
    oracle = (cube[far].astype(float).mean(axis=0) - cube[near].astype(float).mean(axis=0)) / length * GAIN
    oracle = np.where(valid < len(cube), polyfit_rate(cube, times_s, valid), oracle)
    np.testing.assert_allclose(rates(sums), oracle, rtol=1e-4, atol=1e-2)


def test_a_long_ramp_on_a_high_pedestal_keeps_its_precision(bands):
    """200 reads at 50 kDN: the float32 sums stay within a hundredth of the read noise of a slope."""
    rng = np.random.default_rng(4)
    n, shape = 200, (2, 260)
    cube = (50_000 + rng.normal(0, 3, (n, *shape)) + np.arange(n)[:, None, None] * 2).astype("<u2")
    times_s = (np.arange(n) - n / 2) * 0.72
    _, sums, _ = run(cube, times_s, 65_000.0, bands)
    oracle = polyfit_rate(cube, times_s, np.full(shape, n))
    sigma = 9.0 / np.sqrt(sums.w_sum[0, 0])
    assert np.abs(rates(sums) - oracle).max() < 0.01 * sigma


@pytest.mark.parametrize("n", [2, 3, 4, 5, 12])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_jumps_and_bad_reads_are_those_of_the_oracle(n, seed, bands):
    """Hits of all sizes, both ways, several in a ramp, bad reads, saturation: mark by mark, rate by rate."""
    rng = np.random.default_rng(seed)
    shape = (6, 300)
    times_s = np.cumsum(rng.uniform(0.5, 1.0, n))
    cube = 1000 + rng.uniform(0, 60, shape) * times_s[:, None, None] + rng.normal(0, 4.5, (n, *shape))
    for _ in range(2):
        hit = rng.random(shape) < 0.2
        cube += np.where(hit, rng.choice([-900, 60, 90, 400, 5000], shape), 0) * (
            np.arange(n)[:, None, None] >= rng.integers(1, n + 1, shape)
        )
    blip = np.arange(n)[:, None, None] == rng.integers(0, n + 30, shape)
    cube = (cube + np.where(blip, 700, 0)).astype("<f4")
    ceiling_dn = 6500.0
    valid = grown_valid(cube, ceiling_dn)
    _, sums, _ = run(cube, times_s, ceiling_dn, bands, test=TEST)
    expected, jumped = np.full(shape, np.nan), np.zeros(shape, bool)
    for y, x in np.ndindex(shape):
        signal = cube[:, y, x].astype(float) - cube[0, y, x]
        expected[y, x], jumped[y, x] = pixel_rate(signal, times_s, int(valid[y, x]), TEST)
    found = sums.marks & segments.JUMP != 0
    agree = (found == jumped) & (np.isnan(rates(sums)) == np.isnan(expected))
    assert agree.mean() > 0.998  # a step within rounding of the threshold may fall either side
    if n > 3:
        assert jumped.mean() > 0.1
    close = np.isclose(rates(sums), expected * GAIN, rtol=2e-3, atol=0.1, equal_nan=True)
    assert close[agree].mean() > 0.998


def test_the_floor_of_the_converter_is_marked(bands):
    cube = np.full((3, *SHAPE), 10, "<u2")
    cube[1, 2, 3] = 0
    _, sums, _ = run(cube, np.arange(3.0), 60_000.0, bands, floor_dn=0.0)
    assert sums.marks[2, 3] == segments.FLOOR
    assert np.count_nonzero(sums.marks) == 1
    assert Dq.AD_FLOOR == 64


def test_preview_is_the_mean_slope_of_the_good_pixels_of_a_bin(bands):
    cube = random_ramp(5)
    times_s = np.arange(len(cube)) * 0.72
    ceiling_dn = 10_500.0
    valid = grown_valid(cube, ceiling_dn)
    planes, sums = RampPlanes.allocate(SHAPE, cube.dtype), ExposureSums.allocate(SHAPE)
    timeline = Timeline()
    start_ramp(planes, cube[0], bands, ends=False)
    for index, read in enumerate(cube):
        timeline.append(times_s[index])
        mark_limits(planes, sums, read, Limits(ceiling_dn), index, index, bands)
        add_read(planes, sums, read, BorderTerms.none(SHAPE), timeline, None, bands)
    dq = np.zeros(SHAPE, "u4")
    dq[0, :7] = 1
    dq[0:4, 40:44] = 1
    dq[3, 3] = 2
    raw, rate = preview(planes, timeline, GAIN, cube[-1], dq, 4, bands)
    slopes = np.where((dq & 1) | (valid < 2), np.nan, polyfit_rate(cube, times_s, valid))
    bins = slopes[:4, :300].reshape(1, 4, 75, 4).transpose(0, 2, 1, 3).reshape(1, 75, 16)
    assert np.isnan(rate[0, 10])
    good = np.isfinite(bins[0]).any(axis=1)
    assert good.sum() > 60
    np.testing.assert_array_equal(np.isnan(rate[0]), ~good)
    np.testing.assert_allclose(rate[0, good], np.nanmean(bins[0, good], axis=1), rtol=1e-4)
    whole = cube[-1, :4, :300].astype(float).reshape(1, 4, 75, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(raw, whole, rtol=1e-6)


def test_preview_before_the_second_read_has_no_rate(bands):
    cube = random_ramp(6)[:1]
    _, _, (raw, rate) = run(cube, np.zeros(1), 60_000.0, bands)
    assert np.isnan(rate).all()
    np.testing.assert_array_equal(raw, cube[0])
