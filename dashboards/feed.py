"""The subscriber: turns the published stream into one immutable snapshot, the latest of everything.

Threads receive and swap; pages read. Neither waits for the other, and nothing that arrives can stop it.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from dashboards.frames import FrameSource, KeptFrame, kept
from dashboards.history import History, Key
from dashboards.memory import resident_bytes
from dashboards.picture import Picture, from_binned, from_cube, from_frame, from_preview, from_white
from dashboards.settings import Budget
from streams.clock import NS, Clock
from streams.heap import trim_heap
from streams.messages import (
    Binned,
    Cube,
    CubeHeader,
    Frame,
    FrameHeader,
    Message,
    Preview,
    Spectrum,
    Status,
    StatusHeader,
    White,
    WhiteHeader,
)
from streams.sources import Source

log = logging.getLogger(__name__)

MAX_DETECTORS = 64
POLL_S = 0.2
MOST_BEHIND = 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that pages show at one instant."""

    version: int = 0
    pictures: Mapping[Key, Picture] = field(default_factory=lambda: MappingProxyType({}))
    """The latest picture by detector and view."""
    history: History = field(default_factory=History)
    """These and the ones before them."""
    status: StatusHeader | None = None
    status_heard_s: float | None = None
    """Monotonic clock at the arrival of `status`."""
    other_version_s: float | None = None
    """Monotonic clock at the arrival of the last message of another version."""
    counters: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """What the display itself counts: messages heard, rejected by cause, frames thinned."""

    def detectors(self) -> set[str]:
        """Return the names of the detectors heard of, by picture or by status."""
        named = set(self.status.detectors) if self.status else set()
        return named | {detector for detector, _ in self.pictures}


class Feed:
    """Receives from any number of sources, each on its own thread.

    Parameters
    ----------
    clock
        For the ages of what arrives.
    budget
        What is kept of the past, and the most that all pictures may take together.
    display_pixels
        Longest side of the binned level.
    full_frames
        True where a frame follows its binned image: pages that need its own pixels wait for them.
    """

    def __init__(self, clock: Clock, budget: Budget, display_pixels: int, *, full_frames: bool = True) -> None:
        self._clock = clock
        self._budget = budget
        self._display_pixels = display_pixels
        self._full_frames = full_frames
        self._lock = threading.Lock()
        self._snapshot = Snapshot()
        self._counters: Counter[str] = Counter()
        self._number = 0
        self._arriving = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.on_frame: Callable[[FrameHeader], None] = lambda _header: None
        """Told of each frame, after it can be seen; on a thread of the feed."""

    def latest(self) -> Snapshot:
        """Return the snapshot of now; it is never changed afterwards."""
        return self._snapshot

    def follow(self, source: Source | FrameSource, name: str) -> None:
        """Start a thread that takes from a source until `stop` and then closes it."""
        thread = threading.Thread(target=self._run, args=(source,), name=f"feed-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, source: Source | FrameSource) -> None:
        with source:
            while not self._stop.is_set():
                self.step(source, POLL_S)

    def step(self, source: Source | FrameSource, timeout_s: float) -> None:
        """Take at most one message from a source; whatever is wrong with it is counted, not raised."""
        before = Counter(source.counters)
        try:
            message = source.receive(timeout_s)
            if message is not None:
                self.take(message)
        except Exception:
            # A display that died of one odd message would be worse than one that missed it.
            log.exception("message dropped")
            self._count({"failed": 1})
        rejected = {name: n for name, n in (source.counters - before).items() if name.startswith("rejected_")}
        if rejected:
            self._count(rejected, rejected.get("rejected_version", 0) > 0)

    def take(self, message: Message | KeptFrame) -> None:
        """Put a message into the snapshot; kinds that are not shown are counted."""
        match message:
            case Frame():
                self.take(kept(message))
            case KeptFrame():
                self._arriving = max(self._arriving, message.nbytes)
                if self._show([self._picture_of_frame(message)]):
                    self.on_frame(message.header)
            case Binned():
                if self._show([self._picture_of_binned(message)]):
                    self.on_frame(message.header.frame)
            case Preview():
                self._show(self._pictures_of_preview(message))
            case Cube():
                self._arriving = max(self._arriving, message.data.nbytes + message.err.nbytes + message.dq.nbytes)
                heard_s, published_s = self._times(message.header.published_ns)
                self._show([from_cube(message, self._next_number(1), heard_s, published_s)])
            case White():
                heard_s, published_s = self._times(message.header.published_ns)
                number = self._next_number(1)
                self._show([from_white(message, number, heard_s, published_s, expected=self._full_frames)])
            case Spectrum():
                self._count({"spectra": 1})  # the cube itself holds it
            case Status(header=header):
                self._swap(status=header, status_heard_s=self._clock.monotonic_s(), counted="statuses")
            case _:
                self._count({"unexpected": 1})

    def wants(self, header: FrameHeader) -> bool:
        """Tell whether a frame that begins to arrive is worth its time: not if the two after it are here, binned.

        A display that has fallen behind would never catch up else.
        """
        shelf = self._snapshot.history.shelves.get((header.detector, "reduced"), ())
        if len(shelf) > MOST_BEHIND and any(one.shows(header) for one in shelf[:-MOST_BEHIND]):
            self._count({"frames_skipped": 1})
            return False
        return True

    def _times(self, published_ns: int) -> tuple[float, float]:
        """Return arrival and publication on the monotonic clock; a publisher's fast clock gives no age below 0."""
        heard_s = self._clock.monotonic_s()
        return heard_s, heard_s - max(0.0, (self._clock.tai_ns() - published_ns) / NS)

    def _next_number(self, count: int) -> int:
        with self._lock:
            self._number += count
            return self._number - count

    def _picture_of_frame(self, frame: KeptFrame) -> Picture:
        heard_s, published_s = self._times(frame.header.published_ns)
        shelf = self._snapshot.history.shelves.get((frame.header.detector, "reduced"), ())
        twin = next((one for one in reversed(shelf) if one.expected and one.header == frame.header), None)
        binned = twin.coarse if twin else None
        return from_frame(frame, self._next_number(1), heard_s, published_s, self._display_pixels, binned)

    def _picture_of_binned(self, binned: Binned) -> Picture:
        heard_s, published_s = self._times(binned.header.frame.published_ns)
        return from_binned(binned, self._next_number(1), heard_s, published_s, expected=self._full_frames)

    def _pictures_of_preview(self, preview: Preview) -> list[Picture]:
        heard_s, published_s = self._times(preview.header.published_ns)
        return list(from_preview(preview, self._next_number(2), heard_s, published_s))

    def _show(self, new: list[Picture]) -> bool:
        """Put pictures into the history; False if they show a frame or a cube of which there was something already."""
        detector = new[0].detector
        with self._lock:
            history = self._snapshot.history
            twin = _twin(history, new[0])
            if twin is not None:
                if new[0].is_first_look:
                    return False  # the frame itself was faster
                new = [replace(new[0], number=twin.number, heard_s=twin.heard_s, published_s=twin.published_s)]
            known = {name for name, _ in history.shelves}
            if detector not in known and len(known) >= MAX_DETECTORS:
                self._counters["too_many_detectors"] += 1
                self._replace()
                return False
            history, sacrificed = history.added(new, self._budget, self._arriving)
            self._counters.update(sacrificed)
            self._counters[_kind(new[0])] += 1
            self._replace(history=history, pictures=MappingProxyType(history.latest()))
        self._give_back(len(known))
        return twin is None

    def _give_back(self, detectors: int) -> None:
        """Keep what the process takes below the budget: what was freed of the heap stays with it else."""
        if resident_bytes() > self._budget.limit(detectors):
            trim_heap()

    def _count(self, more: Mapping[str, int], other_version: bool = False) -> None:
        with self._lock:
            self._counters.update(more)
            self._replace(**({"other_version_s": self._clock.monotonic_s()} if other_version else {}))

    def _swap(self, *, status: StatusHeader, status_heard_s: float, counted: str) -> None:
        with self._lock:
            self._counters[counted] += 1
            self._replace(status=status, status_heard_s=status_heard_s)

    def _replace(self, **changes: object) -> None:
        """Swap the snapshot; the lock is held."""
        counters = MappingProxyType(dict(self._counters))
        self._snapshot = replace(
            self._snapshot,
            version=self._snapshot.version + 1,
            counters=counters,
            **changes,  # type: ignore[arg-type]
        )


def _twin(history: History, picture: Picture) -> Picture | None:
    """Return what shows the same frame or cube already."""
    if not isinstance(picture.header, FrameHeader | CubeHeader | WhiteHeader):
        return None
    shelf = history.shelves.get((picture.detector, picture.view), ())
    return next((one for one in reversed(shelf) if one.same_frame(picture)), None)


def _kind(picture: Picture) -> str:
    """Name the counter of a picture."""
    if isinstance(picture.header, CubeHeader | WhiteHeader):
        return "cubes" if picture.cube else "whites"
    if picture.view != "reduced":
        return "previews"
    return "frames" if picture.levels[0].binning == 1 else "binned_frames"
