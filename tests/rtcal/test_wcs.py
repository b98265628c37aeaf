"""World coordinates as astropy reads them: pointing, angle, mosaic, windows, dithers, dispersion."""

from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from msgspec.structs import replace

from rtcal.sky_settings import WcsSettings
from rtcal.wcs import wcs_keys
from tests.rigs import settings_with

SHIPPED = settings_with().wcs
FULL = {"SUBARRAY": "FULL"}
MAS = 1 / 3.6e6


def wcs_of(
    detector: str = "IMG1",
    ra: float = 150.0,
    dec: float = 2.0,
    pa: float = 0.0,
    shape: tuple[int, int] = (4096, 4096),
    setup: dict[str, Any] = FULL,
    shift: tuple[float, float] = (0.0, 0.0),
    settings: WcsSettings = SHIPPED,
) -> WCS:
    return WCS(fits.Header(wcs_keys(detector, shape, setup, (ra, dec, pa), shift, settings, 4.0)))


def test_the_field_centre_lies_in_the_gap_of_four() -> None:
    x, y = wcs_of("IMG1").world_to_pixel_values(150.0, 2.0)  # counted from 0
    # 16.384 arcsec a side, 1.2 arcsec between: half a gap below and right of the upper left detector.
    assert x == pytest.approx(4095.5 + 150, abs=0.01)
    assert y == pytest.approx(-0.5 - 150, abs=0.01)


@pytest.mark.parametrize(("one", "other", "axis"), [("IMG1", "IMG2", 0), ("IMG3", "IMG4", 0), ("IMG3", "IMG1", 1)])
def test_neighbours_meet_across_the_gap(one: str, other: str, axis: int) -> None:
    """One side and one gap further, on the next detector, lies the same spot of the sky."""
    pixel = np.array([2000.0, 1500.0])
    there = pixel.copy()
    there[axis] -= 4096 + 300
    first = wcs_of(one, pa=33.0).pixel_to_world_values(*pixel)
    second = wcs_of(other, pa=33.0).pixel_to_world_values(*there)
    np.testing.assert_allclose(first, second, atol=0.01 * MAS)


@pytest.mark.parametrize("pa", [0.0, 30.0, -120.0, 270.0])
@pytest.mark.parametrize("dec", [-60.0, 2.0, 80.0])
def test_up_is_at_the_position_angle_and_a_pixel_is_4_mas(pa: float, dec: float) -> None:
    wcs = wcs_of("IMG2", dec=dec, pa=pa)
    x, y = wcs.wcs.crpix - 1
    centre = SkyCoord(*wcs.pixel_to_world_values(x, y), unit="deg")
    up = SkyCoord(*wcs.pixel_to_world_values(x, y + 100), unit="deg")
    right = SkyCoord(*wcs.pixel_to_world_values(x + 100, y), unit="deg")
    assert centre.separation(SkyCoord(150.0, dec, unit="deg")).mas == pytest.approx(0, abs=1e-6)
    assert centre.separation(up).mas == pytest.approx(400, abs=1e-3)
    assert centre.separation(right).mas == pytest.approx(400, abs=1e-3)
    assert (centre.position_angle(up).deg - pa + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)
    assert (centre.position_angle(right).deg - pa + 90 + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)


def test_sign_and_offset_of_the_angle() -> None:
    turned = replace(SHIPPED, angle_sign=-1, angle_offset_deg=5.0)
    np.testing.assert_allclose(wcs_of(pa=25.0, settings=turned).wcs.cd, wcs_of(pa=-20.0).wcs.cd, atol=1e-15)


@pytest.mark.parametrize("name", ["IMG1", "IMG1.W3"])
def test_a_window_shares_the_detector_s_coordinates(name: str) -> None:
    window = {"SUBARRAY": "SUB1", "XSTART": 1001, "YSTART": 501}
    whole, part = wcs_of(pa=40.0), wcs_of(name, pa=40.0, shape=(100, 200), setup=window)
    np.testing.assert_allclose(whole.pixel_to_world_values(1010, 520), part.pixel_to_world_values(10, 20), atol=1e-12)


def test_a_smaller_detector_keeps_the_mosaic() -> None:
    x, y = wcs_of("IMG4", shape=(1024, 1024)).world_to_pixel_values(150.0, 2.0)
    assert (x, y) == pytest.approx((-0.5 - 37.5, 1023.5 + 37.5), abs=0.01)


def test_dithers_move_the_sky_by_their_offset() -> None:
    star = (150.0005, 2.0003)
    first, second = wcs_of(pa=0.0), wcs_of(ra=150.0 + 1000 * MAS / np.cos(np.radians(2.0)), dec=2.0 - 2000 * MAS)
    moved = np.subtract(second.world_to_pixel_values(*star), first.world_to_pixel_values(*star))
    np.testing.assert_allclose(moved, [250, 500], atol=0.01)  # 1" east to the left, 2" south


def test_the_light_of_the_filter_is_shifted_by_dispersion() -> None:
    plain, shifted = wcs_of(pa=70.0), wcs_of(pa=70.0, shift=(6.0, -2.0))
    moved = np.subtract(shifted.world_to_pixel_values(150.0, 2.0), plain.world_to_pixel_values(150.0, 2.0))
    np.testing.assert_allclose(moved, [1.5, -0.5], atol=1e-6)


def test_a_detector_without_a_place_has_no_coordinates() -> None:
    assert wcs_keys("IFS", (4096, 4096), FULL, (150.0, 2.0, 0.0), (0.0, 0.0), SHIPPED, 4.0) == {}


def test_the_frame_of_reference_is_icrs_in_degrees() -> None:
    world = wcs_of(ra=-10.0).pixel_to_world(10, 10)
    assert world.frame.name == "icrs"
    assert world.ra.deg == pytest.approx(350.0, abs=0.02)
    assert world.ra.unit == u.deg
