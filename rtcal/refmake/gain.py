"""Gain by photon transfer: how the noise of flat ramps grows with their signal.

Two ramps of the same light are subtracted read by read, each counted from its own first read: the response of the
pixels and the noise of the reset drop out. What is left has, per pixel, twice the variance

    V(m) = 2 sigma_R^2 + m / g + b m^2

with m the mean signal since the first read [DN], sigma_R the read noise [DN] and g the gain [e-/DN]. The last term
takes up what a bend of the response does to the noise at high signal (b is about -3 c_2 / g).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rtcal.errors import UsageError
from rtcal.refmake.noise import channel_columns
from rtcal.refmake.ramps import RampBand, RampStack, Signals, usable
from rtcal.refmake.stacks import Advance, nobody
from streams.dq import Dq

CLIP_SIGMA = 5.0
CLIP_ROUNDS = 3
LEAST_POINTS = 3
CURVED_POINTS = 5
"""Points from which on the curve has its bend as well."""
LEAST_PIXELS = 0.9
"""Part of a block's pixels that must be below saturation for it to count: the rest would be the dimmest."""
LEAST_RISE = 3.0
"""The highest noise variance must be so many times the lowest: else it is read noise that was measured."""
BLOCK_ROWS = 64
MOST_READS = 8
"""Reads of a ramp that make points: more would tell little, each holds the photons of those before."""
SAME_LIGHT = 0.1
"""Two ramps make a pair if their signals differ by no more than this part."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Sums over the pixels of one block at one signal; blocks add up."""

    count: int
    mean: float
    square: float
    """Of half the squared difference."""
    products: float
    """Of half the products of differences of neighbours, next in the row and in the column."""
    pairs: int


Points = dict[tuple[int, int, int], list[Sums]]
"""By channel, pair and read: the blocks."""


@dataclass(frozen=True)
class ChannelGain:
    """Gain of an output channel, and the points of its curve."""

    channel: int
    first_column: int
    gain_e_per_dn: float
    gain_err: float
    apparent_gain: float
    """Without the correction for coupled neighbours [e-/DN]."""
    read_noise_e: float
    """From the variance at no signal, of one single read [e-]; NaN where it comes out negative."""
    means_dn: list[float]
    variances_dn2: list[float]
    fit: tuple[float, float, float]
    """V = fit[0] + fit[1] m + fit[2] m^2."""


@dataclass(frozen=True)
class Gain:
    """Gain of every channel."""

    channels: list[ChannelGain]
    coupling: float
    """Part of the photons' variance that is shared with neighbours: capacitance between pixels."""
    pairs: int

    def plane(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Return gain and error of every pixel [e-/DN], (y, x)."""
        gain, err = np.empty(shape), np.empty(shape)
        for channel, columns in zip(self.channels, channel_columns(shape[1], len(self.channels)), strict=True):
            gain[:, columns], err[:, columns] = channel.gain_e_per_dn, channel.gain_err
        return gain, err


def make_gain(ramps: RampStack, advance: Advance = nobody) -> Gain:
    """Measure the gain of every channel on pairs of flat ramps.

    Raises
    ------
    UsageError
        If no two ramps have the same light and times, or they are saturated or too dim.
    """
    ramps.check("gain by photon transfer", ramps=2, reads=2)
    detector = ramps.detector
    active = ramps.border_flags() & np.uint32(Dq.REFERENCE_PIXEL) == 0
    columns = channel_columns(ramps.shape[1], detector.channels)
    points: Points = {}
    pairs: list[tuple[int, int]] = []
    for rows, bands in ramps.bands(advance, margin=BLOCK_ROWS):
        pairs = pairs or pair_up(bands, detector.saturation_dn, active[rows])
        for number, (one, other) in enumerate(pairs):
            _add_points(points, number, (bands[one], bands[other]), detector.saturation_dn, active[rows], columns)
    return _fit(points, columns, len(pairs))


def _add_points(
    points: Points,
    number: int,
    pair: tuple[RampBand, RampBand],
    ceiling_dn: float,
    active: NDArray[np.bool_],
    columns: Sequence[slice],
) -> None:
    """Add some rows of a pair to the curve: block by block, at some of its reads."""
    first, second = (band.signal_dn - band.signal_dn[0] for band in pair)
    good = usable(pair[0].raw_dn, ceiling_dn) & usable(pair[1].raw_dn, ceiling_dn) & active
    reads = np.unique(np.linspace(1, len(first) - 1, MOST_READS).round().astype(int))
    for start in range(0, first.shape[1], BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        for read in reads:
            for channel, part in enumerate(columns):
                own = good[read, rows, part]
                if own.sum() >= LEAST_PIXELS * active[rows, part].sum() > 0:
                    sums = block_sums(first[read, rows, part], second[read, rows, part], own)
                    points.setdefault((channel, number, int(read)), []).append(sums)


def pair_up(bands: Sequence[RampBand], ceiling_dn: float, active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the ramps that make pairs: same times, same light, each in one pair.

    Raises
    ------
    UsageError
        If there is none.
    """
    rates = [_rate(band, ceiling_dn, active) for band in bands]
    order = sorted((number for number, rate in enumerate(rates) if rate > 0), key=lambda number: rates[number])
    pairs, taken = [], set[int]()
    for one, other in pairwise(order):
        alike = abs(rates[one] - rates[other]) <= SAME_LIGHT * max(rates[one], rates[other])
        times, others = bands[one].times_s, bands[other].times_s
        same = len(times) == len(others) and np.allclose(times, others, rtol=1e-3)
        if alike and same and not taken & {one, other}:
            pairs.append((one, other))
            taken |= {one, other}
    if not pairs:
        found = ", ".join(f"{band.ramp.name}: {rate:.4g} DN/s" for band, rate in zip(bands, rates, strict=True))
        raise UsageError(
            "gain by photon transfer needs two ramps of the same light and times that are not saturated "
            f"from the start; found {found}"
        )
    return pairs


def _rate(band: RampBand, ceiling_dn: float, active: NDArray[np.bool_]) -> float:
    """Return the typical rate between the first two reads [DN/s]; NaN where they are saturated."""
    good = active & (band.raw_dn[1] < ceiling_dn)
    if not good.any():
        return float("nan")
    return float(np.median((band.signal_dn[1] - band.signal_dn[0])[good]) / (band.times_s[1] - band.times_s[0]))


def block_sums(first: Signals, second: Signals, good: NDArray[np.bool_]) -> Sums:
    """Sum a block of two ramps up: clipped at 5 sigma (cosmic rays, noisy pixels), from 1.4826 MAD on."""
    difference = first - second
    middle = float(np.median(difference[good]))
    sigma = max(1.4826 * float(np.median(np.abs(difference[good] - middle))), 0.5)
    for _ in range(CLIP_ROUNDS):
        kept = good & (np.abs(difference - middle) <= CLIP_SIGMA * sigma)
        middle, sigma = float(difference[kept].mean()), max(float(difference[kept].std()), 0.5)
    difference = np.where(kept, difference - middle, 0)
    products, pairs = 0.0, 0
    for axis in (0, 1):
        low, high = np.split(difference, [1], axis)[1], np.split(difference, [-1], axis)[0]
        both = np.split(kept, [1], axis)[1] & np.split(kept, [-1], axis)[0]
        products += float((low * high).sum())
        pairs += int(both.sum())
    mean = float((first + second)[kept].sum()) / 2
    return Sums(int(kept.sum()), mean, float((difference**2).sum()) / 2, products / 2, pairs)


def _fit(points: Points, columns: Sequence[slice], pairs: int) -> Gain:
    """Fit each channel's curve, and what neighbours share on all of them together."""
    every = [_curve([blocks for (_, *at), blocks in points.items() if at == list(key)]) for key in _places(points)]
    means, variances, shared = (np.array(values) for values in zip(*every, strict=True))
    if variances.max() < LEAST_RISE * variances.min():
        raise UsageError(
            f"gain by photon transfer: the noise hardly grows over signals up to {means.max():.4g} DN; "
            "give brighter or longer flats"
        )
    # Each pixel has four next neighbours: what it shares with them is missing from its own variance. Whatever bends
    # the one with the signal bends the other too, so they are compared with each other.
    shared_part = np.polynomial.polynomial.polyfit(variances, shared, 1, w=1 / variances)[1]
    coupling = max(0.0, 4 * float(shared_part))
    channels = []
    for number, part in enumerate(columns):
        own = [blocks for (channel, *_), blocks in points.items() if channel == number]
        if len(own) < LEAST_POINTS:
            raise UsageError(
                f"gain by photon transfer: channel {number} has {len(own)} signals below saturation, "
                f"{LEAST_POINTS} are needed; give ramps with more reads, or of more brightnesses"
            )
        channels.append(_channel(number, part, own, coupling))
    return Gain(channels, coupling, pairs)


def _places(points: Points) -> list[tuple[int, int]]:
    return sorted({(pair, read) for _, pair, read in points})


def _curve(groups: Sequence[Sequence[Sums]], without: int = -1) -> tuple[float, float, float]:
    """Return mean, variance and shared variance of blocks taken together, one of each group left out if told."""
    blocks = [block for group in groups for place, block in enumerate(group) if place != without or len(group) == 1]
    count, pairs = sum(block.count for block in blocks), sum(block.pairs for block in blocks)
    return (
        sum(block.mean for block in blocks) / count,
        sum(block.square for block in blocks) / count,
        sum(block.products for block in blocks) / max(pairs, 1),
    )


def _polynomial(means: Floats, values: Floats, variances: Floats) -> Floats:
    """Fit values against the mean, ascending; a variance's own error goes with its size."""
    degree = 2 if len(means) >= CURVED_POINTS else 1
    fitted = np.polynomial.polynomial.polyfit(means, values, degree, w=1 / variances)
    return np.append(fitted, np.zeros(2 - degree))


def _channel(number: int, columns: slice, own: Sequence[Sequence[Sums]], coupling: float) -> ChannelGain:
    """Fit a channel; the error of its gain is that of the fits which leave out one block after another."""

    def fit(without: int) -> tuple[Floats, Floats, Floats]:
        means, variances, _ = (np.array(v) for v in zip(*(_curve([group], without) for group in own), strict=True))
        return means, variances, _polynomial(means, variances, variances)

    means, variances, fitted = fit(-1)
    blocks = max(len(group) for group in own)
    slopes = np.array([fit(without)[2][1] for without in range(blocks)])
    error = float(np.sqrt((blocks - 1) / blocks * ((slopes - slopes.mean()) ** 2).sum())) if blocks > 1 else np.nan
    if not fitted[1] > 0:
        raise UsageError(f"gain by photon transfer: channel {number}'s noise does not grow with its signal")
    gain = 1 / (fitted[1] * (1 + coupling))
    return ChannelGain(
        channel=number,
        first_column=columns.start,
        gain_e_per_dn=float(gain),
        gain_err=float(gain * error / fitted[1]),
        apparent_gain=float(1 / fitted[1]),
        read_noise_e=float(np.sqrt(fitted[0] / 2) * gain) if fitted[0] > 0 else float("nan"),
        means_dn=means.tolist(),
        variances_dn2=variances.tolist(),
        fit=(float(fitted[0]), float(fitted[1]), float(fitted[2])),
    )
