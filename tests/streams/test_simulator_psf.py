import numpy as np
import pytest
import scipy.signal

from streams.errors import SettingsError
from streams.simulator.instrument import band_um
from streams.simulator.psf import FINE, STAMP, halo_fwhm_px, make_psf, moffat, strehl


@pytest.fixture(scope="module")
def psf():
    return make_psf(band_um("H"), 193, 0.15)


def centroid(image):
    y, x = np.indices(image.shape)
    return (y * image).sum() / image.sum(), (x * image).sum() / image.sum()


@pytest.mark.parametrize(("wavelength_um", "expected"), [(1.248, 0.39), (1.633, 0.58), (2.145, 0.73)])
def test_strehl_of_193_nm(wavelength_um, expected):
    # exp(-(2 pi 193 nm / lambda)^2), J, H and Ks: the values of NFIRAOS's error budget.
    assert strehl(193, wavelength_um) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("name", "share"), [("H", 0.100), ("Ks", 0.058)])
def test_one_pixel_holds_the_share_of_a_diffraction_limited_star(name, share):
    # Shares of a point-sampled 4 mas pixel at a 30 m telescope; the mean over a pixel is a little less.
    peak = make_psf(band_um(name), 0, 0.15).core[FINE // 2, FINE // 2].max()
    assert 0.90 * share < peak < 1.0 * share


def test_core_is_normalised_and_placed_to_a_third_of_a_pixel(psf):
    for j in range(FINE):
        for i in range(FINE):
            core = psf.core[j, i]
            assert core.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
            y, x = centroid(core.astype(np.float64))
            assert y - STAMP // 2 == pytest.approx((j - 1) / FINE, abs=2e-3)
            assert x - STAMP // 2 == pytest.approx((i - 1) / FINE, abs=2e-3)


def test_core_has_the_width_of_the_diffraction_limit(psf):
    # 1.03 lambda / D would be a plain aperture's; the obscuration makes it a little narrower.
    core = psf.core[1, 1, STAMP // 2].astype(np.float64)
    half = core[STAMP // 2] / 2
    width_px = 2 * np.interp(-half, -core[STAMP // 2 : STAMP // 2 + 5], np.arange(5))
    limit_px = 1.03 * 1.633e-6 / 30 * np.degrees(3.6e6) / 4
    assert width_px == pytest.approx(limit_px, rel=0.08)


def test_halo_follows_seeing():
    # 0.98 x 0.5 um / 0.15 m = 0.674 arcsec at 500 nm, and lambda^-0.2 from there on.
    assert halo_fwhm_px(0.5, 0.15) * 4 == pytest.approx(673.8, rel=1e-3)
    assert halo_fwhm_px(1.6, 0.15) / halo_fwhm_px(0.5, 0.15) == pytest.approx(3.2**-0.2)


def test_moffat_has_its_width_and_integral():
    radius_px = np.arange(20000) + 0.5
    assert (moffat(radius_px, 100) * 2 * np.pi * radius_px).sum() == pytest.approx(1, abs=1e-3)
    centre, edge = moffat(np.array([0.0, 50.0]), 100)
    assert edge / centre == pytest.approx(0.5)


def test_an_unknown_filter_is_named_with_the_known_ones():
    with pytest.raises(SettingsError, match=r"'Hx' is not known; known are .*Hbb"):
        band_um("Hx")


def test_shaking_smears_the_core_by_a_gaussian(psf):
    shaken = make_psf(band_um("H"), 193, 0.15, jitter_mas=12.0)
    assert shaken.strehl == psf.strehl
    y, x = np.mgrid[:STAMP, :STAMP] - STAMP // 2
    smear = np.exp(-(x**2 + y**2) / (2 * 3.0**2))
    still = psf.core[1, 1].astype(np.float64)
    expected = scipy.signal.fftconvolve(still, smear / smear.sum(), mode="same")
    inner = slice(STAMP // 2 - 20, STAMP // 2 + 21)
    assert np.abs(shaken.core[1, 1] - expected)[inner, inner].max() < 0.01 * expected.max()
    assert shaken.core[1, 1].sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
