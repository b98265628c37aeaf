"""World coordinates as astropy reads them: pointing, angle, mosaic, windows, dithers, dispersion."""

from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from msgspec.structs import replace

from rtcal.midexposure import MidExposure
from rtcal.sky_settings import WcsSettings
from rtcal.wcs import POINTING, Plane, Told, apart_arcsec, plane_keys, pointed_plane, told_plane
from streams.messages import TelemetryRow
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
    plane = pointed_plane(detector, shape, setup, (ra, dec, pa), settings, 4.0)
    assert plane is not None
    return WCS(fits.Header(plane_keys(plane, POINTING, (shift[0] / 4.0, shift[1] / 4.0))))


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
    assert pointed_plane("IFS", (4096, 4096), FULL, (150.0, 2.0, 0.0), SHIPPED, 4.0) is None


NUMBERS = {"WCSVAL1": 150.0, "WCSVAL2": 2.0, "WCSPX1": 2198.5, "WCSPX2": 1898.5} | {
    key: value * 4 * MAS
    for key, value in {"WCSCD11": -0.8, "WCSCD12": 0.6, "WCSCD21": 0.6, "WCSCD22": 0.8}.items()  # turned by 36.87 deg
}
TURN = np.degrees(np.arctan2(0.6, 0.8))


def told(
    detector: str = "IMG1",
    shape: tuple[int, int] = (4096, 4096),
    setup: dict[str, Any] = FULL,
    settings: WcsSettings = SHIPPED,
    **changes: Any,
) -> Told:
    values = NUMBERS | changes
    rows = [
        TelemetryRow(key="TCS.PointingKernelAssembly.WCSFITSHeader", param=key, fits=key, value=value, status="OK")
        for key, value in values.items()
        if value is not None
    ]
    return told_plane(MidExposure(rows), detector, shape, setup, settings, 4.0)


def plane(**given: Any) -> Plane:
    found = told(**given).plane
    assert found is not None
    return found


def as_wcs(one: Plane) -> WCS:
    return WCS(fits.Header(plane_keys(one, POINTING, (0.0, 0.0))))


def own_wcs() -> WCS:
    """The header as astropy reads it, for the detector whose pixels it counts."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [NUMBERS["WCSVAL1"], NUMBERS["WCSVAL2"]]
    wcs.wcs.crpix = [NUMBERS["WCSPX1"], NUMBERS["WCSPX2"]]
    wcs.wcs.cd = np.reshape([NUMBERS[f"WCSCD{place}"] for place in ("11", "12", "21", "22")], (2, 2))
    return wcs


def test_the_telescope_s_header_is_that_of_its_detector() -> None:
    pixels = np.array([[0.0, 0.0], [4095.0, 17.0], [2000.0, 4095.0]]).T
    np.testing.assert_allclose(
        as_wcs(plane()).pixel_to_world_values(*pixels), own_wcs().pixel_to_world_values(*pixels), atol=1e-12
    )


@pytest.mark.parametrize(("detector", "columns", "rows"), [("IMG2", 1, 0), ("IMG3", 0, -1), ("IMG4", 1, -1)])
def test_the_mosaic_leads_from_it_to_the_other_detectors(detector: str, columns: int, rows: int) -> None:
    x, y = 100.0, 3000.0
    there = as_wcs(plane(detector=detector)).pixel_to_world_values(x, y)
    np.testing.assert_allclose(there, own_wcs().pixel_to_world_values(x + 4396 * columns, y + 4396 * rows), atol=MAS)


def test_the_header_counts_the_pixels_of_the_detector_that_the_configuration_names() -> None:
    other = plane(detector="IMG4", settings=replace(SHIPPED, header_detector="IMG4"))
    assert (other.x, other.y) == (NUMBERS["WCSPX1"], NUMBERS["WCSPX2"])
    assert told(settings=replace(SHIPPED, header_detector="")) == Told()


def test_a_window_has_its_part_of_the_header() -> None:
    window = {"SUBARRAY": "SUB1", "XSTART": 1001, "YSTART": 501}
    part = as_wcs(plane(detector="IMG1.W1", shape=(100, 200), setup=window))
    np.testing.assert_allclose(
        part.pixel_to_world_values(10, 20), own_wcs().pixel_to_world_values(1010, 520), atol=1e-12
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"WCSTYP1": "RA---SIN", "WCSTYP2": "DEC--SIN"}, "projection is RA---SIN"),
        ({"WCSFRAME": "FK4"}, "frame is FK4"),
        ({key: NUMBERS[key] * 3600 for key in NUMBERS if "CD" in key}, "pixels are 1.44e+04 mas"),
        ({"WCSCD11": 0.0, "WCSCD12": 0.0}, "pixels are 0 mas"),
    ],
)
def test_a_header_that_cannot_be_of_this_camera_is_said(changes: dict[str, Any], words: str) -> None:
    found = told(**changes)
    assert found.plane is None
    assert words in found.problem


def test_half_a_header_is_none_and_a_type_that_is_a_number_is_none() -> None:
    assert told(WCSCD21=None) == Told()
    assert plane(WCSTYP1=0.0, WCSTYP2=0.0, WCSFRAME="fk5").system == "FK5"


@pytest.mark.parametrize(
    ("ra", "dec", "pa"),
    [(150.0, 2.0, TURN), (150.0005, 2.0, TURN), (150.0, 2.0003, TURN), (150.0, 2.0, TURN + 10), (330.0, -2.0, 0.0)],
)
def test_how_far_two_planes_are_apart(ra: float, dec: float, pa: float) -> None:
    other = pointed_plane("IMG3", (4096, 4096), FULL, (ra, dec, pa), SHIPPED, 4.0)
    assert other is not None
    one = plane(detector="IMG3")
    corners = np.array([[0, 4095, 0, 4095], [0, 0, 4095, 4095]], float)
    apart = as_wcs(one).pixel_to_world(*corners).separation(as_wcs(other).pixel_to_world(*corners)).arcsec.max()
    assert apart_arcsec(one, other, (4096, 4096)) == pytest.approx(apart, rel=1e-6, abs=1e-5)


def test_the_frame_of_reference_is_icrs_in_degrees() -> None:
    world = wcs_of(ra=-10.0).pixel_to_world(10, 10)
    assert world.frame.name == "icrs"
    assert world.ra.deg == pytest.approx(350.0, abs=0.02)
    assert world.ra.unit == u.deg
