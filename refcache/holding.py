"""References in memory: loaded once, bounded, the least recently used dropped first."""

from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path
from threading import Lock

from refcache.errors import RefcacheError
from refcache.loading import load_reference
from refcache.references import Reference, crop

MIB = 1 << 20
Window = tuple[int, int, int, int]
"""First row and column, rows and columns."""

Key = tuple[Path, str, Window | None]
"""File, type, and the window that is cut out of it."""
_Stamp = tuple[int, int] | None


class Holding:
    """Loads references on demand and keeps them; may be used from several threads.

    The lock is held for a look-up, never while a file is read: who asks for a reference that another thread is
    loading waits for that one, everybody else goes on. A file that cannot be used is not tried again until it has
    changed. Frames in the making keep the references that they were given, whatever is dropped here.

    Parameters
    ----------
    memory_mb
        Bound on the arrays held [MiB].
    """

    def __init__(self, memory_mb: int) -> None:
        self._limit = memory_mb * MIB
        self._held: OrderedDict[Key, Reference] = OrderedDict()
        self._stamps: dict[Key, _Stamp] = {}
        self._nbytes = 0
        self._failed: dict[Key, tuple[_Stamp, str]] = {}
        self._loading: dict[Key, Future[Reference]] = {}
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Memory of the arrays held."""
        return self._nbytes

    def held(self) -> list[Reference]:
        """Return the references held, the least recently used first."""
        with self._lock:
            return list(self._held.values())

    def peek(self, key: Key) -> Reference | None:
        """Return a reference if it is in memory; touches no file but to ask whether a bad one has changed.

        Raises
        ------
        RefcacheError
            If the file could not be used and has not changed since.
        """
        with self._lock:
            return self._known(key)

    def get(self, key: Key) -> Reference:
        """Return a reference, loaded if need be, and cut to a window if one is given.

        Raises
        ------
        RefcacheError
            If the file cannot be used or is larger than the bound; the same one until the file changes.
        """
        with self._lock:
            found = self._known(key)
            if found is not None:
                return found
            under_way = self._loading.get(key)
            if under_way is None:
                mine = self._loading[key] = Future[Reference]()
        return under_way.result() if under_way is not None else self._load(key, mine)

    def refresh(self) -> tuple[list[Key], list[str]]:
        """Load the files again that have changed on disk, and exchange each by one assignment.

        A file that is gone, or is no good any more, stays in memory as it was.

        Returns
        -------
        list of Key, list of str
            What was exchanged, and what could not be, in words.
        """
        with self._lock:
            files = {(path, reftype): self._stamps[path, reftype, window] for path, reftype, window in self._held}
        exchanged: list[Key] = []
        problems: list[str] = []
        for (path, reftype), before in files.items():
            key: Key = (path, reftype, None)
            stamp = _stamp(path)
            if stamp == before:
                continue
            try:
                reference = load_reference(path, reftype)
            except RefcacheError as error:
                problems.append(f"{error}; the one in memory stays in use")
                continue
            with self._lock:
                for other in [other for other in self._held if other[:2] == key[:2]]:  # its windows too
                    self._drop(other)
                self._keep(key, reference, stamp)
            exchanged.append(key)
        return exchanged, problems

    def _known(self, key: Key) -> Reference | None:
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        before, why = self._failed.get(key, (None, ""))
        if why and before == _stamp(key[0]):
            raise RefcacheError(why)
        return None

    def _load(self, key: Key, result: "Future[Reference]") -> Reference:
        stamp = _stamp(key[0])
        try:
            if stamp is not None and stamp[1] <= self._limit:
                with self._lock:
                    self._make_room(stamp[1])  # before it is read: the bound holds meanwhile too
            reference = self._new(key, 0 if stamp is None else stamp[1])
        except BaseException as error:
            with self._lock:
                if isinstance(error, RefcacheError):
                    self._failed[key] = (stamp, str(error))
                del self._loading[key]
            result.set_exception(error)
            raise
        with self._lock:
            self._keep(key, reference, stamp)
            self._failed.pop(key, None)
            del self._loading[key]
        result.set_result(reference)
        return reference

    def _new(self, key: Key, file_bytes: int) -> Reference:
        path, reftype, window = key
        if window is None:
            self._check_size(path, file_bytes)
            reference = load_reference(path, reftype)
        else:
            y, x, *size = window
            reference = crop(self.get((path, reftype, None)), y, x, (size[0], size[1]))
        self._check_size(path, reference.nbytes)
        return reference

    def _check_size(self, path: Path, nbytes: int) -> None:
        if nbytes > self._limit:
            raise RefcacheError(f"{path}: {nbytes // MIB} MiB are more than memory_mb = {self._limit // MIB}; raise it")

    def _make_room(self, nbytes: int) -> None:
        while self._held and self._nbytes + nbytes > self._limit:
            self._drop(next(iter(self._held)))

    def _keep(self, key: Key, reference: Reference, stamp: _Stamp) -> None:
        self._make_room(reference.nbytes)
        self._held[key] = reference
        self._stamps[key] = stamp
        self._nbytes += reference.nbytes

    def _drop(self, key: Key) -> None:
        self._nbytes -= self._held.pop(key).nbytes
        del self._stamps[key]


def _stamp(path: Path) -> _Stamp:
    """Time and size of a file, which change when it is replaced; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
