"""Weights by signal to noise against float64 sums over the reads, and what they gain."""

import numpy as np
import pytest

from rtcal import steps
from rtcal.bands import Bands
from rtcal.buffers import allocate_state
from rtcal.estimator import Timeline, coefficients, slope_of
from rtcal.kernels.planes import Curve
from rtcal.steps import Chain

GAIN, NOISE_E = 2.0, 9.0


def run(cube, times_s, curve=None, ceiling_dn=60_000.0, ramps=1):
    """Take in the same ramp some times over; return rate and its variance [e-/s] and the state."""
    shape = cube.shape[1:]
    cube.setflags(write=False)
    state = allocate_state(shape)
    chain = Chain(steps.levels_of(ceiling_dn, -np.inf, cube.dtype, shape[1]), curve or steps.straight(shape[1]))
    with Bands(1) as bands:
        for _ in range(ramps):
            timeline = Timeline()
            steps.open_ramp(state, bands)
            for index, read in enumerate(cube):
                timeline.append(times_s[index])
                steps.add_read(state, chain, [steps.sample(read)], cube[0], timeline, index, bands)
            last = steps.sample(cube[-1])
            steps.close_ramp(state, chain, [last], cube[0], timeline, bands)
            weighting = slope_of(timeline.times_s).weighting(NOISE_E, GAIN)
            steps.gather_weighted_ramp(state, chain, last, cube[0], weighting, len(cube), bands)
    top, weight, spread = (state.closed[:, i].astype(float) for i in range(3))
    rate = top / weight * GAIN
    return rate, NOISE_E**2 / weight + np.maximum(rate, 0) * spread / weight**2, state


def oracle(cube, times_s):
    """The best mixture of slope and ends for each pixel's slope, as weights of the reads; float64."""
    electrons, times = (cube.astype(float) - cube[0]) * GAIN, times_s - times_s.mean()
    ends = np.zeros(len(times))
    ends[0], ends[-1] = -1 / np.ptp(times_s), 1 / np.ptp(times_s)
    equal = times / (times @ times)
    rate, variance = np.empty(cube.shape[1:]), np.empty(cube.shape[1:])
    for y, x in np.ndindex(rate.shape):
        light = max(equal @ electrons[:, y, x], 0.0)

        def variance_of(part, light=light):
            read, photon = coefficients(times_s, equal + part * (ends - equal))
            return NOISE_E**2 * read + light * photon

        parts = np.linspace(0, 1, 1001)
        part = parts[np.argmin([variance_of(one) for one in parts])]
        weights = equal + part * (ends - equal)
        rate[y, x] = weights @ electrons[:, y, x]
        read, photon = coefficients(times_s, weights)
        variance[y, x] = NOISE_E**2 * read + max(rate[y, x], 0.0) * photon
    return rate, variance


def ramp_of(light, n, shape, seed, frame_s=0.72):
    rng = np.random.default_rng(seed)
    electrons = np.cumsum(rng.poisson(light * frame_s, (n, *shape)), axis=0) + rng.normal(0, NOISE_E, (n, *shape))
    return (2000 + electrons / GAIN).astype("<f4"), np.arange(n) * frame_s


def test_each_pixel_has_the_mixture_of_least_variance():
    rng = np.random.default_rng(1)
    shape, n = (1, 40), 9
    times_s = np.sort(rng.uniform(-10, 10, n))
    light = 10 ** rng.uniform(-1, 3.5, shape)
    cube = (1000 + light * (times_s - times_s[0])[:, None, None] / GAIN + rng.normal(0, 4.5, (n, *shape))).astype("<f4")
    rate, variance, _ = run(cube, times_s)
    expected, expected_variance = oracle(cube, times_s)
    np.testing.assert_allclose(variance, expected_variance, rtol=2e-3)
    assert (np.abs(rate - expected) / np.sqrt(variance)).max() < 2e-3


@pytest.mark.parametrize(("light", "least_gain"), [(2.0, 0.999), (100.0, 1.04), (20_000.0, 1.12)])
def test_errors_are_honest_and_photons_gain(light, least_gain):
    """20 reads: up to 14 % of the variance where photons make it, nothing where the reads do."""
    n, shape = 20, (64, 512)
    cube, times_s = ramp_of(light, n, shape, 2)
    rate, variance, _ = run(cube, times_s, ceiling_dn=1e9)
    slope = slope_of(times_s)
    equal = NOISE_E**2 / slope.weight + light * slope.spread / slope.weight**2
    assert rate.var() == pytest.approx(variance.mean(), rel=0.03)
    assert abs(rate.mean() - light) < 0.02 * rate.std()
    assert equal / rate.var() > least_gain * 0.985
    assert equal / variance.mean() > least_gain


def test_ramps_gather_and_pixels_with_events_keep_their_slope():
    cube, times_s = ramp_of(300.0, 8, (4, 300), 3)
    cube[5:, 2, 100] = 60_500.0
    once, variance, state = run(cube.copy(), times_s)
    twice, half, _ = run(cube.copy(), times_s, ramps=2)
    np.testing.assert_allclose(twice, once, rtol=1e-5)
    np.testing.assert_allclose(half, variance / 2, rtol=1e-5)
    assert state.first_bad[2, 100] == 5
    fitted = np.polyfit(times_s[:5], cube[:5, 2, 100].astype(float), 1)[0] * GAIN
    assert once[2, 100] == pytest.approx(fitted, rel=1e-4)


def test_the_last_read_is_made_linear_too():
    n, shape = 8, (3, 300)
    times_s = np.arange(n) * 0.72
    cube = np.broadcast_to((1000 + 3000 * times_s)[:, None, None], (n, *shape)).astype("<u2").copy()
    coefficients_ = np.zeros((1, 3, shape[1]), "f4")
    coefficients_[0, 1], coefficients_[0, 2] = 1, 2e-6
    coefficients_.setflags(write=False)
    rate, _, _ = run(cube, times_s, Curve(steps.flat_row(900, shape[1]), coefficients_))
    level = cube[:, 0, 0].astype(float) - 900
    linear = level + 2e-6 * level**2
    assert rate[0, 0] == pytest.approx((linear[-1] - linear[0]) / np.ptp(times_s) * GAIN, rel=1e-3)
    assert rate[0, 0] != pytest.approx((level[-1] - level[0]) / np.ptp(times_s) * GAIN, rel=1e-2)


def test_two_reads_have_nothing_to_weigh():
    assert slope_of(np.array([0.0, 1.0])).weighting(NOISE_E, GAIN) is None
    assert slope_of(np.array([1.0])).weighting(NOISE_E, GAIN) is None
