"""Which line is which, from guesses that are off."""

import numpy as np
import pytest

from rtcal.spectrograph.detection import detect
from rtcal.spectrograph.linelists import LineList, lamp_lines
from rtcal.spectrograph.matching import Detected, Limits, blended, linear_guess, match
from tests.rtcal.spectrograph.synthetic import Arc


def found_in(arc, settings):
    return detect([arc.spectra()], settings.arc)[0]


@pytest.mark.parametrize("shift", [-20, 0, 20])
@pytest.mark.parametrize("stretch", [-0.02, 0, 0.02])
def test_a_guess_off_by_20_pixels_and_2_per_cent_is_found(settings, shift, stretch):
    arc = Arc()
    found = found_in(arc, settings)
    matched = match(found, arc.lines, linear_guess(*arc.off(shift, stretch)), (0.0, 1599.0), Limits(20, 0.02), None)
    error = (matched.wavelengths(arc.x) - arc.wavelengths(0)) / arc.step[0]
    assert np.abs(error[100:-100]).max() < 0.05
    assert matched.explained > 0.95


def test_a_spectrum_that_runs_to_the_blue_is_no_different(settings):
    arc = Arc()
    arc.flux = arc.flux[:, ::-1].copy()
    found = found_in(arc, settings)
    matched = match(found, arc.lines, linear_guess(*arc.off()[::-1]), (0.0, 1599.0), Limits(20, 0.02), None)
    error = (matched.wavelengths(arc.x) - arc.wavelengths(0)[::-1]) / arc.step[0]
    assert np.abs(error[100:-100]).max() < 0.05


def test_spurious_lines_do_no_harm(settings):
    arc = Arc()
    rng = np.random.default_rng(4)
    found = found_in(arc, settings)
    more = 15
    joined = {
        "x": np.concatenate([found.x, rng.uniform(0, 1599, more)]),
        "flux": np.concatenate([found.flux, rng.uniform(found.flux.min(), np.median(found.flux), more)]),
        "err_px": np.concatenate([found.err_px, np.full(more, 0.02)]),
        "sigma_px": np.concatenate([found.sigma_px, np.full(more, 0.85)]),
        "snr": np.concatenate([found.snr, np.full(more, 50.0)]),
        "usable": np.concatenate([found.usable, np.ones(more, bool)]),
        "state": np.concatenate([found.state, np.zeros(more, int)]),
    }
    order = np.argsort(joined["x"])
    crowded = Detected(**{name: values[order] for name, values in joined.items()})
    matched = match(crowded, arc.lines, linear_guess(*arc.off()), (0.0, 1599.0), Limits(20, 0.02), None)
    error = (matched.wavelengths(arc.x) - arc.wavelengths(0)) / arc.step[0]
    assert np.abs(error[100:-100]).max() < 0.1


def test_random_lines_match_nothing():
    rng = np.random.default_rng(7)
    listed = lamp_lines(["Ar", "Ne"]).between(1.45, 1.82)
    for _ in range(40):
        count = int(rng.integers(4, 40))
        flux = 10 ** rng.uniform(2, 5, count)
        ones = np.ones(count)
        found = Detected(
            np.sort(rng.uniform(0, 1599, count)), flux, 0.02 * ones, 0.85 * ones, flux, ones > 0, np.zeros(count, int)
        )
        matched = match(found, listed, linear_guess(1.474, 1.8), (0.0, 1599.0), Limits(20, 0.02), None)
        assert matched is None


def test_nothing_to_match_is_no_match():
    nothing = np.empty(0)
    none = Detected(nothing, nothing, nothing, nothing, nothing, np.empty(0, bool), np.empty(0, int))
    assert match(none, lamp_lines(["Ar"]), linear_guess(1.4, 1.8), (0.0, 99.0), Limits(20, 0.02), None) is None


def test_blends_are_lines_near_something_strong_enough():
    listed = LineList(np.array([1.0, 1.0001, 1.01, 1.02, 1.0201]), np.array([1.0, 0.5, 1.0, 1.0, 0.01]), ("",) * 5)
    assert blended(listed, 2e-4).tolist() == [True, True, False, False, True]
