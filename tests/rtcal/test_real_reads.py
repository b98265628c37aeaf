"""Acceptance on real and independently simulated reads, through the commands that a user types."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import convolve

from streams.dq import Dq
from tests.data import shared_data

READS = 10


def rtcal(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rtcal", *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The bad-pixel map and the science frame that the commands of the user guide make."""
    ramps, out = shared_data("ramps"), tmp_path_factory.mktemp("reduced")
    dark, badpix, sky = out / "dark.fits", out / "badpix.fits", out / "sky.fits"
    rtcal("refs", "make", "dark", ramps / "dark_D1", ramps / "dark_D2", "--out", dark)
    rtcal("refs", "make", "badpix", ramps / "dark_D1", ramps / "dark_D2", ramps / "sky_D", "--out", badpix)
    use = ["--override", f"dark={dark}", "--override", f"badpix={badpix}"]
    rtcal("refs", "make", "sky", ramps / "sky_D", *use, "--out", sky)
    rtcal("reduce", ramps / "sci_D", *use, "--override", "sky=N/A", "--mode", "utr", "--out", out / "frames")
    (frame,) = (out / "frames").glob("*.fits")
    return badpix, frame


@pytest.fixture(scope="module")
def linear(reduced: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The science frame with linearity, whose polynomials undo the bend that the truth tells."""
    ramps, out = shared_data("ramps"), tmp_path_factory.mktemp("linear")
    bias, coefficients = out / "bias.fits", out / "linearity.fits"
    rtcal("refs", "make", "bias", ramps / "dark_D1", ramps / "dark_D2", "--out", bias)
    told = fits.getheader(ramps / "truth_sci_D.fits")
    bend = told["NLCOEF_A"] * told["LSB_V"]  # measured = V - a V^2 in DN; the series of its inverse
    planes = np.zeros((5, 1024, 1024), "f4")
    planes[1:] = np.array([1, bend, 2 * bend**2, 5 * bend**3])[:, None, None]
    header = fits.getheader(bias)
    header["REFTYPE"] = "NONLINCOEFF"
    fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(planes, name="COEFFS")]).writeto(coefficients)
    use = [f"{kind}={reduced[0].with_name(f'{kind}.fits')}" for kind in ("dark", "badpix")]
    use += [f"bias={bias}", f"linearity={coefficients}", "sky=N/A"]
    options = [part for one in use for part in ("--override", one)]
    rtcal("reduce", ramps / "sci_D", *options, "--mode", "utr", "--out", out / "frames")
    (frame,) = (out / "frames").glob("*.fits")
    return frame


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    with fits.open(shared_data("ramps/truth_sci_D.fits")) as science:
        planes = {name: science[name].data for name in ("RATE", "CRREAD", "SATREAD", "CRELEC")}
        planes["STARS"] = np.array(science["STARS"].data)
        share = science[0].header["IPC"]
    with fits.open(shared_data("ramps/truth_detector_D.fits")) as detector:
        planes["BADPIX"] = detector["BADPIX"].data
    # The truth is that of the charge; capacitance shows part of each pixel's in its four neighbours.
    kernel = np.array([[0, share, 0], [share, 1 - 4 * share, share], [0, share, 0]])
    planes["SHOWN"] = convolve(planes["RATE"].astype(float), kernel, mode="nearest")
    active = np.zeros(planes["RATE"].shape, bool)
    active[4:-4, 4:-4] = True
    planes["active"] = active
    planes["good"] = active & (planes["BADPIX"] == 0) & (planes["CRREAD"] == 255) & (planes["SATREAD"] == 255)
    return planes


@pytest.mark.parametrize(("low", "high", "tolerance"), [(0, 100, 0.006), (100, 500, 0.005)])
def test_rates_are_those_of_the_truth(reduced, truth, low, high, tolerance):
    data = fits.getdata(reduced[1], "DATA")
    chosen = truth["good"] & (truth["RATE"] > low) & (truth["RATE"] < high)
    assert chosen.sum() > 2000
    assert np.median(data[chosen] / truth["RATE"][chosen]) == pytest.approx(1.0, abs=tolerance)


@pytest.mark.parametrize(("low", "high"), [(0, 100), (100, 500), (500, np.inf)])
def test_linear_rates_are_those_of_the_truth_as_capacitance_shows_it(linear, truth, low, high):
    data = fits.getdata(linear, "DATA")
    chosen = truth["good"] & (truth["RATE"] > low) & (truth["RATE"] < high)
    tolerance = 0.005 if low == 0 else 0.002  # this simulation lights its outermost reference pixels: 0.02 e-/s
    assert np.median(data[chosen] / truth["SHOWN"][chosen]) == pytest.approx(1.0, abs=tolerance)


def test_apertures_of_stars_have_no_trend_with_their_light(linear, truth):
    data, lost = fits.getdata(linear, "DATA"), ~truth["good"]
    y, x = np.mgrid[: data.shape[0], : data.shape[1]]
    ratios, peaks = [], []
    for star in truth["STARS"]:
        inside = (x - star["x0"]) ** 2 + (y - star["y0"]) ** 2 <= 25
        if not lost[inside].any():
            ratios.append(data[inside].sum() / truth["RATE"][inside].sum())
            peaks.append(truth["RATE"][inside].max())
    assert len(ratios) > 50
    by_light = np.array_split(np.array(ratios)[np.argsort(peaks)], 4)
    assert np.median(ratios) == pytest.approx(1.0, abs=0.002)
    assert [np.median(quarter) for quarter in by_light] == pytest.approx([1.0] * 4, abs=0.004)


def test_cosmic_rays_are_found_and_few_that_are_not_there(reduced, truth):
    jumped = fits.getdata(reduced[1], "DQ") & Dq.JUMP_DET != 0
    whole = truth["active"] & (truth["BADPIX"] == 0) & (truth["SATREAD"] == 255)
    hit = whole & (truth["CRREAD"] > 0) & (truth["CRREAD"] < 255) & (truth["CRELEC"] > 130)
    assert jumped[hit].mean() >= 0.99
    assert jumped[whole & (truth["CRELEC"] < 20)].mean() / (READS - 1) < 5e-5


def test_errors_are_honest_at_sky_level(reduced, truth):
    data, err = fits.getdata(reduced[1], "DATA"), fits.getdata(reduced[1], "ERR")
    chosen = truth["good"] & (truth["RATE"] > 0) & (truth["RATE"] < 100)
    chi = (data[chosen] - truth["RATE"][chosen]) / err[chosen]
    assert 0.97 <= 1.4826 * np.median(np.abs(chi - np.median(chi))) <= 1.03


def test_bad_pixels_are_found_and_few_good_ones_are_lost(reduced, truth):
    dq, made = fits.getdata(reduced[1], "DQ"), fits.getdata(reduced[0], "DQ")
    bad = truth["active"] & (truth["BADPIX"] > 0)
    assert (dq[bad] & Dq.DO_NOT_USE != 0).mean() >= 0.95
    good = truth["active"] & (truth["BADPIX"] == 0)
    assert (made[good] & Dq.DO_NOT_USE != 0).mean() < 0.001


def test_saturation_is_flagged_from_the_read_that_the_truth_gives(reduced, truth):
    found, wanted = fits.getdata(reduced[1], "SATREAD").astype(int), truth["SATREAD"].astype(int)
    saturated = wanted < 255
    dq = fits.getdata(reduced[1], "DQ")
    assert (dq[saturated] & Dq.SATURATED != 0).mean() >= 0.99
    assert (
        np.abs(found[saturated] - wanted[saturated]).max() <= 1 or (found[saturated] == wanted[saturated]).mean() > 0.9
    )
    assert (found[saturated] > wanted[saturated]).mean() < 0.01


def test_an_hst_file_agrees_with_its_own_last_read(tmp_path):
    source = shared_data("wfc3_ima/iccz11q4q_ima.fits.gz")
    rtcal("reduce", source, "--mode", "utr", "--out", tmp_path)
    (frame,) = tmp_path.glob("*.fits")
    with fits.open(source) as reads:
        last, dq = reads["SCI", 1].data, reads["DQ", 1].data
    zeroth_read_signal = 2048  # the star is bright from the zeroth read on: not a fault of the pixel
    chosen = (dq & ~zeroth_read_signal == 0) & (last > 2000)
    assert chosen.any()
    assert np.median(fits.getdata(frame, "DATA")[chosen] / last[chosen]) == pytest.approx(1.0, abs=0.01)
