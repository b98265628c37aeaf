"""Read noise of every pixel and channel, from the steps between the reads of darks.

All noise here is that of one single read. Some software calls the noise of a difference of two reads by the same
name: that is larger by the root of two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcal.buffers import FlagImage, FloatImage
from rtcal.errors import UsageError
from rtcal.refmake.combine import median_of
from rtcal.refmake.ramps import RampBand, RampStack, Signals
from rtcal.refmake.stacks import Advance, nobody
from streams.dq import Dq

CLIP_SIGMA = 5.0
LEAST_STEPS = 4
NOISY = 3.0
"""A pixel with more than so many times its channel's noise is noisy."""


@dataclass(frozen=True)
class ChannelNoise:
    """Read noise of an output channel [e-]: what is typical of its pixels."""

    channel: int
    first_column: int
    read_noise_dn: float
    read_noise_e: float
    noisy_pixels: int


@dataclass(frozen=True)
class ReadNoise:
    """Read noise of each pixel and its error [e-], flags, and each channel's."""

    noise_e: FloatImage
    err_e: FloatImage
    dq: FlagImage
    channels: list[ChannelNoise]


@dataclass(frozen=True)
class StepNoise:
    """What the steps between reads show of each pixel, (y, x)."""

    sigma_dn: Signals
    """Of one single read [DN]; NaN below `LEAST_STEPS` steps."""
    steps: NDArray[np.intp]
    """Steps that it was measured on, outliers left out."""
    up: NDArray[np.intp]
    down: NDArray[np.intp]
    """Outliers in either direction."""


def make_read_noise(ramps: RampStack, advance: Advance = nobody) -> ReadNoise:
    """Measure the read noise of every pixel on dark ramps.

    The typical step of each pixel (its dark current) is taken off; steps beyond 5 sigma are left out (cosmic rays).
    The photon noise of the dark current is taken off too.

    Returns
    -------
    ReadNoise
        OTHER_BAD_PIXEL where a pixel has three times its channel's noise; NaN with DO_NOT_USE where too few reads
        are below saturation.

    Raises
    ------
    UsageError
        If there are too few reads.
    """
    check_steps(ramps, "read noise")
    detector, shape = ramps.detector, ramps.shape
    sigma, err = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for rows, bands in ramps.bands(advance):
        measured = step_noise(bands, detector.saturation_dn, detector.gain_e_per_dn)
        sigma[rows] = measured.sigma_dn
        with np.errstate(divide="ignore"):
            # Neighbouring steps share a read, which costs half as much again as independent ones would.
            err[rows] = measured.sigma_dn * np.sqrt(0.75 / measured.steps)
    dq = ramps.border_flags()
    dq[~np.isfinite(sigma)] |= np.uint32(Dq.DO_NOT_USE)
    err[~np.isfinite(sigma)] = np.nan
    channels = []
    for number, columns in enumerate(channel_columns(shape[1], detector.channels)):
        typical = channel_level(sigma[:, columns], dq[:, columns])
        noisy = noisy_pixels(sigma[:, columns], dq[:, columns], typical)
        dq[:, columns][noisy] |= np.uint32(Dq.OTHER_BAD_PIXEL)
        noise_e = typical * detector.gain_e_per_dn
        channels.append(ChannelNoise(number, columns.start, typical, noise_e, int(noisy.sum())))
    gain = np.float32(detector.gain_e_per_dn)
    return ReadNoise(sigma * gain, err * gain, dq, channels)


def check_steps(ramps: RampStack, what: str) -> None:
    """Refuse ramps of too few steps, taken together.

    Raises
    ------
    UsageError
        Says how many are there.
    """
    ramps.check(what)
    steps = sum(len(ramp.times_s) - 1 for ramp in ramps.ramps)
    if steps < LEAST_STEPS:
        raise UsageError(f"{what} needs {LEAST_STEPS} steps between reads; the ramps have {steps}: give more darks")


def step_noise(bands: Sequence[RampBand], ceiling_dn: float, gain_e_per_dn: float) -> StepNoise:
    """Measure some rows' noise on the steps between reads."""
    differences, spans = [], []
    for band in bands:
        step = np.diff(band.signal_dn, axis=0)
        differences.append(np.where(band.raw_dn[1:] < ceiling_dn, step, np.nan))
        spans += list(np.diff(band.times_s))
    steps, spans_s = np.concatenate(differences), np.array(spans)[:, None, None]
    rate = median_of(steps / spans_s)
    steps -= rate * spans_s
    own = 1.4826 * median_of(np.abs(steps))
    with np.errstate(invalid="ignore"):
        typical = np.nanmedian(own) if np.isfinite(own).any() else np.nan
        limit = CLIP_SIGMA * np.maximum(own, typical)
        up, down = (steps > limit).sum(axis=0), (steps < -limit).sum(axis=0)
        kept = np.abs(steps) <= limit
    count = kept.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The mean of a ramp's steps is that of its ends alone: it takes hardly anything off the scatter.
        mean = np.where(kept, steps, 0).sum(axis=0) / count
        square = np.where(kept, (steps - mean) ** 2, 0).sum(axis=0) / count
        photons = np.maximum(rate, 0) * spans_s.mean() / gain_e_per_dn
        sigma = np.sqrt(np.maximum(square - photons, 0) / 2)
    return StepNoise(np.where(count >= LEAST_STEPS, sigma, np.nan), count, up, down)


def channel_columns(width: int, channels: int) -> list[slice]:
    """Return the columns of each output channel; one channel where the width cannot be divided."""
    if channels < 1 or width % channels:
        channels = 1
    step = width // channels
    return [slice(start, start + step) for start in range(0, width, step)]


def channel_level(sigma: NDArray[np.floating], dq: FlagImage) -> float:
    """Return the typical noise of the light-sensitive pixels: the root of their mean variance without noisy ones.

    The median is low by a part in the number of steps, of which the scatter of each pixel is made.
    """
    active = sigma[(dq & np.uint32(Dq.REFERENCE_PIXEL) == 0) & np.isfinite(sigma)]
    quiet = active[active <= NOISY * np.median(active)] if active.size else active
    return float(np.sqrt(np.mean(quiet**2, dtype=np.float64))) if quiet.size else float("nan")


def noisy_pixels(sigma: NDArray[np.floating], dq: FlagImage, typical: float) -> NDArray[np.bool_]:
    """Tell which pixels have far more noise than is typical."""
    with np.errstate(invalid="ignore"):
        return np.asarray((sigma > NOISY * typical) & (dq & np.uint32(Dq.REFERENCE_PIXEL) == 0))
