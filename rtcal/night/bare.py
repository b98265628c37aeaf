"""The rates of an exposure before dark, sky and flat, taken out of its sums and kept on disk.

A better reference finishes them anew by the kernel that made the frame. The night's own thread takes them out, some
rows at a time; where the next exposure needs the sums before that is done, the reads' thread does the rest.
"""

import os
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtcal import steps
from rtcal.buffers import FloatImage
from rtcal.calibration import Calibration
from rtcal.errors import RtcalError
from rtcal.finishing import ExposureSums, bare_inputs
from rtcal.kernels.finish import Estimate, Noise, Output
from rtcal.kernels.planes import BLOCK, State
from rtcal.night.shelf import Room
from rtcal.steps import Inputs

CHUNK_ROWS = 64
"""Rows that are taken out at a time: the thread that needs the sums waits for no more than these."""
LEAST_VARIANCE = np.float32(1e-20)
"""Of a rate [e-2/s2]: its inverse must not overflow."""
BARE_BYTES = 11
"""For each pixel: rate, error, first saturated read, marks."""


class BareRows(NamedTuple):
    """Some rows of an exposure: rate and error [e-/s] float32, first saturated read uint16, marks uint8."""

    rate: FloatImage
    err: FloatImage
    saturated_from: NDArray[np.uint16]
    marks: NDArray[np.uint8]


def _empty(rows: int, width: int) -> BareRows:
    shape = rows, width
    return BareRows(
        np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16), np.empty(shape, np.uint8)
    )


class BareFile:
    """The rows of an exposure in a file without a name, which goes with this object.

    Parameters
    ----------
    shape
        Rows and columns.
    directory
        Where there is space.

    Raises
    ------
    RtcalError
        From here, `write` and `read`, if the disk does not do its part.
    """

    def __init__(self, shape: tuple[int, int], directory: Path) -> None:
        self.shape = shape
        self._directory = directory
        try:
            file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by the finalizer
        except OSError as error:
            raise self._error(error) from error
        self._file = file.fileno()
        weakref.finalize(self, file.close).atexit = False  # the thread may still be at work then

    @property
    def nbytes(self) -> int:
        """Space on disk."""
        return BARE_BYTES * self.shape[0] * self.shape[1]

    def write(self, start: int, rows: BareRows) -> None:
        """Write rows from one on."""
        self._each(start, rows, os.pwrite)

    def read(self, start: int, stop: int) -> BareRows:
        """Read rows from one to before another."""
        rows = _empty(stop - start, self.shape[1])
        self._each(start, rows, lambda file, part, place: os.preadv(file, [part], place))
        return rows

    def _each(self, start: int, rows: BareRows, move: Any) -> None:
        """Move each plane's rows from or to its place; a call may move less than it was asked to."""
        offset = 0
        try:
            for plane in rows:
                line = self.shape[1] * plane.itemsize
                place, left = offset + start * line, plane.reshape(-1).view(np.uint8).data
                while left:
                    moved = move(self._file, left, place)
                    if moved == 0:
                        raise OSError("the file is shorter than it was")
                    place, left = place + moved, left[moved:]
                offset += self.shape[0] * line
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> RtcalError:
        return RtcalError(f"{self._directory}: no place for the exposures of the night: {error.strerror or error}")


class BareSums:
    """The rates in a file, as sums from which a frame is finished (`finishing.Sums`).

    Parameters
    ----------
    file
        Whole.
    """

    def __init__(self, file: BareFile) -> None:
        self.file = file
        width = file.shape[1]
        self._unused = np.zeros((1, width), np.uint16)
        zero = np.zeros((1, width), np.uint16)
        zero.setflags(write=False)  # as reads are: the type that kernels are compiled for
        none = np.zeros((1, 2, width), np.float32)
        self.estimate = Estimate(none, np.zeros(2, np.float32), 2, np.float32(0), np.float32(0), gathered=True)
        self.noise = Noise(np.float32(1), np.float32(1), zero, steps.straight(width))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.file.shape

    def rows(self, inputs: Inputs, start: int, stop: int, step: int, limit: float, out: Output, first: int = 0) -> None:
        """Finish rows; see `finishing.Sums`."""
        pieces = [(start, stop)] if step == 1 else [(y, y + 1) for y in range(start, stop, step)]
        for begin, end in pieces:
            after = first + end - begin
            self.piece(inputs, begin, end, limit, Output._make(plane[first:after] for plane in out))
            first = after

    def piece(self, inputs: Inputs, start: int, stop: int, limit: float, out: Output) -> None:
        """Finish rows into planes that hold these rows alone."""
        state = self._state(self.file.read(start, stop))
        inputs.cut(start, stop).rows(state, 0, stop - start, 1, limit, out)

    def _state(self, bare: BareRows) -> State:
        """Return rates and errors as gathered sums: the weight is the inverse of the variance, photons are in it."""
        height, width = bare.rate.shape
        closed = np.empty((height, 3, width), np.float32)
        closed[:, 1] = 1 / np.maximum(bare.err * bare.err, LEAST_VARIANCE)
        np.multiply(bare.rate, closed[:, 1], out=closed[:, 0])
        closed[:, 2] = 0
        slow = np.zeros((height, -(-width // BLOCK)), np.uint8)
        unused = self._unused
        return State(
            self.estimate.values, unused, unused, closed, bare.saturated_from, bare.marks, slow, np.ones_like(slow)
        )


class Harvest:
    """Takes the rates of an exposure out of its sums and writes them to a file.

    Parameters
    ----------
    sums
        Its last ramp is closed.
    calibration
        With the shape and flags of the exposure.
    file
        Where the rates go.
    room
        For what is taken out in a hurry.

    Attributes
    ----------
    whole
        Whether all of it is in the file.
    """

    def __init__(self, sums: ExposureSums, calibration: Calibration, file: BareFile, room: Room) -> None:
        self.whole = False
        self._sums = sums
        self._inputs = bare_inputs(sums, calibration)
        self._file = file
        self._room = room
        self._claimed = 0
        self._given_up = False
        self._left = deque(range(0, file.shape[0], CHUNK_ROWS))
        self._taken: list[tuple[int, BareRows]] = []
        self._in_hand = 0
        self._changed = threading.Condition()

    def run(self) -> None:
        """Take out and write what is left; for the night's thread.

        Raises
        ------
        RtcalError
            If it cannot be written; then nothing is left to do.
        """
        try:
            self._each(self._file.write)
            self._wait()
            while self._taken:
                self._file.write(*self._taken.pop())
            self.whole = not self._given_up
        finally:
            if not self.whole:
                self.give_up()
            self._room.give(self._claimed)
            self._claimed = 0

    def hurry(self) -> None:
        """Take out what is left, at once, and keep it until it is written: the sums are free then.

        Without room for it the exposure is given up.
        """
        needed = len(self._left) * CHUNK_ROWS * self._file.shape[1] * BARE_BYTES
        if not self._room.take(needed):
            self.give_up()
            return
        self._claimed += needed
        self._each(lambda start, rows: self._taken.append((start, rows)))
        self._wait()

    def give_up(self) -> None:
        """Leave the rest where it is; the sums are free then."""
        with self._changed:
            self._given_up = True
            self._left.clear()
            self._taken.clear()
        self._wait()

    def _each(self, put: Callable[[int, BareRows], None]) -> None:
        """Take out rows and put them somewhere, until none are left to begin with."""
        while True:
            with self._changed:
                if not self._left:
                    return
                start = self._left.popleft()
                self._in_hand += 1
            try:
                put(start, self._take(start))
            finally:
                with self._changed:
                    self._in_hand -= 1
                    self._changed.notify_all()

    def _take(self, start: int) -> BareRows:
        stop = min(start + CHUNK_ROWS, self._file.shape[0])
        bare = _empty(stop - start, self._file.shape[1])
        dq = np.empty(bare.rate.shape, np.uint32)
        state = State._make(plane[start:stop] for plane in self._sums.state)
        out = Output(bare.rate, bare.err, dq, bare.saturated_from)
        self._inputs.cut(start, stop).rows(state, 0, stop - start, 1, np.inf, out)
        bare.marks[:] = state.marks
        return bare

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._in_hand)
