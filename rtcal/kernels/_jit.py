"""How every kernel is compiled: cached on disk, without the GIL, divisions as IEEE says."""

from numba import njit

kernel = njit(cache=True, nogil=True, error_model="numpy")
