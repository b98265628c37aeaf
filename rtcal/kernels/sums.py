"""The running sums of a ramp, block by block of a row."""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.planes import NEVER


@kernel
def add_all(y, a, b, signal, time_s, moments):
    """Add a signal to the sums of every pixel from `a` to `b`."""
    for x in range(a, b):
        moments[y, 0, x] += signal[x]
        moments[y, 1, x] += time_s * signal[x]


@kernel
def add_unsaturated(y, a, b, signal, time_s, moments, first_bad):
    """Add a signal to the sums of the pixels that have not saturated."""
    for x in range(a, b):
        value = signal[x] if first_bad[y, x] == NEVER else np.float32(0.0)
        moments[y, 0, x] += value
        moments[y, 1, x] += time_s * value


@kernel
def add_calm(y, a, b, signal, time_s, moments, busy):
    """Add a signal to the sums of the pixels that need no look of their own; `busy` begins at `a`."""
    for x in range(a, b):
        value = signal[x] if busy[x - a] == 0 else np.float32(0.0)
        moments[y, 0, x] += value
        moments[y, 1, x] += time_s * value
