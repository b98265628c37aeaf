"""Bad pixels, repaired or blanked."""

import numpy as np

from rtcal.kernels import badpix
from streams.dq import Dq

SHAPE = (6, 40)


def test_repair_takes_the_median_of_the_good_neighbours_and_raises_the_error():
    rng = np.random.default_rng(4)
    rate, err = rng.normal(10, 1, SHAPE).astype("f4"), np.full(SHAPE, 1.0, "f4")
    dq = np.zeros(SHAPE, "u4")
    dq[2, 10] = dq[2, 11] = Dq.DO_NOT_USE
    dq[0, 0] = Dq.DO_NOT_USE | Dq.DEAD
    dq[5, 39] = Dq.DO_NOT_USE | Dq.REFERENCE_PIXEL
    rate[2, 10], rate[2, 11], rate[0, 0] = 1e6, np.nan, -1e6
    original = rate.copy()
    badpix.repair(rate, err, dq, 0, SHAPE[0])
    around = [original[y, x] for y in (1, 2, 3) for x in (9, 10, 11) if (y, x) not in ((2, 10), (2, 11))]
    assert rate[2, 10] == np.float32(np.median(np.array(around, "f4")))
    expected = np.sqrt(1 + np.mean((np.array(around) - rate[2, 10]) ** 2))
    np.testing.assert_allclose(err[2, 10], expected, rtol=1e-5)
    assert rate[0, 0] == np.float32(np.median([original[0, 1], original[1, 0], original[1, 1]]))
    assert rate[5, 39] == original[5, 39]
    untouched = dq == 0
    np.testing.assert_array_equal(rate[untouched], original[untouched])
    assert dq[2, 10] & Dq.DO_NOT_USE


def test_repair_looks_further_when_all_near_neighbours_are_bad_and_gives_up_beyond():
    rate, err, dq = np.full((9, 9), 5.0, "f4"), np.ones((9, 9), "f4"), np.zeros((9, 9), "u4")
    dq[3:6, 3:6] = Dq.DO_NOT_USE
    rate[dq > 0] = 99.0
    badpix.repair(rate, err, dq, 0, 9)
    assert (rate == 5.0).all()
    dq[2:7, 2:7] = Dq.DO_NOT_USE
    badpix.repair(rate, err, dq, 0, 9)
    assert np.isnan(rate[4, 4])
    assert np.isnan(err[4, 4])
    assert rate[3, 3] == 5.0


def test_repair_in_bands_is_repair_of_the_whole():
    rng = np.random.default_rng(5)
    shape = (40, 30)
    rate, err = rng.normal(10, 1, shape).astype("f4"), np.ones(shape, "f4")
    dq = (rng.random(shape) < 0.3).astype("u4")
    whole, parts = rate.copy(), rate.copy()
    badpix.repair(whole, err.copy(), dq, 0, shape[0])
    for start in (32, 8, 24, 0, 16):
        badpix.repair(parts, err, dq, start, min(start + 8, shape[0]))
    np.testing.assert_array_equal(whole, parts)


def test_a_batch_that_is_not_full_is_repaired_too():
    """More bad pixels than a batch takes, and a rest."""
    rng = np.random.default_rng(6)
    shape = (40, 200)
    rate, err = rng.normal(10, 1, shape).astype("f4"), np.ones(shape, "f4")
    dq = np.zeros(shape, "u4")
    dq[1:-1:3, 1:-1:3] = Dq.DO_NOT_USE  # each with eight good neighbours
    original = rate.copy()
    badpix.repair(rate, err, dq, 0, shape[0])
    count = 0
    for y, x in np.argwhere(dq):
        near = np.delete(original[y - 1 : y + 2, x - 1 : x + 2].ravel(), 4)
        assert rate[y, x] == np.median(near)
        count += 1
    assert count % badpix.BATCH
    assert count > 2 * badpix.BATCH


def test_blank():
    rate, err, dq = np.ones(SHAPE, "f4"), np.ones(SHAPE, "f4"), np.zeros(SHAPE, "u4")
    dq[1, 1] = Dq.DO_NOT_USE
    dq[2, 2] = Dq.DO_NOT_USE | Dq.REFERENCE_PIXEL
    badpix.blank(rate, err, dq)
    assert np.isnan(rate[1, 1])
    assert np.isnan(err[1, 1])
    assert np.isnan(rate).sum() == 1
