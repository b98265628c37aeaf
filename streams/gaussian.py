"""A two-dimensional Gaussian on a constant, fitted to the core of a source."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FWHM_PER_SIGMA = float(2 * np.sqrt(2 * np.log(2)))
PIXEL_VARIANCE = 1.0 / 12.0
"""What averaging over a pixel adds to the variance of a profile [px^2]."""
PARAMETERS = 7
MOST_STEPS = 40
CONVERGED = 1e-6

_kernel: Any = njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Centre, height and widths, the pixel's own width taken out of these."""

    x: float
    y: float
    height: float
    background: float
    major: float
    """Sigma along the major axis [px]."""
    minor: float
    angle_deg: float
    """Of the major axis, from x to y, -90 to 90."""

    @property
    def fwhm(self) -> float:
        """Full width at half maximum, geometric mean of the axes [px]."""
        return FWHM_PER_SIGMA * float(np.sqrt(self.major * self.minor))

    @property
    def ellipticity(self) -> float:
        """1 - minor / major."""
        return 1.0 - self.minor / self.major

    def moved(self, x: float, y: float) -> "Gaussian":
        """Return it as seen from an origin at (-x, -y)."""
        return replace(self, x=self.x + x, y=self.y + y)


def fit_gaussian(stamp: NDArray[np.floating], use: NDArray[np.bool_], width: float) -> Gaussian | None:
    """Fit by damped least squares (Levenberg and Marquardt), all pixels of equal weight.

    Parameters
    ----------
    stamp
        Pixels, (y, x).
    use
        Which of them take part.
    width
        A first guess of the full width at half maximum [px].

    Returns
    -------
    None where it does not converge on a peak within the stamp. Coordinates are those of the stamp.
    """
    y, x = np.nonzero(use)
    values = stamp[use].astype(np.float64)
    if values.size < 8:
        return None
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return None
    scale = high - low
    top = int(np.argmax(values))
    curvature = (FWHM_PER_SIGMA / width) ** 2
    # Height, centre, inverse covariance (a, b, c), background: in units of the stamp's range.
    start = np.array([1.0, x[top], y[top], curvature, 0.0, curvature, 0.0])
    found = _minimise(start, x.astype(float), y.astype(float), (values - low) / scale)
    if found is None:
        return None
    height, x0, y0, a, b, c, background = found
    inside = -0.5 <= x0 <= stamp.shape[1] - 0.5 and -0.5 <= y0 <= stamp.shape[0] - 0.5
    if not (height > 0 and inside):
        return None
    widths = _axes(a, b, c)
    if widths is None:
        return None
    return Gaussian(float(x0), float(y0), float(height * scale), float(low + background * scale), *widths)


def _minimise(
    start: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    point, damping = start, 1e-2
    cost, normal, slope = _least_squares(point, x, y, values)
    for _ in range(MOST_STEPS):
        damped = normal.copy()
        damped[np.diag_indices(PARAMETERS)] *= 1 + damping
        damped[np.diag_indices(PARAMETERS)] += 1e-12
        try:
            step = np.linalg.solve(damped, slope)
        except np.linalg.LinAlgError:
            return None
        tried = point + step
        definite = tried[3] > 0 and tried[5] > 0 and tried[3] * tried[5] > tried[4] ** 2
        if definite:
            new_cost, new_normal, new_slope = _least_squares(tried, x, y, values)
        if definite and new_cost <= cost:
            done = cost - new_cost <= CONVERGED * cost and float(np.abs(step).max()) < 1e-3
            point, normal, slope, cost, damping = tried, new_normal, new_slope, new_cost, damping / 5
            if done:
                return point
        else:
            damping *= 8
            if damping > 1e8:
                return point
    return point


def _least_squares(
    point: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of squared residuals, the normal matrix and the right-hand side at a point."""
    normal, slope = np.zeros((PARAMETERS, PARAMETERS)), np.zeros(PARAMETERS)
    return float(_add_up(point, x, y, values, normal, slope)), normal, slope


@_kernel
def _add_up(point, x, y, values, normal, slope):  # type: ignore[no-untyped-def]
    height, x0, y0, a, b, c, background = point
    by, cost = np.empty(PARAMETERS), 0.0
    for i in range(values.size):
        dx, dy = x[i] - x0, y[i] - y0
        shape = np.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy))
        bright = height * shape
        by[0], by[1], by[2] = shape, bright * (a * dx + b * dy), bright * (b * dx + c * dy)
        by[3], by[4], by[5], by[6] = -0.5 * bright * dx * dx, -bright * dx * dy, -0.5 * bright * dy * dy, 1.0
        residual = values[i] - bright - background
        cost += residual * residual
        for j in range(PARAMETERS):
            slope[j] += by[j] * residual
            for k in range(PARAMETERS):
                normal[j, k] += by[j] * by[k]
    return cost


def _axes(a: float, b: float, c: float) -> tuple[float, float, float] | None:
    """Turn an inverse covariance into major and minor sigma and the angle; None where no width is left."""
    try:
        variances, directions = np.linalg.eigh(np.linalg.inv(np.array([[a, b], [b, c]])))
    except np.linalg.LinAlgError:
        return None
    # A peak hardly wider than a pixel has no width of its own that could be told.
    minor, major = np.maximum(variances - PIXEL_VARIANCE, 1e-2)
    if not np.isfinite(major):
        return None
    angle = float(np.degrees(np.arctan2(directions[1, 1], directions[0, 1])))
    return float(np.sqrt(major)), float(np.sqrt(minor)), (angle + 90.0) % 180.0 - 90.0
