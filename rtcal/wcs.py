"""World coordinates of a frame: a tangent plane on the sky, from where the telescope points or as the telescope says.

The telescope's pointing is the field's centre. A detector lies beside it, turned by the position angle; dithers are in
the pointing already. The telescope's own WCS header says the same for one detector, from which the mosaic leads to the
others.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtcal.midexposure import MidExposure
from rtcal.sky_settings import WcsSettings
from streams.messages import Scalar
from streams.windows import base_detector, is_window

MAS_PER_DEG = 3.6e6
SCALE_OFF = 0.1
"""A header whose pixels differ from the plate scale by more than this part is in other units, or another camera's."""
POINTING: Final = "POINTING"
HEADER: Final = "TCS HEADER"
HEADER_DIFFERS: Final = "POINTING, TCS HEADER DIFFERS"
"""Where coordinates come from: values of WCSNAME."""

Setup = Mapping[str, Scalar]


@dataclass(frozen=True)
class Plane:
    """A tangent plane in an image's pixels.

    Attributes
    ----------
    ra_deg, dec_deg
        Where it touches the sky.
    x, y
        The same in the image, which FITS counts from 1.
    cd
        Degrees on the plane, east and north, for a pixel along x and y: (2, 2).
    system
        ICRS or FK5.
    """

    ra_deg: float
    dec_deg: float
    x: float
    y: float
    cd: NDArray[np.float64]
    system: str = "ICRS"


@dataclass(frozen=True)
class Told:
    """What the telescope's WCS header comes to: a plane, or what is wrong with it; neither if there is no header."""

    plane: Plane | None = None
    problem: str = ""


def pointed_plane(
    detector: str,
    shape: tuple[int, int],
    setup: Setup,
    pointing: tuple[float, float, float],
    settings: WcsSettings,
    pixel_mas: float,
) -> Plane | None:
    """Return the plane of a detector's image; None if `[wcs.places]` does not have the detector.

    Parameters
    ----------
    detector
        Its name, or that of a window of it.
    shape
        Of the image, (y, x).
    setup
        For SUBARRAY, XSTART and YSTART (counted from 1) of a window.
    pointing
        Right ascension, declination, and position angle of the y axis [deg, ICRS].
    settings
        The table `[wcs]`.
    pixel_mas
        Plate scale.
    """
    centre = _centre_px(base_detector(detector), shape, setup, settings)
    if centre is None:
        return None
    ra, dec, angle = pointing
    x, y = _in_image(centre, setup)
    turn = math.radians(y_angle_deg(angle, settings))
    # East lies to the left where north is up.
    cd = np.array([[-math.cos(turn), math.sin(turn)], [math.sin(turn), math.cos(turn)]]) * (pixel_mas / MAS_PER_DEG)
    return Plane(ra % 360.0, dec, x, y, cd)


def told_plane(
    middle: MidExposure,
    detector: str,
    shape: tuple[int, int],
    setup: Setup,
    settings: WcsSettings,
    pixel_mas: float,
) -> Told:
    """Return the plane of a detector's image by the telescope's WCS header; the other parameters as above.

    Notes
    -----
    The header is that of the event WCSFITSHeader (TCS interface, TCS PK Assembly), which tells neither whose pixels it
    counts nor units: those of `settings.header_detector`, and degrees as FITS has them.
    """
    numbers = [middle.number(key) for key in ("WCSVAL1", "WCSVAL2", "WCSPX1", "WCSPX2")]
    matrix = [middle.number(key) for key in ("WCSCD11", "WCSCD12", "WCSCD21", "WCSCD22")]
    known = [number for number in (*numbers, *matrix) if number is not None]
    origin = _centre_px(settings.header_detector, shape, setup, settings)
    centre = _centre_px(base_detector(detector), shape, setup, settings)
    if len(known) < len(numbers) + len(matrix) or origin is None or centre is None:
        return Told()
    types = middle.text("WCSTYP1"), middle.text("WCSTYP2")
    if any(word and not word.upper().endswith("TAN") for word in types):
        return Told(problem=f"its projection is {' and '.join(types)}, not a tangent plane"[:200])
    system = (middle.text("WCSFRAME") or "ICRS").strip().upper()
    if system not in ("ICRS", "FK5"):
        return Told(problem=f"its frame is {system[:40]}, not ICRS or FK5")
    cd = np.array(known[4:]).reshape(2, 2)
    mas = math.sqrt(abs(float(np.linalg.det(cd)))) * MAS_PER_DEG
    if abs(mas - pixel_mas) > SCALE_OFF * pixel_mas:
        return Told(problem=f"its pixels are {mas:.4g} mas, not {pixel_mas:g}")
    x, y = _in_image((known[2] + centre[0] - origin[0], known[3] + centre[1] - origin[1]), setup)
    return Told(Plane(known[0] % 360.0, known[1], x, y, cd, system))


def plane_keys(plane: Plane, name: str, shift_px: tuple[float, float]) -> dict[str, str | int | float | bool]:
    """Return a plane as FITS keywords.

    `name` says where it comes from; `shift_px` is how far the light in the image lies from where it would without
    dispersion, (x, y).
    """
    return {
        "WCSAXES": 2,
        "WCSNAME": name,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRPIX1": plane.x + shift_px[0],
        "CRPIX2": plane.y + shift_px[1],
        "CRVAL1": plane.ra_deg,
        "CRVAL2": plane.dec_deg,
        "CD1_1": float(plane.cd[0, 0]),
        "CD1_2": float(plane.cd[0, 1]),
        "CD2_1": float(plane.cd[1, 0]),
        "CD2_2": float(plane.cd[1, 1]),
        "RADESYS": plane.system,
    }


def apart_arcsec(one: Plane, other: Plane, shape: tuple[int, int]) -> float:
    """Return how far apart two planes put the corner of an image where they differ most."""
    rows, columns = shape
    corners = np.array([(1, 1), (columns, 1), (1, rows), (columns, rows)], np.float64)
    chord = np.linalg.norm(_directions(one, corners) - _directions(other, corners), axis=1)
    return math.degrees(2 * math.asin(min(float(chord.max()) / 2, 1.0))) * 3600


def y_angle_deg(position_angle_deg: float, settings: WcsSettings) -> float:
    """Return the angle of the y axis, east of north [deg]."""
    return settings.angle_sign * position_angle_deg + settings.angle_offset_deg


def _directions(plane: Plane, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vectors to which pixels (point, (x, y)) look: (point, 3)."""
    east, north = np.radians((pixels - (plane.x, plane.y)) @ plane.cd.T).T
    ra, dec = math.radians(plane.ra_deg), math.radians(plane.dec_deg)
    middle = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    eastward = np.array([-math.sin(ra), math.cos(ra), 0.0])
    northward = np.cross(middle, eastward)
    there = middle + east[:, None] * eastward + north[:, None] * northward
    return np.asarray(there / np.linalg.norm(there, axis=1, keepdims=True))


def _centre_px(
    detector: str, shape: tuple[int, int], setup: Setup, settings: WcsSettings
) -> tuple[float, float] | None:
    """Return the field's centre in the pixels of a whole detector, which FITS counts from 1."""
    place = settings.places.get(detector)
    if place is None:
        return None
    side = settings.side_px if is_window(setup) else shape[1]
    step = side * (1 + settings.gap)
    middle = (side + 1) / 2
    return middle - place[0] * step, middle - place[1] * step


def _in_image(pixel: tuple[float, float], setup: Setup) -> tuple[float, float]:
    """Return a pixel of the whole detector in those of the image, which may be a window."""
    if not is_window(setup):
        return pixel
    return pixel[0] - (_start(setup, "XSTART") - 1), pixel[1] - (_start(setup, "YSTART") - 1)


def _start(setup: Setup, key: str) -> int:
    value = setup.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else 1
