"""Times that mean something on a machine that others use too.

All cases run in turn, round after round, each followed by a copy of as many bytes and by the numpy
equivalent; of each the shortest time counts. A slow moment of the machine then hits all of them alike,
and the ratios stay.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rtcal.bands import BAND_BYTES, Bands

COPY_BYTES = 1 << 29
PIECE_BYTES = 1 << 26
"""Most bytes that one copy moves: all that is wanted, or pieces of it.

Beyond some size the C library copies around the caches. Which of the two is faster depends on the machine;
ours are measured against the faster one.
"""
PAGE = 4096


@dataclass(frozen=True)
class Case:
    """Something to time.

    Parameters
    ----------
    name
        What it is.
    bytes_per_pixel
        What it cannot do without: each input read once and each output written once; in place, both.
    run
        Does it, once.
    numpy
        Does the same with numpy alone; None where that would be no comparison.
    times
        How often `run` does it: a whole ramp of reads counts as so many reads.
    """

    name: str
    bytes_per_pixel: float
    run: Callable[[], object]
    numpy: Callable[[], object] | None
    times: int = 1


@dataclass
class Timing:
    """The shortest times of a case [ms]."""

    name: str
    bytes_per_pixel: float
    ms: float = float("inf")
    copy_ms: float = float("inf")
    numpy_ms: float | None = None

    @property
    def over_copy(self) -> float:
        """Time in units of what `np.copyto` takes for an array of as many bytes."""
        return self.ms / self.copy_ms

    @property
    def faster_than_numpy(self) -> float | None:
        """Time of the numpy equivalent over this one's."""
        return None if self.numpy_ms is None else self.numpy_ms / self.ms


class Copier:
    """Moves a number of bytes from one place to another by `np.copyto`: each is read once and written once.

    Parameters
    ----------
    bands
        The pool: each of its threads copies its part.
    """

    def __init__(self, bands: Bands) -> None:
        self._bands = bands
        shape = (bands.threads, COPY_BYTES // bands.threads)
        self._source, self._target = _aligned(shape, 0), _aligned(shape, PAGE // 2)

    def move(self, total_bytes: int, piece_bytes: int = COPY_BYTES) -> None:
        """Move `total_bytes`, by equal pieces of at most `piece_bytes`."""
        calls = -(-total_bytes // piece_bytes)
        columns = total_bytes // self._bands.threads // calls

        def work(rows: slice) -> None:
            np.copyto(self._target[rows, :columns], self._source[rows, :columns])

        for _ in range(calls):
            self._bands.run(work, self._source.shape, BAND_BYTES)


def _aligned(shape: tuple[int, int], offset: int) -> NDArray[np.uint8]:
    """Return bytes that begin `offset` after the start of a page.

    Where a source lies just before its target, in the page, copies can take four times as long.
    """
    count = shape[0] * shape[1]
    raw = np.ones(count + 2 * PAGE, np.uint8)
    start = -raw.ctypes.data % PAGE + offset
    return raw[start : start + count].reshape(shape)


def measure(
    cases: Sequence[Case], pixels: int, rounds: int, bands: Bands, tick: Callable[[], None] = lambda: None
) -> list[Timing]:
    """Time cases in turn.

    Parameters
    ----------
    cases
        What to time; each runs once before, so that nothing is compiled and no page is new.
    pixels
        Of the image that they work on.
    rounds
        How often each runs.
    bands
        The pool that the cases use; the copies use as many threads.
    tick
        Called after each case of each round.
    """
    copier = Copier(bands)
    timings = [Timing(case.name, case.bytes_per_pixel) for case in cases]
    for case in cases:
        case.run()
    for _ in range(rounds):
        for case, timing in zip(cases, timings, strict=True):
            timing.ms = min(timing.ms, _ms(case.run) / case.times)
            for piece_bytes in (COPY_BYTES, PIECE_BYTES):
                copy = partial(copier.move, round(case.bytes_per_pixel * pixels), piece_bytes)
                timing.copy_ms = min(timing.copy_ms, _ms(copy))
            if case.numpy is not None:
                timing.numpy_ms = min(timing.numpy_ms or float("inf"), _ms(case.numpy) / case.times)
            tick()
    return timings


def _ms(work: Callable[[], object]) -> float:
    began_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began_ns) / 1e6
