"""What the kernels do, written with numpy as one plainly would; the measure of what they are worth.

The functions work on the same arrays in the same way, so a test can hold one against the other.
"""

import warnings

import numpy as np

from rtcal.bench.scene import CEILING_DN, GAIN_E_PER_DN, READ_NOISE_E, Picture, Scene
from rtcal.estimator import Ends
from rtcal.kernels.flags import DO_NOT_USE, REFERENCE_PIXEL, SATURATED, UNRELIABLE_SLOPE
from rtcal.kernels.segments import NEVER
from rtcal.steps import FlagImage, FloatImage, RampPlanes, RawImage, Scaled


def ramp(scene: Scene, reads: list[RawImage]) -> RampPlanes:
    """Take in the reads of a ramp: the sums of the pixels that are not saturated."""
    planes = scene.planes
    np.copyto(planes.zero, reads[0])
    planes.moments.fill(0)
    saturated = np.zeros(scene.shape, bool)
    for read, time_s in zip(reads, scene.times_s, strict=True):
        saturated |= read > CEILING_DN
        signal = read.astype(np.float32) - planes.zero
        signal[saturated] = 0
        planes.moments[:, 0] += signal
        planes.moments[:, 1] += np.float32(time_s) * signal
    return planes


def fit(scene: Scene, planes: RampPlanes, ends: Ends | None = None) -> None:
    """Fit the slope, or the difference of the ends, of a ramp where nothing happened; add it to the exposure's sums."""
    slope, sums = scene.slope, scene.sums
    precision = slope if ends is None else ends
    if ends is None:
        rate = (planes.moments[:, 1] - np.float32(slope.mean_s) * planes.moments[:, 0]) / np.float32(slope.weight)
    else:
        rate = planes.head * np.float32(ends.near) + planes.tail * np.float32(ends.far)
    sums.w_sum[:] += np.float32(precision.weight)
    sums.w_rate[:] += np.float32(precision.weight * GAIN_E_PER_DN) * rate
    sums.w_photon[:] += np.float32(precision.spread)


def finish_rate(scene: Scene, into: Picture) -> None:
    """Turn the exposure's sums into rate, variance and flags."""
    sums = scene.sums
    fitted = sums.w_sum > 0
    weight = np.where(fitted, sums.w_sum, np.float32(1))
    flux = sums.w_rate / weight
    variance = np.float32(READ_NOISE_E**2) / weight + np.maximum(flux, 0) * sums.w_photon / (weight * weight)
    into.rate[:] = np.where(fitted, flux, np.nan)
    into.err[:] = np.where(fitted, variance, np.nan)
    into.dq[:] = scene.static_dq
    into.dq[sums.saturated_from != NEVER] |= SATURATED
    into.dq[~fitted] |= DO_NOT_USE


def subtract(picture: Picture, part: Scaled) -> None:
    """Subtract a scaled rate; `err` holds variances."""
    picture.rate[:] -= np.float32(part.scale) * part.rate
    picture.err[:] += (np.float32(part.scale) * part.err) ** 2 + (part.rate * np.float32(part.scale_err)) ** 2


def divide(picture: Picture, flat: FloatImage, flat_err: FloatImage) -> None:
    """Divide by a flat field; `err` holds variances."""
    picture.rate[:] /= flat
    picture.err[:] = (picture.err + (picture.rate * flat_err) ** 2) / flat**2


def root(picture: Picture) -> None:
    """Turn variances into errors."""
    np.sqrt(picture.err, out=picture.err)


def flag_unreliable(picture: Picture, limit: float) -> None:
    """Flag errors above a limit."""
    picture.dq[picture.err > limit] |= UNRELIABLE_SLOPE


def repair(picture: Picture) -> None:
    """Give bad pixels inside the border the median of their good neighbours, within 1 pixel, else within 2."""
    bad = (picture.dq & (DO_NOT_USE | REFERENCE_PIXEL)) == DO_NOT_USE
    ys, xs = np.nonzero(bad)
    lonely = _repair_from(picture, ys, xs, 1)
    _repair_from(picture, ys[lonely], xs[lonely], 2)


def _repair_from(picture: Picture, ys: np.ndarray, xs: np.ndarray, reach: int) -> np.ndarray:
    """Repair pixels from the square around them; return which have no good neighbour and are NaN now."""
    near = np.arange(-reach, reach + 1)
    places = ys + near[:, None, None], xs + near[None, :, None]
    good = ((picture.dq[places] & DO_NOT_USE) == 0) & np.isfinite(picture.rate[places])
    values = np.where(good, picture.rate[places], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of pixels without a good neighbour
        median = np.nanmedian(values, axis=(0, 1))
        noise = np.nanmean(np.where(good, picture.err[places] ** 2, np.nan), axis=(0, 1))
        scatter = np.nanmean((values - median) ** 2, axis=(0, 1))
    picture.rate[ys, xs] = median
    picture.err[ys, xs] = np.sqrt(noise + scatter)
    return np.asarray(np.isnan(median))


def bin_mean(image: RawImage, binning: int, binned: FloatImage) -> None:
    """Average an image over square bins."""
    height, width = binned.shape
    image.reshape(height, binning, width, binning).mean(axis=(1, 3), dtype=np.float32, out=binned)


def preview_rate(scene: Scene, planes: RampPlanes, dq: FlagImage, rate: FloatImage) -> None:
    """Average the provisional slope over square bins, good pixels only, none of them saturated."""
    fitted, n = scene.slope, scene.binning
    slope = (planes.moments[:, 1] - np.float32(fitted.mean_s) * planes.moments[:, 0]) * np.float32(
        GAIN_E_PER_DN / fitted.weight
    )
    good = (dq & DO_NOT_USE) == 0
    shape = (rate.shape[0], n, rate.shape[1], n)
    total = np.where(good, slope, np.float32(0)).reshape(shape).sum(axis=(1, 3))
    count = good.reshape(shape).sum(axis=(1, 3))
    rate[:] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
