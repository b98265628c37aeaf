"""The kernels of a ramp against slow float64 oracles; they run compiled and, in `make test`, as plain Python too."""

from dataclasses import dataclass

import numpy as np
import pytest

from rtcal import steps
from rtcal.bands import Bands
from rtcal.buffers import Buffers, allocate_state, clear
from rtcal.estimator import Timeline, ends_of, slope_of
from rtcal.kernels.planes import BLOCK, FLOOR, JUMP, NEVER, SPILLED, Curve
from rtcal.kernels.segments import step_noise
from rtcal.steps import Chain, JumpTest
from streams.dq import Dq
from tests.rtcal.kernels.oracle import TOGETHER, Pixel, pixel_rate

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


@dataclass
class Ran:
    """What a ramp has left, and what the screen saw."""

    state: object
    rate: np.ndarray
    weight: np.ndarray
    preview: tuple

    def events(self):
        """Where the bookkeeping of pixels is valid."""
        return self.state.slow.repeat(BLOCK, axis=1)[:, : self.rate.shape[1]] > 0


def run(cube, times_s, ceiling_dn, bands, ends=None, test=None, floor_dn=-np.inf, curve=None):
    """Take in a ramp, and gather it: `closed` then holds the rate of every pixel."""
    shape = cube.shape[1:]
    cube.setflags(write=False)
    buffers = Buffers(shape, cube.dtype, allocate_state(shape))
    state, timeline, samples = buffers.state, Timeline(), []
    levels = steps.levels_of(ceiling_dn, floor_dn, cube.dtype, shape[1])
    chain = Chain(levels, curve or steps.straight(shape[1]), test)
    sums = buffers.clear_ends()
    steps.open_ramp(state, bands)
    for index, (read, time_s) in enumerate(zip(cube, times_s, strict=True)):
        timeline.append(time_s)
        samples = [steps.sample(read), *samples[:2]]
        steps.add_read(state, chain, samples, cube[0], timeline, index, bands)
        for far in (False, True):
            if ends is not None and ends[far][index]:
                steps.add_end(sums, far, samples[0], cube[0], chain, bands)
    shown = state, timeline, GAIN, cube[-1], np.zeros(shape, "u1"), 1, bands
    preview = steps.make_preview(*shown)
    steps.close_ramp(state, chain, samples, cube[0], timeline, bands)
    closed = steps.make_preview(*shown, is_open=False)
    if test is None:  # which may take the last read of a pixel apart
        for one, other in zip(preview, closed, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-3)
    fitted = slope_of(timeline.times_s) if ends is None else ends_of(times_s, *ends)
    estimate = steps.estimate_of(state, None if ends is None else sums, fitted, len(cube), GAIN, gathered=True)
    steps.gather_ramp(state, estimate, GAIN, bands)
    weight = state.closed[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(weight > 0, state.closed[:, 0] / weight * GAIN, np.nan)
    return Ran(state, rate, weight, preview)


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
    ran = run(cube, times_s, ceiling_dn, bands)
    expected = polyfit_rate(cube, times_s, valid)
    np.testing.assert_allclose(ran.rate, expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(ran.preview[1], expected, rtol=1e-4, atol=1e-2)


def test_levels_of_each_pixel_are_its_own(bands):
    """The same ramp for all; what differs is from which level a pixel is saturated, or that no level is known."""
    n, shape = 8, (7, 600)
    cube = np.broadcast_to((1000 + 1000 * np.arange(n))[:, None, None], (n, *shape)).astype("<u2").copy()
    ceiling_dn = np.full(shape, 60_000, "f4")
    ceiling_dn[3, 300] = 4500.5
    ceiling_dn[0, 0] = 3000
    ceiling_dn[6, 599] = np.nan
    ran = run(cube, np.arange(float(n)), ceiling_dn, bands)
    from_read = np.full(shape, NEVER)
    from_read[3, 300], from_read[0, 0] = 4, 3
    np.testing.assert_array_equal(ran.state.saturated_from, from_read)
    spilled = np.zeros(shape, bool)
    spilled[2:5, 299:302] = spilled[:2, :2] = True
    spilled[from_read != NEVER] = False
    np.testing.assert_array_equal(ran.state.marks == SPILLED, spilled)
    np.testing.assert_allclose(ran.rate, 1000 * GAIN, rtol=1e-5)


def test_a_pixel_stays_saturated_when_its_level_falls_again_and_takes_its_neighbours_with_it(bands):
    cube = np.full((4, *SHAPE), 1000, "<u2")
    cube[2, 2, 255] = 50_000
    ran = run(cube, np.arange(4.0), 40_000.0, bands)
    spilled = np.zeros(SHAPE, bool)
    spilled[1:4, 254:257] = True
    spilled[2, 255] = False
    own = np.zeros(SHAPE, bool)
    own[2, 255] = True
    np.testing.assert_array_equal(np.where(ran.events(), ran.state.first_bad < 4, False), spilled | own)
    np.testing.assert_array_equal(ran.state.marks & SPILLED != 0, spilled)
    np.testing.assert_array_equal(ran.state.saturated_from == 2, own)
    assert (ran.state.saturated_from[~own] == NEVER).all()
    assert ran.weight[2, 255] == ran.weight[1, 254] == 0.5
    assert ran.weight[0, 0] == 5.0


@pytest.mark.parametrize("threads", [1, 2])
def test_saturation_spills_across_bands(threads, monkeypatch):
    monkeypatch.setattr("rtcal.bands.LEAST_ROWS", 1)
    monkeypatch.setattr("rtcal.bands.BAND_BYTES", 1)  # a band for each row
    n, shape = 4, (40, 300)
    rng = np.random.default_rng(2)
    cube = np.full((n, *shape), 1000, "<u2")
    cube[2:][:, rng.random(shape) < 0.01] = 50_000
    valid = grown_valid(cube, 40_000.0)
    with Bands(threads) as pool:
        whole = run(cube, np.arange(4.0), 40_000.0, pool)
    np.testing.assert_array_equal(np.where(whole.events(), whole.state.first_bad, NEVER) == 2, valid == 2)


def test_fewer_than_two_valid_reads_give_no_weight(bands):
    cube = np.full((4, 9, 9), 1000, "<u2")
    cube[0, 1, 1] = 50_000
    cube[1:, 7, 7] = 50_000
    ran = run(cube, np.arange(4.0), 40_000.0, bands)
    assert (ran.weight[:3, :3] == 0).all()
    assert (ran.weight[6:, 6:] == 0).all()
    assert (ran.state.closed[:, 0] == 0).all()
    assert ran.weight[4, 4] == 5.0


@pytest.mark.parametrize(("near_reads", "far_reads"), [(1, 1), (3, 3), (3, 2)])
def test_ends_are_the_difference_of_means_and_saturated_pixels_fall_back_to_the_slope(near_reads, far_reads, bands):
    cube = random_ramp(3)
    times_s = np.arange(len(cube)) * 0.72
    index = np.arange(len(cube))
    near, far = index < near_reads, index >= len(cube) - far_reads
    ceiling_dn = 10_500.0
    valid = grown_valid(cube, ceiling_dn)
    assert 0.1 < (valid < len(cube)).mean() < 1
    ran = run(cube, times_s, ceiling_dn, bands, ends=(near, far))
    length = times_s[far].mean() - times_s[near].mean()
    oracle = (cube[far].astype(float).mean(axis=0) - cube[near].astype(float).mean(axis=0)) / length * GAIN
    oracle = np.where(valid < len(cube), polyfit_rate(cube, times_s, valid), oracle)
    np.testing.assert_allclose(ran.rate, oracle, rtol=1e-4, atol=1e-2)


def test_a_long_ramp_on_a_high_pedestal_keeps_its_precision(bands):
    """200 reads at 50 kDN: the float32 sums stay within a hundredth of the read noise of a slope."""
    rng = np.random.default_rng(4)
    n, shape = 200, (2, 260)
    cube = (50_000 + rng.normal(0, 3, (n, *shape)) + np.arange(n)[:, None, None] * 2).astype("<u2")
    times_s = (np.arange(n) - n / 2) * 0.72
    ran = run(cube, times_s, 65_000.0, bands)
    oracle = polyfit_rate(cube, times_s, np.full(shape, n))
    sigma = 9.0 / np.sqrt(ran.weight[0, 0])
    assert np.abs(ran.rate - oracle).max() < 0.01 * sigma


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
    ran = run(cube, times_s, ceiling_dn, bands, test=TEST)
    expected, jumped = np.full(shape, np.nan), np.zeros(shape, bool)
    for y, x in np.ndindex(shape):
        signal = cube[:, y, x].astype(float) - cube[0, y, x]
        expected[y, x], jumped[y, x] = pixel_rate(signal, times_s, int(valid[y, x]), TEST)
    found = ran.state.marks & JUMP != 0
    agree = (found == jumped) & (np.isnan(ran.rate) == np.isnan(expected))
    assert agree.mean() > 0.998  # a step within rounding of the threshold may fall either side
    if n > 3:
        assert jumped.mean() > 0.1
    close = np.isclose(ran.rate, expected * GAIN, rtol=2e-3, atol=0.1, equal_nan=True)
    assert close[agree].mean() > 0.998


@pytest.mark.parametrize("k", [3, 4, 8, 30])
def test_the_noise_that_judges_a_step_is_that_of_its_weights(k):
    """The step less what the fit predicts, as a weighted sum of the reads; photons to a sixth of one part in k."""
    times_s, timeline = np.arange(k + 1) * 0.72, Timeline()
    for time_s in times_s:
        timeline.append(time_s)
    pixel = Pixel(np.zeros(k + 1), times_s, TEST)
    read, photon = pixel.noise(pixel.less_the_fit(k))
    own_read, own_photon = pixel.noise(pixel.step_into(k))
    found = step_noise(k, 0, 0.0, 0.0, timeline.as_times(), TEST.as_array())
    assert found[0] == pytest.approx(max(own_read, TOGETHER * read))
    assert found[1] == pytest.approx(max(own_photon, TOGETHER * photon), rel=1 / (6 * k))
    if k == 3:  # the first reads are those whose prediction counts
        assert found[0] > 1.1 * own_read
        assert found[1] > 1.1 * own_photon


def test_the_floor_of_the_converter_is_marked(bands):
    cube = np.full((3, *SHAPE), 10, "<u2")
    cube[1, 2, 3] = 0
    ran = run(cube, np.arange(3.0), 60_000.0, bands, floor_dn=0.0)
    assert ran.state.marks[2, 3] == FLOOR
    assert np.count_nonzero(ran.state.marks) == 1
    assert Dq.AD_FLOOR == 64


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("curve", [None, "curve"])
def test_a_ramp_closed_with_its_last_read_is_as_one_closed_after_it(n, curve, bands):
    """With jumps, the last of them in the last read, and saturated pixels, so that every way of closing is gone."""
    cube = random_ramp(7, n)
    cube[n // 2 :, 2:4, 5:30] += 3000
    cube[-1, 4, :20] += 3000
    cube.setflags(write=False)
    width = SHAPE[1]
    powers = np.zeros((1, 3, width), "f4")
    powers[0, 1], powers[0, 2] = 1, 1e-6
    powers.setflags(write=False)
    straight = steps.straight(width)
    chain = Chain(
        steps.levels_of(10_500.0, -np.inf, cube.dtype, width),
        straight if curve is None else Curve(straight.bias_dn, powers),
        TEST,
    )
    states = []
    for closes in (False, True):
        state, timeline, samples = allocate_state(SHAPE), Timeline(), []
        steps.open_ramp(state, bands)
        for index, read in enumerate(cube):
            timeline.append(index * 0.72)
            samples = [steps.sample(read), *samples[:2]]
            last = closes and index == n - 1
            steps.add_read(state, chain, samples, cube[0], timeline, index, bands, closes=last)
        if not closes:
            steps.close_ramp(state, chain, samples, cube[0], timeline, bands)
        states.append(state)
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)
    if n == 9:
        assert (states[0].closed[:, 1] > 0).any()


def test_an_exposure_holds_nothing_of_the_one_before_it(bands):
    """Both have jumps and saturated pixels, in other blocks; several ramps are gathered."""
    width = SHAPE[1]
    first, second = (random_ramp(seed, 9) for seed in (21, 22))
    first[4:, 1, 3:40] += 3000
    first[6:, 3, -5:] = 60_000
    second[5:, 2, ::50] += 3000
    for cube in (first, second):
        cube.setflags(write=False)
    chain = Chain(steps.levels_of(40_000.0, -np.inf, first.dtype, width), steps.straight(width), TEST)

    def expose(state, cube):
        clear(state)
        for _ in range(2):
            timeline, samples = Timeline(), []
            steps.open_ramp(state, bands)
            for index, read in enumerate(cube):
                timeline.append(index * 0.72)
                samples = [steps.sample(read), *samples[:2]]
                last = index == len(cube) - 1
                steps.add_read(state, chain, samples, cube[0], timeline, index, bands, closes=last)
            fitted = slope_of(timeline.times_s)
            steps.gather_ramp(state, steps.estimate_of(state, None, fitted, len(cube), GAIN, True), GAIN, bands)
        return state.closed.copy(), state.marks.copy(), state.saturated_from.copy()

    used = allocate_state(SHAPE)
    expose(used, first)
    for one, other in zip(expose(used, second), expose(allocate_state(SHAPE), second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_preview_is_the_mean_slope_of_the_good_pixels_of_a_bin(bands):
    cube = random_ramp(5)
    times_s = np.arange(len(cube)) * 0.72
    ceiling_dn = 10_500.0
    valid = grown_valid(cube, ceiling_dn)
    state, timeline = allocate_state(SHAPE), Timeline()
    cube.setflags(write=False)
    chain = Chain(steps.levels_of(ceiling_dn, -np.inf, cube.dtype, SHAPE[1]), steps.straight(SHAPE[1]))
    steps.open_ramp(state, bands)
    for index, read in enumerate(cube):
        timeline.append(times_s[index])
        steps.add_read(state, chain, [steps.sample(read)], cube[0], timeline, index, bands)
    masks = np.zeros(SHAPE, "u1")
    masks[0, :7] = 1
    masks[0:4, 40:44] = 1
    masks[3, 3] = 2
    raw, rate = steps.make_preview(state, timeline, GAIN, cube[-1], masks, 4, bands)
    slopes = np.where((masks & 1) | (valid < 2), np.nan, polyfit_rate(cube, times_s, valid))
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
    raw, rate = run(cube, np.zeros(1), 60_000.0, bands).preview
    assert np.isnan(rate).all()
    np.testing.assert_array_equal(raw, cube[0])


def curve_of(shape, rng, powers=4):
    """A detector that is low by some per cent, differently in each pixel, on an uneven bias."""
    coefficients = np.zeros((shape[0], powers + 1, shape[1]), "f4")
    coefficients[:, 0] = 3.0  # a constant changes no difference
    coefficients[:, 1] = rng.uniform(0.99, 1.01, shape)
    for k in range(2, powers + 1):
        coefficients[:, k] = rng.uniform(0, 0.04, shape) / 30_000.0 ** (k - 1)
    curve = Curve(rng.uniform(900, 1100, shape).astype("f4"), coefficients)
    for plane in curve:
        plane.setflags(write=False)
    return curve


@pytest.mark.parametrize("test", [None, TEST])
@pytest.mark.parametrize("powers", [1, 2, 3, 4, 5])
def test_levels_are_made_linear_by_the_polynomial_of_each_pixel(powers, test, bands):
    """The slope is that of float64 polynomials of the raw levels, with and without a look at the reads before."""
    rng = np.random.default_rng(powers)
    shape, n = (3, 300), 8
    curve = curve_of(shape, rng, powers)
    times_s = np.arange(n) * 0.72
    cube = (1000 + rng.uniform(0, 4000, shape) * times_s[:, None, None]).astype("<u2")
    level = cube.astype(float) - curve.bias_dn
    linear = sum(curve.coefficients[:, k].astype(float) * level**k for k in range(powers + 1))
    expected = polyfit_rate(linear, times_s, np.full(shape, n))
    quiet = None if test is None else JumpTest(test.read_noise_dn, 1e-3, test.threshold_sigma)  # the curve is no jump
    ran = run(cube, times_s, 65_000.0, bands, test=quiet, curve=curve)
    np.testing.assert_allclose(ran.rate, expected, rtol=2e-5, atol=0.02)


def test_ends_are_made_linear_too(bands):
    rng = np.random.default_rng(9)
    shape, n = (3, 300), 6
    curve, times_s = curve_of(shape, rng), np.arange(n) * 0.72
    cube = (1000 + rng.uniform(0, 4000, shape) * times_s[:, None, None]).astype("<u2")
    level = cube.astype(float) - curve.bias_dn
    linear = sum(curve.coefficients[:, k].astype(float) * level**k for k in range(5))
    index = np.arange(n)
    ran = run(cube, times_s, 65_000.0, bands, ends=(index == 0, index == n - 1), curve=curve)
    np.testing.assert_allclose(ran.rate, (linear[-1] - linear[0]) / (times_s[-1]) * GAIN, rtol=2e-5, atol=0.02)


def test_one_row_serves_for_all_of_a_curve(bands):
    shape, n = (4, 260), 4
    cube = np.broadcast_to((2000 + 1000 * np.arange(n))[:, None, None], (n, *shape)).astype("<u2").copy()
    coefficients = np.zeros((1, 3, shape[1]), "f4")
    coefficients[0, 1], coefficients[0, 2] = 1, 1e-5
    coefficients.setflags(write=False)
    ran = run(cube, np.arange(float(n)), 65_000.0, bands, curve=Curve(steps.flat_row(1500, shape[1]), coefficients))
    level = cube[:, 0, 0].astype(float) - 1500
    expected = np.polyfit(np.arange(n), level + 1e-5 * level**2, 1)[0] * GAIN
    np.testing.assert_allclose(ran.rate, expected, rtol=1e-5)
