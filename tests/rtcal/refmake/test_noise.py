"""Read noise, on noise that was put in."""

import numpy as np
import pytest

from rtcal.errors import UsageError
from rtcal.refmake.noise import channel_columns, make_read_noise
from streams.dq import Dq
from tests.lamp import GAIN, READ_NOISE, active_pixels, lamp

SETUP = {"SUBARRAY": "FULL", "CHANNELS": 2}


def test_the_simulators_read_noise_comes_out_of_its_darks(held):
    made = make_read_noise(held.lamp("dark0", "dark1", "dark2"))
    good = active_pixels()
    mean_square = np.mean(made.noise_e[good] ** 2)
    # Reads are rounded to whole numbers: 1/12 DN^2 more.
    assert np.sqrt(mean_square) == pytest.approx(np.hypot(READ_NOISE, GAIN / np.sqrt(12)), rel=0.01)
    chi = (made.noise_e[good] - np.sqrt(mean_square)) / made.err_e[good]
    assert 1.4826 * np.median(np.abs(chi)) == pytest.approx(1.0, abs=0.12)
    assert [round(channel.first_column) for channel in made.channels] == [0, 64, 128, 192]
    assert all(channel.read_noise_e == pytest.approx(9.04, rel=0.015) for channel in made.channels)
    assert (made.dq[good] & Dq.OTHER_BAD_PIXEL != 0).mean() < 1e-3
    assert made.dq[0, 0] & Dq.REFERENCE_PIXEL


def test_channels_pixels_and_dark_current_are_told_apart(held):
    random, reads = np.random.default_rng(3), 40
    sigma = np.where(np.arange(128) < 64, 3.0, 6.0) * np.ones((64, 1))
    sigma[30, 30] = 40.0
    light = np.zeros((64, 128))
    light[20, 20] = 400.0  # DN a read
    photons = np.cumsum(random.normal(light, np.sqrt(light / GAIN), (reads, 64, 128)), axis=0)
    cube = 5000 + photons + random.normal(0, sigma, (reads, 64, 128))
    cube[10:, 25, 25] += 5000
    made = make_read_noise(held.ramps({"dark": cube.round().astype("u2")}, setup=SETUP))
    low, high = (channel.read_noise_dn for channel in made.channels)
    assert low == pytest.approx(np.hypot(3.0, 12**-0.5), rel=0.03)
    assert high == pytest.approx(np.hypot(6.0, 12**-0.5), rel=0.03)
    assert made.noise_e[30, 30] / GAIN == pytest.approx(40.0, rel=0.35)
    assert made.dq[30, 30] == Dq.OTHER_BAD_PIXEL
    # A hot pixel's photons and a cosmic ray are no read noise; 400 DN a read would be 11 DN of it.
    assert made.noise_e[20, 20] / GAIN < 9.0
    assert made.noise_e[25, 25] / GAIN == pytest.approx(3.0, rel=0.5)
    assert [channel.noisy_pixels for channel in made.channels] == [1, 0]


def test_pixels_that_saturate_at_once_have_no_noise(held):
    cube = np.random.default_rng(3).normal(5000, 3, (8, 64, 128))
    cube[:, 30, 30] = 65535
    made = make_read_noise(held.ramps({"dark": cube.astype("u2")}, setup=SETUP))
    assert np.isnan(made.noise_e[30, 30])
    assert made.dq[30, 30] == Dq.DO_NOT_USE


def test_too_few_steps_are_refused(held):
    with pytest.raises(UsageError, match="read noise needs at least 1 ramps of 2 or more reads; found dark ramp 0: 1"):
        make_read_noise(held.ramps({"dark": lamp().ramps["dark0"][:1]}))
    with pytest.raises(UsageError, match="needs 4 steps between reads; the ramps have 2"):
        make_read_noise(held.ramps({"dark": lamp().ramps["dark0"][:3]}))
    with pytest.raises(UsageError, match="no ramp"):
        make_read_noise(held.ramps({}))


def test_a_width_that_cannot_be_divided_is_one_channel():
    assert channel_columns(100, 3) == channel_columns(100, 0) == [slice(0, 100)]
    assert channel_columns(128, 2) == [slice(0, 64), slice(64, 128)]
