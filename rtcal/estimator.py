"""Weights and variances of the slope estimates, from the times of the reads alone.

Any estimate here is a weighted sum of reads, `rate = sum(w_i S_i)` with `sum(w_i) = 0`. Its variance is
`sigma_R**2 sum(w_i**2) + f sum(dt_m D_m**2)`, where `D_m` sums the weights from read m on: the photons of
an interval are in every later read. For even spacing that gives the closed forms of the textbooks
(Vacca et al. 2004, PASP 116, 352; Rauscher et al. 2007, PASP 119, 768), and it stays right for any times.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatTable = NDArray[np.float32]


@dataclass(frozen=True)
class Tables:
    """What the fit kernels look up by the count k of valid reads, 0 to n; zero below two reads."""

    mean_s: FloatTable
    inverse: FloatTable
    """Gain over the sum of squared times [e-/DN/s2]."""
    weight: FloatTable
    """Square of the read noise over the read variance [s2]."""
    photon: FloatTable
    """Variance of the rate for a flux of 1 e-/s [e-/s]."""


def coefficients(times_s: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
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


def slope_tables(times_s: NDArray[np.float64], gain_e_per_dn: float) -> Tables:
    """Return the tables of the equal-weight least-squares slope for the first k of these reads.

    Reads may be in any order; the photon term then takes the earliest k times, which is exact for the
    whole ramp and differs for a pixel that saturated only by the place of a late read.
    """
    mean, square = _moments(times_s)
    usable = (np.arange(len(times_s)) >= 1) & (square > 1e-12)
    safe = np.where(usable, square, 1.0)
    columns = (mean, gain_e_per_dn / safe, square, _photon_terms(np.sort(times_s)))
    return Tables(*(_table(column, usable) for column in columns))


def _moments(times_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and sum of squares about it of the first 1, 2, ... times."""
    centre = times_s.mean()
    times = times_s - centre
    k = np.arange(1, len(times) + 1)
    mean = np.cumsum(times) / k
    return mean + centre, np.cumsum(times**2) - k * mean**2


def _photon_terms(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the photon coefficient of the slope of the first 1, 2, ... of ascending times.

    With `C_m` the sum of the times before read m and `A` the sum of squares, the tail weights are
    `D_m = (m mean - C_m) / A`, so the coefficient of every k follows from three running sums.
    """
    times = times_s - times_s.mean()
    mean, square = _moments(times)
    before, steps = np.concatenate(([0.0], np.cumsum(times)[:-1])), np.diff(times, prepend=times[0])
    m = np.arange(len(times), dtype=np.float64)
    spread = np.cumsum(steps * before**2) - 2 * mean * np.cumsum(steps * m * before) + mean**2 * np.cumsum(steps * m**2)
    return np.asarray(spread / np.maximum(square, 1e-12) ** 2)


def _table(column: NDArray[np.float64], usable: NDArray[np.bool_]) -> FloatTable:
    return np.concatenate(([0.0], np.where(usable, column, 0.0))).astype(np.float32)


@dataclass(frozen=True)
class Ends:
    """CDS or MCDS: which reads make the two ends, and the factors of their sums."""

    factors: FloatTable
    """Of the sum of the near end and of the far end [e-/DN/s]."""
    weight: float
    photon: float


def end_factors(
    times_s: NDArray[np.float64], near: NDArray[np.bool_], far: NDArray[np.bool_], gain_e_per_dn: float
) -> Ends | None:
    """Return the estimate `(mean far - mean near) / difference of mean times`; None where it has no length.

    The ends need not have the same number of reads: a lost read leaves its end shorter.
    """
    if not near.any() or not far.any() or (near & far).any():
        return None
    length = times_s[far].mean() - times_s[near].mean()
    weights = (far / far.sum() - near / near.sum()) / length
    read, photon = coefficients(times_s, weights)
    factors = np.array([-1.0 / near.sum(), 1.0 / far.sum()]) * gain_e_per_dn / length
    return Ends(factors.astype(np.float32), 1.0 / read, photon)
