"""Line detection, centroids and the vote against scipy and plain numpy."""

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.special import erf

from rtcal.kernels import lines


def pixel_gaussian(x, centre, area, sigma, base):
    scale = np.sqrt(2) * sigma
    return base + area / 2 * (erf((x + 0.5 - centre) / scale) - erf((x - 0.5 - centre) / scale))


def spectrum(places, size=60, area=1000.0, sigma=0.9, base=20.0, noise=2.0, seed=1):
    x = np.arange(size)
    flux = np.full(size, base)
    for place in places:
        flux = flux + pixel_gaussian(x, place, area, sigma, 0.0)
    return flux + np.random.default_rng(seed).normal(0, noise, size) if noise else flux


def detect(flux, noise=2.0, saturated=None, snr=10.0, half=5, limits=(0.5, 1.7)):
    flux = np.atleast_2d(np.asarray(flux, np.float64))
    rows, counts = np.zeros((flux.shape[0], 50, 8)), np.zeros(flux.shape[0], np.int64)
    saturated = np.zeros(flux.shape, bool) if saturated is None else np.atleast_2d(saturated)
    sigma = np.full(flux.shape, noise)
    lines.detect_lines(
        flux, sigma, saturated, snr, half, *limits, 0, flux.shape[0], np.empty(50, np.int64), rows, counts
    )
    return [row[:count] for row, count in zip(rows, counts, strict=True)]


def test_centres_widths_and_errors_are_those_of_scipy():
    flux = spectrum([12.3, 30.71, 47.5])
    (found,) = detect(flux)
    assert found.shape[0] == 3
    x = np.arange(flux.size)
    for row in found:
        peak = round(row[lines.CENTRE])
        window = slice(peak - 5, peak + 6)
        start = (peak, 900, 1, 20)
        best, covariance = curve_fit(pixel_gaussian, x[window], flux[window], start, np.full(11, 2.0), True)
        np.testing.assert_allclose(row[:4], best, rtol=1e-4)
        assert row[lines.CENTRE_ERR] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-3)
        residual = (flux[window] - pixel_gaussian(x[window], *best)) / 2.0
        assert row[lines.CHI2] == pytest.approx((residual**2).sum() / 7, rel=1e-4)


def test_without_noise_a_centre_is_exact_wherever_in_the_pixel_it_lies():
    places = 10 + np.arange(8) / 8
    found = detect([spectrum([place], noise=0.0) for place in places])
    np.testing.assert_allclose([row[0, lines.CENTRE] for row in found], places, atol=1e-5)


def test_what_is_below_the_limit_or_only_a_shoulder_is_no_line():
    assert detect(spectrum([], noise=2.0))[0].size == 0
    (found,) = detect(spectrum([20.0, 22.2], noise=0.0))
    assert found.shape[0] in (1, 2)
    (faint,) = detect(spectrum([30.0], area=30.0, noise=0.0))
    assert faint.size == 0


def test_states_tell_saturated_wrong_width_and_missing_pixels():
    flux = spectrum([15.0, 40.0], noise=0.0)
    saturated = np.zeros(flux.size, bool)
    saturated[15] = True
    flux[50] += 500.0  # a bad pixel: narrower than any line
    (found,) = detect(flux, saturated=saturated)
    assert [row[lines.STATE] for row in found] == [lines.SATURATED, lines.FITTED, lines.WIDTH]
    flux = spectrum([15.0], noise=0.0)
    flux[17] = np.nan
    (found,) = detect(flux)
    assert found[0, lines.CENTRE] == pytest.approx(15.0, abs=1e-4)


def test_all_nan_is_no_line_and_room_that_is_used_up_ends_the_list():
    (found,) = detect(np.full(40, np.nan))
    assert found.size == 0
    peaks = np.empty(2, np.int64)
    flux = spectrum([10, 25, 40], noise=0.0)
    assert lines.find_peaks(flux, np.full(flux.size, 2.0), 10.0, 5, peaks) == 2


def test_the_vote_is_the_plain_sum():
    rng = np.random.default_rng(3)
    u, weight = rng.uniform(-1, 1, 6), rng.uniform(1, 2, 6)
    shifts, stretches, bends = np.linspace(-0.05, 0.05, 5), np.array([-0.01, 0.0, 0.01]), np.array([0.0, 0.02])
    origin, step = -1.5, 0.01
    template = rng.uniform(0, 1, 301)
    score = np.empty((2, 3, 5))
    lines.vote(u, weight, shifts, stretches, bends, origin, step, template, score)
    for b, bend in enumerate(bends):
        for s, stretch in enumerate(stretches):
            for k, shift in enumerate(shifts):
                index = ((shift + u * (1 + stretch) + bend * (u**2 - 1 / 3) - origin) / step + 0.5).astype(int)
                assert score[b, s, k] == pytest.approx((weight * template[index]).sum())
