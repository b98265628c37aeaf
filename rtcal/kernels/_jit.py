"""How every kernel is compiled: cached on disk, without the GIL, divisions as IEEE says.

Numba notices a change of the file that a kernel stands in, but not of a file whose kernels it calls. Here
the stamp of a cached kernel is that of all kernels together, so they may call each other across files.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import caching

_HERE = Path(__file__).parent


@lru_cache(maxsize=1)
def _stamp() -> str:
    """Hash the sources of all kernels."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _OfTheseKernels:
    """Where compiled kernels are kept, for those of this folder alone; comes before Numba's own classes."""

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        """Return a place for a kernel of this folder, None for any other function."""
        return super().from_function(py_func, py_file) if Path(py_file).parent == _HERE else None  # type: ignore[misc]

    def get_source_stamp(self) -> str:
        """Return what must be the same for a compiled kernel to be used again."""
        return _stamp()


class _ProvidedPlace(_OfTheseKernels, caching.UserProvidedCacheLocator):  # type: ignore[misc]
    pass


class _PlaceInTree(_OfTheseKernels, caching.InTreeCacheLocator):  # type: ignore[misc]
    pass


class _PlaceOfUser(_OfTheseKernels, caching.UserWideCacheLocator):  # type: ignore[misc]
    pass


caching.CacheImpl._locator_classes[:0] = [_ProvidedPlace, _PlaceInTree, _PlaceOfUser]

kernel = njit(cache=True, nogil=True, error_model="numpy")
"""Arithmetic on arrays in place, compiled by Numba. Nothing here checks, logs, raises or allocates frames."""
