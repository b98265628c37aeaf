"""What the night's references of all detectors share: their room, and a thread that makes them beside the reads."""

import logging
import os
import tempfile
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from rtcal.bands import Bands
from rtcal.config import NightSettings
from rtcal.errors import RtcalError
from rtcal.night.bare import Harvest
from rtcal.night.groups import Made
from rtcal.night.kept import Kept
from rtcal.night.shelf import Room, Shelf

log = logging.getLogger(__name__)

MIB = 1 << 20
NICE = 10
"""The thread gives way to reads, but not so far that it would sleep with the interpreter's lock in its hand."""


class Works(Protocol):
    """A detector's desk, as far as the thread knows it."""

    def catch_up(self) -> None:
        """Do all that waits; never raises."""
        ...


class Night:
    """Room and thread.

    Parameters
    ----------
    settings
        The `[night]` table.
    live
        Whether a thread does the work; else who asks does it.

    Attributes
    ----------
    references, kept
        The references, in memory; the exposures that wait for a better one, on disk.
    hurried
        Room in memory for rates whose sums were needed before they were on disk.
    directory, scratch
        Where references are written, None for nowhere; where rates wait.
    problem, broken
        Why something of the night is not there, in a sentence, "" while all is well; files of earlier runs that cannot
        be used.
    bands
        The thread's own: it takes no other's place.
    """

    def __init__(self, settings: NightSettings, *, live: bool) -> None:
        self.live = live
        self.references: Shelf[Made] = Shelf(settings.references_mb * MIB, least=1)
        self.kept: Shelf[Kept] = Shelf(settings.reissue_mb * MIB)
        self.hurried = Room(settings.waiting_mb * MIB)
        self.problem = ""
        self.broken: tuple[str, ...] = ()
        self.bands = Bands(1)
        self.directory = self._made(settings.directory)
        self.scratch = self.directory or Path(tempfile.gettempdir())
        self._harvests: deque[Harvest] = deque()
        self._desks: dict[Works, None] = {}
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="night", daemon=True)
        if live:
            self._thread.start()

    def tell(self, problem: str) -> None:
        """Keep what went wrong for the operator, and log it."""
        self.problem = problem
        log.warning("%s", problem)

    def tell_broken(self, problem: str) -> None:
        """Keep for the operator that a file of an earlier run cannot be used, and log it."""
        self.broken = (*self.broken, problem)
        log.warning("%s", problem)

    @property
    def problems(self) -> list[str]:
        """What the operator should know."""
        return [*filter(None, [self.problem]), *self.broken]

    def soon(self, harvest: Harvest) -> None:
        """Take an exposure's rates out before anything else: its sums are needed again."""
        with self._changed:
            self._harvests.append(harvest)
            self._changed.notify()

    def later(self, desk: Works) -> None:
        """Let a desk do what waits on it."""
        with self._changed:
            self._desks[desk] = None
            self._changed.notify()

    def let_by(self, _rows: int = 0) -> None:
        """Between two pieces of long work: take out the rates that wait for it."""
        while (harvest := self._next_harvest()) is not None:
            run_harvest(harvest, self)

    def close(self, timeout_s: float) -> bool:
        """Finish what waits and end the thread; False if that took too long."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _made(self, directory: str) -> Path | None:
        if not directory:
            return None
        path = Path(directory).expanduser()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.tell(f"[night] directory = {directory!r}: {error.strerror}; the night's references are not written")
            return None
        return path

    def _next_harvest(self) -> Harvest | None:
        with self._changed:
            return self._harvests.popleft() if self._harvests else None

    def _run(self) -> None:
        with suppress(OSError):  # of threads only Linux knows priorities
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._harvests or self._desks or self._closing)
                desk = None
                if not self._harvests:
                    if not self._desks:
                        return
                    desk = next(iter(self._desks))
                    del self._desks[desk]
            if desk is None:
                self.let_by()
            else:
                desk.catch_up()


def run_harvest(harvest: Harvest, night: Night) -> None:
    """Take an exposure's rates out; without space they are given up."""
    try:
        harvest.run()
    except RtcalError as error:
        night.tell(f"references of the night: {error}")
    except Exception as error:
        log.exception("fault while rates were taken out")
        night.tell(f"references of the night: {error!r}")
