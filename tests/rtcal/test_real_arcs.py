"""Real lamps: Keck's MOSFIRE and IRTF's uSpeX, and independently simulated arc reads, by the tools that a user has."""

import json

import numpy as np
import pytest
from astropy.io import fits

from rtcal.spectrograph.arc import solve
from rtcal.spectrograph.arcframes import load_spectra
from rtcal.spectrograph.detection import detect
from rtcal.spectrograph.linelists import lamp_lines
from rtcal.spectrograph.matching import BLEND_FWHM, blended
from rtcal.spectrograph.solution import ArcError
from tests.data import shared_data

pytestmark = pytest.mark.real_data
SHIFT_PX, STRETCH = 20, 0.02
USPEX_OWN_RANGE_UM = {("LXD_short", 7): (2.4, 2.985), ("LXD_long", 7): (2.4, 2.985)}
"""Beyond the last line of its own list a solution extrapolates: no yardstick."""


def off(wave, sign, stretch):
    """The range of a spectrum, off by 20 pixels and 2 per cent."""
    step = np.median(np.diff(wave))
    middle, half = (wave[0] + wave[-1]) / 2 + sign * SHIFT_PX * step, (wave[-1] - wave[0]) / 2 * (1 + stretch)
    return middle - half, middle + half


def check(spectra, wave, lamps, settings, within=None):
    """Solve from four wrong guesses; return the rms against the own wavelengths [px], and the share identified."""
    x = np.arange(wave.size)
    step = np.gradient(wave)
    solutions = [
        solve([spectra], lamp_lines(lamps), off(wave, sign, stretch), settings.arc)
        for sign, stretch in ((1, STRETCH), (1, -STRETCH), (-1, STRETCH), (-1, -STRETCH))
    ]
    for other in solutions[1:]:  # the wrong guess leaves no trace
        error = other.traces[0].matched.wavelengths(x) - solutions[0].traces[0].matched.wavelengths(x)
        assert np.abs(error / step)[100:-100].max() < 0.3
    matched, found = solutions[0].traces[0].matched, solutions[0].traces[0].found
    low, high = within or (0, 99)
    used = matched.used & (matched.wavelength_um > low) & (matched.wavelength_um < high)
    places = found.x[matched.lines[used]]
    error = (matched.wavelengths(places) - np.interp(places, x, wave)) / np.interp(places, x, step)
    return float(np.sqrt(np.mean(error**2))), clean_share(solutions[0], wave, lamps, settings, spectra)


def clean_share(solution, wave, lamps, settings, spectra):
    """The part of the clean listed lines that were seen and identified.

    Clean: no blend in the list, and a usable line of the spectrum lies within half a pixel of where the file's own
    wavelengths put it.
    """
    (found,) = detect([spectra], settings.arc)
    listed = lamp_lines(lamps).between(wave.min(), wave.max())
    strong = listed.intensity > 0.005
    step = float(np.median(np.abs(np.diff(wave))))
    fwhm_um = 2.355 * float(np.median(found.sigma_px[found.usable])) * step
    clean = strong & ~blended(listed, BLEND_FWHM * fwhm_um)
    where = np.interp(listed.wavelength_um, wave, np.arange(wave.size))
    seen = np.array([np.abs(found.x[found.usable] - place).min() < 0.5 for place in where])
    named = np.isin(listed.wavelength_um, solution.traces[0].matched.wavelength_um)
    assert (clean & seen).sum() >= 3
    return (clean & seen & named).sum() / (clean & seen).sum()


@pytest.mark.parametrize("band", ["J", "H"])
def test_mosfire_lamps_are_solved(settings, band):
    path = shared_data(f"arcs/mosfire/keck_mosfire_arcs_{band}.fits")
    spectra, _ = load_spectra(path, None)
    rms, share = check(spectra, fits.getdata(path, 1)["wave"].astype(float) / 1e4, ["Ar", "Ne"], settings)
    assert rms <= 0.1
    assert share >= 0.9


ORDERS = [
    *(("ShortXD", number, order) for number, order in enumerate(range(3, 10), 1)),
    *(("LXD_short", number, order) for number, order in ((3, 7), (4, 8), (5, 9), (6, 10), (7, 11))),
    *(("LXD_long", number, order) for number, order in ((4, 7), (5, 8), (6, 9), (7, 10))),
]


@pytest.mark.parametrize(("mode", "number", "order"), ORDERS, ids=lambda value: str(value))
def test_uspex_argon_orders_are_solved(settings, mode, number, order):
    path = shared_data(f"arcs/uspex/{mode}_wavecalinfo.fits")
    spectra, _ = load_spectra(path, number)
    wave = fits.getdata(path)[number - 1, 0, : int(spectra.length[0])]
    rms, share = check(spectra, wave, ["Ar"], settings, USPEX_OWN_RANGE_UM.get((mode, order)))
    assert rms <= 0.1
    assert share >= 0.9


def own_order_5(mode, number, settings):
    """Return spectrum and wavelengths of order 5, and place [px] and wavelength of each line of its list seen."""
    path = shared_data(f"arcs/uspex/{mode}_wavecalinfo.fits")
    spectra, _ = load_spectra(path, number)
    wave = fits.getdata(path)[number - 1, 0, : int(spectra.length[0])]
    rows = [row.split("|") for row in shared_data(f"arcs/uspex/{mode}_lines.dat").read_text().splitlines()]
    listed = np.array([float(row[1]) for row in rows if row[0].strip() == "5"])
    (found,) = detect([spectra], settings.arc)
    place = np.interp(listed, wave, np.arange(wave.size))
    nearest = found.x[np.abs(found.x[:, None] - place).argmin(axis=0)]
    seen = np.abs(nearest - place) < 1
    return spectra, wave, nearest[seen], listed[seen]


def test_uspex_order_5_of_the_long_mode_is_solved_better_than_by_its_own_wavelengths(settings):
    """Why it is no yardstick: a parabola goes through all of its lines, and its own wavelengths do not."""
    spectra, wave, x, listed = own_order_5("LXD_long", 2, settings)
    assert x.size == 6
    per_px = np.interp(x, np.arange(wave.size), np.gradient(wave))
    parabola = np.polynomial.Polynomial.fit(x, listed, 2)
    assert np.abs((parabola(x) - listed) / per_px).max() < 0.05
    assert np.abs((np.interp(x, np.arange(wave.size), wave) - listed) / per_px).max() > 0.25
    for sign, stretch in ((1, STRETCH), (1, -STRETCH), (-1, STRETCH), (-1, -STRETCH)):
        solution = solve([spectra], lamp_lines(["Ar"]), off(wave, sign, stretch), settings.arc)
        error = (solution.traces[0].matched.wavelengths(x) - listed) / per_px
        assert np.abs(error[np.abs(error).argsort()[:5]]).max() < 0.05  # five lines are used
        assert np.abs(error).max() < 0.15  # one at SNR 12


def test_uspex_order_5_of_the_short_mode_shows_too_few_lines(settings):
    spectra, wave, x, _ = own_order_5("LXD_short", 1, settings)
    assert x.size == 4
    with pytest.raises(ArcError, match="6 lines found in 1 spectra, 6 of them usable"):
        solve([spectra], lamp_lines(["Ar"]), off(wave, 1, STRETCH), settings.arc)


@pytest.mark.parametrize("guess", [(1.48985, 1.79175), (1.4842, 1.77424)], ids=["red", "blue"])
def test_simulated_arc_reads_are_solved_to_three_hundredths_of_a_pixel(command, tmp_path, guess):
    out = tmp_path / "arc.fits"
    words = ["arc", "solve", shared_data("ramps/arc_D"), "--lamps", "Ar,Ne", "--wave-range", *guess, "--out", out]
    code, answer, err = command(*words, "--override", "dark=N/A", "--json")
    assert code == 0, err
    told = json.loads(answer)
    assert (told["traces"], told["solved"], told["failed"]) == (60, 60, [])
    truth = fits.getdata(shared_data("ramps/truth_arc_D.fits"), "WAVSOL")
    with fits.open(out) as hdus:
        wave, ident = hdus["WAVE"].data, hdus["TRACEID"].data
        middle = hdus["TRACES"].data["Y0"] + hdus["TRACES"].data["Y1"] * 511.5 + hdus["TRACES"].data["Y2"] * 511.5**2
    np.testing.assert_allclose(middle, truth["ycen"], atol=0.5)
    x = np.arange(1024.0)
    rows = truth["ycen"].astype(int)
    true = (truth["c0_A"][:, None] + truth["c1_A_pix"][:, None] * x + truth["c2_A_pix2"][:, None] * x**2) / 1e4
    assert (ident[rows] >= 0).all()
    error = np.abs(wave[rows] - true) / (truth["c1_A_pix"][:, None] / 1e4)
    assert np.median(error) <= 0.03
    assert np.median(error, axis=1).max() <= 0.1
    assert (tmp_path / "arc.png").stat().st_size > 5000
