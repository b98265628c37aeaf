"""What a page wants measured on each image that it shows, in coordinates of its scene."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Coordinate = Annotated[float, Meta(ge=-1e6, le=1e6)]


class Line(Struct, frozen=True, forbid_unknown_fields=True):
    """A cut from one point to another."""

    x0: Coordinate
    y0: Coordinate
    x1: Coordinate
    y1: Coordinate


class Box(Struct, frozen=True, forbid_unknown_fields=True):
    """A region between two corners: all of it, or the ellipse inside."""

    shape: Literal["rectangle", "circle"]
    x0: Coordinate
    y0: Coordinate
    x1: Coordinate
    y1: Coordinate


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a source is looked for."""

    x: Coordinate
    y: Coordinate
    reach: Annotated[float, Meta(ge=0.5, le=200)] = 12.0
    """How far from there its peak may be [px]."""
    radius: Annotated[float, Meta(ge=2, le=400)] = 40.0
    """Where its light ends [px]."""
    wanted_snr: Annotated[float, Meta(gt=0, le=1e6)] = 100.0


class Tools(Struct, frozen=True, forbid_unknown_fields=True, tag="tools"):
    """Everything that a page wants measured; equal wishes on equal images are worked out once."""

    cut: Line | None = None
    region: Box | None = None
    star: Place | None = None
    histogram: bool = False
    contours: Annotated[int, Meta(ge=0, le=20)] = 0
    """Number of levels; 0 for none."""
    contours_of: Literal["shown", "other"] = "shown"
    surface: Box | None = None
    spectrum: Box | None = None

    @property
    def wanted(self) -> bool:
        """True if anything is to be measured."""
        return any((self.cut, self.region, self.star, self.histogram, self.contours, self.surface, self.spectrum))
