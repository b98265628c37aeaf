"""`rtcal arc solve` and `rtcal arc show` on small arcs."""

import json

import numpy as np
import pytest
from astropy.io import fits
from scipy.stats import norm

from rtcal.spectrograph.arctables import trace_table
from streams.fits_images import write_hdus, write_image
from tests.rtcal.spectrograph.synthetic import Arc
from tests.rtcal.spectrograph.test_arcfile import placed

ROWS, PITCH, SIGMA = 44, 6, 0.9


def table_of(arc, path, lamps="Ar+Ne"):
    hdu = fits.BinTableHDU.from_columns([fits.Column("flux", "D", array=arc.flux[0])])
    primary = fits.PrimaryHDU()
    primary.header["LAMPS"] = lamps
    fits.HDUList([primary, hdu]).writeto(path)
    return path


def image_of(arc, path, flux=None, lamp="Ar,Ne", left=0):
    """Spectra as traces on a detector, six rows apart."""
    count, size = arc.flux.shape
    clean = arc.flux if flux is None else flux
    data = np.random.default_rng(1).normal(0, 1.0, (ROWS, size + left)).astype(np.float32)
    rows = np.arange(ROWS)
    for number in range(count):
        centre = 6.0 + PITCH * number
        profile = norm.cdf(rows + 0.5, centre, SIGMA) - norm.cdf(rows - 0.5, centre, SIGMA)
        data[:, left:] += (profile[:, None] * clean[number]).astype(np.float32)
    cards = fits.Header()
    cards["INSTRUME"], cards["DETECTOR"], cards["LAMPS"] = "IRIS", "IFU", lamp
    cards["DATE-OBS"] = "2031-01-15T06:00:00"
    write_image(path, cards, data, np.ones_like(data), np.zeros(data.shape, np.uint32))
    return path


def solve(command, *words):
    return command("arc", "solve", *words)


@pytest.fixture
def arc():
    return Arc(count=5, snr=300.0)


def test_a_spectrum_is_solved_shown_and_told_in_words(command, tmp_path):
    arc = Arc()
    out = tmp_path / "out.fits"
    code, table, err = solve(
        command, table_of(arc, tmp_path / "a.fits"), "--lamps", "Ar,ne", "--wave-range", *arc.off(), "--out", out
    )
    assert code == 0, err
    assert "OK" in table
    assert "1 of 1 traces, order" in err
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert "warning" not in err
    code, table, err = command("arc", "show", out)
    assert code == 0
    assert "LAMPS Ar,Ne" in err
    assert "NGOOD 1" in err
    code, table, _ = command("arc", "show", out, "--trace", "0", "--json")
    lines = json.loads(table)
    used = [line for line in lines if line["used"]]
    assert len(used) > 15
    assert max(abs(float(line["residual_px"])) for line in used) < 0.3
    assert command("arc", "show", out, "--trace", "7")[0] == 2


def test_spectra_on_a_detector_are_found_in_the_arc_itself(command, tmp_path, arc):
    frame, out = image_of(arc, tmp_path / "frame.fits"), tmp_path / "out.fits"
    code, answer, err = solve(
        command, frame, "--lamps", "Ar,Ne", "--wave-range", *arc.off(), "--out", out, "--json", "--order", "2"
    )
    assert code == 0, err
    told = json.loads(answer)
    assert (told["traces"], told["solved"], told["order"]) == (5, 5, 2)
    assert told["rms_px"] < 0.05
    with fits.open(out) as hdus:
        assert hdus[0].header["DETECTOR"] == "IFU"
        assert hdus[0].header["USEAFTER"] == "2031-01-15 06:00:00"
        wave = hdus["WAVE"].data[6]
        assert np.median(np.abs(wave - arc.wavelengths(0)) / arc.step[0]) < 0.03


def test_spectra_can_be_found_in_a_flat_or_be_given(command, tmp_path, arc):
    frame = image_of(arc, tmp_path / "frame.fits", left=40)
    flat = image_of(arc, tmp_path / "flat.fits", flux=np.full(arc.flux.shape, 900.0), left=40)
    given = tmp_path / "traces.fits"
    write_hdus(given, fits.HDUList([fits.PrimaryHDU(), trace_table(placed(5, arc.x.size, column=40))]))
    for word, path in (("--flat", flat), ("--traces", given)):
        out = tmp_path / f"out{word}.fits"
        code, _, err = solve(command, frame, word, path, "--lamps", "Ar,Ne", "--wave-range", *arc.off(), "--out", out)
        assert code == 0, err
        with fits.open(out) as hdus:
            assert np.abs(hdus["TRACES"].data["X0"] - 40).max() <= 1
            wave = hdus["WAVE"].data[6, 40:]
            assert np.nanmedian(np.abs(wave - arc.wavelengths(0)) / arc.step[0]) < 0.03


def test_what_the_header_says_of_lamps_is_compared(command, tmp_path):
    arc = Arc()
    path = table_of(arc, tmp_path / "a.fits", lamps="Kr")
    code, _, err = solve(command, path, "--lamps", "Ar,Ne", "--wave-range", *arc.off(), "--out", tmp_path / "o.fits")
    assert code == 0
    assert "warning: LAMPS of the arc says Kr, --lamps says Ar, Ne" in err


def test_mistakes_are_told_before_the_work(command, tmp_path):
    path = table_of(Arc(), tmp_path / "a.fits")
    out = tmp_path / "out.fits"
    good = ["--lamps", "Ar", "--wave-range", 1.474, 1.8, "--out", out]
    for words, message in (
        (["--lamps", "Hg", *good[2:]], "lamp 'Hg' is not known; known are Ar, Ne, Kr, Xe"),
        ([*good[:2], "--wave-range", 14740, 18000, "--out", out], "give two wavelengths in um"),
        ([*good, "--pedigree", "MINE"], "--pedigree MINE: choose INFLIGHT"),
        ([*good, "--medium", "water"], "--medium water: choose auto, air, vacuum"),
        ([*good, "--spectrum", 4], "has 1 spectra, there is no number 4"),
        ([*good, "--lines", tmp_path / "none.dat"], "cannot be read"),
    ):
        code, _, err = solve(command, path, *words)
        assert (code, message in err) == (2, True), err
    out.write_text("mine")
    code, _, err = solve(command, path, *good)
    assert code == 2
    assert "is there already; give --overwrite" in err


def test_an_arc_that_cannot_be_solved_is_one_line(command, tmp_path):
    arc = Arc(lamps=["Ar"])
    path = table_of(arc, tmp_path / "a.fits")
    code, _, err = solve(command, path, "--lamps", "Xe", "--wave-range", *arc.off(), "--out", tmp_path / "o.fits")
    assert code == 1
    assert "they do match Ar" in err.splitlines()[-1]
    assert not (tmp_path / "o.fits").exists()


def test_traces_off_the_detector_are_told(command, tmp_path, arc):
    frame, given = image_of(arc, tmp_path / "frame.fits"), tmp_path / "traces.fits"
    write_hdus(given, fits.HDUList([fits.PrimaryHDU(), trace_table(placed(9, arc.x.size, column=0))]))
    code, _, err = solve(
        command, frame, "--traces", given, "--lamps", "Ar,Ne", "--wave-range", *arc.off(), "--out", tmp_path / "o.fits"
    )
    assert code == 1
    assert "traces run off the detector" in err


def test_an_older_arc_is_the_first_guess(command, tmp_path, arc):
    first, again = tmp_path / "first.fits", tmp_path / "again.fits"
    frame = image_of(arc, tmp_path / "frame.fits")
    words = ["--lamps", "Ar,Ne", "--wave-range", *arc.off()]
    assert solve(command, frame, *words, "--out", first)[0] == 0
    arc.shift(-9.0)
    moved = image_of(arc, tmp_path / "moved.fits")
    code, answer, err = solve(command, moved, *words, "--traces", first, "--out", again, "--json")
    assert code == 0, err
    assert json.loads(answer)["solved"] == 5
    with fits.open(again) as hdus:
        wave = hdus["WAVE"].data[6]
        assert np.median(np.abs(wave - arc.wavelengths(0)) / arc.step[0]) < 0.03


def test_traces_of_another_arc_are_refused_for_spectra_that_are_not_theirs(command, tmp_path, arc):
    out = tmp_path / "five.fits"
    frame = image_of(arc, tmp_path / "frame.fits")
    assert solve(command, frame, "--lamps", "Ar,Ne", "--wave-range", *arc.off(), "--out", out)[0] == 0
    table, other = table_of(Arc(), tmp_path / "a.fits"), tmp_path / "other.fits"
    words = ("--lamps", "Ar,Ne", "--wave-range", *arc.off(), "--traces", out, "--out", other)
    code, _, err = solve(command, table, *words)
    assert code == 2
    assert "five.fits has 5 traces, the arc 1 spectra" in err
