"""Flags of a reference in little memory, against planes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from refcache import Flags


def plane_of(seed, shape, share):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < share, rng.integers(1, 2**32, shape, dtype=np.uint32), np.uint32(0))


@given(
    seed=st.integers(0, 99),
    rows=st.integers(1, 600),
    columns=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
)
def test_a_plane_comes_back_and_merges(seed, rows, columns, share):
    plane, other = plane_of(seed, (rows, columns), share), plane_of(seed + 1, (rows, columns), 0.2)
    flags = Flags.of(plane)
    np.testing.assert_array_equal(flags.plane(), plane)
    merged = other.copy()
    flags.merge_into(merged)
    np.testing.assert_array_equal(merged, plane | other)
    assert flags.nbytes == 8 * np.count_nonzero(plane)


@given(seed=st.integers(0, 99), shares=st.tuples(*[st.sampled_from([0.0, 0.02, 0.5, 1.0])] * 2))
def test_the_flags_of_two_planes_are_those_of_either(seed, shares):
    one, other = (plane_of(seed + number, (20, 30), share) for number, share in enumerate(shares))
    merged = Flags.merged(Flags.of(one), Flags.of(other))
    np.testing.assert_array_equal(merged.plane(), one | other)
    assert merged.places.size == np.count_nonzero(one | other)


@given(seed=st.integers(0, 99), data=st.data())
def test_a_window_is_that_of_the_plane(seed, data):
    plane = plane_of(seed, (30, 50), 0.1)
    y, x = data.draw(st.integers(0, 29)), data.draw(st.integers(0, 49))
    shape = (data.draw(st.integers(1, 30 - y)), data.draw(st.integers(1, 50 - x)))
    window = Flags.of(plane).window(y, x, shape)
    assert window.shape == shape
    np.testing.assert_array_equal(window.plane(), plane[y : y + shape[0], x : x + shape[1]])
