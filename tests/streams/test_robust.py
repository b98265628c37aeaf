"""The clipped median against one that looks at all values in every round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.robust import MAD_TO_SIGMA, clipped_median

NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60)


def slow(values):
    kept = np.array(values, np.float64)
    for _ in range(5):
        middle = np.median(kept)
        away = np.abs(kept - middle)
        inside = kept[away <= 3 * MAD_TO_SIGMA * np.median(away)]
        if inside.size in (0, kept.size):
            break
        kept = inside
    middle = np.median(kept)
    return middle, MAD_TO_SIGMA * np.median(np.abs(kept - middle)), kept.size


@given(NUMBERS, st.sampled_from([np.float32, np.float64]))
def test_it_is_that_of_all_values_in_every_round(values, dtype):
    assert clipped_median(np.array(values, dtype)) == pytest.approx(slow(values), rel=1e-12, abs=1e-9)


@given(NUMBERS, st.floats(-1000, 1000))
def test_it_moves_with_its_values(values, shift):
    array = np.array(values)
    assert clipped_median(array + shift).median == pytest.approx(clipped_median(array).median + shift, abs=1e-6)


def test_it_ignores_sources_and_knows_its_error():
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(10, 2, 100_000), np.full(10_000, 500.0), [np.nan, np.inf]])
    found = clipped_median(values)
    assert found.median == pytest.approx(10, abs=0.05)
    assert found.error == pytest.approx(1.2533 * 2 / np.sqrt(100_000), rel=0.05)


def test_of_an_image_all_pixels_count():
    image = np.random.default_rng(6).normal(3, 1, (30, 40)).astype(np.float32)
    assert clipped_median(image) == pytest.approx(slow(image.ravel()), rel=1e-6)


def test_no_values_have_none():
    found = clipped_median(np.array([np.nan, np.inf]))
    assert np.isnan([found.median, found.sigma, found.error]).all()
    assert found.number == 0


def test_equal_values_do_not_scatter():
    assert clipped_median(np.full(9, 3.0)) == (3.0, 0.0, 9)
