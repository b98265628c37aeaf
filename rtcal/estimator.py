"""Weights and variances of the slope estimates, from the times of the reads alone.

Any estimate here is a weighted sum of reads, `rate = sum(w_i S_i)` with `sum(w_i) = 0`. Its variance is
`sigma_R**2 sum(w_i**2) + f sum(dt_m D_m**2)`, where `D_m` sums the weights from read m on: the photons of
an interval are in every later read. For even spacing that gives the closed forms of the textbooks
(Vacca et al. 2004, PASP 116, 352; Rauscher et al. 2007, PASP 119, 768), and it stays right for any times.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels.planes import Times
from rtcal.kernels.weighted import Weighting

FloatTable = NDArray[np.float64]

LEAST_GAIN = 1e-6
"""Of the photon variance, below which nothing is to be gained."""


def coefficients(times_s: FloatTable, weights: FloatTable) -> tuple[float, float]:
    """Return the read-noise and the photon-noise coefficient of a weighted sum of reads.

    Parameters
    ----------
    times_s
        Times of the reads [s], ascending.
    weights
        Their weights [1/s].
    """
    tails = np.cumsum(weights[::-1])[::-1][1:]
    return float(np.sum(weights**2)), float(np.sum(np.diff(times_s) * tails**2))


class Timeline:
    """The times of the reads used in a ramp, and their running sums.

    `first_sums[k]` and `second_sums[k]` sum the times and their squares over the reads before k, so the mean and
    the spread of any run of reads follow from two entries.
    """

    def __init__(self) -> None:
        self.times_s: FloatTable = np.empty(0)
        self.first_sums: FloatTable = np.zeros(1)
        self.second_sums: FloatTable = np.zeros(1)

    def __len__(self) -> int:
        return len(self.times_s)

    def as_times(self) -> Times:
        """Return it as the kernels take it."""
        return Times(self.times_s, self.first_sums, self.second_sums)

    def append(self, time_s: float) -> None:
        """Add the time of a further read [s]."""
        self.times_s = np.append(self.times_s, time_s)
        self.first_sums = np.append(self.first_sums, self.first_sums[-1] + time_s)
        self.second_sums = np.append(self.second_sums, self.second_sums[-1] + time_s * time_s)


@dataclass(frozen=True)
class Estimate:
    """The precision of an estimate that uses every read of a ramp; all 0 below two reads."""

    weight: float = 0.0
    """Square of the read noise over the read variance [s2]."""
    spread: float = 0.0
    """Photon variance of the rate for 1 e-/s times the square of the weight [s3]."""


@dataclass(frozen=True)
class Slope(Estimate):
    """The equal-weight least-squares slope."""

    mean_s: float = 0.0
    length_s: float = 0.0
    """From the first read to the last."""

    def weighting(self, read_noise_e: float, gain_e_per_dn: float) -> Weighting | None:
        """Return how the two ends help the slope of bright pixels (`kernels.weighted`); None where they cannot."""
        if not self.weight:
            return None
        ends_photon, ends_read = 1 / self.length_s, 2 / self.length_s**2
        photon, read = self.spread / self.weight**2 - ends_photon, ends_read - 1 / self.weight
        if photon < LEAST_GAIN * ends_photon:
            return None  # two or three reads: the slope is that of the ends
        values = (
            -self.mean_s / self.weight,
            1 / self.weight,
            1 / self.length_s,
            photon,
            read * read_noise_e**2 / gain_e_per_dn,
            self.weight,
            self.spread,
        )
        return Weighting(*(np.float32(value) for value in values))


@dataclass(frozen=True)
class Ends(Estimate):
    """CDS or MCDS: factors of the sum over the near end and of that over the far end [1/s]."""

    near: float = 0.0
    far: float = 0.0


def slope_of(times_s: FloatTable) -> Slope:
    """Return the slope of reads at these times [s], in any order."""
    times_s = np.sort(times_s)
    centred = times_s - times_s.mean() if len(times_s) else times_s
    square = float(np.sum(centred**2))
    if len(times_s) < 2 or square <= 0:
        return Slope()
    _, photon = coefficients(times_s, centred / square)
    length_s = float(times_s[-1] - times_s[0])
    return Slope(weight=square, spread=photon * square**2, mean_s=float(times_s.mean()), length_s=length_s)


def ends_of(times_s: FloatTable, near: NDArray[np.bool_], far: NDArray[np.bool_]) -> Ends | None:
    """Return the estimate `(mean far - mean near) / difference of mean times`; None where it has no length.

    The ends need not have the same number of reads: a lost read leaves its end shorter.
    """
    if not near.any() or not far.any() or (near & far).any():
        return None
    length = times_s[far].mean() - times_s[near].mean()
    weights = (far / far.sum() - near / near.sum()) / length
    read, photon = coefficients(times_s, weights)
    return Ends(weight=1 / read, spread=photon / read**2, near=-1 / near.sum() / length, far=1 / far.sum() / length)
