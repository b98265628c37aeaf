"""Linearity files: both conventions, pixels without a polynomial, the valid range, windows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from refcache import Linearity, load_reference
from refcache.errors import LayoutError
from refcache.references import crop
from rtcal.kernels.signal import linearise_row
from streams.dq import Dq
from tests.crds_cache import SHAPE, reference_hdus

RNG = np.random.default_rng(11)


def linearise(signal: np.ndarray, coefficients: np.ndarray) -> None:
    """Apply the polynomials by the kernel, which leaves out what drops out of differences."""
    for y, row in enumerate(signal):
        linearise_row(y, np.zeros_like(row), coefficients, row)
    signal += coefficients[:, 0]


def write(path: Path, cube: np.ndarray, name: str = "COEFFS", dq: np.ndarray | None = None, **cards: Any) -> Linearity:
    hdus = reference_hdus("linearity")
    for key, value in cards.items():
        hdus[0].header[key] = value
    hdus[1] = fits.ImageHDU(cube, name=name)
    if dq is not None:
        hdus["DQ"].data = dq
    hdus.writeto(path, overwrite=True)
    loaded = load_reference(path, "linearity")
    assert isinstance(loaded, Linearity)
    return loaded


def cube(planes: int) -> np.ndarray:
    scales = 10.0 ** (-5 * np.arange(planes))[:, None, None]
    return (RNG.normal(1, 0.1, (planes, *SHAPE)) * scales).astype(np.float32)


@pytest.mark.parametrize("name", ["COEFFS", "DATA"])
def test_ascending_planes_become_rows_of_coefficients(tmp_path: Path, name: str) -> None:
    planes = cube(4)
    loaded = write(tmp_path / "l.fits", planes, name)
    assert loaded.coefficients.shape == (SHAPE[0], 4, SHAPE[1])
    np.testing.assert_array_equal(loaded.coefficients, planes.transpose(1, 0, 2))
    assert loaded.valid_dn == np.inf
    signal = RNG.uniform(0, 30_000, SHAPE).astype(np.float32)
    expected = sum(planes[k].astype(np.float64) * signal.astype(np.float64) ** k for k in range(4))
    linearise(signal, loaded.coefficients)
    np.testing.assert_allclose(signal, expected, rtol=1e-5)


def test_the_convention_of_the_readout_software_gives_the_same_signal(tmp_path: Path) -> None:
    """`y = x (1 + c0 + c1 x + c2 x^2)` by hand, and the ascending form by the loader and the kernel."""
    c = (np.array([2e-3, -3e-7, 4e-12])[:, None, None] * RNG.uniform(0.9, 1.1, (3, *SHAPE))).astype(np.float32)
    loaded = write(tmp_path / "l.fits", c, LINFORM="readout", LINMAX=45_000)
    assert loaded.coefficients.shape == (SHAPE[0], 4, SHAPE[1])
    assert loaded.valid_dn == 45_000.0
    x = RNG.uniform(10, 30_000, SHAPE).astype(np.float32)
    exact = x.astype(np.float64)
    expected = exact * (1 + c[0].astype(float) + c[1].astype(float) * exact + c[2].astype(float) * exact**2)
    linearise(x, loaded.coefficients)
    np.testing.assert_allclose(x, expected, rtol=1e-6)


@pytest.mark.parametrize("form", ["ASCENDING", "READOUT"])
def test_pixels_without_a_polynomial_stay_as_they_are_and_are_flagged(tmp_path: Path, form: str) -> None:
    planes = cube(3)
    planes[2, 1, 2] = np.nan
    planes[0, 3, 3] = np.inf
    dq = np.zeros(SHAPE, np.uint32)
    dq[4, 4] = Dq.NO_LIN_CORR  # the file says so: whatever stands there is no polynomial
    dq[5, 5] = Dq.HOT
    loaded = write(tmp_path / "l.fits", planes, dq=dq, LINFORM=form)
    count = loaded.coefficients.shape[1]
    for y, x in ((1, 2), (3, 3), (4, 4)):
        assert loaded.coefficients[y, :, x].tolist() == [0, 1] + [0] * (count - 2)
        assert loaded.dq.plane()[y, x] == Dq.NO_LIN_CORR
    assert np.count_nonzero(loaded.dq.plane()) == 4
    assert np.isfinite(loaded.coefficients).all()
    assert loaded.notes == ("3 pixels without a polynomial are not made linear",)


def test_dq_is_optional(tmp_path: Path) -> None:
    hdus = reference_hdus("linearity")
    hdus.pop()
    hdus.writeto(tmp_path / "l.fits")
    assert load_reference(tmp_path / "l.fits", "linearity").notes == ("no DQ: no pixel is flagged",)


@pytest.mark.parametrize(
    ("planes", "cards", "text"),
    [
        (cube(3)[0], {}, r"COEFFS: is of shape \(6, 8\); coefficients are \(k, y, x\), up to 16 of them"),
        (np.zeros((17, *SHAPE), "f4"), {}, r"COEFFS: is of shape \(17, 6, 8\); coefficients are"),
        (np.zeros((1, *SHAPE), "f4"), {}, "COEFFS: has one coefficient, a constant"),
        (cube(3).astype("i2"), {}, "COEFFS: is int16; write it as float32"),
        (cube(3) * np.nan, {}, "COEFFS: no pixel has a usable polynomial"),
        (cube(3), {"LINFORM": "HORNER"}, "LINFORM: is 'HORNER'; known are ASCENDING and READOUT"),
        (cube(3), {"LINMAX": 0}, "LINMAX: is 0; it is a signal above the bias in DN, above 0"),
        (cube(3), {"LINMAX": "many"}, "LINMAX: is 'many'; it is a signal"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_words(
    tmp_path: Path, planes: np.ndarray, cards: dict[str, Any], text: str
) -> None:
    with pytest.raises(LayoutError, match=text):
        write(tmp_path / "l.fits", planes, **cards)


def test_a_window_of_coefficients_is_cut_along_rows_and_columns(tmp_path: Path) -> None:
    planes = cube(3)
    cut = crop(write(tmp_path / "l.fits", planes), 1, 2, (3, 4))
    assert isinstance(cut, Linearity)
    np.testing.assert_array_equal(cut.coefficients, planes[:, 1:4, 2:6].transpose(1, 0, 2))
    assert cut.coefficients.flags.c_contiguous
    assert cut.shape == (3, 4)
