"""Weights and variances of the estimates against published closed forms, brute force and Monte Carlo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcal.estimator import coefficients, end_factors, slope_tables

SPACING_S = 0.72


@pytest.mark.parametrize("n", [2, 3, 10, 100])
def test_utr_has_the_closed_form_variance(n):
    """Rauscher et al. 2007: 12 s2 / (d2 n (n2 - 1)) + 6 f (n2 + 1) / (5 d n (n2 - 1))."""
    tables = slope_tables(np.arange(n) * SPACING_S, 1.0)
    assert 1 / tables.weight[n] == pytest.approx(12 / (SPACING_S**2 * n * (n**2 - 1)), rel=1e-5)
    assert tables.photon[n] == pytest.approx(6 * (n**2 + 1) / (5 * SPACING_S * n * (n**2 - 1)), rel=1e-5)


@pytest.mark.parametrize("m", [1, 2, 4])
def test_mcds_has_the_closed_form_variance_and_cds_is_m_1(m):
    n = 10
    index = np.arange(n)
    ends = end_factors(index * SPACING_S, index < m, index >= n - m, 1.0)
    assert ends is not None
    length = (n - m) * SPACING_S
    assert 1 / ends.weight == pytest.approx(2 / m / length**2, rel=1e-9)
    assert ends.photon == pytest.approx((length - SPACING_S * (m * m - 1) / (3 * m)) / length**2, rel=1e-9)


def test_unequal_ends_have_the_read_noise_of_both():
    index = np.arange(10)
    ends = end_factors(index * SPACING_S, index < 3, index == 9, 1.0)
    assert ends is not None
    length = (9 - 1) * SPACING_S
    assert 1 / ends.weight == pytest.approx((1 / 3 + 1) / length**2, rel=1e-9)


def test_ends_that_are_empty_or_overlap_are_none():
    index = np.arange(3)
    times_s = index * SPACING_S
    assert end_factors(times_s, index < 0, index > 1, 1.0) is None
    assert end_factors(times_s, index < 2, index > 0, 1.0) is None


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=30, unique=True))
def test_photon_coefficient_is_the_covariance_sum_for_any_times(times):
    """Var = sum over i, j of w_i w_j min(t_i, t_j): reads share the photons of the earlier one."""
    times_s = np.sort(np.array(times))
    if np.diff(times_s).min() < 1e-3:
        return
    tables = slope_tables(times_s, 1.0)
    for k in range(2, len(times_s) + 1):
        part = times_s[:k] - times_s[0]
        weights = (part - part.mean()) / np.sum((part - part.mean()) ** 2)
        brute = weights @ np.minimum.outer(part, part) @ weights
        assert tables.photon[k] == pytest.approx(brute, rel=1e-4)
        assert coefficients(part, weights)[1] == pytest.approx(brute, rel=1e-6)
        assert tables.mean_s[k] == pytest.approx(times_s[:k].mean(), rel=1e-6, abs=1e-4)


def test_a_late_read_changes_only_the_order():
    ordered = np.array([0.0, 1.0, 2.0, 3.0])
    late = np.array([0.0, 1.0, 3.0, 2.0])
    one, other = slope_tables(ordered, 2.0), slope_tables(late, 2.0)
    for name in ("mean_s", "inverse", "weight", "photon"):
        assert getattr(one, name)[4] == pytest.approx(getattr(other, name)[4], rel=1e-6)


@pytest.mark.parametrize("mode", ["utr", "cds", "mcds"])
def test_the_variance_is_that_of_simulated_ramps(mode):
    """Ten reads of 5 e-/s with 9 e- of read noise; 40 000 ramps give the variance to 1.5 %."""
    rng = np.random.default_rng(7)
    n, flux, noise, ramps = 10, 5.0, 9.0, 40_000
    times_s = np.arange(n) * SPACING_S
    signal = np.cumsum(rng.poisson(flux * SPACING_S, (n, ramps)), axis=0) + rng.normal(0, noise, (n, ramps))
    index = np.arange(n)
    if mode == "utr":
        tables = slope_tables(times_s, 1.0)
        centred = times_s - times_s.mean()
        rate = centred @ signal / np.sum(centred**2)
        expected = noise**2 / tables.weight[n] + flux * tables.photon[n]
    else:
        m = 1 if mode == "cds" else 3
        near, far = index < m, index >= n - m
        ends = end_factors(times_s, near, far, 1.0)
        assert ends is not None
        rate = signal[near].sum(axis=0) * ends.factors[0] + signal[far].sum(axis=0) * ends.factors[1]
        expected = noise**2 / ends.weight + flux * ends.photon
    assert rate.mean() == pytest.approx(flux, abs=float(4 * np.sqrt(expected / ramps)))
    assert rate.var() == pytest.approx(float(expected), rel=0.03)
