"""Data-quality flags of a reference in little memory: most pixels of a detector have none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refcache.fits_images import DqImage

BAND_ROWS = 256
"""Rows that are looked through at a time: no copy of the whole plane is made."""


@dataclass(frozen=True, eq=False)
class Flags:
    """The pixels that have flags, and which.

    A plane takes four bytes a pixel, this eight for each pixel that has a flag: where more than a half have one,
    it is larger than the plane, and no detector is like that for long.

    Attributes
    ----------
    shape
        Rows and columns.
    places
        Of the flagged pixels, ascending, counted row by row; uint32, read-only.
    bits
        Their flags, uint32, read-only.
    """

    shape: tuple[int, int]
    places: NDArray[np.uint32]
    bits: NDArray[np.uint32]

    @classmethod
    def of(cls, plane: DqImage) -> "Flags":
        """Take the flags of a plane, uint32, (y, x)."""
        shape = (plane.shape[0], plane.shape[1])
        places, bits = [np.empty(0, np.uint32)], [np.empty(0, np.uint32)]
        for start in range(0, shape[0], BAND_ROWS):
            band = np.ascontiguousarray(plane[start : start + BAND_ROWS]).reshape(-1)
            found = np.flatnonzero(band)
            places.append((found + start * shape[1]).astype(np.uint32))
            bits.append(band[found].astype(np.uint32))
        return cls(shape, _locked(np.concatenate(places)), _locked(np.concatenate(bits)))

    @classmethod
    def merged(cls, one: "Flags", other: "Flags") -> "Flags":
        """Return the flags of either of two planes of one shape."""
        places = np.concatenate((one.places, other.places))
        order = np.argsort(places, kind="stable")
        places, bits = places[order], np.concatenate((one.bits, other.bits))[order]
        twice = np.flatnonzero(places[1:] == places[:-1])
        bits[twice] |= bits[twice + 1]
        return cls(one.shape, _locked(np.delete(places, twice + 1)), _locked(np.delete(bits, twice + 1)))

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return self.places.nbytes + self.bits.nbytes

    def merge_into(self, plane: DqImage) -> None:
        """Set the flags in a plane of the same shape, which keeps those that it has."""
        plane.reshape(-1)[self.places] |= self.bits

    def plane(self) -> DqImage:
        """Return them as a plane, uint32, (y, x); made anew each time."""
        plane = np.zeros(self.shape, np.uint32)
        self.merge_into(plane)
        return plane

    def window(self, y: int, x: int, shape: tuple[int, int]) -> "Flags":
        """Cut a window out; its first row and column are `y` and `x`, and it must lie inside."""
        rows, columns = np.divmod(self.places.astype(np.int64), self.shape[1])
        inside = (rows >= y) & (rows < y + shape[0]) & (columns >= x) & (columns < x + shape[1])
        places = (rows[inside] - y) * shape[1] + columns[inside] - x
        return Flags(shape, _locked(places.astype(np.uint32)), _locked(self.bits[inside]))


def _locked(array: NDArray[np.uint32]) -> NDArray[np.uint32]:
    array.setflags(write=False)
    return array
