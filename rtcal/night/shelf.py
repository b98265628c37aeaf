"""Room for what the night brings, of all detectors together."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Shelf(Generic[Thing]):
    """Things of several owners; the oldest leave, whosever they are, when all take too much room. Safe from any thread.

    Parameters
    ----------
    limit_bytes
        Bound on all.
    least
        Things that stay even so.
    """

    def __init__(self, limit_bytes: int, least: int = 0) -> None:
        self._limit = limit_bytes
        self._least = least
        self._held: OrderedDict[tuple[int, str], tuple[Thing, int]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, owner: object, name: str, thing: Thing, nbytes: int) -> None:
        """Keep a thing, in the place of an earlier one of the name."""
        with self._lock:
            self._held[id(owner), name] = thing, nbytes
            while len(self._held) > self._least and sum(size for _, size in self._held.values()) > self._limit:
                self._held.popitem(last=False)

    def drop(self, owner: object, name: str) -> None:
        """Forget a thing."""
        with self._lock:
            self._held.pop((id(owner), name), None)

    def of(self, owner: object) -> list[Thing]:
        """Return an owner's things, the oldest first."""
        with self._lock:
            return [thing for (whose, _), (thing, _) in self._held.items() if whose == id(owner)]


class Room:
    """So many bytes may be taken at once. Safe from any thread."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> bool:
        """Take bytes, if there are so many left."""
        with self._lock:
            if nbytes > self._left:
                return False
            self._left -= nbytes
            return True

    def give(self, nbytes: int) -> None:
        """Give them back."""
        with self._lock:
            self._left += nbytes
