"""Placing and averaging against numpy."""

import numpy as np
import pytest

from rtcal.kernels import cubes as kernel


@pytest.fixture
def spectra():
    rng = np.random.default_rng(4)
    flux = rng.normal(0, 1, (6, 70)).astype(np.float32)
    flux[2, 30:40] = np.nan
    variance = rng.uniform(0.5, 2, flux.shape).astype(np.float32)
    dq = rng.integers(0, 5, flux.shape).astype(np.uint32)
    return flux, variance, dq


def test_spectra_go_into_their_spaxels_whatever_bins_a_thread_has(spectra):
    flux, variance, dq = spectra
    spaxel = np.array([7, 0, 3, 9, 1, 8])
    data, err = np.full((2, 70, 10), np.nan, np.float32)
    flags = np.full((70, 10), 1, np.uint32)
    for first, last in ((0, 33), (33, 70)):
        kernel.place(flux, variance, dq, spaxel, first, last, data, err, flags)
    np.testing.assert_array_equal(data[:, spaxel], flux.T)
    np.testing.assert_allclose(err[:, spaxel], np.sqrt(variance).T, rtol=1e-6)
    np.testing.assert_array_equal(flags[:, spaxel], dq.T)
    rest = np.setdiff1d(np.arange(10), spaxel)
    assert np.isnan(data[:, rest]).all()
    assert (flags[:, rest] == 1).all()


def test_the_mean_is_that_of_the_values_there_are(spectra):
    data = np.ascontiguousarray(spectra[0].T)
    data[:, 4] = np.nan
    err = np.sqrt(np.ascontiguousarray(spectra[1].T))
    mean, sigma = np.empty((2, 6), np.float32)
    for start, stop in ((0, 2), (2, 6)):
        kernel.average(data, err, 20, 60, start, stop, mean, sigma)
    part, own = data[20:60].astype(float), err[20:60].astype(float)
    good = np.isfinite(part)
    for i in range(6):
        if not good[:, i].any():
            assert np.isnan([mean[i], sigma[i]]).all()
            continue
        assert mean[i] == pytest.approx(part[good[:, i], i].mean(), rel=1e-5)
        assert sigma[i] == pytest.approx(np.sqrt((own[good[:, i], i] ** 2).sum()) / good[:, i].sum(), rel=1e-5)


def test_the_mean_of_a_spectrum_counts_the_part_of_each_pixel_in_the_range():
    edges = np.array([[1.0, 1.1, 1.3, 1.4, np.nan], [2.0, 1.35, 1.2, 1.1, 1.0], [5.0, 5.1, 5.2, 5.3, 5.4]])
    flux = np.array([[2.0, 4.0, 9.0, 7.0], [13.0, 3.0, np.nan, 5.0], [1.0, 1.0, 1.0, 1.0]], np.float32)
    variance = np.array([[1.0, 4.0, 2.0, 9.0], [1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]], np.float32)
    mean, noise = np.empty(3), np.empty(3)
    kernel.average_spectra(flux, variance, edges, 1.05, 1.25, 0.05, 0, 3, mean, noise)
    # Half of the first pixel, three quarters of the second: 0.05 + 0.15 um, four bins.
    assert mean[0] == pytest.approx((1.0 + 3.0) / 4)
    assert noise[0] == pytest.approx((0.25 * 1.0 + 0.75**2 * 4.0) / 16)
    # Falling wavelengths: a third of the second pixel, half of the last; 0.05 + 0.05 um.
    assert mean[1] == pytest.approx((1.0 + 2.5) / 2)
    assert noise[1] == pytest.approx((2.0 / 9 + 0.25 * 4.0) / 4)
    assert np.isnan([mean[2], noise[2]]).all()
