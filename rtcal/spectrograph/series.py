"""Chebyshev series of many traces evaluated at once."""

import numpy as np
from numpy.polynomial import chebyshev

from rtcal.spectrograph.linelists import Floats


def values(series: Floats, u: Floats) -> Floats:
    """Return the value of each row's series at its own place: (row, term) and (row,) give (row,)."""
    return np.asarray(np.einsum("rk,rk->r", chebyshev.chebvander(u, series.shape[1] - 1), series))


def derivatives(series: Floats, u: Floats) -> Floats:
    """Return the derivative of each row's series at its own place."""
    return values(np.ascontiguousarray(chebyshev.chebder(series, axis=1)), u)
