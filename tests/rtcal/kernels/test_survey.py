"""Counting, bands and summits against plain numpy."""

import numpy as np
import pytest

from rtcal.kernels import survey

REJECT = np.uint32(1)


@pytest.fixture(params=[(40, 37), (16, 8), (33, 64)])
def image(request):
    rng = np.random.default_rng(5)
    rate = rng.normal(0, 1, request.param).astype(np.float32)
    rate[rng.random(rate.shape) < 0.05] = np.nan
    dq = rng.integers(0, 8, rate.shape).astype(np.uint32)
    return rate, dq


def maxima_of(rate, dq, reject, level):
    maxima = np.empty(-(-rate.shape[0] // survey.BAND), np.float32)
    survey.band_maxima(rate, dq, np.uint32(reject), np.float32(level), maxima)
    return maxima


def test_flags_are_counted(image):
    _, dq = image
    counts = np.full(3, 99, np.int64)
    survey.count_flags(dq, np.array([1, 6, 8], np.uint32), counts)
    assert counts.tolist() == [(dq & 1 != 0).sum(), (dq & 6 != 0).sum(), 0]


def test_bands_know_their_highest_good_pixel(image):
    rate, dq = image
    good = np.where(np.isfinite(rate) & (dq & 1 == 0), rate, -np.inf)
    expected = [max(0.5, good[y : y + survey.BAND].max()) for y in range(0, rate.shape[0], survey.BAND)]
    np.testing.assert_array_equal(maxima_of(rate, dq, 1, 0.5), np.array(expected, np.float32))


@pytest.mark.parametrize("reach", [1, 3])
def test_summits_are_the_highest_of_their_neighbourhood(image, reach):
    rate, dq = image
    expected = []
    for y in range(reach, rate.shape[0] - reach):
        for x in range(reach, rate.shape[1] - reach):
            around = rate[y - reach : y + reach + 1, x - reach : x + reach + 1]
            if dq[y, x] & 1 == 0 and rate[y, x] > 0.5 and not (around > rate[y, x]).any():
                expected.append([y, x])
    found = np.empty((500, 2), np.int64)
    level = np.float32(0.5)
    number = survey.find_summits(rate, dq, REJECT, level, maxima_of(rate, dq, 1, 0.5), reach, found)
    assert found[:number].tolist() == expected
    few = np.empty((1, 2), np.int64)
    assert survey.find_summits(rate, dq, REJECT, level, maxima_of(rate, dq, 1, 0.5), reach, few) == number


def test_full_pixels_are_listed_by_flat_index(image):
    rate, dq = image
    found = np.empty(rate.size, np.int64)
    maxima = maxima_of(rate, dq, 0, 1.5)
    number = survey.find_full(rate, dq, np.uint32(4), np.float32(1.5), maxima, found)
    expected = np.flatnonzero((dq & 4 != 0) | (np.nan_to_num(rate) > 1.5))
    np.testing.assert_array_equal(found[:number], expected)
