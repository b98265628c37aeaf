"""Arc exposures of the night, solved while science goes on.

A process of its own does the work, with the very command that a person would type: neither its memory nor its
interpreter can hold up a read.
"""

import hashlib
import logging
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refcache import Chosen
from rtcal.errors import RtcalError
from rtcal.products import make_directory, write_frame
from rtcal.spectrograph.arcfile import Arc, read_arc
from streams.clock import NS, parse_iso_utc
from streams.errors import StreamsError
from streams.messages import Frame, Scalar

log = logging.getLogger(__name__)

MATCH = ("DETECTOR", "INSTMODE", "GRATING", "FILTER", "SCALE")
MASKS = {"LENSLET": "LLMSKST", "SLICER": "SLMSKST"}
"""The mask that counts in a mode; telemetry may tell of the other one too."""
SOLVE_S = 600.0
WAITING = 4
LAMPS = "Ar,Ne"
_NICE = 10


@dataclass(frozen=True)
class NightArc:
    """An arc that was solved tonight."""

    path: Path
    sha256: str
    keys: tuple[str, ...]
    start_ns: int


class NightArcs:
    """Solves arc exposures in the background and keeps what comes out.

    Parameters
    ----------
    directory
        Where the references go; those of earlier runs in it are taken up.
    range_um
        Wavelengths of the first and last pixel where no arc is known to start from; empty: not known.

    Attributes
    ----------
    counters
        `arcs_solved`, `arcs_failed`, `arcs_dropped` (too many were waiting).
    problem
        Why the latest arc exposure gave no reference, in a sentence; empty if it did.
    """

    def __init__(self, directory: Path, range_um: list[float]) -> None:
        self.counters: Counter[str] = Counter(arcs_solved=0, arcs_failed=0, arcs_dropped=0)
        self.problem = ""
        self._directory = directory
        self._range_um = range_um
        self._known: list[NightArc] = _earlier(directory)
        self._queue: queue.Queue[tuple[Frame, Path | None] | None] = queue.Queue(WAITING)
        self._child: subprocess.Popen[str] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arcs", daemon=True)
        self._thread.start()

    def offer(self, frame: Frame, known: Path | None) -> None:
        """Queue the frame of an arc exposure; never waits.

        Parameters
        ----------
        frame
            Reduced.
        known
            An arc of the same mode, for traces and a first guess; None where there is none.
        """
        try:
            self._queue.put_nowait((frame, known))
        except queue.Full:
            self.counters["arcs_dropped"] += 1

    def best(self, setup: Mapping[str, Scalar], time_ns: int, chosen: Chosen) -> NightArc | None:
        """Return the newest arc of the setup that began before an instant; None if the rules' choice is newer."""
        keys = _keys(setup)
        fitting = [one for one in self._known if _agree(one.keys, keys) and one.start_ns <= time_ns]
        if not fitting:
            return None
        newest = max(fitting, key=lambda one: one.start_ns)
        usable = chosen.reference is not None and chosen.age_s is not None
        if usable and chosen.age_s is not None and time_ns - newest.start_ns > chosen.age_s * NS:
            return None
        return newest

    def wait(self, timeout_s: float) -> bool:
        """Wait until all that was offered is done; False if that took too long."""
        with self._queue.all_tasks_done:
            return self._queue.all_tasks_done.wait_for(lambda: self._queue.unfinished_tasks == 0, timeout_s)

    def close(self) -> None:
        """End; an arc that is being solved is given up."""
        self._closing.set()
        child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return  # the thread sees `closing` after the one it is at

    def _run(self) -> None:
        while (job := self._queue.get()) is not None and not self._closing.is_set():
            try:
                self._solve(*job)
            except Exception as error:  # whatever it is, science goes on with the arc that it has
                self._fail(job[0].header.exposure_id, str(error))
            finally:
                self._queue.task_done()

    def _solve(self, frame: Frame, known: Path | None) -> None:
        header = frame.header
        make_directory(self._directory)
        guess = self._range_of(known)
        if guess is None:
            raise RtcalError("no arc of the mode is known and [spectrograph] arc_range_um is empty: no first guess")
        reduced = write_frame(frame, self._directory)
        out = self._directory / f"arc_{reduced.name}"
        words = ["arc", "solve", str(reduced), "--lamps", str(header.setup.get("LAMPS", LAMPS)), "--out", str(out)]
        words += ["--wave-range", f"{guess[0]:.6f}", f"{guess[1]:.6f}", "--overwrite", "--json"]
        words += [] if known is None else ["--traces", str(known)]
        try:
            self._call(words)
        finally:
            reduced.unlink(missing_ok=True)
        solved = read_arc(out)  # as science will read it
        digest = hashlib.sha256(out.read_bytes()).hexdigest()
        self._known = [*self._known, NightArc(out, digest, _keys(header.setup), header.first_read_ns)]
        self.counters["arcs_solved"] += 1
        self.problem = ""
        log.info("%s solved: %d of %d traces: %s", header.exposure_id, solved.solved.sum(), len(solved.traces), out)

    def _call(self, words: list[str]) -> None:
        """Run the command in a process of its own, with less right to the processor than the reads."""
        environment = {**os.environ, "MPLBACKEND": "Agg"}
        command = [sys.executable, "-m", "rtcal", *words]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
            preexec_fn=_give_way,
        ) as child:  # fmt: skip
            self._child = child
            try:
                _, said = child.communicate(timeout=SOLVE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                raise RtcalError(f"not solved within {SOLVE_S:g} s") from None
        if child.returncode:
            lines = said.strip().splitlines()
            raise RtcalError(lines[-1] if lines else f"rtcal arc solve ended with {child.returncode}")

    def _range_of(self, known: Path | None) -> tuple[float, float] | None:
        if known is not None:
            guess = range_of(read_arc(known))
            if guess is not None:
                return guess
        return (self._range_um[0], self._range_um[1]) if len(self._range_um) == 2 else None

    def _fail(self, exposure_id: str, reason: str) -> None:
        if self._closing.is_set():
            return
        self.counters["arcs_failed"] += 1
        self.problem = f"arc {exposure_id} was not solved: {reason.removeprefix('rtcal: ')}"
        log.warning("%s", self.problem)


def _give_way() -> None:
    os.nice(_NICE)


def range_of(arc: Arc) -> tuple[float, float] | None:
    """Return the median wavelengths of the first and last pixel of an arc's traces; None if none is solved."""
    if not arc.solved.any():
        return None
    series = arc.series[arc.solved]
    signs = np.where(np.arange(series.shape[1]) % 2, -1.0, 1.0)  # a Chebyshev term is 1 or -1 at the ends
    return float(np.median(series @ signs)), float(np.median(series.sum(axis=1)))


def _keys(setup: Mapping[str, Scalar]) -> tuple[str, ...]:
    mask = MASKS.get(str(setup.get("INSTMODE", "")).strip().upper(), "")
    return tuple(str(setup.get(key, "")).strip().upper() for key in (*MATCH, mask))


def _agree(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether two setups are the same, as far as both say."""
    return all(left == right or not left or not right for left, right in zip(one, other, strict=True))


def _earlier(directory: Path) -> list[NightArc]:
    """Return the references that earlier runs left."""
    found = []
    for path in sorted(directory.glob("arc_*.fits")):
        try:
            header = read_arc(path).header
            start_ns = parse_iso_utc(str(header.get("USEAFTER", "")).replace(" ", "T"))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except (RtcalError, StreamsError, OSError, ValueError):
            log.warning("%s is no arc that can be used", path)
            continue
        found.append(NightArc(path, digest, _keys(header), start_ns))
    return found
