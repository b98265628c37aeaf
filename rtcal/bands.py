"""Rows of an image shared out to a pool of threads; kernels release the GIL."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

BAND_BYTES = 1 << 24
"""What the planes of one band may take: calls cost little, and the threads still share evenly."""

LEAST_ROWS = 8
"""A band of fewer rows would spend its time on its edges; but every thread has one."""


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
        Held while a frame is being finished. Detectors that end together take turns: each has all threads then, and
        its frame does not wait for the slowest.
    """

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads or os.cpu_count() or 1
        self.turn = threading.Lock()
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
