"""Estimates drawn towards what pixels have in common."""

import numpy as np
import pytest

from rtcal.refmake.shrink import shrink


def population(random, true_sigma, noise_sigma, pixels=4000):
    root = np.array([[1.0, 0.0], [-0.9, 0.3]]) * noise_sigma
    truth = np.array([2.0, -1.0]) + random.normal(size=(pixels, 2)) * true_sigma
    noise = np.broadcast_to(root @ root.T, (pixels, 2, 2)).copy()
    return truth, truth + random.normal(size=(pixels, 2)) @ root.T, noise


@pytest.mark.parametrize("true_sigma", [0.0, 0.1, 1.0, 5.0])
def test_it_is_better_than_each_pixels_own_and_than_the_mean_alone(true_sigma):
    truth, estimates, noise = population(np.random.default_rng(1), np.array([true_sigma, 0.5 * true_sigma]), 1.0)
    error = ((shrink(estimates, noise) - truth) ** 2).sum()
    own, mean = ((estimates - truth) ** 2).sum(), ((estimates.mean(axis=0) - truth) ** 2).sum()
    assert error < 1.02 * min(own, mean + 0.01 * own)


def test_what_lies_far_off_and_what_is_not_known_stay_as_they_are():
    _, estimates, noise = population(np.random.default_rng(2), 0.1, 1.0)
    estimates[7] = [60.0, 60.0]
    estimates[9] = np.nan
    out = shrink(estimates, noise)
    np.testing.assert_allclose(out[7], estimates[7], rtol=1e-9)
    assert np.isnan(out[9]).all()
    assert np.isfinite(np.delete(out, 9, axis=0)).all()
    np.testing.assert_array_equal(shrink(estimates[:50], noise[:50]), estimates[:50])
