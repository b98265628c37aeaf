"""Pixels of a part of a detector, as they are measured: the frame's own, never those of the screen."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboards.flags import Flags
from dashboards.limits import FloatImage
from dashboards.picture import Level, Picture
from dashboards.scene import Tile
from streams.dq import Dq


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A rectangle of one detector at the finest level that is kept.

    Its pixel (0, 0) covers `binning` x `binning` detector pixels from (x0, y0) on.
    """

    x0: int
    y0: int
    binning: int
    data: FloatImage
    err: FloatImage | None
    dq: Flags | NDArray[np.uint32] | None

    @property
    def good(self) -> NDArray[np.bool_]:
        """Which pixels may be measured: finite, and not DO_NOT_USE."""
        finite = np.isfinite(self.data)
        return finite if self.dq is None else finite & (self.dq[:] & np.uint32(Dq.DO_NOT_USE) == 0)

    def pixel_of(self, x: float, y: float) -> tuple[float, float]:
        """Turn detector coordinates into those of the patch."""
        middle = (self.binning - 1) / 2
        return (x - self.x0 - middle) / self.binning, (y - self.y0 - middle) / self.binning

    def axes(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return the detector coordinates x of the columns and y of the rows."""
        first_x, first_y = self.place_of(0, 0)
        rows, columns = self.data.shape
        return first_x + self.binning * np.arange(columns), first_y + self.binning * np.arange(rows)

    def place_of(self, column: float, row: float) -> tuple[float, float]:
        """Turn coordinates of the patch into the detector's."""
        middle = (self.binning - 1) / 2
        return self.x0 + column * self.binning + middle, self.y0 + row * self.binning + middle


def patch_of(tile: Tile, x0: float, x1: float, y0: float, y1: float, most: int | None = None) -> Patch | None:
    """Cut the pixels that the rectangle between two corners touches, in detector pixels; None where there is nothing.

    Where the tile shows a difference, it is the difference; the errors add in squares, the flags by OR. Of more than
    `most` detector pixels it is the binned image.
    """
    if tile.picture is None:
        return None
    level = tile.picture.levels[0 if most is None or abs((x1 - x0) * (y1 - y0)) <= most else -1]
    other = None if tile.against is None else _like(tile.against, level)
    if tile.against is not None and other is None:
        level, other = tile.picture.coarse, tile.against.coarse
        if other.data.shape != level.data.shape:
            return None
    pitch = level.binning
    rows = _whole(y0, y1, pitch, level.data.shape[0])
    columns = _whole(x0, x1, pitch, level.data.shape[1])
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    part = (rows, columns)
    data, err, dq = level.data[part], _cut(level.err, part), _cut(level.dq, part)
    if other is not None:
        data = data - other.data[part]
        err = None if err is None or other.err is None else np.hypot(err, other.err[part])
        dq = None if dq is None or other.dq is None else dq[:] | other.dq[part]
    return Patch(columns.start * pitch, rows.start * pitch, pitch, data, err, dq)


def _like(picture: Picture, level: Level) -> Level | None:
    """Return the level of another picture that lies on the same pixels."""
    return next(
        (one for one in picture.levels if one.binning == level.binning and one.data.shape == level.data.shape), None
    )


def _cut(plane: Any, part: tuple[slice, slice]) -> Any:
    if isinstance(plane, Flags):
        return plane.cut(part)  # the rectangle around a long diagonal is large, and few of its flags are asked for
    return None if plane is None else plane[part]


def _whole(start: float, stop: float, pitch: int, length: int) -> slice:
    first = math.floor((start + 0.5) / pitch)
    return slice(max(0, first), min(length, max(first + 1, math.ceil((stop + 0.5) / pitch))))
