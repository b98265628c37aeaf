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

from rtcal.bands import BAND_BYTES, Bands

COPY_BYTES = 1 << 30
"""Most bytes that one copy moves, read and written; more are moved by several of the same length."""


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
        """Time in units of what `np.copyto` takes to move the same number of bytes."""
        return self.ms / self.copy_ms

    @property
    def faster_than_numpy(self) -> float | None:
        """Time of the numpy equivalent over this one's."""
        return None if self.numpy_ms is None else self.numpy_ms / self.ms


class Copier:
    """Moves a number of bytes by `np.copyto`, half of them read and half of them written.

    Parameters
    ----------
    bands
        The pool: each of its threads copies its part.
    """

    def __init__(self, bands: Bands) -> None:
        self._bands = bands
        shape = (bands.threads, COPY_BYTES // 2 // bands.threads)
        self._source, self._target = np.ones(shape, np.uint8), np.ones(shape, np.uint8)

    def move(self, total_bytes: int) -> None:
        """Move `total_bytes`, in one piece if it can be: a long copy may take another way than a short one."""
        calls = -(-total_bytes // COPY_BYTES)
        columns = total_bytes // 2 // self._bands.threads // calls

        def work(rows: slice) -> None:
            np.copyto(self._target[rows, :columns], self._source[rows, :columns])

        for _ in range(calls):
            self._bands.run(work, self._source.shape, BAND_BYTES)


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
            copy = partial(copier.move, round(case.bytes_per_pixel * pixels))
            timing.copy_ms = min(timing.copy_ms, _ms(copy))
            if case.numpy is not None:
                timing.numpy_ms = min(timing.numpy_ms or float("inf"), _ms(case.numpy) / case.times)
            tick()
    return timings


def _ms(work: Callable[[], object]) -> float:
    began_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began_ns) / 1e6
