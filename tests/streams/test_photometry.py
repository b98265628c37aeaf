"""Sources: against closed forms, against scipy's Airy pattern, and against photutils on a real star field."""

import numpy as np
import photutils.aperture
import photutils.centroids
import photutils.psf
import pytest
from astropy.io import fits
from scipy.special import j0, j1

from streams.gaussian import FWHM_PER_SIGMA, fit_gaussian
from streams.optics import MAS_PER_RADIAN, Optics, OpticsSettings, ideal_pixel_share, strehl_proxy
from streams.photometry import NoSource, find_peak, measure_star, snr_after, time_to_snr
from tests.data import shared_data

OPTICS = Optics(
    OpticsSettings(pixel_mas=4.0, pixel_um=10.0, telescope_m=30.0, zero_point={"H": 27.0}), {"H": (1.485, 1.781)}
)
MIDDLE = 80


def measured(data, err=None, good=None, x=MIDDLE, y=MIDDLE, radius=60.0):
    good = np.isfinite(data) if good is None else good
    return measure_star(data.astype("f4"), err, good, x, y, reach=6, radius=radius, annulus=10)


def gaussian(x, y, fwhm, flux=1e5, side=161, elongation=1.0):
    """Integrated over pixels by sampling each seven times on a side."""
    at = (np.arange(side * 7) - 3) / 7
    sigma = fwhm / FWHM_PER_SIGMA
    across = np.exp(-0.5 * ((at - x) / (sigma * elongation)) ** 2)
    up = np.exp(-0.5 * ((at - y) * elongation / sigma) ** 2)
    shape = (up[:, None] * across).reshape(side, 7, side, 7).mean(axis=(1, 3))
    return flux * shape / shape.sum()


def airy(x, y, diffraction_px, flux=1e5, side=161):
    at = (np.arange(side * 7) - 3) / 7
    radius = np.maximum(np.hypot((at - y)[:, None], (at - x)[None, :]), 1e-9) * np.pi / diffraction_px
    shape = ((2 * j1(radius) / radius) ** 2).reshape(side, 7, side, 7).mean(axis=(1, 3))
    return flux * shape * np.pi / 4 / diffraction_px**2


@pytest.mark.parametrize("fwhm", [2.5, 4.0, 7.0])
@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.3, -0.2), (0.5, 0.5)])
def test_a_gaussian_is_found_where_it_is_and_as_wide_as_it_is(fwhm, dx, dy):
    star = measured(gaussian(MIDDLE + dx, MIDDLE + dy, fwhm) + 30.0)
    assert (star.x, star.y) == pytest.approx((MIDDLE + dx, MIDDLE + dy), abs=0.01)
    assert star.fwhm == pytest.approx(fwhm, rel=0.01)
    assert star.flux == pytest.approx(1e5, rel=1e-3)
    assert star.background == pytest.approx(30.0, abs=1e-3)
    assert star.radius_of(0.5) == pytest.approx(fwhm / 2, rel=0.05)  # half of a Gaussian's light


def test_elongation_and_its_angle_are_told():
    star = measured(gaussian(MIDDLE, MIDDLE, 4.0, elongation=1.25))
    assert star.ellipticity == pytest.approx(1 - 1 / 1.25**2, abs=0.01)
    assert star.angle_deg == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.3, 0.2), (0.5, 0.5)])
def test_a_diffraction_limited_star_has_strehl_one_and_the_width_and_light_of_an_airy_pattern(dx, dy):
    diffraction = OPTICS.diffraction_px({"FILTER": "H"})
    star = measured(airy(MIDDLE + dx, MIDDLE + dy, diffraction))
    assert strehl_proxy(star.peak, star.flux, star.x, star.y, diffraction) == pytest.approx(1.0, abs=0.03)
    assert star.fwhm == pytest.approx(1.029 * diffraction, rel=0.03)
    v = np.pi * 12.5 / diffraction
    assert star.encircled_at(12.5) == pytest.approx(1 - j0(v) ** 2 - j1(v) ** 2, abs=0.02)


def test_halo_lowers_the_strehl_proxy_by_its_share():
    diffraction = OPTICS.diffraction_px({"FILTER": "H"})
    image = 0.6 * airy(MIDDLE, MIDDLE, diffraction) + gaussian(MIDDLE, MIDDLE, 40.0, flux=0.4e5)
    star = measured(image, radius=66.0)
    assert strehl_proxy(star.peak, star.flux, star.x, star.y, diffraction) == pytest.approx(0.61, abs=0.03)


def test_the_light_in_one_pixel_of_an_ideal_image_is_that_of_the_domain_document():
    for wavelength_um, share in ((1.633, 0.100), (2.145, 0.058)):
        diffraction = wavelength_um * 1e-6 / 30 * MAS_PER_RADIAN / 4.0
        assert np.pi / 4 / diffraction**2 == pytest.approx(share, abs=0.0006)
        assert 0.93 * share < ideal_pixel_share(diffraction, 0, 0) < share
        assert ideal_pixel_share(diffraction, 0.5, 0.5) < ideal_pixel_share(diffraction, 0, 0)


def test_errors_add_in_squares_and_bad_pixels_are_made_up_for():
    image = gaussian(MIDDLE, MIDDLE, 4.0) + 10.0
    err = np.full(image.shape, 3.0, "f4")
    whole = measured(image, err, radius=20.0)
    assert whole.flux_error == pytest.approx(3.0 * np.sqrt(whole.pixels))
    good = np.random.default_rng(1).random(image.shape) > 0.04
    some = measured(np.where(good, image, 1e6), err, good, radius=20.0)
    assert some.flux == pytest.approx(whole.flux, rel=0.05)
    assert some.pixels < whole.pixels


@pytest.mark.parametrize(
    ("image", "x", "words"),
    [
        (np.random.default_rng(0).normal(0, 1, (160, 160)), 80, "nothing stands out"),
        (np.full((160, 160), np.nan), 80, "no good pixel"),
        (np.zeros((160, 160)), 80, "nothing stands out"),
        (gaussian(1, 80, 5.0), 1, "cut off by the edge"),
    ],
)
def test_what_is_no_source_is_refused_in_words(image, x, words):
    with pytest.raises(NoSource, match=words):
        measured(image.astype("f4"), x=x)


def test_a_single_hot_pixel_is_no_peak_beside_a_star():
    image = gaussian(MIDDLE + 3, MIDDLE, 3.5, flux=4000) + np.random.default_rng(2).normal(0, 1, (161, 161))
    image[MIDDLE, MIDDLE - 3] += 300.0
    assert abs(find_peak(image.astype("f4"), np.ones(image.shape, bool), MIDDLE, MIDDLE, 6)[0] - MIDDLE - 3) <= 1


def test_nothing_fits_what_is_flat_or_empty():
    assert fit_gaussian(np.zeros((9, 9)), np.ones((9, 9), bool), 3.0) is None
    assert fit_gaussian(np.ones((9, 9)), np.zeros((9, 9), bool), 3.0) is None


def test_the_time_to_a_signal_to_noise_is_the_closed_form():
    seconds = time_to_snr(5.0, 1.5, 20, 9.0, 10.0)
    assert seconds == pytest.approx(203.6, abs=0.05)
    assert snr_after(5.0, 1.5, 20, 9.0, seconds) == pytest.approx(10.0, rel=1e-9)
    assert time_to_snr(0.0, 1.5, 20, 9.0, 10.0) == float("inf")


@pytest.mark.real_data
def test_a_real_star_field_agrees_with_photutils():
    with fits.open(shared_data("starfield/aK_asky_990502s1350092.fits.gz")) as hdul:
        image = next(hdu.data for hdu in hdul if hdu.data is not None).astype("f4")
    good = np.isfinite(image)
    inner = image[30:-30, 30:-30]
    rows, columns = np.unravel_index(np.argsort(inner.ravel())[::-1][:4000], inner.shape)
    chosen: list[tuple[int, int]] = []
    for row, column in zip(rows + 30, columns + 30, strict=True):
        if all(abs(row - r) > 25 or abs(column - c) > 25 for r, c in chosen):
            chosen.append((int(row), int(column)))
    compared = 0
    for row, column in chosen[5:25]:
        star = measure_star(image, None, good, column, row, reach=3, radius=7.0, annulus=8)
        box = image[row - 7 : row + 8, column - 7 : column + 8].astype(float) - star.background
        x, y = photutils.centroids.centroid_2dg(box[4:11, 4:11])
        assert np.hypot(star.x - column + 3 - x, star.y - row + 3 - y) < 0.15
        theirs = photutils.psf.fit_fwhm(box, xypos=(star.x - column + 7, star.y - row + 7), fit_shape=7)[0]
        assert star.fwhm == pytest.approx(theirs, rel=0.12)
        aperture = photutils.aperture.CircularAperture((star.x - column + 7, star.y - row + 7), 5.0)
        flux = photutils.aperture.aperture_photometry(box, aperture)["aperture_sum"][0]
        assert star.encircled_at(5.0) * star.flux == pytest.approx(flux, rel=0.02)
        compared += 1
    assert compared == 20
