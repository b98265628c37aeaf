"""From values to brightness: the limits of what is shown, the stretch between them, and back for the colour bar."""

import numpy as np
from numpy.typing import NDArray

from dashboards.settings import Stretch

SAMPLE_SIDE = 256
TICKS = 5
MOST = 1e30
FLAT_HALF = 0.5
"""Half the range of limits of an image of one value."""

LOG_DEPTH = 1000.0
ASINH_SOFTENING = 0.1

LEAST_SAMPLES, MOST_SAMPLES = 5, 1000
ITERATIONS = 5
REJECT_SIGMA = 2.5
"""IRAF's parameters of zscale."""

FloatImage = NDArray[np.float32]


def sample(images: list[FloatImage]) -> NDArray[np.float64]:
    """Pick finite values on a regular grid, at most 256 x 256 of each image, flat; none is beyond +-1e30.

    What has grown beyond that by a mistake would leave no finite limits.
    """
    picked = []
    for image in images:
        step_y, step_x = (max(1, -(-side // SAMPLE_SIDE)) for side in image.shape)
        values = image[step_y // 2 :: step_y, step_x // 2 :: step_x].ravel()
        picked.append(values[np.isfinite(values)])
    values = np.concatenate(picked) if picked else np.empty(0, np.float32)
    return values.astype(np.float64).clip(-MOST, MOST)


def zscale_limits(values: NDArray[np.float64], contrast: float) -> tuple[float, float]:
    """Find display limits by the IRAF zscale rule (a line through the sorted values around the median).

    Parameters
    ----------
    values
        Finite sample of the image, flat.
    contrast
        Smaller shows a wider range; IRAF's and DS9's default is 0.25.
    """
    if values.size < LEAST_SAMPLES:
        return _apart(*_extremes(values))
    stride = max(1, values.size // MOST_SAMPLES)
    ordered = np.sort(values[::stride][:MOST_SAMPLES])
    slope = _slope(ordered)
    if slope is None:
        return _apart(*_extremes(ordered))
    median, middle = float(np.median(ordered)), (ordered.size - 1) // 2
    low = max(float(ordered[0]), median - (middle - 1) * slope / contrast)
    high = min(float(ordered[-1]), median + (ordered.size - middle) * slope / contrast)
    return _apart(low, high)


def _slope(ordered: NDArray[np.float64]) -> float | None:
    """Fit a line to ordered values without those that lie far from it; None if that leaves fewer than half."""
    place = np.arange(ordered.size, dtype=np.float64)
    good = np.ones(ordered.size, bool)
    neighbours = np.ones(max(1, ordered.size // 100), bool)
    least = max(LEAST_SAMPLES, ordered.size // 2)
    before, slope = ordered.size + 1, 0.0
    for _ in range(ITERATIONS):
        if not least <= good.sum() < before:
            break
        before = int(good.sum())
        x, y = place[good] - place[good].mean(), ordered[good] - ordered[good].mean()
        slope = float((x * y).sum() / (x * x).sum())
        away = ordered - ordered[good].mean() - slope * (place - place[good].mean())
        bad = ~good | (np.abs(away) > REJECT_SIGMA * away[good].std())
        good = ~np.convolve(bad, neighbours, mode="same")
    return slope if good.sum() >= least else None


def percentile_limits(values: NDArray[np.float64], percentile: float) -> tuple[float, float]:
    """Find the limits that hold the central `percentile` per cent of a finite flat sample."""
    if values.size == 0:
        return 0.0, 1.0
    tail = (100.0 - percentile) / 2.0
    low, high = np.percentile(values, (tail, 100.0 - tail))
    return _apart(float(low), float(high))


def minmax_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Find the lowest and the highest of a finite flat sample."""
    return _apart(*_extremes(values))


def _extremes(values: NDArray[np.float64]) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def _apart(low: float, high: float) -> tuple[float, float]:
    """Give a flat image limits that differ, also in the float32 of the kernel, and lie around it: it is grey."""
    least = max(1e-6, 1e-5 * max(abs(low), abs(high)))
    if high - low >= least:
        return low, high
    middle, half = (low + high) / 2, max(FLAT_HALF if high == low else 0.0, least)
    return middle - half, middle + half


def stretched(fraction: NDArray[np.float64], stretch: Stretch) -> NDArray[np.float64]:
    """Map fractions of the range, 0 to 1, to brightness, 0 to 1 (the curves of DS9)."""
    brightness: NDArray[np.float64] = fraction
    match stretch:
        case "sqrt":
            brightness = np.sqrt(fraction)
        case "log":
            brightness = np.log1p(LOG_DEPTH * fraction) / np.log1p(LOG_DEPTH)
        case "power":
            brightness = np.expm1(fraction * np.log1p(LOG_DEPTH)) / LOG_DEPTH
        case "asinh":
            brightness = np.arcsinh(fraction / ASINH_SOFTENING) / np.arcsinh(1.0 / ASINH_SOFTENING)
    return brightness


def tick_values(low: float, high: float, stretch: Stretch) -> list[float]:
    """Return the values at equal steps of brightness, for the colour bar."""
    return _values_of(np.linspace(0.0, 1.0, TICKS), low, high, stretch)


def _values_of(brightness: NDArray[np.float64], low: float, high: float, stretch: Stretch) -> list[float]:
    """Return the values that have a brightness: the inverse of `stretched`."""
    match stretch:
        case "sqrt":
            fraction = brightness**2
        case "log":
            fraction = np.expm1(brightness * np.log1p(LOG_DEPTH)) / LOG_DEPTH
        case "power":
            fraction = np.log1p(LOG_DEPTH * brightness) / np.log1p(LOG_DEPTH)
        case "asinh":
            fraction = np.sinh(brightness * np.arcsinh(1.0 / ASINH_SOFTENING)) * ASINH_SOFTENING
        case _:
            fraction = brightness
    return [float(value) for value in low + fraction * (high - low)]
