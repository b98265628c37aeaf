"""References in memory: loaded once, bounded, the least recently used dropped first."""

from collections import OrderedDict
from pathlib import Path
from threading import RLock

from refcache.errors import RefcacheError
from refcache.loading import load_reference
from refcache.references import Reference, crop

MIB = 1 << 20
Window = tuple[int, int, int, int]
"""First row and column, rows and columns."""

_Key = tuple[Path, str, Window | None]
_Stamp = tuple[int, int] | None


class Holding:
    """Loads references on demand and keeps them; may be used from several threads.

    A file that cannot be used is not tried again until it has changed. Frames in the making keep the
    references that they were given, whatever is dropped here.

    Parameters
    ----------
    memory_mb
        Bound on the arrays held [MiB].
    """

    def __init__(self, memory_mb: int) -> None:
        self._limit = memory_mb * MIB
        self._held: OrderedDict[_Key, Reference] = OrderedDict()
        self._failed: dict[_Key, tuple[_Stamp, str]] = {}
        self._lock = RLock()

    @property
    def nbytes(self) -> int:
        """Memory of the arrays held."""
        with self._lock:
            return sum(reference.nbytes for reference in self._held.values())

    def fits(self, path: Path) -> bool:
        """Tell whether a file of its size can be added without dropping another."""
        stamp = _stamp(path)
        return stamp is not None and self.nbytes + stamp[1] <= self._limit

    def get(self, path: Path, reftype: str, window: Window | None = None) -> Reference:
        """Return a reference, loaded if need be, and cut to a window if one is given.

        Raises
        ------
        RefcacheError
            If the file cannot be used or is larger than the bound; the same one until the file changes.
        """
        key = (path, reftype, window)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            stamp = _stamp(path)
            before, why = self._failed.get(key, (None, ""))
            if why and before == stamp:
                raise RefcacheError(why)
            try:
                reference = self._new(key)
            except RefcacheError as error:
                self._failed[key] = (stamp, str(error))
                raise
            self._failed.pop(key, None)
            return reference

    def _new(self, key: _Key) -> Reference:
        path, reftype, window = key
        if window is None:
            reference = load_reference(path, reftype)
        else:
            y, x, *size = window
            reference = crop(self.get(path, reftype), y, x, (size[0], size[1]))
        if reference.nbytes > self._limit:
            mib = reference.nbytes // MIB
            raise RefcacheError(f"{path}: {mib} MiB are more than memory_mb = {self._limit // MIB}; raise it")
        while self._held and self.nbytes + reference.nbytes > self._limit:
            self._held.popitem(last=False)
        self._held[key] = reference
        return reference


def _stamp(path: Path) -> _Stamp:
    """Time and size of a file, which change when it is replaced; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
