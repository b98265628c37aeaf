"""The polynomial that makes pixels linear, fitted side by side to ramps under a steady lamp.

With x the measured signal above the bias [DN] and t the time since the reset, the light of a steady lamp gives

    x + c_2 x^2 + ... + c_K x^K = f t + o

with the pixel's coefficients c, and a rate f and an offset o for each ramp: what a reset leaves differs from ramp to
ramp. The first coefficients are 0 and 1: at low signal nothing is changed. The equation is linear in all unknowns;
f and o are projected out ramp by ramp, so that ramps of different brightness give one polynomial.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

JUMP_SIGMA = 5.0
JUMP_PASSES = 4
"""Cosmic rays that are found in a pixel's ramps, one for each ramp in a pass."""
SPARE_READS = 2
"""Reads that a pixel must have beyond its unknowns."""
SINGULAR = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """What a step between reads may differ by [DN]."""

    read_dn: float
    gain_e_per_dn: float


@dataclass(frozen=True)
class Fit:
    """Polynomials of pixels side by side, in x/X."""

    scaled: Floats
    """c_2 X, c_3 X^2 ... c_K X^(K-1), (pixel, K - 1)."""
    covariance: Floats
    """(pixel, K - 1, K - 1)."""
    reach_dn: Floats
    """Highest signal that was used, (pixel,)."""
    unit_dn: float
    """X [DN]."""

    def coefficients(self, scaled: Floats) -> Floats:
        """Return c_0 ... c_K, (K + 1, pixel)."""
        powers = np.arange(1, scaled.shape[1] + 1)
        ones = np.where(np.isfinite(scaled).all(axis=1), 1.0, np.nan)
        return np.stack([0 * ones, ones, *(scaled.T / self.unit_dn ** powers[:, None].astype(float))])


@dataclass
class _Lines:
    """One ramp of some pixels, (read, pixel): what is used, and in which stretch between jumps each read lies."""

    times_s: Floats
    signal: Floats
    """x/X, 0 where it is not used."""
    used: NDArray[np.bool_]
    stretch: NDArray[np.int8]

    def of(self, pixels: NDArray[np.intp]) -> "_Lines":
        return _Lines(self.times_s, self.signal[:, pixels], self.used[:, pixels], self.stretch[:, pixels])

    def project(self, values: Floats) -> tuple[Floats, Floats]:
        """Take a line in time off values, (any, read, pixel), with an offset for each stretch.

        Returns
        -------
        tuple
            The residuals, 0 where a read is not used; and the slopes, (any, pixel).
        """
        times = np.broadcast_to(self.times_s[:, None], self.used.shape) * self.used
        values = values * self.used
        for number in range(int(self.stretch.max(initial=0)) + 1):
            inside = self.used & (self.stretch == number)
            count = np.maximum(inside.sum(axis=0), 1)
            times = times - inside * ((times * inside).sum(axis=0) / count)
            values -= inside * ((values * inside).sum(axis=1) / count)[:, None]
        square = (times**2).sum(axis=0)
        slopes = (values * times).sum(axis=1) / np.where(square > 0, square, 1)
        values -= slopes[:, None] * times
        return values, slopes

    def instruments(self, powers: NDArray[np.intp]) -> Floats:
        """Return powers of what a linear pixel would show, a line in time taken off: free of the reads' noise."""
        total = (self.times_s[:, None] * self.used).sum(axis=0)
        line = self.times_s[:, None] * (self.signal.sum(axis=0) / np.where(total > 0, total, 1))
        return self.project(np.stack([line**power for power in powers]))[0]

    def noise_of(self, instruments: Floats, unit: float, noise: Noise) -> Floats:
        """Return the covariance of sums of the reads weighted by instruments, (pixel, k, k).

        The photons of a step are in all reads after it, the noise of a read in it alone.
        """
        tails = np.cumsum(instruments[:, ::-1], axis=1)[:, ::-1]
        gathered = np.diff(self.signal, axis=0, prepend=0).clip(min=0) / (unit * noise.gain_e_per_dn)
        read = (noise.read_dn / unit) ** 2
        return np.asarray(
            np.einsum("jnp,knp,np->pjk", tails, tails, gathered)
            + read * np.einsum("jnp,knp->pjk", instruments, instruments)
        )


def fit_pixels(
    signals: Sequence[Floats],
    times_s: Sequence[Floats],
    used: Sequence[NDArray[np.bool_]],
    order: int,
    noise: Noise,
) -> Fit:
    """Fit pixels side by side.

    Parameters
    ----------
    signals
        Of each ramp [DN above the bias], (read, pixel).
    times_s
        Of each ramp, (read,).
    used
        Of each ramp, which reads a pixel can use, (read, pixel).
    order
        Highest power.
    noise
        For telling jumps; they begin a new stretch of the ramp, with its own offset.

    Returns
    -------
    Fit
        NaN for pixels with too few reads.
    """
    reach = np.max([np.where(mask, x, 0).max(axis=0) for x, mask in zip(signals, used, strict=True)], axis=0)
    unit, powers = max(float(reach.max(initial=0)), 1.0), np.arange(2, order + 1)
    lines = [
        _Lines(times, np.where(mask, x / unit, 0), mask, np.zeros(x.shape, np.int8))
        for x, times, mask in zip(signals, times_s, used, strict=True)
    ]
    scaled, covariance = _solve(lines, powers, unit, noise)
    pixels = np.arange(reach.size)
    for _ in range(JUMP_PASSES):
        part = lines if pixels.size == reach.size else [line.of(pixels) for line in lines]
        jumped = np.zeros(pixels.size, bool)
        for line, whole in zip(part, lines, strict=True):
            jumped |= _begin_stretch(line, scaled[pixels], powers, unit, noise)
            whole.stretch[:, pixels] = line.stretch
        if not jumped.any():
            break
        pixels = pixels[jumped]
        scaled[pixels], covariance[pixels] = _solve([line.of(pixels) for line in lines], powers, unit, noise)
    return Fit(scaled, covariance, reach, unit)


def _solve(lines: Sequence[_Lines], powers: NDArray[np.intp], unit: float, noise: Noise) -> tuple[Floats, Floats]:
    """Return c_2 ... c_K of x/X of each pixel, (pixel, K - 1), and their covariance; NaN where the reads settle none.

    What is left of the equation must be unrelated to powers of time. Least squares would relate it to powers of the
    reads, whose own noise then bends the result.
    """
    unknowns, pixels = len(powers), lines[0].used.shape[1]
    matrix, spread = np.zeros((pixels, unknowns, unknowns)), np.zeros((pixels, unknowns, unknowns))
    right, count = np.zeros((pixels, unknowns)), np.zeros(pixels, np.intp)
    for line in lines:
        instruments = line.instruments(powers)
        for place, power in enumerate(powers):
            matrix[:, :, place] += np.einsum("jnp,np->pj", instruments, line.signal**power)
        right -= np.einsum("jnp,np->pj", instruments, line.signal)
        spread += line.noise_of(instruments, unit, noise)
        reads, stretches = line.used.sum(axis=0), (line.stretch * line.used).max(axis=0) + 1
        count += np.maximum(reads - stretches - 1, 0)
    scale = np.sqrt(np.abs(np.einsum("pjj->pj", matrix)))
    good = (count >= unknowns + SPARE_READS) & (scale > 0).all(axis=1)
    scale[~good] = 1
    matrix /= scale[:, :, None] * scale[:, None, :]
    matrix[~good] = np.eye(unknowns)
    good &= np.abs(np.linalg.det(matrix)) > SINGULAR
    matrix[~good] = np.eye(unknowns)
    inverse = np.linalg.inv(matrix) / (scale[:, :, None] * scale[:, None, :])
    solved = np.einsum("pjk,pk->pj", inverse, right)
    covariance = inverse @ spread @ inverse.swapaxes(1, 2)
    solved[~good], covariance[~good] = np.nan, np.nan
    return solved, covariance


def _begin_stretch(
    line: _Lines, coefficients: Floats, powers: NDArray[np.intp], unit: float, noise: Noise
) -> NDArray[np.bool_]:
    """Begin a new stretch at the step that differs most from the fit, where that is no noise.

    Returns
    -------
    NDArray of bool
        The pixels in which one was begun.
    """
    linear = line.signal.copy()
    for place, power in enumerate(powers):
        linear += coefficients[:, place] * line.signal**power
    (left,), (rate,) = line.project(linear[None])
    steps_s = np.diff(line.times_s)[:, None]
    sigma = np.sqrt(2 * noise.read_dn**2 + np.maximum(rate, 0) * unit * steps_s / noise.gain_e_per_dn)
    inside = line.used[1:] & (np.diff(line.stretch, axis=0) == 0)
    with np.errstate(invalid="ignore"):
        excess = np.where(inside, np.abs(np.diff(left, axis=0)) * unit / sigma, 0)
    worst = np.nan_to_num(excess).argmax(axis=0)
    jumped = np.take_along_axis(excess, worst[None], axis=0)[0] > JUMP_SIGMA
    line.stretch += (jumped & (np.arange(len(line.times_s))[:, None] > worst)).astype(np.int8)
    return np.asarray(jumped)
