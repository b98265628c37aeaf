"""Frames combined pixel by pixel, against the same in numpy."""

import numpy as np
import pytest

from rtcal.kernels.combine import combine_rows
from rtcal.refmake.combine import median_of
from streams.dq import Dq

SHAPE = (3, 300)  # more than a block of columns
PASSING = Dq.SATURATED | Dq.JUMP_DET


def in_numpy(rates, errors, flags, factors, median):
    """The mean without outliers, or the median, of all pixels at once."""
    rates, errors = rates * factors[:, None, None], errors * factors[:, None, None]
    bad = (flags & np.uint32(Dq.DO_NOT_USE) != 0) & (flags & np.uint32(Dq.REFERENCE_PIXEL) == 0)
    present = np.isfinite(rates) & ~np.isnan(errors) & ~bad
    rates = np.where(present, rates, np.float32(np.nan))
    middle = median_of(rates)
    yardstick = np.where(present, rates, np.inf).min(axis=0) if len(rates) < 3 else middle
    least = np.where(present, errors, np.inf).min(axis=0)
    with np.errstate(invalid="ignore"):
        kept = present & (np.abs(rates - yardstick) <= 5 * np.hypot(errors, least))
    count = kept.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(kept, rates, 0).sum(axis=0) / count
        err = np.sqrt(np.where(kept, errors**2, 0).sum(axis=0)) / count
    if median:
        by_median = present.sum(axis=0) >= 3
        rate, err = np.where(by_median, middle, rate), np.where(by_median, err * 1.2533, err)
    dq = np.bitwise_or.reduce(flags, axis=0) & ~np.uint32(Dq.DO_NOT_USE | PASSING)
    dq[count == 0] |= np.uint32(Dq.DO_NOT_USE)
    return rate, err, dq


@pytest.mark.parametrize("median", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8])
def test_combining_is_numpys(count, median):
    rng = np.random.default_rng(count)
    rates = rng.normal(50, 2, (count, *SHAPE)).astype("f4")
    rates[rng.random(rates.shape) < 0.05] += 300
    rates[rng.random(rates.shape) < 0.1] = np.nan
    rates[:, 1, :4] = np.nan
    errors = rng.uniform(1, 3, rates.shape).astype("f4")
    errors[0, 2, :3] = np.nan
    some = np.array([0, 0, 0, Dq.DO_NOT_USE, Dq.SATURATED, Dq.HOT, Dq.DO_NOT_USE | Dq.REFERENCE_PIXEL], "u4")
    flags = rng.choice(some, rates.shape)
    factors = rng.uniform(0.8, 1.2, count).astype("f4")
    given = rates.copy()
    rate, err = np.empty(SHAPE, "f4"), np.empty(SHAPE, "f4")
    dq = np.empty(SHAPE, "u4")
    combine_rows(rates, errors, flags, factors, median, np.uint32(PASSING), rate, err, dq)
    expected = in_numpy(rates, errors, flags, factors, median)
    np.testing.assert_allclose(rate, expected[0], rtol=2e-6)
    np.testing.assert_allclose(err, expected[1], rtol=2e-6)
    np.testing.assert_array_equal(dq, expected[2])
    assert np.isnan(rate).any()
    np.testing.assert_array_equal(rates, given)
