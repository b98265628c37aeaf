"""Acceptance on real and independently simulated reads, through the commands that a user types."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from streams.dq import Dq
from tests.data import shared_data


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
def truth() -> dict[str, np.ndarray]:
    with fits.open(shared_data("ramps/truth_sci_D.fits")) as science:
        planes = {name: science[name].data for name in ("RATE", "CRREAD", "SATREAD")}
    with fits.open(shared_data("ramps/truth_detector_D.fits")) as detector:
        planes["BADPIX"] = detector["BADPIX"].data
    active = np.zeros(planes["RATE"].shape, bool)
    active[4:-4, 4:-4] = True
    planes["active"] = active
    planes["good"] = active & (planes["BADPIX"] == 0) & (planes["CRREAD"] == 255) & (planes["SATREAD"] == 255)
    return planes


@pytest.mark.parametrize(("low", "high", "tolerance"), [(0, 100, 0.015), (100, 500, 0.005)])
def test_rates_are_those_of_the_truth(reduced, truth, low, high, tolerance):
    data = fits.getdata(reduced[1], "DATA")
    chosen = truth["good"] & (truth["RATE"] > low) & (truth["RATE"] < high)
    assert chosen.sum() > 2000
    assert np.median(data[chosen] / truth["RATE"][chosen]) == pytest.approx(1.0, abs=tolerance)


def test_errors_are_honest_at_sky_level(reduced, truth):
    data, err = fits.getdata(reduced[1], "DATA"), fits.getdata(reduced[1], "ERR")
    chosen = truth["good"] & (truth["RATE"] > 0) & (truth["RATE"] < 100)
    chi = (data[chosen] - truth["RATE"][chosen]) / err[chosen]
    assert 0.97 <= 1.4826 * np.median(np.abs(chi - np.median(chi))) <= 1.05


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
