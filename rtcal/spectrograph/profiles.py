"""How the light of traces lies across the rows, worked out once for all images of a mode."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels import extract as kernel
from rtcal.kernels import overlap
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.traces import Traces
from streams.dq import Dq

Image = NDArray[np.float32]
Flags = NDArray[np.uint32]
Indices = NDArray[np.int64]

UNUSABLE = np.uint32(Dq.DO_NOT_USE)
PIECES = 4
"""Ranges of work for each thread."""
LEAST_BACK = 0.1
"""Least part of a change that is taken to come back, where spectra overlap so much that some combinations hide."""
_NONE: Indices = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Measured:
    """Profiles that a scan has measured.

    Attributes
    ----------
    first
        Int32, (trace, t): first row; -1 where nothing was measured.
    share
        Float32, (trace, t, row): part of the light in row `first` + k.
    """

    first: NDArray[np.int32]
    share: Image


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
    measured
        Of the same traces; those, or columns, of which it knows nothing have a Gaussian's. None: all have.

    Notes
    -----
    Traces with a Gaussian or measured profile are weighted by it, the others summed; all are of one kind. `flux`,
    `variance` and `dq` are the spectra of the latest image, (trace, t).
    """

    def __init__(
        self, traces: Traces, half: Floats, rows: int, threads: int = 1, measured: Measured | None = None
    ) -> None:
        self.traces = traces
        self.threads = max(1, threads)
        self.weighted = bool((traces.sigma > 0).all())
        shape = len(traces), int(traces.length.max())
        self._first = np.empty(shape, np.int32)
        reach = int(np.ceil(2 * half.max())) + 1
        self._share = np.empty((*shape, max(reach, 0 if measured is None else measured.share.shape[2])), np.float32)
        sigma = traces.sigma if self.weighted else np.zeros(len(traces))
        share_out(
            self.threads,
            len(traces),
            lambda a, b: kernel.fill_profiles(
                traces.length, traces.y, sigma, half, rows, a, b, self._first, self._share
            ),
        )
        if measured is not None:
            self._take(measured)
        self._width = 2 * half
        self._model: Image | None = None
        self._before = self._share[:0, 0]
        self._overlap = 1.0
        self.flux, self.variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self.dq = np.empty(shape, np.uint32)

    def extract(self, data: Image, err: Image, dq: Flags) -> None:
        """Extract the spectra of an image: data, sigma, flags, (y, x)."""

        def part(a: int, b: int) -> None:
            kernel.extract(
                *self._of(data, err, dq), self._width, self.weighted, a, b, self.flux, self.variance, self.dq
            )

        share_out(self.threads, len(self.traces), part)

    def separate(self, data: Image, err: Image, dq: Flags, steps: int) -> None:
        """Take out what neighbours leak into each spectrum, after `extract` of the same image.

        Each step lessens what is left by about the overlap of neighbours, the later ones by more (Chebyshev's
        semi-iteration; Golub and Varga 1961, Numer. Math. 3, 147).
        """
        if not self.weighted or steps == 0:
            return
        if self._model is None:
            self._model, self._before = np.empty(data.shape, np.float32), np.empty_like(self.flux)
            self._overlap = self._most_overlap(self._model)
        model, before = self._model, self._before
        # How much a change of all spectra comes back as lies between these.
        low = max(2.0 - self._overlap, LEAST_BACK)
        part, rho, push = 2 / (self._overlap + low), (self._overlap - low) / (self._overlap + low), 1.0
        before[:] = self.flux
        for step in range(steps):
            push = 1.0 if step == 0 else 1 / (1 - rho**2 / 2) if step == 1 else 1 / (1 - rho**2 * push / 4)
            self._render(self.flux, model)
            self._correct((data, err, dq), model, part, push)

    def leaks(self) -> tuple[Indices, Indices, Floats]:
        """Return the pairs of spectra that overlap, the taker and the giver of light, and how much is taken.

        It is the mean over the taker's columns of what an equally bright giver adds (`kernels.overlap`); none where
        rows are summed.
        """
        taker, giver = _neighbours(self.traces, float(self._width.max())) if self.weighted else (_NONE, _NONE)
        part = np.empty(taker.size)
        given = self.traces.column, self._first, self._share, taker, giver
        share_out(self.threads, taker.size, lambda a, b: overlap.leak(*given, a, b, part))
        some = part > 0
        return taker[some], giver[some], part[some]

    def _correct(self, image: tuple[Image, Image, Flags], model: Image, part: float, push: float) -> None:
        given = self.traces.column, self._first, self._share, model, self.variance, part, push
        rows = model.shape[0]
        share_out(self.threads, rows, lambda a, b: kernel.weigh_rest(*image, UNUSABLE, a, b, model))
        share_out(self.threads, len(self.traces), lambda a, b: kernel.correct(*given, a, b, self.flux, self._before))

    def _render(self, flux: Image, model: Image) -> None:
        """Draw the spectra; threads share the columns, so that each pixel is one thread's."""
        where = self.traces.column, self._first, self._share
        share_out(self.threads, model.shape[1], lambda a, b: kernel.render(flux, *where, a, b, model))

    def _most_overlap(self, model: Image) -> float:
        """Return the most light, of itself and its neighbours, that a spectrum sees where all spectra are one."""
        ones = np.ones(self._first.shape, np.float32)
        self._render(ones, model)
        even, clear = np.ones_like(model), np.zeros(model.shape, np.uint32)
        seen, spare, flags = ones, np.empty_like(ones), np.empty(ones.shape, np.uint32)

        def part(a: int, b: int) -> None:
            kernel.extract(*self._of(model, even, clear), self._width, True, a, b, seen, spare, flags)

        share_out(self.threads, len(self.traces), part)
        return float(np.nanmax(seen, initial=1.0))

    def _take(self, measured: Measured) -> None:
        """Put measured profiles in the place of the Gaussians."""
        known = (measured.first >= 0) & (self._first >= 0)
        self._first[known] = measured.first[known]
        self._share[known] = 0.0
        self._share[known, : measured.share.shape[2]] = measured.share[known]

    def _of(self, data: Image, err: Image, dq: Flags) -> tuple[Any, ...]:
        return data, err, dq, UNUSABLE, self.traces.column, self._first, self._share


def _neighbours(traces: Traces, reach: float) -> tuple[Indices, Indices]:
    """Return all pairs of traces, both ways round, that come within so many rows of each other."""
    start, stop = traces.column, traces.column + traces.length
    rise = traces.length * (np.abs(traces.y[:, 1]) + traces.length * np.abs(traces.y[:, 2]))
    window = reach + 1 + 2 * float(rise.max(initial=0.0))
    order = np.argsort(traces.middle_y, kind="stable")
    found = []
    for step in range(1, order.size):
        low, high = order[:-step], order[step:]
        near = traces.middle_y[high] - traces.middle_y[low] < window
        if not near.any():
            break
        low, high = low[near], high[near]
        first, last = np.maximum(start[low], start[high]), np.minimum(stop[low], stop[high])
        middle = (first + last - 1) / 2
        apart = np.abs(_row(traces, low, middle) - _row(traces, high, middle))
        pair = (first < last) & (apart < reach + 1)
        found += [(low[pair], high[pair]), (high[pair], low[pair])]
    if not found:
        return _NONE, _NONE
    return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])


def _row(traces: Traces, index: Indices, x: Floats) -> Floats:
    """Return the centres of some traces at columns of the detector."""
    t, y = x - traces.column[index], traces.y[index]
    return np.asarray(y[:, 0] + t * (y[:, 1] + t * y[:, 2]))


def share_out(threads: int, count: int, part: Callable[[int, int], None]) -> None:
    """Call `part(first, last)` for ranges that make up `count`, on as many threads as said, this one among them.

    A thread takes the next range when it is done with one: where others keep a core busy, the rest does not wait.
    """
    if threads == 1 or count < 2 * threads:
        part(0, count)
        return
    ranges = iter([*pairwise(np.linspace(0, count, PIECES * threads + 1).astype(int).tolist())])

    def work() -> None:
        for first, last in ranges:
            part(first, last)

    helpers = [_pool(threads).submit(work) for _ in range(threads - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():  # one that has not begun is not needed any more
            helper.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="spectra")
