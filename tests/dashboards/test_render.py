"""Binning, limits, stretch and bytes against numpy and astropy."""

import numpy as np
import pytest
from astropy.visualization import ZScaleInterval
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dashboards import limits, render

RNG_SEED = 20260


def noisy(shape: tuple[int, int]) -> np.ndarray:
    image = np.random.default_rng(RNG_SEED).normal(30, 3, shape).astype(np.float32)
    image[3, 5] = np.nan
    image[0:4, 0:4] = np.nan
    image[9, 9] = np.inf
    return image


def mean_oracle(data: np.ndarray, factor: int, good: np.ndarray) -> np.ndarray:
    rows, columns = (-(-side // factor) for side in data.shape)
    out = np.full((rows, columns), np.nan)
    for row in range(rows):
        for column in range(columns):
            box = np.s_[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            if good[box].any():
                out[row, column] = data[box][good[box]].astype(np.float64).mean()
    return out


@pytest.mark.parametrize("value", [0.0, 7.0, -3e5, 1e-4])
def test_an_image_of_one_value_is_grey(value):
    low, high = limits.zscale_limits(np.full(100, value), 0.25)
    (level,) = render.to_bytes(np.full((1, 1), value, np.float32), low, high, "linear")[0]
    assert 100 < level < 156


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (12, 40)])
def test_binning_leaves_out_what_has_no_value(factor, shape):
    data = noisy(shape)
    np.testing.assert_allclose(
        render.bin_mean(data, factor), mean_oracle(data, factor, np.isfinite(data)), rtol=1e-6, equal_nan=True
    )


@pytest.mark.parametrize("factor", [1, 2, 4, 5])
def test_binning_leaves_out_flagged_pixels(factor):
    data = noisy((20, 24))
    dq = np.zeros(data.shape, np.uint32)
    dq[::3, ::4] = 1
    dq[1::5] |= 2
    good = np.isfinite(data) & (dq & 1 == 0)
    if factor == 1:
        good |= dq & 1 == 0  # single pixels are shown as they are, infinite ones too
    np.testing.assert_allclose(
        render.bin_mean(data, factor, dq, 1), mean_oracle(data, factor, good), rtol=1e-6, equal_nan=True
    )


def test_a_cut_out_that_is_read_only_is_binned_alike():
    data = noisy((40, 40))
    whole = render.bin_mean(data[8:32, 4:36].copy(), 4)
    data.setflags(write=False)
    np.testing.assert_array_equal(render.bin_mean(data[8:32, 4:36], 4), whole)


def test_a_sample_is_small_and_finite():
    picked = limits.sample([noisy((1000, 700)), noisy((64, 64))])
    assert np.isfinite(picked).all()
    assert 64 * 64 - 20 <= picked.size <= 256 * 256 + 64 * 64


@given(st.integers(0, 2**32 - 1), st.integers(5, 4000), st.floats(0, 1), st.floats(0.05, 1))
def test_zscale_is_astropys_whatever_the_image(seed, count, outliers, contrast):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(count) < outliers, rng.uniform(-1e4, 1e4, count), rng.normal(30, 5, count))
    expected = ZScaleInterval(contrast=contrast).get_limits(values)
    assert limits.zscale_limits(values, contrast) == pytest.approx(expected, rel=1e-6, abs=1e-4)


def test_zscale_is_astropys():
    values = limits.sample([noisy((200, 200))])
    assert limits.zscale_limits(values, 0.25) == pytest.approx(ZScaleInterval(contrast=0.25).get_limits(values))


def test_percentile_limits_hold_the_central_part():
    values = np.arange(1001, dtype=np.float32)
    assert limits.percentile_limits(values, 99.0) == pytest.approx((5.0, 995.0))
    assert limits.percentile_limits(values, 100.0) == pytest.approx((0.0, 1000.0))


@pytest.mark.parametrize("values", [[], [7.0], [3.0] * 100, [0.0] * 100])
def test_limits_of_an_empty_or_flat_image_differ(values):
    sample = np.array(values, np.float32)
    for low, high in (limits.zscale_limits(sample, 0.25), limits.percentile_limits(sample, 99.5)):
        assert np.float32(low) < np.float32(high)


@pytest.mark.parametrize("stretch", ["linear", "sqrt", "log", "asinh"])
def test_bytes_follow_the_stretch_to_one_level(stretch):
    data = np.linspace(-5, 25, 4001, dtype=np.float32).reshape(1, -1)
    fraction = np.clip((data.astype(np.float64) - 2.0) / 18.0, 0, 1)
    expected = {
        "linear": fraction,
        "sqrt": fraction**0.5,
        "log": np.log(1 + 1000 * fraction) / np.log(1001),
        "asinh": np.arcsinh(10 * fraction) / np.arcsinh(10),
    }[stretch]
    levels = render.to_bytes(data, 2.0, 20.0, stretch).astype(int)
    assert np.abs(levels - (1 + 254 * expected)).max() <= 1.0
    assert levels[0, 0] == 1
    assert levels[0, -1] == 255
    assert (np.diff(levels) >= 0).all()


@given(arrays(np.float32, (3, 4), elements=st.floats(width=32)), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
@settings(max_examples=200, deadline=None)
def test_only_what_is_no_number_is_painted_bad(data, low, width):
    with np.errstate(over="ignore"):  # run as plain Python, the kernel's infinities are numpy's warnings
        levels = render.to_bytes(data, low, low + max(width, 1e-4 * abs(low)), "linear")
    np.testing.assert_array_equal(levels == render.BAD, ~np.isfinite(data))


@pytest.mark.parametrize("stretch", ["linear", "sqrt", "log", "asinh"])
def test_colour_bar_ticks_undo_the_stretch(stretch):
    ticks = np.array(limits.tick_values(-3.0, 12.0, stretch))
    brightness = limits.stretched((ticks + 3.0) / 15.0, stretch)
    np.testing.assert_allclose(brightness, np.linspace(0, 1, limits.TICKS), atol=1e-12)


def test_values_at_the_end_of_the_range_have_finite_limits():
    data = np.full((64, 64), np.float32(3e38))
    data[::2] *= -1
    values = limits.sample([data])
    for low, high in (
        limits.zscale_limits(values, 0.25), limits.percentile_limits(values, 99.5), limits.minmax_limits(values)
    ):  # fmt: skip
        assert low < high
        assert np.isfinite(limits.tick_values(low, high, "asinh")).all()
        assert set(np.unique(render.to_bytes(data, low, high, "linear"))) == {1, 255}
