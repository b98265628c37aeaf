"""The pictures of the past, one budget in bytes for all of them.

A `History` is immutable: pages that look at an old one keep it until they let go.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dashboards.picture import Picture
from dashboards.settings import Budget, ViewName

Key = tuple[str, ViewName]
Shelves = Mapping[Key, tuple[Picture, ...]]
MOST_CURRENT = 3


@dataclass(frozen=True, slots=True)
class History:
    """Pictures by detector and view, the newest last."""

    shelves: Shelves = field(default_factory=lambda: MappingProxyType({}))

    def latest(self) -> dict[Key, Picture]:
        """Return the newest of each detector and view."""
        return {key: shelf[-1] for key, shelf in self.shelves.items() if shelf}

    def as_of(self, key: Key, number: int | None) -> Picture | None:
        """Return the picture of a number, or that of the same time for another detector or view; None: the newest.

        Detectors are not read in step, so the nearest in time is meant. If the picture is not kept any more, the
        oldest is.
        """
        shelf = self.shelves.get(key, ())
        if number is None or not shelf:
            return shelf[-1] if shelf else None
        meant = self.numbered(number)
        if meant is None:
            return shelf[0] if number < shelf[0].number else shelf[-1]
        return min(shelf, key=lambda one: (one is not meant, abs(one.header.time_ns - meant.header.time_ns)))

    def whole(self, key: Key, since_s: float) -> Picture | None:
        """Return the newest picture, but while its own pixels are on their way the one before that has them.

        One that came before `since_s` [monotonic clock] has waited long enough.
        """
        shelf = self.shelves.get(key, ())
        ready = (picture for picture in reversed(shelf) if not picture.expected or picture.heard_s < since_s)
        return next(ready, shelf[-1] if shelf else None)

    def numbered(self, number: int) -> Picture | None:
        """Return the picture of a number; None if it is not kept any more."""
        return next((picture for picture in self._all() if picture.number == number), None)

    def _all(self) -> Iterator[Picture]:
        return (picture for shelf in self.shelves.values() for picture in shelf)

    @property
    def nbytes(self) -> int:
        """Bytes that all pictures take."""
        return sum(picture.nbytes for picture in self._all())

    def added(self, new: list[Picture], budget: Budget, arriving_bytes: int) -> tuple["History", Counter[str]]:
        """Return the history with pictures added and what had to go for them, by counter.

        One with the number of a picture that is there takes its place; `arriving_bytes` is what the largest message
        takes besides, before it is a picture.

        In this order, until the rest fits: the full pixels of past frames, past pictures, the full pixels of
        the newest frames, the new pictures themselves; of each the oldest first.
        """
        shelves = {key: list(shelf) for key, shelf in self.shelves.items()}
        for picture in new:
            shelf = shelves.setdefault((picture.detector, picture.view), [])
            place = next((at for at, one in enumerate(shelf) if one.number == picture.number), len(shelf))
            shelf[place : place + 1] = [picture]
            del shelf[: -budget.most(picture.view)]
        detectors = {shelf[-1].header.detector for shelf in shelves.values() if shelf}
        counters = _fit(shelves, new, budget.room(len(detectors), arriving_bytes))
        kept = {key: tuple(shelf) for key, shelf in shelves.items() if shelf}
        return History(MappingProxyType(kept)), counters


def _fit(shelves: dict[Key, list[Picture]], new: list[Picture], limit: int) -> Counter[str]:
    counters: Counter[str] = Counter()
    total = sum(picture.nbytes for shelf in shelves.values() for picture in shelf)
    if total <= limit:
        return counters
    shown = {key: len(shelf) - _current(shelf) for key, shelf in shelves.items()}
    by_age = sorted((one.number, key) for key, shelf in shelves.items() for one in shelf[: shown[key]])
    newest = sorted((one.number, key) for key, shelf in shelves.items() for one in shelf[shown[key] :])
    added = {picture.number for picture in new}
    rounds = ((by_age, _thin), (by_age, _drop), (newest, _thin), ([item for item in newest if item[0] in added], _drop))
    for stage, (items, sacrifice) in enumerate(rounds):
        for number, key in items:
            if total <= limit:
                return counters
            freed = sacrifice(shelves[key], number)
            total -= freed
            name = {0: "past_frames_thinned", 1: "past_pictures_dropped", 2: "frames_thinned", 3: "pictures_too_large"}
            counters[name[stage]] += freed > 0
    return counters


def _current(shelf: list[Picture]) -> int:
    """Return how many of a shelf are shown now.

    The newest, and while its pixels are on their way the last one that has its own.
    """
    back = (number for number, picture in enumerate(reversed(shelf[-MOST_CURRENT:]), 1) if not picture.expected)
    return next(back, min(len(shelf), 1))


def _thin(shelf: list[Picture], number: int) -> int:
    """Take the full pixels of a picture that has a coarser level; return the bytes that gives."""
    place = next(index for index, picture in enumerate(shelf) if picture.number == number)
    before = shelf[place]
    if not before.can_be_thinned:
        return 0
    shelf[place] = before.without_full_pixels()
    return before.nbytes - shelf[place].nbytes


def _drop(shelf: list[Picture], number: int) -> int:
    place = next(index for index, picture in enumerate(shelf) if picture.number == number)
    return shelf.pop(place).nbytes
