"""Sources measured on an image: centroid, width, encircled light, sharpness, signal to noise.

Reducer and display both use it, so a number means the same in a FITS header and on the screen. Coordinates are
0-based pixels, the centre of the first pixel is (0, 0); images are float32, `(y, x)`; radii are in pixels. Pixels that
are not `good` take no part.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.gaussian import FWHM_PER_SIGMA, Gaussian, fit_gaussian
from streams.growth import growth
from streams.robust import clipped_median

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

LEAST_SIGNIFICANCE = 5.0
"""A source stands out of the noise of its surroundings by so many sigma, summed over 3 x 3 pixels."""
SURROUNDINGS = 10
"""How far beyond the place where a peak is looked for the noise is taken [px]."""
FIT_REACH = 1.0
"""Radius of the fit over the width: the core alone, neither the first ring of an Airy pattern nor a halo."""
LEAST_GOOD_SHARE = 0.7
LEAST_RING = 12
"""Pixels of an annulus whose median is a background."""


class NoSource(Exception):  # noqa: N818
    """Nothing to measure was found; the text says why, for a person."""


@dataclass(frozen=True, slots=True)
class Star:
    """A source and what was measured of it."""

    x: float
    y: float
    peak: float
    """Highest pixel above the background [image unit]."""
    flux: float
    """Light within `radius` above the background [image unit x px]."""
    flux_error: float
    background: float
    """Of a pixel, in the annulus outside `radius`."""
    noise: float
    """Of a pixel of the annulus, one sigma."""
    fwhm: float
    """Geometric mean of the two axes, the pixel's own width taken out [px]."""
    ellipticity: float
    """1 - minor / major."""
    angle_deg: float
    """Of the major axis, from x to y."""
    radius: float
    """Where the curve of growth ends: all light counts as within."""
    pixels: int
    """Good pixels within `radius`."""
    radii: tuple[float, ...]
    encircled: tuple[float, ...]
    """Part of the light within each of `radii`."""

    @property
    def snr(self) -> float:
        """Signal over noise within `radius`; NaN without errors."""
        return self.flux / self.flux_error if self.flux_error > 0 else float("nan")

    def encircled_at(self, radius: float) -> float:
        """Return the part of the light within a radius; NaN beyond the end of the curve."""
        return float(np.interp(radius, (0.0, *self.radii), (0.0, *self.encircled), right=np.nan))

    def radius_of(self, part: float) -> float:
        """Return the radius that holds a part of the light."""
        rising = np.maximum.accumulate((0.0, *self.encircled))
        return float(np.interp(part, rising, (0.0, *self.radii)))


def find_peak(data: Image, good: Mask, x: float, y: float, reach: float) -> tuple[int, int]:
    """Return the pixel (x, y) within `reach` whose 3 x 3 neighbourhood is the brightest, and that is its summit.

    Raises
    ------
    NoSource
        If no good pixel lies there, or nothing stands out of the noise.
    """
    height, width = data.shape
    rows = slice(max(0, int(y - reach)), min(height, int(y + reach) + 2))
    columns = slice(max(0, int(x - reach)), min(width, int(x + reach) + 2))
    part = np.where(good[rows, columns], data[rows, columns], np.nan)
    if not np.isfinite(part).any():
        raise NoSource("no good pixel here")
    around = tuple(slice(max(0, part.start - SURROUNDINGS), part.stop + SURROUNDINGS) for part in (rows, columns))
    level, noise, _ = clipped_median(data[around][good[around]])
    excess = np.nan_to_num(part - level)
    padded = np.pad(excess, 1)
    summed = sum(padded[j : j + part.shape[0], i : i + part.shape[1]] for j in range(3) for i in range(3))
    assert not isinstance(summed, int)
    away = np.hypot(*np.ogrid[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x])
    summed = np.where(away <= reach + 0.71, summed, -np.inf)
    row, column = np.unravel_index(int(np.argmax(summed)), summed.shape)
    if summed[row, column] < LEAST_SIGNIFICANCE * 3.0 * noise or summed[row, column] <= 0:
        raise NoSource("no source here: nothing stands out of the noise")
    return columns.start + int(column), rows.start + int(row)


def measure_star(
    data: Image, err: Image | None, good: Mask, x: float, y: float, *, reach: float, radius: float, annulus: float
) -> Star:
    """Measure the source nearest to the brightest spot within `reach` of a point.

    Parameters
    ----------
    data, err, good
        Image, its one-sigma errors (None: not known) and which pixels may be used.
    x, y
        Where to look.
    reach
        How far from there the peak may be.
    radius
        Where the curve of growth ends.
    annulus
        Width of the ring outside `radius` in which the background is taken.

    Raises
    ------
    NoSource
        If nothing stands out, the core is cut off by the edge or has too few good pixels, or no width fits.
    """
    column, row = find_peak(data, good, x, y, reach)
    core = _fit_core(data, good, column, row)
    away2 = _squared_distances(data.shape, core.x, core.y)
    ring = good & (away2 > radius**2) & (away2 <= (radius + annulus) ** 2)
    background, noise, number = clipped_median(data[ring])
    if number < LEAST_RING:
        background, noise = core.background, float("nan")
    if not np.isfinite(background):
        background = core.background
    radii = _radii(radius)
    sums = growth(data, good, core.x, core.y, background, radii)
    flux = float(sums[-1])
    inside = good & (away2 <= radius**2)
    flux_error = 0.0 if err is None else float(np.sqrt((err[inside].astype(np.float64) ** 2).sum()))
    if not flux > 0:
        raise NoSource("no source here: its light is not above the background")
    spot = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
    peak = float(np.where(good[spot], data[spot], -np.inf).max()) - background
    return Star(
        x=core.x, y=core.y, peak=peak, flux=flux, flux_error=flux_error, background=background, noise=noise,
        fwhm=core.fwhm, ellipticity=core.ellipticity, angle_deg=core.angle_deg, radius=radius, pixels=int(inside.sum()),
        radii=tuple(radii.tolist()), encircled=tuple((sums / flux).tolist()),
    )  # fmt: skip


def _fit_core(data: Image, good: Mask, column: int, row: int) -> Gaussian:
    """Fit a Gaussian to the core: twice, the second time within the radius that the first width asks for."""
    width = _half_maximum_width(data, good, column, row)
    x, y = float(column), float(row)
    found = None
    for _ in range(3):
        reach = max(2.3, FIT_REACH * width)
        stamp, rows, columns = _stamp(data, x, y, reach)
        away = np.hypot(*np.ogrid[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x])
        use = good[rows, columns] & (away <= reach)
        inside = int((away <= reach).sum())
        if not (reach <= x <= data.shape[1] - 1 - reach and reach <= y <= data.shape[0] - 1 - reach):
            raise NoSource("the source is cut off by the edge")
        if use.sum() < max(8, LEAST_GOOD_SHARE * inside):
            raise NoSource("too many bad pixels in the source")
        fitted = fit_gaussian(stamp, use, width)
        if fitted is None or np.hypot(fitted.x + columns.start - column, fitted.y + rows.start - row) > 2 + width:
            break
        found = fitted.moved(columns.start, rows.start)
        x, y, width = found.x, found.y, found.fwhm
    if found is None:
        raise NoSource("no width can be fitted here")
    return found


def _half_maximum_width(data: Image, good: Mask, column: int, row: int) -> float:
    """Guess the width from the number of pixels above half of the peak, near it."""
    stamp, rows, columns = _stamp(data, column, row, 12)
    values = np.where(good[rows, columns], stamp, np.nan)
    level = float(np.nanmedian(values))
    peak = data[row, column] if good[row, column] else np.nanmax(values[9:16, 9:16])
    bright = int((values > level + 0.5 * (peak - level)).sum())
    return float(np.clip(2 * np.sqrt(bright / np.pi), 1.2, 16.0))


def _stamp(data: Image, x: float, y: float, reach: float) -> tuple[Image, slice, slice]:
    side = int(np.ceil(reach))
    middle_y, middle_x = round(y), round(x)
    rows = slice(max(0, middle_y - side), min(data.shape[0], middle_y + side + 1))
    columns = slice(max(0, middle_x - side), min(data.shape[1], middle_x + side + 1))
    return data[rows, columns], rows, columns


def _squared_distances(shape: tuple[int, ...], x: float, y: float) -> NDArray[np.float32]:
    down, across = np.arange(shape[0], dtype=np.float32) - y, np.arange(shape[1], dtype=np.float32) - x
    return np.asarray(down[:, None] ** 2 + across[None, :] ** 2, np.float32)


def _radii(radius: float) -> NDArray[np.float64]:
    """Return radii that are dense near the core."""
    steps = np.unique(np.concatenate((np.arange(0.5, min(6.0, radius), 0.5), np.geomspace(1.0, radius, 24))))
    return steps[steps <= radius]


def compile_kernels() -> None:
    """Compile what measures sources, before somebody waits for a number."""
    y, x = np.ogrid[:41, :41]
    image = np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 4.0).astype(np.float32) * 100
    for writable in (True, False):
        image = image.copy()
        image.setflags(write=writable)
        measure_star(image, None, np.ones(image.shape, bool), 20, 20, reach=2, radius=8, annulus=4)


def snr_after(source: float, background: float, pixels: int, read_noise_e: float, time_s: float) -> float:
    """Return signal over noise after a CDS exposure: source and background a pixel [e-/s], noise of one read."""
    signal = source * time_s
    noise = np.sqrt((source + pixels * background) * time_s + 2 * pixels * read_noise_e**2)
    return float(signal / noise)


def time_to_snr(source: float, background: float, pixels: int, read_noise_e: float, wanted: float) -> float:
    """Return the time [s] of one CDS exposure that reaches a signal to noise; infinite without a source."""
    if source <= 0:
        return float("inf")
    light = wanted**2 * (source + pixels * background)
    root = np.sqrt(light**2 + 8 * source**2 * wanted**2 * pixels * read_noise_e**2)
    return float((light + root) / (2 * source**2))


__all__ = [
    "FWHM_PER_SIGMA",
    "NoSource",
    "Star",
    "compile_kernels",
    "find_peak",
    "measure_star",
    "snr_after",
    "time_to_snr",
]
