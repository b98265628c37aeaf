"""Counting, rows and summits against plain numpy."""

import numpy as np
import pytest

from rtcal.kernels import survey

REJECT = np.uint32(1)


@pytest.fixture(params=[(40, 37), (16, 8), (5, 600)])
def image(request):
    rng = np.random.default_rng(5)
    rate = rng.normal(0, 1, request.param).astype(np.float32)
    rate[rng.random(rate.shape) < 0.05] = np.nan
    dq = rng.integers(0, 8, rate.shape).astype(np.uint32)
    return rate, dq


def rows_of(rate, dq, counted=(1, 6, 8)):
    height = rate.shape[0]
    rows = survey.Rows(*np.full((2, height), 99, "f4"), np.full(height, 99, "u4"), np.full((height, 3), 99, np.int64))
    survey.look_at_rows(0, height, rate, dq, REJECT, np.array(counted, np.uint32), rows)
    return rows


def test_flags_are_counted_and_put_together(image):
    _, dq = image
    rows = rows_of(*image)
    np.testing.assert_array_equal(rows.counts, np.stack([(dq & bit != 0).sum(axis=1) for bit in (1, 6, 8)], 1))
    np.testing.assert_array_equal(rows.flags, np.bitwise_or.reduce(dq, axis=1))


def test_rows_know_their_highest_pixel_and_their_highest_good_one(image):
    rate, dq = image
    rate[3] = np.nan
    real = np.where(np.isfinite(rate), rate, -np.inf)
    rows = rows_of(rate, dq)
    np.testing.assert_array_equal(rows.highest, real.max(axis=1))
    np.testing.assert_array_equal(rows.highest_good, np.where(dq & 1 == 0, real, -np.inf).max(axis=1))


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
    number = survey.find_summits(rate, dq, REJECT, level, rows_of(rate, dq), reach, found)
    assert found[:number].tolist() == expected
    few = np.empty((1, 2), np.int64)
    assert survey.find_summits(rate, dq, REJECT, level, rows_of(rate, dq), reach, few) == number


def test_full_pixels_are_listed_by_flat_index(image):
    rate, dq = image
    found = np.empty(rate.size, np.int64)
    number = survey.find_full(rate, dq, np.uint32(4), np.float32(1.5), rows_of(rate, dq), found)
    expected = np.flatnonzero((dq & 4 != 0) | (np.nan_to_num(rate) > 1.5))
    np.testing.assert_array_equal(found[:number], expected)
