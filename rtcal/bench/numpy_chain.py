"""What the kernels do, written with numpy as one plainly would; the measure of what they are worth.

The functions work on the same arrays in the same way, so a test can hold one against the other.
"""

import warnings

import numpy as np

from rtcal.bench.scene import CEILING_DN, GAIN_E_PER_DN, LIMIT_E_PER_S, READ_NOISE_E, Scene
from rtcal.buffers import FloatImage, RawImage
from rtcal.estimator import slope_of
from rtcal.kernels.finish import Output
from rtcal.kernels.flags import DO_NOT_USE, REFERENCE_PIXEL, SATURATED, UNRELIABLE_SLOPE
from rtcal.kernels.planes import NEVER


def ramp(scene: Scene, reads: list[RawImage]) -> None:
    """Take in the reads of a ramp: the sums of the pixels that are not saturated."""
    moments = scene.state.moments
    moments.fill(0)
    saturated = np.zeros(scene.shape, bool)
    for read, time_s in zip(reads, scene.times_s, strict=True):
        saturated |= read > CEILING_DN
        signal = read.astype(np.float32) - reads[0]
        signal[saturated] = 0
        moments[:, 0] += signal
        moments[:, 1] += np.float32(time_s) * signal


def finalise(scene: Scene, out: Output) -> None:
    """Make a frame of the sums of a ramp in which nothing happened."""
    slope, moments = slope_of(scene.times_s), scene.state.moments
    rate = (moments[:, 1] - np.float32(slope.mean_s) * moments[:, 0]) * np.float32(GAIN_E_PER_DN / slope.weight)
    photon = np.float32(slope.spread / slope.weight**2)
    variance = np.float32(READ_NOISE_E**2 / slope.weight) + np.maximum(rate, 0) * photon
    dq = scene.static_dq.copy()
    dq[scene.state.saturated_from != NEVER] |= SATURATED
    for part in (scene.dark, scene.sky):
        variance += (part.scale * part.err) ** 2 + (part.rate * part.scale_err) ** 2
        rate -= part.scale * part.rate
    _divide(rate, variance, *scene.flat)
    np.sqrt(variance, out=variance)
    dq[variance > LIMIT_E_PER_S] |= UNRELIABLE_SLOPE
    out.rate[:], out.err[:], out.dq[:] = rate, variance, dq
    out.saturated_from[:] = scene.state.saturated_from
    repair(out)


def _divide(rate: FloatImage, variance: FloatImage, flat: FloatImage, flat_err: FloatImage) -> None:
    rate /= flat
    variance += (rate * flat_err) ** 2
    variance /= flat**2


def repair(out: Output) -> None:
    """Give bad pixels inside the border the median of their good neighbours, within 1 pixel, else within 2."""
    bad = (out.dq & (DO_NOT_USE | REFERENCE_PIXEL)) == DO_NOT_USE
    ys, xs = np.nonzero(bad)
    lonely = _repair_from(out, ys, xs, 1)
    _repair_from(out, ys[lonely], xs[lonely], 2)


def _repair_from(out: Output, ys: np.ndarray, xs: np.ndarray, reach: int) -> np.ndarray:
    """Repair pixels from the square around them; return which have no good neighbour and are NaN now."""
    near = np.arange(-reach, reach + 1)
    places = ys + near[:, None, None], xs + near[None, :, None]
    good = ((out.dq[places] & DO_NOT_USE) == 0) & np.isfinite(out.rate[places])
    values = np.where(good, out.rate[places], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of pixels without a good neighbour
        median = np.nanmedian(values, axis=(0, 1))
        noise = np.nanmean(np.where(good, out.err[places] ** 2, np.nan), axis=(0, 1))
        scatter = np.nanmean((values - median) ** 2, axis=(0, 1))
    out.rate[ys, xs] = median
    out.err[ys, xs] = np.sqrt(noise + scatter)
    return np.asarray(np.isnan(median))


def bin_mean(image: RawImage, binning: int, binned: FloatImage) -> None:
    """Average an image over square bins."""
    height, width = binned.shape
    image.reshape(height, binning, width, binning).mean(axis=(1, 3), dtype=np.float32, out=binned)


def preview_rate(scene: Scene, rate: FloatImage) -> None:
    """Average the provisional slope over square bins, good pixels only, none of them saturated."""
    fitted, n, moments = slope_of(scene.times_s), scene.binning, scene.state.moments
    slope = (moments[:, 1] - np.float32(fitted.mean_s) * moments[:, 0]) * np.float32(GAIN_E_PER_DN / fitted.weight)
    good = (scene.static_dq & DO_NOT_USE) == 0
    shape = (rate.shape[0], n, rate.shape[1], n)
    total = np.where(good, slope, np.float32(0)).reshape(shape).sum(axis=(1, 3))
    count = good.reshape(shape).sum(axis=(1, 3))
    rate[:] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
