"""How the light of traces lies across the rows, worked out once for all images of a mode."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels import extract as kernel
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.traces import Traces
from streams.dq import Dq

Image = NDArray[np.float32]
Flags = NDArray[np.uint32]

UNUSABLE = np.uint32(Dq.DO_NOT_USE)
NEIGHBOURS = 2


class Profiles:
    """The profiles of traces, and the spectra that they take out of an image.

    Parameters
    ----------
    traces
        Where spectra lie.
    half
        Rows on each side that are looked at, one for each trace.
    rows
        Rows of the detector.
    threads
        Threads that share the traces.

    Notes
    -----
    Traces with a Gaussian profile are weighted by it, the others summed; all are of one kind. `flux`, `variance`
    and `dq` are the spectra of the latest image, (trace, t).
    """

    def __init__(self, traces: Traces, half: Floats, rows: int, threads: int = 1) -> None:
        self.traces = traces
        self.threads = max(1, threads)
        self.weighted = bool((traces.sigma > 0).all())
        shape = len(traces), int(traces.length.max())
        self._first = np.empty(shape, np.int32)
        self._share = np.empty((*shape, int(np.ceil(2 * half.max())) + 1), np.float32)
        sigma = traces.sigma if self.weighted else np.zeros(len(traces))
        share_out(
            self.threads,
            len(traces),
            lambda a, b: kernel.fill_profiles(
                traces.length, traces.y, sigma, half, rows, a, b, self._first, self._share
            ),
        )
        self._width = 2 * half
        self._near = _neighbours(traces)
        self.flux, self.variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self.dq = np.empty(shape, np.uint32)
        self._next = np.empty(shape, np.float32)

    def extract(self, data: Image, variance: Image, dq: Flags) -> None:
        """Extract the spectra of an image."""

        def part(a: int, b: int) -> None:
            kernel.extract(
                *self._of(data, variance, dq), self._width, self.weighted, a, b, self.flux, self.variance, self.dq
            )

        share_out(self.threads, len(self.traces), part)

    def separate(self, data: Image, variance: Image, dq: Flags, steps: int) -> None:
        """Take out what neighbours leak into each spectrum, after `extract` of the same image."""

        def part(a: int, b: int) -> None:
            kernel.separate(*self._of(data, variance, dq), self._near, a, b, self.flux, self._next)

        for _ in range(steps if self.weighted else 0):
            share_out(self.threads, len(self.traces), part)
            self.flux, self._next = self._next, self.flux

    def _of(self, data: Image, variance: Image, dq: Flags) -> tuple[Any, ...]:
        return data, variance, dq, UNUSABLE, self.traces.column, self._first, self._share


def share_out(threads: int, count: int, part: Callable[[int, int], None]) -> None:
    """Call `part(first, last)` for as many ranges as there are threads, at the same time."""
    if threads == 1 or count < 2 * threads:
        part(0, count)
        return
    edges = np.linspace(0, count, threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(part, first, last) for first, last in pairwise(edges)]
    for future in futures:
        future.result()


def _neighbours(traces: Traces) -> NDArray[np.int64]:
    """Return the traces just above and below each in its columns, -1 for none."""
    near = np.full((len(traces), NEIGHBOURS), -1, np.int64)
    middle = traces.middle_y
    for column in np.unique(traces.column):
        group = np.flatnonzero(traces.column == column)
        order = group[np.argsort(middle[group], kind="stable")]
        near[order[1:], 0] = order[:-1]
        near[order[:-1], 1] = order[1:]
    return near
