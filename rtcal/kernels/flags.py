"""The DQ bits that kernels set or test, as compile-time constants (names and meanings: `streams.dq`)."""

import numpy as np

NOTHING = np.uint32(0)
DO_NOT_USE = np.uint32(1 << 0)
SATURATED = np.uint32(1 << 1)
JUMP_DET = np.uint32(1 << 2)
AD_FLOOR = np.uint32(1 << 6)
WINDOW = np.uint32(1 << 14)
BAD_REF_PIXEL = np.uint32(1 << 17)
UNRELIABLE_SLOPE = np.uint32(1 << 24)
REFERENCE_PIXEL = np.uint32(1 << 31)
