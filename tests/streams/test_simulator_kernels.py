import re

import numpy as np
import pytest
from numba import njit

from streams.simulator import kernels

WIDTH, HEIGHT = 70, 5


@pytest.fixture
def random():
    return np.random.default_rng(3)


@pytest.fixture
def tile(random):
    return random.standard_normal(500, dtype=np.float32)


@pytest.fixture
def offsets(random):
    return random.integers(0, 400, HEIGHT)


def normals(tile, offsets):
    return np.stack([tile[offset : offset + WIDTH] for offset in offsets])


def test_reset_leaves_noise_alone(tile, offsets):
    charge_e = np.full((HEIGHT, WIDTH), 1e4, np.float32)
    kernels.reset(charge_e, tile, offsets, np.float32(40))
    np.testing.assert_allclose(charge_e, 40 * normals(tile, offsets), rtol=1e-6)


def test_integrate_adds_mean_and_photon_noise_up_to_the_full_well(random, tile, offsets):
    before = random.uniform(0, 1000, (HEIGHT, WIDTH)).astype(np.float32)
    rate = random.uniform(0, 3000, (HEIGHT, WIDTH)).astype(np.float32)
    charge_e = before.copy()
    kernels.integrate(charge_e, rate, tile, offsets, np.float32(0.5), np.float32(1800))
    mean = 0.5 * rate.astype(np.float64)
    expected = np.minimum(before + mean + np.sqrt(mean) * normals(tile, offsets), 1800)
    np.testing.assert_allclose(charge_e, expected, rtol=1e-5, atol=1e-3)
    assert 0 < np.count_nonzero(charge_e == 1800) < charge_e.size


def test_integrate_leaves_a_dark_pixel_as_it_is(tile, offsets):
    charge_e = np.full((HEIGHT, WIDTH), 12.5, np.float32)
    kernels.integrate(charge_e, np.zeros_like(charge_e), tile, offsets, np.float32(1), np.float32(1e5))
    np.testing.assert_array_equal(charge_e, 12.5)


def test_digitise_sums_all_terms_and_ends_at_16_bits(random, tile, offsets):
    charge_e = random.uniform(-2e5, 4e5, (HEIGHT, WIDTH)).astype(np.float32)
    bias_dn = random.normal(5000, 30, (HEIGHT, WIDTH)).astype(np.float32)
    column_dn = random.normal(0, 5, WIDTH).astype(np.float32)
    row_dn = random.normal(0, 5, HEIGHT).astype(np.float32)
    raw_dn = np.empty((HEIGHT, WIDTH), np.uint16)
    gain, bend, noise = np.float32(1 / 3.04), np.float32(1e-7), np.float32(3)
    kernels.digitise(raw_dn, charge_e, bias_dn, column_dn, row_dn, tile, offsets, gain, bend, noise)
    q = charge_e.astype(np.float64)
    value = (q - 1e-7 * q**2) / 3.04 + bias_dn + column_dn + row_dn[:, None] + 3 * normals(tile, offsets)
    expected = np.clip(np.floor(value + 0.5), 0, 65535)
    # A value half-way between two levels may go either way in float32.
    assert np.abs(raw_dn - expected).max() <= 1
    assert np.mean(raw_dn == expected) > 0.98
    assert {0, 65535} <= set(raw_dn.reshape(-1).tolist())


@pytest.mark.parametrize("name", ["_integrate_row", "_digitise_row"])
def test_inner_loops_are_vectorised(name, tile):
    cached = getattr(kernels, name)
    if not hasattr(cached, "py_func"):
        pytest.skip("compilation is switched off")
    kernel = njit(nogil=True, error_model="numpy")(cached.py_func)  # numba shows no code that it took from its cache
    image = np.zeros((HEIGHT, WIDTH), np.float32)
    line, one = np.zeros(WIDTH, np.float32), np.float32(1)
    if name == "_integrate_row":
        kernel(line, image[0], tile[:WIDTH], one, one)
    else:
        kernel(np.zeros(WIDTH, np.uint16), line, image[0], tile[:WIDTH], one, one, one, one)
    (code,) = kernel.inspect_llvm().values()
    assert re.search(r"<\d+ x float>", code)


@pytest.mark.parametrize(("low", "left"), [(1, 2), (-2, -3), (3, 66), (-9, 0), (0, 90)])
def test_add_stamp_adds_the_part_inside(random, low, left):
    image = random.uniform(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    stamp = random.uniform(0, 1, (4, 7)).astype(np.float32)
    room = np.zeros((HEIGHT + 40, WIDTH + 60))
    room[20 + low : 24 + low, 30 + left : 37 + left] = 2.5 * stamp
    expected = image + room[20 : 20 + HEIGHT, 30 : 30 + WIDTH]
    kernels.add_stamp(image, stamp, np.float32(2.5), low, left)
    np.testing.assert_allclose(image, expected, rtol=1e-6)
