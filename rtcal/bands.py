"""Rows of an image shared out to a pool of threads; kernels release the GIL."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType

BAND_BYTES = 1 << 24
"""What the planes of one band may take: calls cost little, and the threads still share evenly."""

LEAST_ROWS = 8
"""A band of fewer rows would spend its time on its edges; but every thread has one."""


class Turn:
    """A lock that goes to who is urgent first, to others in the order in which they asked."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._asked = 0
        self._waiting: list[tuple[bool, int]] = []

    @contextmanager
    def take(self, *, urgent: bool = False) -> Iterator[None]:
        """Wait for the turn, and have it until the end of the block."""
        with self._changed:
            self._asked += 1
            place = (not urgent, self._asked)
            self._waiting.append(place)
            self._changed.wait_for(lambda: not self._taken and place == min(self._waiting))
            self._waiting.remove(place)
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()

    def let_by(self) -> None:
        """Wait until those who have asked before have had it."""
        with self.take():
            pass

    def locked(self) -> bool:
        """Tell whether somebody has it."""
        return self._taken


class Bands:
    """A pool that runs a function over bands of rows.

    The function writes only to its own rows, so neither the number of threads nor their order can
    change a result.

    Parameters
    ----------
    threads
        Number of threads; 0 for one per core.

    Attributes
    ----------
    turn
        Taken while a frame is being finished. Detectors that end together take turns: each has all threads then, and
        its frame does not wait for the slowest. The spectrograph goes first: much is made of its frame.
    """

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads or os.cpu_count() or 1
        self.turn = Turn()
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="band") if self.threads > 1 else None

    def run(self, work: Callable[[slice], None], shape: tuple[int, int], bytes_per_pixel: int) -> list[int]:
        """Call `work(rows)` for every band of an image of `shape`; return, when all are done, where bands met."""
        least = min(LEAST_ROWS, -(-shape[0] // self.threads))
        rows = max(least, BAND_BYTES // (bytes_per_pixel * shape[1]))
        slices = [slice(start, min(start + rows, shape[0])) for start in range(0, shape[0], rows)]
        edges = [band.start for band in slices[1:]]
        if self._pool is None or len(slices) == 1:
            for band in slices:
                work(band)
            return edges
        share = -(-len(slices) // self.threads)
        shares = [slices[i : i + share] for i in range(0, len(slices), share)]
        futures = [self._pool.submit(_run_all, work, part) for part in shares[1:]]
        _run_all(work, shares[0])
        for future in futures:
            future.result()
        return edges

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def __enter__(self) -> "Bands":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _run_all(work: Callable[[slice], None], bands: list[slice]) -> None:
    for band in bands:
        work(band)
