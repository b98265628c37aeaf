"""Median and scatter of values of which some do not belong: stars on a sky, hits in a dark."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAD_TO_SIGMA = 1.4826
"""Sigma of a normal distribution, in median absolute deviations."""
CLIP_SIGMA = 3.0
ROUNDS = 5
MEDIAN_ERROR = 1.2533
"""Standard error of a median, in that of a mean: the root of pi / 2."""


class Clipped(NamedTuple):
    """What is left of some values without those that lie far out; NaN, NaN and 0 for none."""

    median: float
    sigma: float
    """1.4826 times the median absolute deviation."""
    number: int

    @property
    def error(self) -> float:
        """Standard error of the median."""
        return MEDIAN_ERROR * self.sigma / self.number**0.5 if self.number else float("nan")


def clipped_median(values: NDArray[np.floating]) -> Clipped:
    """Return median and sigma of the finite values, those beyond 3 sigma left out, round after round.

    They are sorted once; what is left out in a round are ends then, and no round looks at all of them again.
    """
    ordered = np.sort(values[np.isfinite(values)], axis=None).astype(np.float64)
    found = _measure(ordered)
    for _ in range(ROUNDS):
        reach = CLIP_SIGMA * found.sigma
        first = np.searchsorted(ordered, found.median - reach)
        last = np.searchsorted(ordered, found.median + reach, side="right")
        if last - first == ordered.size or first >= last:
            break
        ordered = ordered[first:last]
        found = _measure(ordered)
    return found


def _measure(ordered: NDArray[np.float64]) -> Clipped:
    if not ordered.size:
        return Clipped(float("nan"), float("nan"), 0)
    half = ordered.size // 2
    median = float(ordered[half] + ordered[-half - 1]) / 2
    below, above = median - ordered[:half][::-1], ordered[half:] - median
    deviation = (_smallest(below, above, half) + _smallest(below, above, ordered.size - half - 1)) / 2
    return Clipped(median, MAD_TO_SIGMA * deviation, ordered.size)


def _smallest(some: NDArray[np.float64], others: NDArray[np.float64], k: int) -> float:
    """Return the value with `k` before it where two ascending arrays are put together."""
    low, high = max(0, k + 1 - others.size), min(k + 1, some.size)  # how many of the first k + 1 are of `some`
    while low < high:
        middle = (low + high) // 2
        if some[middle] < others[k - middle]:
            low = middle + 1
        else:
            high = middle
    last = [array[count - 1] for array, count in ((some, low), (others, k + 1 - low)) if count]
    return float(max(last))
