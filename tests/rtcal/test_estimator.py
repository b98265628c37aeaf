"""Weights and variances of the estimates against published closed forms, brute force and Monte Carlo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcal.estimator import Slope, Timeline, coefficients, ends_of, slope_of

SPACING_S = 0.72


@pytest.mark.parametrize("n", [2, 3, 10, 100])
def test_utr_has_the_closed_form_variance(n):
    """Rauscher et al. 2007: 12 s2 / (d2 n (n2 - 1)) + 6 f (n2 + 1) / (5 d n (n2 - 1))."""
    slope = slope_of(np.arange(n) * SPACING_S)
    assert 1 / slope.weight == pytest.approx(12 / (SPACING_S**2 * n * (n**2 - 1)), rel=1e-9)
    assert slope.spread / slope.weight**2 == pytest.approx(6 * (n**2 + 1) / (5 * SPACING_S * n * (n**2 - 1)), rel=1e-9)


@pytest.mark.parametrize("m", [1, 2, 4])
def test_mcds_has_the_closed_form_variance_and_cds_is_m_1(m):
    n = 10
    index = np.arange(n)
    ends = ends_of(index * SPACING_S, index < m, index >= n - m)
    assert ends is not None
    length = (n - m) * SPACING_S
    assert 1 / ends.weight == pytest.approx(2 / m / length**2, rel=1e-9)
    assert ends.spread / ends.weight**2 == pytest.approx(
        (length - SPACING_S * (m * m - 1) / (3 * m)) / length**2, rel=1e-9
    )


def test_unequal_ends_have_the_read_noise_of_both():
    index = np.arange(10)
    ends = ends_of(index * SPACING_S, index < 3, index == 9)
    assert ends is not None
    length = (9 - 1) * SPACING_S
    assert 1 / ends.weight == pytest.approx((1 / 3 + 1) / length**2, rel=1e-9)


def test_ends_that_are_empty_or_overlap_are_none():
    index = np.arange(3)
    times_s = index * SPACING_S
    assert ends_of(times_s, index < 0, index > 1) is None
    assert ends_of(times_s, index < 2, index > 0) is None


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=30, unique=True))
def test_photon_coefficient_is_the_covariance_sum_for_any_times(times):
    """Var = sum over i, j of w_i w_j min(t_i, t_j): reads share the photons of the earlier one."""
    times_s = np.sort(np.array(times))
    if np.diff(times_s).min() < 1e-3:
        return
    part = times_s - times_s[0]
    weights = (part - part.mean()) / np.sum((part - part.mean()) ** 2)
    brute = weights @ np.minimum.outer(part, part) @ weights
    slope = slope_of(times_s)
    assert slope.spread / slope.weight**2 == pytest.approx(brute, rel=1e-6)
    assert coefficients(part, weights)[1] == pytest.approx(brute, rel=1e-6)
    assert slope.mean_s == pytest.approx(times_s.mean())


def test_a_late_read_changes_nothing():
    one, other = slope_of(np.array([0.0, 1.0, 2.0, 3.0])), slope_of(np.array([0.0, 1.0, 3.0, 2.0]))
    assert one == other


def test_below_two_reads_there_is_no_slope():
    assert slope_of(np.empty(0)) == slope_of(np.array([3.0])) == slope_of(np.array([3.0, 3.0])) == Slope()


def test_a_timeline_sums_the_times_before_each_read():
    timeline = Timeline()
    for time_s in (1.0, 3.0, 4.0):
        timeline.append(time_s)
    assert timeline.times_s.tolist() == [1, 3, 4]
    assert timeline.first_sums.tolist() == [0, 1, 4, 8]
    assert timeline.second_sums.tolist() == [0, 1, 10, 26]


@pytest.mark.parametrize("mode", ["utr", "cds", "mcds"])
def test_the_variance_is_that_of_simulated_ramps(mode):
    """Ten reads of 5 e-/s with 9 e- of read noise; 40 000 ramps give the variance to 1.5 %."""
    rng = np.random.default_rng(7)
    n, flux, noise, ramps = 10, 5.0, 9.0, 40_000
    times_s = np.arange(n) * SPACING_S
    signal = np.cumsum(rng.poisson(flux * SPACING_S, (n, ramps)), axis=0) + rng.normal(0, noise, (n, ramps))
    index = np.arange(n)
    if mode == "utr":
        estimate = slope_of(times_s)
        centred = times_s - times_s.mean()
        rate = centred @ signal / np.sum(centred**2)
    else:
        m = 1 if mode == "cds" else 3
        near, far = index < m, index >= n - m
        estimate = ends_of(times_s, near, far)
        assert estimate is not None
        rate = signal[near].sum(axis=0) * estimate.near + signal[far].sum(axis=0) * estimate.far
    expected = noise**2 / estimate.weight + flux * estimate.spread / estimate.weight**2
    assert rate.mean() == pytest.approx(flux, abs=4 * np.sqrt(expected / ramps))
    assert rate.var() == pytest.approx(expected, rel=0.03)
