"""Guide stars in the imager's windows: how much longer than wide they are, against what the dispersion left predicts.

Widths add as covariances. What tells long from wide in one is `(xx - yy, 2 xy)`: it turns twice as fast as the image,
adds too, and has no part of what makes stars wider in all directions.
"""

import math

import numpy as np
from msgspec.structs import replace

from rtcal.adc import FWHM_PER_SIGMA, Floats, covariance_of
from rtcal.midexposure import MidExposure
from rtcal.sky_settings import AdcSettings
from streams.messages import AdcResidual, GuideStars


def with_guide_stars(
    residual: AdcResidual, middle: MidExposure, settings: AdcSettings, pixel_mas: float
) -> tuple[AdcResidual, list[str]]:
    """Add what the adaptive optics measures on the guide stars, and say where dispersion does not explain it.

    Parameters
    ----------
    residual
        Of a frame.
    middle
        Its telemetry: ODGWIMS1 and ODGWIMS2 (sigma along the axes [px], 0 for a window that is not in use) and ODGWIMRT
        (direction of the first axis from x [deg]), an entry for each window. Held values that are stale are not used.
    settings
        The table `[adc]`.
    pixel_mas
        Plate scale.

    Returns
    -------
    tuple
        The residual, and notes.
    """
    measured = _covariance(middle, pixel_mas)
    if measured is None:
        return residual, []
    measured_long = _long(measured)
    fwhm_mas = FWHM_PER_SIGMA * float(np.linalg.det(measured)) ** 0.25
    guides = GuideStars(fwhm_mas=fwhm_mas, elongation_mas=_mas(measured_long), axis_deg=_axis_deg(measured_long))
    if not residual.x_mas:
        return replace(residual, guides=guides), []
    predicted_long = _long(covariance_of(np.array([residual.x_mas, residual.y_mas]).T, np.array(residual.weight)))
    unexplained_mas = _mas(measured_long - predicted_long)
    made = replace(residual, guides=replace(guides, unexplained_mas=unexplained_mas))
    if unexplained_mas <= settings.check_elongation * fwhm_mas:
        return made, []
    note = (
        f"guide stars are elongated by {guides.elongation_mas:.1f} mas at {guides.axis_deg:.0f} deg, "
        f"dispersion predicts {_mas(predicted_long):.1f} mas at {_axis_deg(predicted_long):.0f} deg"
    )
    return made, [note]


def _covariance(middle: MidExposure, pixel_mas: float) -> Floats | None:
    """Return the mean over the windows in use [mas^2], (2, 2)."""
    first, second, angle = (middle.numbers(key) for key in ("ODGWIMS1", "ODGWIMS2", "ODGWIMRT"))
    of_windows = [
        _ellipse(one * pixel_mas, other * pixel_mas, turn)
        for one, other, turn in zip(first, second, angle, strict=False)
        if one > 0 and other > 0
    ]
    return None if middle.stale or not of_windows else np.mean(of_windows, axis=0)


def _ellipse(first: float, second: float, angle_deg: float) -> Floats:
    turn = np.radians(angle_deg)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(axes @ np.diag([first**2, second**2]) @ axes.T)


def _long(covariance: Floats) -> Floats:
    return np.array([covariance[0, 0] - covariance[1, 1], 2 * covariance[0, 1]])


def _mas(long: Floats) -> float:
    """Return what adds in square to the smaller width at half maximum to make the larger one."""
    return FWHM_PER_SIGMA * math.sqrt(math.hypot(*long))


def _axis_deg(long: Floats) -> float:
    return float(np.degrees(np.arctan2(long[1], long[0])) / 2)
