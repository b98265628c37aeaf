"""Photon transfer, on photons of a known gain."""

import numpy as np
import pytest
from scipy.ndimage import convolve

from rtcal.errors import UsageError
from rtcal.refmake.gain import block_sums, make_gain
from rtcal.refmake.noise import make_read_noise
from tests.lamp import GAIN, READ_NOISE, active_pixels, lamp

SETUP = {"SUBARRAY": "FULL", "CHANNELS": 2}
FLATS = ("flat0", "flat1", "flat2", "flat3", "dim0", "dim1")


def test_the_simulators_gain_and_read_noise_come_out_of_its_flats(held):
    made = make_gain(held.lamp(*FLATS))
    values = np.array([channel.gain_e_per_dn for channel in made.channels])
    errors = np.array([channel.gain_err for channel in made.channels])
    assert made.pairs == 3
    assert len(values) == 4
    assert values.mean() == pytest.approx(GAIN, rel=0.015)
    assert (np.abs(values - GAIN) < 4 * np.hypot(errors, 0.01)).all()
    assert (errors < 0.05 * GAIN).all()
    assert np.mean([channel.read_noise_e for channel in made.channels]) == pytest.approx(READ_NOISE, rel=0.15)
    gain, err = made.plane((256, 256))
    assert (gain[:, :64] == values[0]).all()
    assert (err[:, 192:] == errors[3]).all()
    darks = make_read_noise(held.lamp("dark0", "dark1"))
    assert np.median(darks.noise_e[active_pixels()]) == pytest.approx(READ_NOISE, rel=0.03)


def test_what_neighbours_share_is_measured_and_put_back(held):
    """Capacitance between pixels smooths the photons' noise but not the read noise."""
    random, gain = np.random.default_rng(5), 2.0
    share = np.array([[0, 0.01, 0], [0.01, 0.96, 0.01], [0, 0.01, 0]])
    exposures = {}
    for number in range(4):
        electrons = np.cumsum(random.poisson(2500.0, (8, 256, 256)), axis=0)
        seen = np.stack([convolve(plane, share, mode="wrap") for plane in electrons.astype(float)])
        seen *= np.pad(np.ones((248, 248)), 4)  # no light reaches the border
        exposures[f"flat{number}"] = (3000 + seen / gain + random.normal(0, 4, seen.shape)).round().astype("u2")
    made = make_gain(held.ramps(exposures, setup=SETUP, gain_e_per_dn=gain, saturation_dn=6e4))
    hidden = 1 - (0.96**2 + 4 * 0.01**2)
    for channel in made.channels:
        assert channel.apparent_gain == pytest.approx(gain / (1 - hidden), rel=0.03)
        assert channel.gain_e_per_dn == pytest.approx(gain, rel=0.03)
    assert made.coupling == pytest.approx(hidden / (1 - hidden), abs=0.025)


def test_cosmic_rays_and_bad_pixels_do_not_count_as_noise():
    random = np.random.default_rng(6)
    first, second = random.normal(1000, 20, (2, 64, 64))
    clean = block_sums(first, second, np.ones((64, 64), bool))
    first[10, 10] += 5000
    second[20, 20:23] -= 800
    struck = block_sums(first, second, np.ones((64, 64), bool))
    assert struck.count == clean.count - 4
    assert struck.square / struck.count == pytest.approx(clean.square / clean.count, rel=0.01)
    assert clean.square / clean.count == pytest.approx(((first - second)[:10] ** 2).mean() / 2, rel=0.1)


def test_ramps_that_make_no_pair_or_show_no_photons_are_refused(held):
    with pytest.raises(UsageError, match="at least 2 ramps of 2 or more reads"):
        make_gain(held.lamp("flat0"))
    with pytest.raises(UsageError, match=r"two ramps of the same light.*flat0 ramp 0: 30\d\d DN/s, dim0 ramp 0: 9\d\d"):
        make_gain(held.lamp("flat0", "dim0"))
    short = {"flat0": lamp().ramps["flat0"], "flat1": lamp().ramps["flat1"][:5]}
    with pytest.raises(UsageError, match="same light and times"):
        make_gain(held.ramps(short))
    with pytest.raises(UsageError, match="same light"):
        make_gain(held.lamp("dark0", "dark1"))
    rising = 5000 + 100 * np.arange(8)[:, None, None] * np.pad(np.ones((56, 120)), 4)
    random = np.random.default_rng(1)
    silent = {f"flat{n}": (rising + random.normal(0, 4, rising.shape)).round().astype("u2") for n in range(2)}
    with pytest.raises(UsageError, match="the noise hardly grows over signals up to 700"):
        make_gain(held.ramps(silent, setup=SETUP))
    dead = {f"flat{number}": [np.full((256, 256), 60_000, "u2")] * 4 for number in range(2)}
    with pytest.raises(UsageError, match="not saturated"):
        make_gain(held.ramps(dead))
