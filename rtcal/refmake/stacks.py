"""Many images on disk, a band of rows of all of them in memory.

A calibration takes tens of reads of 32 MiB, or frames of 200 MB: more than a machine should hold at once, and each
pixel needs only its own.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtcal.buffers import FlagImage, FloatImage
from rtcal.errors import RtcalError, UsageError
from streams.closing import Closing
from streams.messages import Frame, FrameHeader

BAND_BYTES = 48 << 20
"""What one array of a band may take; the work on a band has about ten of them."""

Advance = Callable[[int], object]
"""Told how many rows are done, for a progress bar."""


def nobody(_rows: int) -> None:
    """Tell nobody how far the work is."""


def row_bands(shape: tuple[int, int], planes: int, advance: Advance = nobody, margin: int = 0) -> Iterator[slice]:
    """Yield bands of rows so thin that `planes` float64 planes of one stay below `BAND_BYTES`.

    Parameters
    ----------
    shape
        Rows and columns.
    planes
        How many images lie above each other.
    advance
        Told of each band when the next is asked for.
    margin
        Rows that no band is thinner than, except the last.
    """
    rows = max(BAND_BYTES // (8 * max(planes, 1) * shape[1]), margin, 1)
    for start in range(0, shape[0], rows):
        band = slice(start, min(start + rows, shape[0]))
        yield band
        advance(band.stop - band.start)


class Frames(Protocol):
    """Frames of one detector, of which some rows at a time are in memory."""

    @property
    def headers(self) -> Sequence[FrameHeader]:
        """Of each frame."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def band(self, rows: slice) -> tuple[FloatImage, FloatImage, FlagImage]:
        """Return rows of all frames: rate, error, flags, each (frame, y, x), the caller's own."""
        ...


class PlaneStack(Closing):
    """Planes of one shape and dtype in a file without a name, which goes when it is closed or the program ends.

    Parameters
    ----------
    directory
        Where there is space for all of them.

    Raises
    ------
    RtcalError
        From here and from `append`, if the file cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        self._dtype: np.dtype[Any] | None = None
        self.shape: tuple[int, int] = (0, 0)
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise self._error(error) from error

    def __len__(self) -> int:
        return self._count

    def append(self, plane: NDArray[Any]) -> None:
        """Add a plane (y, x)."""
        if self._dtype is None:
            self._dtype, self.shape = plane.dtype, (plane.shape[0], plane.shape[1])
        if plane.shape != self.shape or plane.dtype != self._dtype:
            raise UsageError(
                f"all inputs must have one shape and type: {self.shape} {self._dtype}, then {plane.shape} {plane.dtype}"
            )
        try:
            self._file.seek(self._count * plane.nbytes)
            self._file.write(np.ascontiguousarray(plane).data)
            self._file.flush()
        except OSError as error:
            raise self._error(error) from error
        self._count += 1

    def band(self, rows: slice, planes: slice = slice(None)) -> NDArray[Any]:
        """Return rows of the planes, (plane, y, x)."""
        assert self._dtype is not None
        (ny, nx), numbers = self.shape, range(self._count)[planes]
        out = np.empty((len(numbers), rows.stop - rows.start, nx), self._dtype)
        for place, number in enumerate(numbers):
            self._file.seek((number * ny + rows.start) * nx * self._dtype.itemsize)
            self._file.readinto(memoryview(out[place]).cast("B"))  # type: ignore[attr-defined]
        return out

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def _error(self, error: OSError) -> RtcalError:
        reason = error.strerror or str(error)
        return RtcalError(f"{self._directory}: no place for the inputs while they are worked on: {reason}")


class FrameStack(Closing):
    """Frames of one detector: their headers in memory, rates, errors and flags on disk.

    Parameters
    ----------
    directory
        Where there is space.
    """

    def __init__(self, directory: Path) -> None:
        self.headers: list[FrameHeader] = []
        self._rates, self._errors, self._flags = (PlaneStack(directory) for _ in range(3))

    def __len__(self) -> int:
        return len(self.headers)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._rates.shape

    def append(self, frame: Frame) -> None:
        """Add a frame.

        Raises
        ------
        UsageError
            If it is of another detector or shape than those before.
        """
        found = {(header.instrument, header.detector) for header in (*self.headers, frame.header)}
        if len(found) > 1:
            names = sorted("/".join(one) for one in found)
            raise UsageError(f"inputs for one reference must be of one detector, found {' and '.join(names)}; name one")
        self._rates.append(frame.data)
        self._errors.append(frame.err)
        self._flags.append(frame.dq)
        self.headers.append(frame.header)

    def band(self, rows: slice) -> tuple[FloatImage, FloatImage, FlagImage]:
        """Return rows of all frames: rate, error, flags, each (frame, y, x)."""
        return self._rates.band(rows), self._errors.band(rows), self._flags.band(rows)

    def close(self) -> None:
        """Give the space back."""
        for stack in (self._rates, self._errors, self._flags):
            stack.close()
