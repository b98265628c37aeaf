"""Slices moved against atmospheric dispersion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcal.spectrograph.cube import Cube
from rtcal.spectrograph.grid import Grid
from rtcal.spectrograph.shifts import shift_slices


def star_cube(places, shape=(20, 24), sigma=1.5):
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    planes = [np.exp(-((y - py) ** 2 + (x - px) ** 2) / 2 / sigma**2) for py, px in places]
    data = np.array(planes, np.float32)
    return Cube(Grid(1.5, 0.01, len(places)), data, np.ones_like(data), np.zeros(data.shape, np.uint32))


def centroid(plane):
    y, x = np.mgrid[0 : plane.shape[0], 0 : plane.shape[1]]
    plane = np.nan_to_num(plane)
    return (y * plane).sum() / plane.sum(), (x * plane).sum() / plane.sum()


def test_a_smeared_star_comes_together_and_keeps_its_light():
    residual = np.array([[-1.3, 0.6], [0.0, 0.0], [0.45, -2.2]])
    cube = star_cube(np.array([10.0, 12.0]) + residual)
    before = cube.data.sum(axis=(1, 2))
    assert shift_slices(cube, -residual) == pytest.approx(2.2)
    for plane in cube.data:
        assert centroid(plane) == pytest.approx((10.0, 12.0), abs=0.02)
    np.testing.assert_allclose(np.nansum(cube.data, axis=(1, 2)), before, rtol=1e-4)


def test_small_shifts_are_left_alone():
    cube = star_cube([(10, 12)] * 3)
    before = cube.data.copy()
    assert shift_slices(cube, np.full((3, 2), 0.09)) is None
    np.testing.assert_array_equal(cube.data, before)


def test_what_comes_from_outside_has_no_value_and_flags_go_along():
    cube = star_cube([(10, 12)])
    cube.dq[0, 5, 5] = 4
    cube.data[0, 8, 8] = np.nan
    shift_slices(cube, np.array([[2.0, 3.0]]))
    assert np.isnan(cube.data[0, :2]).all()
    assert np.isnan(cube.data[0, :, :3]).all()
    assert (cube.dq[0, :2] & 1 == 1).all()
    assert cube.dq[0, 7, 8] == 4
    assert np.isnan(cube.data[0, 10, 11])
    assert np.isnan(cube.data).sum() == 2 * 24 + 18 * 3 + 1


def test_a_shift_out_of_the_field_and_one_that_is_not_known():
    cube = star_cube([(10, 12)] * 2)
    shift_slices(cube, np.array([[100.0, 0.0], [np.nan, np.nan]]))
    assert np.isnan(cube.data[0]).all()
    assert centroid(cube.data[1]) == pytest.approx((10, 12), abs=1e-3)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_errors_follow_the_shares(dy, dx):
    cube = star_cube([(10, 12)])
    if shift_slices(cube, np.array([[dy, dx]])) is None:
        return
    fy, fx = dy - np.floor(dy), dx - np.floor(dx)
    expected = np.sqrt(((1 - fy) ** 2 + fy**2) * ((1 - fx) ** 2 + fx**2))
    assert cube.err[0, 10, 12] == pytest.approx(expected, rel=1e-4)
