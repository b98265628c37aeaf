"""Counting, blocks, summits and what glows against plain numpy."""

import numpy as np
import pytest

from rtcal.kernels import survey
from rtcal.kernels.planes import BLOCK

REJECT = np.uint32(1)


@pytest.fixture(params=[(40, 37), (16, 8), (8, 600)])
def image(request):
    rng = np.random.default_rng(5)
    rate = rng.normal(0, 1, request.param).astype(np.float32)
    rate[rng.random(rate.shape) < 0.05] = np.nan
    dq = rng.integers(0, 8, rate.shape).astype(np.uint32)
    return rate, dq


def blocks_of(rate, dq, counted=(1, 6, 8)):
    """Look at an image in two parts, as if each had been finished by itself."""
    height, width = rate.shape[0], -(-rate.shape[1] // BLOCK)
    of_blocks = np.full((2, height, width), 99, "f4")
    counts = np.full((height, len(counted)), 99, np.int64)
    blocks = survey.Blocks(of_blocks[0], of_blocks[1], np.full((height, width), 99, "u4"), counts)
    for start, stop, above in ((0, 3, 0), (3, height, 2)):
        part = slice(start - above, None)
        bits = np.array(counted, np.uint32)
        survey.look_at_rows(above, above + stop - start, start, rate[part], dq[part], REJECT, bits, blocks)
    return blocks


def by_blocks(image, reduce):
    return reduce(image, np.arange(0, image.shape[1], BLOCK), axis=1)


def test_flags_are_counted_and_put_together(image):
    _, dq = image
    blocks = blocks_of(*image)
    np.testing.assert_array_equal(blocks.counts, np.stack([(dq & bit != 0).sum(axis=1) for bit in (1, 6, 8)], 1))
    np.testing.assert_array_equal(blocks.flags, by_blocks(dq, np.bitwise_or.reduceat))


def test_blocks_know_their_highest_pixel_and_their_highest_good_one(image):
    rate, dq = image
    rate[3] = np.nan
    real = np.where(np.isfinite(rate), rate, -np.inf)
    blocks, good = blocks_of(rate, dq), np.where(dq & 1 == 0, real, -np.inf)
    np.testing.assert_array_equal(blocks.highest, by_blocks(real, np.maximum.reduceat))
    np.testing.assert_array_equal(blocks.highest_good, by_blocks(good, np.maximum.reduceat))


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
    number = survey.find_summits(rate, dq, REJECT, level, blocks_of(rate, dq), reach, found)
    assert found[:number].tolist() == expected
    few = np.empty((1, 2), np.int64)
    assert survey.find_summits(rate, dq, REJECT, level, blocks_of(rate, dq), reach, few) == number


def test_full_pixels_are_listed_by_flat_index(image):
    rate, dq = image
    found = np.empty(rate.size, np.int64)
    number = survey.find_full(rate, dq, np.uint32(4), np.float32(1.5), blocks_of(rate, dq), found)
    expected = np.flatnonzero((dq & 4 != 0) | (np.nan_to_num(rate) > 1.5))
    np.testing.assert_array_equal(found[:number], expected)


def test_what_glows_by_three_sigma_is_flagged_once(image):
    rng = np.random.default_rng(9)
    shape, flag = image[0].shape, np.uint32(64)
    err = rng.uniform(0.5, 2, shape).astype(np.float32)
    err[1, 1] = np.nan
    dq = np.zeros(shape, np.uint32)
    dq[2, 2] = flag
    past = [np.sort(rng.choice(err.size, err.size // 3, replace=False)) for _ in range(3)]
    rates = [rng.uniform(0, 8, pixels.size).astype(np.float32) for pixels in past]
    glow = survey.Glow(
        np.concatenate(past),
        np.concatenate(rates),
        np.cumsum([0, *map(len, past)]),
        np.zeros(sum(map(len, past)), "u1"),
    )
    expected = np.zeros(err.size, bool)
    for pixels, rate in zip(past, rates, strict=True):
        expected[pixels[rate > 3 * err.ravel()[pixels]]] = True
    survey.flag_glow(0, 3, 0, err, dq, flag, glow)
    survey.flag_glow(2, shape[0] - 1, 3, err[1:], dq[1:], flag, glow)  # a part that begins two rows above its first
    np.testing.assert_array_equal(dq.ravel() & flag != 0, expected | (np.arange(err.size) == 2 * shape[1] + 2))
    shown = np.sort(glow.pixels[glow.shown != 0])
    np.testing.assert_array_equal(shown, np.flatnonzero(expected & (np.arange(err.size) != 2 * shape[1] + 2)))
