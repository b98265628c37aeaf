"""Linearity, against plain linear algebra, against a known polynomial, and against the simulator's truth."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import minimum_filter

from rtcal.errors import UsageError
from rtcal.refmake.curves import Noise, fit_pixels
from rtcal.refmake.linearity import make_linearity
from rtcal.refmake.ramps import usable
from streams.dq import Dq
from streams.fits_reads import FitsSource
from streams.messages import Read
from tests.data import shared_data
from tests.lamp import BEND_PER_E, GAIN, active_pixels, lamp

NOISE = Noise(3.0, 3.0)
TIMES = 0.72 * np.arange(1, 15)


def bent(rates, c2, c3):
    """Return what pixels show whose light is y = x + c2 x^2 + c3 x^3 (bisection), (read, pixel)."""
    light = TIMES[:, None] * np.asarray(rates)
    low, high = np.zeros_like(light), light * 2
    for _ in range(200):
        middle = (low + high) / 2
        above = middle + c2 * middle**2 + c3 * middle**3 > light
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def test_a_known_polynomial_is_found_from_ramps_of_different_brightness():
    random = np.random.default_rng(2)
    c2, c3 = random.uniform(2e-7, 9e-7, 50), random.uniform(-3e-12, 5e-12, 50)
    signals = [bent(random.uniform(0.9, 1.1, 50) * rate, c2, c3) for rate in (2800.0, 2400.0, 900.0)]
    fit = fit_pixels(signals, [TIMES] * 3, [np.ones(x.shape, bool) for x in signals], 3, NOISE)
    found = fit.coefficients(fit.scaled)
    np.testing.assert_array_equal(found[:2], [np.zeros(50), np.ones(50)])
    x = np.linspace(1, fit.reach_dn, 40)
    linear, truth = (x + one * x**2 + other * x**3 for one, other in ((found[2], found[3]), (c2, c3)))
    assert np.abs(linear / truth - 1).max() < 1e-6


@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_estimate_is_that_of_the_whole_system_of_equations(order):
    random = np.random.default_rng(order)
    signals = [bent(np.full(6, rate), 5e-7, 0.0) + random.normal(0, 3, (14, 6)) for rate in (2800.0, 1500.0)]
    used = [np.ones((14, 6), bool) for _ in signals]
    used[0][11:, :3] = False
    fit = fit_pixels(signals, [TIMES] * 2, used, order, Noise(1e3, 3.0))  # no jumps
    for pixel in range(6):
        rows, right, weights = [], [], []
        for ramp, (x, mask) in enumerate(zip(signals, used, strict=True)):
            t, own = TIMES[mask[:, pixel]], x[mask[:, pixel], pixel]
            flux = own.sum() / t.sum()
            line, place = np.zeros((len(t), 4)), 2 * ramp
            line[:, place], line[:, place + 1] = t, 1
            rows.append(np.column_stack([*(own**k for k in range(2, order + 1)), -line]))
            weights.append(np.column_stack([*((flux * t) ** k for k in range(2, order + 1)), line]))
            right.append(-own)
        instruments = np.concatenate(weights).T
        scale = np.abs(instruments).max(axis=1, keepdims=True)
        unit = np.abs(np.concatenate(rows)).max(axis=0)
        solved = np.linalg.solve(
            instruments / scale @ (np.concatenate(rows) / unit), instruments / scale @ np.concatenate(right)
        )
        np.testing.assert_allclose(
            fit.coefficients(fit.scaled)[2:, pixel], (solved / unit)[: order - 1], rtol=1e-5, atol=0
        )


def test_the_stated_covariance_is_the_scatter_and_the_mean_is_the_truth():
    random = np.random.default_rng(4)
    steps = random.normal(np.full((14, 4000), 2000.0), np.sqrt(2000.0 / 3.0))
    light = np.cumsum(steps, axis=0)
    measured = light - 4e-7 * light**2 + random.normal(0, 3, light.shape)
    fit = fit_pixels([measured], [TIMES], [np.ones(light.shape, bool)], 2, NOISE)
    chi = (fit.scaled[:, 0] - fit.scaled[:, 0].mean()) / np.sqrt(fit.covariance[:, 0, 0])
    assert chi.std() == pytest.approx(1.0, abs=0.05)
    linear = measured[-1].mean() + fit.scaled[:, 0].mean() / fit.unit_dn * (measured[-1] ** 2).mean()
    assert linear / light[-1].mean() == pytest.approx(1.0, abs=1e-3)


def test_a_cosmic_ray_costs_its_step_alone():
    random = np.random.default_rng(6)
    light = np.cumsum(random.normal(np.full((14, 3), 2000.0), 1.0), axis=0)
    light[:, 2] = light[:, 1] = light[:, 0]
    light[6:, 1] += 900
    light[4:, 2] += 900
    light[9:, 2] += 700
    measured = light - 4e-7 * light**2
    fit = fit_pixels([measured], [TIMES], [np.ones(light.shape, bool)], 2, Noise(1.0, 2000.0))
    c2, sigma = fit.coefficients(fit.scaled)[2], np.sqrt(fit.covariance[:, 0, 0]) / fit.unit_dn
    assert np.abs(c2 - c2[0]).max() < 3 * sigma.max() < 4e-8
    assert np.abs(c2 - 4e-7).max() < 4e-8


def test_reads_from_saturation_on_are_not_used():
    raw = np.array([5, 9, 12, 8, 0, 3])[:, None, None] * np.ones((6, 1, 2))
    np.testing.assert_array_equal(usable(raw, 10.0)[:, 0, 0], [True, True, False, False, False, False])
    assert usable(raw, 100.0).sum() == 2 * 5  # 0 is the converter's floor


def test_the_simulators_bend_is_taken_out_within_a_thousandth(held, bands):
    flats = held.lamp("flat0", "flat1", "flat2", "flat3", "bright0")
    made = make_linearity(flats, 3, None, 0.97 * flats.detector.saturation_dn, bands)
    good = active_pixels()
    assert (made.dq[good] == 0).mean() > 0.999
    assert (made.dq[lamp().chip.dq & Dq.DEAD != 0] == Dq.NO_LIN_CORR).all()
    assert (made.coefficients[:, 0, 0] == [0, 1, 0, 0]).all()
    assert made.dq[0, 0] & Dq.REFERENCE_PIXEL
    for charge in (10_000, 40_000, 80_000):
        x = charge * (1 - BEND_PER_E * charge) / GAIN
        linear = (made.coefficients[:, good] * x ** np.arange(4.0)[:, None]).sum(axis=0) * GAIN / charge
        assert np.median(linear) == pytest.approx(1.0, abs=1e-3)
        assert 1.4826 * np.median(np.abs(linear - np.median(linear))) < 1e-3
        assert np.abs(linear - 1).max() < 0.015  # the edges of the detector, where a channel is half border, too
    assert 27_000 < made.valid_dn < 33_000


def test_too_few_reads_or_too_little_light_are_said(held, bands):
    reads = lamp().ramps["flat0"]
    with pytest.raises(UsageError, match=r"linearity needs at least 1 ramps of 6 or more reads; found flat ramp 0: 4"):
        make_linearity(held.ramps({"flat": reads[:4]}), 3, None, 34_000.0, bands)
    with pytest.raises(UsageError, match=r"too little to show a bend"):
        make_linearity(held.lamp("dark0"), 2, None, 34_000.0, bands)
    with pytest.raises(UsageError, match="no pixel can be fitted"):
        make_linearity(held.lamp("flat0"), 3, None, 100.0, bands)


@pytest.mark.real_data
def test_stars_simulated_by_others_show_the_bend_that_was_put_in(held, settings):
    folder = shared_data("ramps")
    with fits.open(folder / "truth_sci_D.fits") as truth:
        rate, struck, saturated = truth["RATE"].data, truth["CRREAD"].data, truth["SATREAD"].data
        volts_per_dn = truth[0].header["LSB_V"]
        bend = truth[0].header["NLCOEF_A"] * volts_per_dn
    good = fits.getdata(folder / "truth_detector_D.fits", "BADPIX") == 0
    stack = held.ramps({})
    with FitsSource([folder / "sci_D"], settings.fits_keys) as source:
        while not source.exhausted:
            message = source.receive(0.0)
            if isinstance(message, Read):
                stack.append(message)
    # A neighbour that saturates bends a pixel too, through the capacitance between them: such pixels do not count.
    good &= (minimum_filter(struck, 3) == 255) & (minimum_filter(saturated, 5) > 9) & (rate > 300) & (rate < 1500)
    values, sigmas = [], []
    for rows, (band,) in stack.bands():
        chosen = good[rows]
        zero = band.signal_dn[0] - (band.signal_dn[1] - band.signal_dn[0])
        used = usable(band.raw_dn, 49_000.0)[:, chosen]
        fit = fit_pixels([(band.signal_dn - zero)[:, chosen]], [band.times_s], [used], 2, Noise(4.1, 2.0))
        values += list(fit.scaled[:, 0] / fit.unit_dn)
        sigmas += list(np.sqrt(fit.covariance[:, 0, 0]) / fit.unit_dn)
    weights = 1 / np.array(sigmas) ** 2
    assert len(values) > 300
    assert np.sum(values * weights) / weights.sum() == pytest.approx(bend, abs=3 / np.sqrt(weights.sum()))
    assert 3 / np.sqrt(weights.sum()) < 0.2 * bend
