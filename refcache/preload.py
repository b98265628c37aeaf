"""The references of a night: loaded ahead, held in memory, exchanged while exposures go on.

No caller of a live store waits for a file: what is not in memory yet is loaded on a thread and taken next time.
"""

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from refcache.cache_paths import cache_path, context_name, follows_newest, newest_context
from refcache.choosing import Choice, Chooser, exposure_of
from refcache.chosen import Exposure, Mode, ReferenceSet
from refcache.context import CrdsContext
from refcache.errors import RefcacheError, SelectionError
from refcache.holding import MIB, Holding, Key
from refcache.references import Reference
from refcache.reftypes import FRAME_TYPES
from refcache.settings import RefcacheSettings
from refcache.values import SetupValue

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called with how many files are done, how many there are, and the name of the next."""

UNKNOWN_SHAPE = (0, 0)
"""Of exposures that are announced: files are loaded all the same."""
NICE = 10
"""Of the threads that load: not so far behind reads that one would sleep with the interpreter's lock in its hand."""
NO_CACHE = "no CRDS cache configured"
_RECENT = 64
_CHANGING = frozenset(("DATE-OBS", "TIME-OBS", "OBS_ID", "EXP_NO", "OBJECT"))
"""Keys that differ from exposure to exposure of one setup."""


class ReferenceStore:
    """The references of one configuration, of its present context.

    Construction reads the rules but no reference; a context that cannot be used is a problem that
    `preload` tells and each frame carries.

    Parameters
    ----------
    settings
        The `[refcache]` table.
    stale_s
        Age from which a reference is STALE [s], by reftype.
    environ
        `CRDS_PATH` and `CRDS_CONTEXT` are taken from it where the settings are silent.
    wait
        Whether a choice waits until its files are loaded (offline), or says that they are loading (live).
    """

    def __init__(
        self,
        settings: RefcacheSettings,
        stale_s: Mapping[str, float],
        environ: Mapping[str, str] = os.environ,
        *,
        wait: bool = True,
    ) -> None:
        self._settings = settings
        self._stale_s = {reftype: float(stale_s[reftype]) for reftype in FRAME_TYPES}
        self._environ = environ
        self._holding = Holding(settings.memory_mb)
        # Live, whoever loads gives way to reads.
        self._pool = ThreadPoolExecutor(settings.load_threads, "references", initializer=None if wait else _give_way)
        self._cache = cache_path(settings, environ)
        self._fetch = self._holding.get if wait else self._fetch_or_request
        self._refused: tuple[tuple[str, int], list[str]] = ("", 0), []
        self._requested: set[Key] = set()
        self._recent: OrderedDict[tuple[object, ...], Exposure] = OrderedDict()
        self._lock = threading.Lock()
        self.landed = 0
        """Goes up with each file that was loaded or exchanged, and with each new context."""
        self.problems: tuple[str, ...] = ()
        """Why the present rules and files could not be exchanged for newer ones."""
        self.current = self._first_chooser()
        """The chooser of the present context; an exposure keeps the one that it began with."""

    @property
    def crds_context(self) -> str:
        """Name of the present context; "" without one."""
        return self.current.crds_context

    @property
    def crds_sha1(self) -> str:
        """SHA-1 of the present context, marked if checksums were not compared; "" without one."""
        return self.current.crds_sha1

    def held(self) -> list[Reference]:
        """Return the references in memory."""
        return self._holding.held()

    def close(self) -> None:
        """End the threads that load; what waits for them is given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def preload(self, progress: Progress | None = None, now_ns: int | None = None) -> list[str]:
        """Load the overrides and all references that the rules name for the instrument and that are on disk.

        Parameters
        ----------
        progress
            Told before each file.
        now_ns
            TAI of the exposures to come [ns]: what the setups that are expected (`expect`) will need comes first.

        Returns
        -------
        list of str
            What went wrong, one sentence each; empty if all is well.
        """
        problems = self.current.problems()
        overrides = list(self.current.override_files())
        named = list(self.current.named_files(problems))
        present = [(reftype, path) for reftype, path in named if path.exists()]
        absent = [path for _, path in named if not path.exists()]
        if absent:
            names = ", ".join(path.name for path in absent[:3]) + (", ..." if len(absent) > 3 else "")
            problems.append(f"{len(absent)} of {len(named)} references are not in {absent[0].parent}: {names}")
        if now_ns is not None:
            self._load_expected(now_ns)
        work = overrides + self._that_fit(present, problems)
        results = [self._pool.submit(self._problem_with, (path, reftype, None)) for reftype, path in work]
        for done, ((_, path), result) in enumerate(zip(work, results, strict=True)):
            if progress is not None:
                progress(done, len(work), path.name)
            problems += result.result()
        return problems

    def _load_expected(self, now_ns: int) -> None:
        """Load what the expected setups will need; what is wrong with a file is told when all are looked at."""
        exposures = [exposure_of(setup, UNKNOWN_SHAPE, "utr", now_ns) for setup in self._settings.expect]
        asked = [
            self._pool.submit(self.current.choose, reftype, exposure, self._holding.get)
            for exposure in exposures
            for reftype in FRAME_TYPES
        ]
        for one in asked:
            one.result()

    def select(
        self, setup: Mapping[str, SetupValue], shape: tuple[int, int], mode: Mode, exposure_time_ns: int
    ) -> ReferenceSet:
        """Choose the references of a frame by the present context (`Chooser.select`)."""
        return self.open(setup, shape, mode, exposure_time_ns).select()

    def open(
        self, setup: Mapping[str, SetupValue], shape: tuple[int, int], mode: Mode, exposure_time_ns: int
    ) -> Choice:
        """Begin an exposure: what it asks, bound to the present context; arguments as in `Chooser.select`."""
        choice = Choice(self.current, exposure_of(setup, shape, mode, exposure_time_ns))
        self._note(choice.exposure)
        return choice

    def prepare(
        self,
        setup: Mapping[str, SetupValue],
        shape: tuple[int, int],
        mode: Mode,
        time_ns: int,
        then: Callable[[ReferenceSet], None],
    ) -> None:
        """Load on other threads what a setup will need, then call `then` on one of them with what was chosen."""
        chooser, exposure = self.current, exposure_of(setup, shape, mode, time_ns)

        def last() -> None:
            then(chooser.select_all(exposure, self._holding.get))
            self._count_landed()

        for reftype in FRAME_TYPES:
            self._pool.submit(chooser.choose, reftype, exposure, self._holding.get)
        self._pool.submit(_logged, last)

    def refresh(self) -> None:
        """Take a newer context, and files that changed, if they are sound: each by one assignment.

        Whatever fails leaves what is in use as it is, and stands in `problems`. Not for threads that take reads.
        """
        exchanged, problems = self._holding.refresh()
        if exchanged:
            self._count_landed()
        if self._cache is not None and follows_newest(self._settings, self._environ):
            problems += self._refresh_context(self._cache)
        for problem in problems:
            if problem not in self.problems:
                logger.warning("references: %s", problem)
        self.problems = tuple(problems)

    def _refresh_context(self, cache: Path) -> list[str]:
        """Exchange the context for the newest of the cache; return why that cannot be."""
        stays = f"{self.crds_context} stays in use" if self.crds_context else "there is none in use"
        try:
            name = newest_context(cache, self._settings.observatory)
            stamp = (name, _folder_stamp(cache / "mappings" / self._settings.observatory))
            if name == self.crds_context or stamp == self._refused[0]:
                return self._refused[1] if name != self.crds_context else []
            chooser = self._chooser(
                CrdsContext.load(cache, name, self._settings.check_sha1, self._settings.observatory)
            )
        except SelectionError as error:
            return [f"{error}; {stays}"]
        except OSError as error:
            return [f"{cache}: {error.strerror or error}; {stays}"]
        faults = [*(problem for problem in chooser.problems() if problem not in self.current.problems())]
        faults += self._faults_in_use(chooser)
        if faults:
            self._refused = stamp, [f"{name} is not taken: {faults[0]}; {stays}"]
            return self._refused[1]
        logger.info("context %s takes the place of %s", name, self.crds_context or "none")
        self.current = chooser
        self._count_landed()
        return []

    def _faults_in_use(self, chooser: Chooser) -> list[str]:
        """Load what a new context chooses for the setups in use; return what of it is worse than before."""
        with self._lock:
            exposures = list(self._recent.values())
        faults = []
        for exposure in exposures:
            for reftype in FRAME_TYPES:
                found = chooser.choose(reftype, exposure, self._holding.get)
                if found.status == "MISSING" and found.name:
                    before = self.current.choose(reftype, exposure, self._holding.get)
                    if before.status != "MISSING":
                        faults.append(f"{reftype}: {found.note}")
        return faults

    def _first_chooser(self) -> Chooser:
        if self._cache is None:
            return self._chooser(None, NO_CACHE)
        try:
            name = context_name(self._cache, self._settings, self._environ)
            return self._chooser(self._load_context(self._cache, name))
        except SelectionError as error:
            return self._chooser(None, str(error))

    def _load_context(self, cache: Path, name: str) -> CrdsContext:
        return CrdsContext.load(cache, name, self._settings.check_sha1, self._settings.observatory)

    def _chooser(self, context: CrdsContext | None, no_context: str = "") -> Chooser:
        return Chooser(self._settings, self._stale_s, self._cache, context, no_context, self._fetch)

    def _fetch_or_request(self, key: Key) -> Reference | None:
        """Return a reference that is in memory; else have it loaded and return None."""
        found = self._holding.peek(key)
        path, reftype, window = key
        if found is None and window is not None and self._holding.peek((path, reftype, None)) is not None:
            return self._holding.get(key)  # cut out of what is there: nothing is read
        if found is None:
            with self._lock:
                if key not in self._requested:
                    self._requested.add(key)
                    self._pool.submit(_logged, partial(self._load_requested, key))
        return found

    def _load_requested(self, key: Key) -> None:
        try:
            self._problem_with(key)  # which the next choice is told again
        finally:
            with self._lock:
                self._requested.discard(key)
            self._count_landed()

    def _problem_with(self, key: Key) -> list[str]:
        try:
            self._holding.get(key)
        except RefcacheError as error:
            return [str(error)]
        return []

    def _that_fit(self, named: Iterable[tuple[str, Path]], problems: list[str]) -> list[tuple[str, Path]]:
        """Return the files that are not in memory yet and fit into it together."""
        held = {reference.path for reference in self._holding.held()}
        left, fitting = self._settings.memory_mb * MIB - self._holding.nbytes, []
        for reftype, path in named:
            if path in held:
                continue
            left -= path.stat().st_size
            if left < 0:
                problems.append(f"{path.name} is not loaded yet: memory_mb = {self._settings.memory_mb} is reached")
                left += path.stat().st_size
            else:
                fitting.append((reftype, path))
        return fitting

    def _note(self, exposure: Exposure) -> None:
        """Remember a setup as one in use: a new context has to serve it before it is taken."""
        values = tuple(sorted((key, str(value)) for key, value in exposure.setup.items() if key not in _CHANGING))
        key = values, exposure.shape, exposure.mode
        with self._lock:
            self._recent[key] = exposure
            self._recent.move_to_end(key)
            while len(self._recent) > _RECENT:
                self._recent.popitem(last=False)

    def _count_landed(self) -> None:
        with self._lock:
            self.landed += 1


class Watcher:
    """Lets a store look for what is newer, now and then, on a thread of its own, while the block lasts.

    Parameters
    ----------
    store
        The store.
    every_s
        Time between two looks [s]; 0: never.
    """

    def __init__(self, store: ReferenceStore, every_s: float) -> None:
        self._store = store
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="references-watch", daemon=True)

    def __enter__(self) -> "Watcher":
        """Start the thread."""
        if self._every_s:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Tell the thread to end; it is not waited for while it loads."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            _logged(self._store.refresh)


def _give_way() -> None:
    with suppress(OSError):  # of threads only Linux knows priorities
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _folder_stamp(folder: Path) -> int:
    return folder.stat().st_mtime_ns


def _logged(work: Callable[[], None]) -> None:
    """Do something on a thread where nobody would see it fail."""
    try:
        work()
    except Exception:
        logger.exception("references: a fault on a thread that loads")
