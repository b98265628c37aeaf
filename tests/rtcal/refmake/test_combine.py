"""Frames combined pixel by pixel, on images whose truth is known."""

import numpy as np
import pytest

from rtcal.errors import UsageError
from rtcal.refmake import stacks
from rtcal.refmake.combine import combine, median_of
from rtcal.refmake.dark import make_dark
from rtcal.refmake.sky import make_sky
from streams.dq import Dq
from tests.lamp import frame

SHAPE = (60, 64)


def noise(seed, level=0.0, sigma=0.1):
    return np.random.default_rng(seed).normal(level, sigma, SHAPE)


def test_two_darks_average_and_a_cosmic_ray_in_one_of_them_is_left_out(held):
    first, second = noise(1, 0.02), noise(2, 0.02)
    first[10, 10] += 500
    made = make_dark(held.frames(frame(first), frame(second)))
    assert made.rate[10, 10] == pytest.approx(second[10, 10], abs=1e-5)
    assert made.err[10, 10] == pytest.approx(0.1, rel=1e-5)
    assert made.rate[20, 20] == pytest.approx((first[20, 20] + second[20, 20]) / 2, abs=1e-5)
    assert made.err[20, 20] == pytest.approx(0.1 / np.sqrt(2), rel=1e-5)


def test_many_darks_lose_outliers_on_both_sides(held):
    darks = [noise(seed, 1.0) for seed in range(7)]
    darks[2][5, 5] += 100
    darks[3][6, 6] -= 100
    made = combine(held.frames(*map(frame, darks)))
    for y in (5, 6):
        kept = [dark[y, y] for index, dark in enumerate(darks) if index != y - 3]
        assert made.rate[y, y] == pytest.approx(np.mean(kept), abs=1e-5)
    sigma = (made.rate - 1.0).std() * np.sqrt(7) / 0.1
    assert sigma == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("median", [True, False])
def test_one_frame_is_itself_but_for_what_it_has_no_value_of(held, median):
    rate, dq = noise(1), np.zeros(SHAPE, "u4")
    rate[2, 2] = np.nan
    dq[3, 3] = Dq.DO_NOT_USE | Dq.SATURATED
    dq[4, 4] = Dq.HOT | Dq.JUMP_DET
    given = frame(rate, dq=dq)
    made = combine(held.frames(given), median=median)
    good = np.ones(SHAPE, bool)
    good[2, 2] = good[3, 3] = False
    np.testing.assert_array_equal(made.rate[good], given.data[good])
    np.testing.assert_array_equal(made.err[good], given.err[good])
    assert np.isnan(made.rate[~good]).all()
    assert np.isnan(made.err[~good]).all()
    assert [int(made.dq[y, y]) for y in (2, 3, 4)] == [Dq.DO_NOT_USE, Dq.DO_NOT_USE, Dq.HOT]


def test_a_pixel_without_a_value_in_any_dark_is_not_a_number(held):
    dq = np.zeros(SHAPE, "u4")
    dq[3, 3] = Dq.DO_NOT_USE | Dq.SATURATED
    dq[5, 5] = Dq.DO_NOT_USE | Dq.WINDOW
    made = combine(held.frames(frame(noise(1), dq=dq), frame(noise(2), dq=dq)))
    assert np.isnan(made.rate[3, 3])
    assert made.dq[3, 3] == Dq.DO_NOT_USE  # saturation is a matter of those ramps, not of the detector
    assert made.dq[5, 5] == Dq.DO_NOT_USE  # so is a window
    assert made.saturated[3, 3]
    one = combine(held.frames(frame(noise(1), dq=dq), frame(noise(2))))
    assert np.isfinite(one.rate[3, 3])
    assert one.dq[3, 3] == 0


def test_the_bands_that_memory_allows_change_nothing(held, monkeypatch):
    frames = [frame(noise(seed, 1.0, 0.5)) for seed in range(5)]
    whole = combine(held.frames(*frames), median=True)
    monkeypatch.setattr(stacks, "BAND_BYTES", 5 * 64 * 8 * 7)  # seven rows
    done = []
    banded = combine(held.frames(*frames), done.append, median=True)
    assert done == [7] * 8 + [4]
    for name in ("rate", "err", "dq", "saturated"):
        np.testing.assert_array_equal(getattr(banded, name), getattr(whole, name))


def test_the_median_is_numpys():
    values = np.random.default_rng(3).normal(size=(6, 5, 40))
    values[np.random.default_rng(4).random(values.shape) < 0.3] = np.nan
    values[0] = 1.0  # never none at all, of which numpy warns
    np.testing.assert_array_equal(median_of(values), np.nanmedian(values, axis=0))
    assert np.isnan(median_of(np.full((3, 1, 1), np.nan))).all()


def test_hot_pixels_are_hot_and_their_coupled_neighbours_only_warm(held):
    dark = noise(3, 0.02)
    dark[30, 30] += 1000
    dark[30, 31] += 8
    dark[10, 10] += 3
    made = make_dark(held.frames(frame(dark), frame(dark + noise(4))))
    assert made.dq[30, 30] & Dq.HOT
    assert made.dq[30, 31] & Dq.WARM
    assert not made.dq[30, 31] & Dq.HOT
    assert made.dq[10, 10] & Dq.HOT
    assert np.count_nonzero(made.dq) < 8


def test_a_source_that_moves_between_sky_frames_drops_out(held):
    skies = [noise(seed, 100.0, 1.0) for seed in range(5)]
    for index, sky in enumerate(skies):
        sky[10 + 5 * index, 30] += 1000
    made, scales = make_sky(held.frames(*(frame(sky, err=1.0) for sky in skies)))
    assert np.abs(made.rate - 100).max() < 4
    np.testing.assert_allclose(scales, 1.0, atol=1e-3)
    chi = (made.rate - 100) / made.err
    assert 0.9 < 1.4826 * np.median(np.abs(chi)) < 1.05


def test_skies_of_different_brightness_are_brought_to_one_level_first(held):
    # Without that, the median would be the middle frame alone, and its source would stay.
    skies = [noise(seed, level, 1.0) for seed, level in enumerate((80.0, 100.0, 120.0))]
    skies[1][20:24, 30:34] += 500
    made, scales = make_sky(held.frames(*(frame(sky, err=1.0) for sky in skies)))
    np.testing.assert_allclose(scales, [100 / 80, 1, 100 / 120], rtol=2e-3)
    assert np.abs(made.rate[20:24, 30:34] - 100).max() < 4
    # A level that is no sky's, or far from the others', is a reason to change nothing.
    _, scales = make_sky(held.frames(frame(noise(1, 100.0)), frame(noise(2, 30.0)), frame(noise(3, 0.0))))
    assert scales == [1.0, 1.0, 1.0]


def test_frames_that_do_not_belong_together_are_refused(held):
    with pytest.raises(UsageError, match="no frame came out"):
        make_dark(held.frames())
    with pytest.raises(UsageError, match=r"IMG1.*IMG2"):
        held.frames(frame(noise(1)), frame(noise(2), detector="IMG2"))
    with pytest.raises(UsageError, match=r"one shape and type: \(60, 64\).*\(30, 64\)"):
        held.frames(frame(noise(1)), frame(noise(1)[:30]))
