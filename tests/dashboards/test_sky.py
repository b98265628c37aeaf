"""Places on the sky as astropy has them."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dashboards.sky import compass, radec_deg, residual, sexagesimal
from streams.messages import AdcResidual, GuideStars


def keys(ra, dec, turn):
    scale = 4 / 3.6e6
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "CRPIX1": 2100.5,
        "CRPIX2": -300.0, "CRVAL1": ra, "CRVAL2": dec, "CD1_1": -cosine, "CD1_2": sine, "CD2_1": sine, "CD2_2": cosine,
    }  # fmt: skip


@given(st.floats(0, 359.9), st.floats(-89.5, 89.5), st.floats(-3.2, 3.2), st.floats(0, 4095), st.floats(0, 4095))
def test_a_pixel_lies_where_astropy_puts_it(ra, dec, turn, x, y):
    wcs = keys(ra, dec, turn)
    expected = SkyCoord(*WCS(fits.Header(wcs)).pixel_to_world_values(x, y), unit="deg")
    found = SkyCoord(*radec_deg(wcs, x, y), unit="deg")
    assert found.separation(expected) < 1e-6 * u.arcsec


@pytest.mark.parametrize("change", [{"CTYPE1": "GLON-CAR"}, {"CD1_1": "x"}, {"CRPIX1": None}])
def test_what_is_no_tangent_plane_has_no_place(change):
    assert radec_deg(keys(10.0, 20.0, 0.0) | change, 0, 0) is None
    assert radec_deg({}, 0, 0) is None


@pytest.mark.parametrize(
    ("ra", "dec", "text"),
    [
        (0.0, 0.0, "00 00 00.0000  +00 00 00.000"),
        (359.99999999999, -0.5, "00 00 00.0000  −00 30 00.000"),
        (150.25, 2.2041666667, "10 01 00.0000  +02 12 15.000"),
    ],
)
def test_places_are_written_in_hours_and_degrees(ra, dec, text):
    assert sexagesimal(ra, dec) == text


@pytest.mark.parametrize("mirrored", [1, -1])
@given(turn=st.floats(-3.2, 3.2))
def test_north_and_east_point_where_astropy_goes(mirrored, turn):
    wcs = keys(150.0, 20.0, turn) | {"CRPIX1": 1.0, "CRPIX2": 1.0}
    wcs = wcs | {name: mirrored * wcs[name] for name in ("CD1_1", "CD2_1")}
    middle = SkyCoord(150.0, 20.0, unit="deg")
    for name, angle in (("north", 0), ("east", 90)):
        place = middle.directional_offset_by(angle * u.deg, 0.4 * u.arcsec)
        x, y = WCS(fits.Header(wcs)).world_to_pixel(place)
        assert compass(wcs)[name] == pytest.approx([x / np.hypot(x, y), y / np.hypot(x, y)], abs=1e-4)


@pytest.mark.parametrize("change", [{"CD1_1": "x"}, {"CD2_2": None}, {"CD1_1": 0.0, "CD1_2": 0.0}])
def test_without_world_coordinates_there_is_no_compass(change):
    assert compass(keys(1, 1, 0) | change) is None
    assert compass({}) is None


def test_the_dispersion_that_is_left_is_told_with_its_band():
    adc = AdcResidual(
        status="STALE", atmosphere="TCS", air="OK", wavelength_um=[2.4, 1.9], edge_mas=[3.0, -4.0], rms_mas=1.0
    )
    told = {"status": "STALE", "edge": [3.0, -4.0], "rms": 1.0, "atmosphere": None, "guides": None, "band": [1.9, 2.4]}
    assert residual(adc) == told
    guides = GuideStars(fwhm_mas=12.0, elongation_mas=3.0, axis_deg=40.0, unexplained_mas=1.0)
    assert residual(replace(adc, guides=guides))["guides"] == {"elongation": 3.0, "axis": 40.0, "unexplained": 1.0}
    assert residual(AdcResidual(status="UNKNOWN", atmosphere="NONE", air="DEFAULT"))["band"] is None
    assert residual(None) is None
