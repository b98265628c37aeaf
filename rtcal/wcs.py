"""World coordinates of a frame from where the telescope points: FITS keywords that any FITS reader understands.

The field's centre is the reference point. A detector is a tangent plane beside it, turned by the position angle;
dithers are in the pointing already. Without a pointing there are no coordinates but pixels.
"""

from collections.abc import Mapping

import numpy as np

from rtcal.sky_settings import WcsSettings
from streams.messages import Scalar
from streams.windows import base_detector, is_window

MAS_PER_DEG = 3.6e6


def wcs_keys(
    detector: str,
    shape: tuple[int, int],
    setup: Mapping[str, Scalar],
    pointing: tuple[float, float, float],
    shift_mas: tuple[float, float],
    settings: WcsSettings,
    pixel_mas: float,
) -> dict[str, str | int | float | bool]:
    """Return the keywords of a detector's image.

    Parameters
    ----------
    detector
        Its name, or that of a window of it; one that `[wcs.places]` does not have gives no keywords.
    shape
        Of the image, (y, x).
    setup
        For SUBARRAY, XSTART and YSTART (counted from 1) of a window.
    pointing
        Right ascension, declination, and position angle of the y axis [deg, ICRS].
    shift_mas
        Of the light in the image from where it would fall without dispersion, (x, y).
    settings
        The table `[wcs]`.
    pixel_mas
        Plate scale.
    """
    place = settings.places.get(base_detector(detector))
    if place is None:
        return {}
    ra, dec, angle = pointing
    scale = pixel_mas / MAS_PER_DEG
    x, y = _centre_px(place, shape, setup, settings)
    turn = np.radians(y_angle_deg(angle, settings))
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))
    return {
        "WCSAXES": 2,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRPIX1": x + shift_mas[0] / pixel_mas,
        "CRPIX2": y + shift_mas[1] / pixel_mas,
        "CRVAL1": ra % 360.0,
        "CRVAL2": dec,
        # East lies to the left where north is up.
        "CD1_1": -scale * cosine,
        "CD1_2": scale * sine,
        "CD2_1": scale * sine,
        "CD2_2": scale * cosine,
        "RADESYS": "ICRS",
    }


def y_angle_deg(position_angle_deg: float, settings: WcsSettings) -> float:
    """Return the angle of the y axis, east of north [deg]."""
    return settings.angle_sign * position_angle_deg + settings.angle_offset_deg


def _centre_px(
    place: tuple[float, float], shape: tuple[int, int], setup: Mapping[str, Scalar], settings: WcsSettings
) -> tuple[float, float]:
    """Return the field's centre in the image's pixels, which FITS counts from 1."""
    whole = not is_window(setup)
    start_x, start_y = (1, 1) if whole else (_start(setup, "XSTART"), _start(setup, "YSTART"))
    side = shape[1] if whole else settings.side_px
    step = side * (1 + settings.gap)
    middle = (side + 1) / 2
    return middle - place[0] * step - (start_x - 1), middle - place[1] * step - (start_y - 1)


def _start(setup: Mapping[str, Scalar], key: str) -> int:
    value = setup.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else 1
