"""One image as the display keeps it: its header and a pyramid of at most two levels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dashboards.cubes import CUBE_SUFFIX, Collapse, collapsed
from dashboards.flags import Flags
from dashboards.frames import KeptFrame
from dashboards.limits import FloatImage
from dashboards.render import bin_mean
from dashboards.settings import ViewName
from streams.dq import Dq
from streams.messages import Binned, Cube, CubeHeader, FrameHeader, Preview, PreviewHeader, White, WhiteHeader


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """An image of which each pixel stands for `binning` x `binning` detector pixels."""

    binning: int
    data: FloatImage
    """float32, (y, x); NaN where there is no value."""
    err: FloatImage | None = None
    dq: Flags | NDArray[np.uint32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What one view of one detector shows; never changed, only replaced."""

    number: int
    """Counts the pictures of this process: two with the same number are the same."""
    view: ViewName
    header: FrameHeader | PreviewHeader | CubeHeader | WhiteHeader
    heard_s: float
    """Monotonic clock at arrival."""
    published_s: float
    """The same clock at publication, from the message's own time stamp."""
    full_shape: tuple[int, int]
    """(y, x) in detector pixels."""
    levels: tuple[Level, ...]
    """Finest first."""
    cube: Cube | None = None
    """What the image was collapsed from, where it is kept."""
    collapse: Collapse | None = None
    """How; None: the mean of all wavelengths."""
    expected: bool = False
    """True while the frame's own pixels, or the cube, are on their way: so far there is the first look alone."""

    @property
    def detector(self) -> str:
        """Whose picture it is; a cube stands beside its detector, under a name of its own."""
        name = self.header.detector
        return f"{name}{CUBE_SUFFIX}" if isinstance(self.header, CubeHeader | WhiteHeader) else name

    @property
    def pixel_mas(self) -> float | None:
        """Side of a spaxel on the sky; None for a detector's pixels."""
        return self.header.scale_mas if isinstance(self.header, CubeHeader | WhiteHeader) else None

    @property
    def is_first_look(self) -> bool:
        """True for a binned image without its frame, and for white light without its cube."""
        return self.levels[0].binning > 1 or isinstance(self.header, WhiteHeader)

    @property
    def held(self) -> tuple[object, ...]:
        """What there is of it: changes when the rest of it comes, or when pixels are let go."""
        return type(self.header), len(self.levels), self.cube is not None

    @property
    def can_be_thinned(self) -> bool:
        """True while there is more than the coarsest image."""
        return len(self.levels) > 1 or self.cube is not None

    @property
    def units(self) -> str:
        """Unit of the values."""
        return "DN" if self.view == "raw" else "e-/s"

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps in memory."""
        arrays = (array for level in self.levels for array in (level.data, level.err, level.dq))
        cube = (self.cube.data, self.cube.err, self.cube.dq) if self.cube else ()
        return sum(array.nbytes for array in (*arrays, *cube) if array is not None)

    @property
    def coarse(self) -> Level:
        """The level that fits a screen; limits are found on it."""
        return self.levels[-1]

    def level_for(self, pitch: int) -> Level:
        """Return the coarsest level that is not coarser than `pitch` detector pixels, else the finest."""
        fit = [level for level in self.levels if level.binning <= pitch]
        return fit[-1] if fit else self.levels[0]

    def same_frame(self, other: "Picture") -> bool:
        """Tell whether both show the same issue of the same frame, or of the same cube."""
        if isinstance(self.header, FrameHeader):
            return other.shows(self.header)
        return any(_precedes(white, cube) for white, cube in ((self.header, other.header), (other.header, self.header)))

    def shows(self, frame: FrameHeader) -> bool:
        """Tell whether it shows this issue of this frame."""
        return isinstance(self.header, FrameHeader) and _issue(self.header) == _issue(frame)

    def without_full_pixels(self) -> "Picture":
        """Return itself with the coarse level alone."""
        return replace(self, levels=self.levels[-1:], cube=None)


def _issue(header: FrameHeader) -> tuple[object, ...]:
    return (header.instrument, header.detector, header.kind, header.sequence, header.exposure_id, header.published_ns)


def _precedes(white: object, cube: object) -> bool:
    """Tell whether white light is that of a cube: of the same frame, and published before it."""
    if not (isinstance(white, WhiteHeader) and isinstance(cube, CubeHeader)):
        return False
    names = ("instrument", "detector", "exposure_id", "revision")
    same = all(getattr(white, name) == getattr(cube, name) for name in names)
    return same and white.published_ns <= cube.published_ns


def from_binned(binned: Binned, number: int, heard_s: float, published_s: float, *, expected: bool) -> Picture:
    """Make a picture of what comes before a frame; `expected` if the frame itself will come."""
    header = binned.header
    levels = (Level(header.binning, binned.data),)
    return Picture(number, "reduced", header.frame, heard_s, published_s, header.full_shape, levels, expected=expected)


def from_frame(
    frame: KeptFrame, number: int, heard_s: float, published_s: float, display_pixels: int, binned: Level | None = None
) -> Picture:
    """Make a picture of a reduced frame: its own pixels, and a level of at most `display_pixels` a side.

    The coarse level leaves out DO_NOT_USE pixels; it is `binned` if that came before the frame and fits. The fine one
    holds the frame's arrays, not copies.
    """
    shape = (frame.data.shape[0], frame.data.shape[1])
    fine = Level(1, frame.data, frame.err, frame.dq)
    factor = 1
    while max(shape) > factor * display_pixels:
        factor *= 2
    levels: tuple[Level, ...] = (fine,)
    if binned is not None and binned.binning == factor:
        levels += (binned,)
    elif factor > 1:
        levels += (Level(factor, bin_mean(frame.data, factor, frame.dq, Dq.DO_NOT_USE)),)
    return Picture(number, "reduced", frame.header, heard_s, published_s, shape, levels)


def from_cube(cube: Cube, number: int, heard_s: float, published_s: float) -> Picture:
    """Make a picture of a cube: its mean over wavelength."""
    view: ViewName = "ramp" if cube.header.provisional else "reduced"
    shape = (cube.data.shape[1], cube.data.shape[2])
    levels = (Level(1, *collapsed(cube, None)),)
    return Picture(number, view, cube.header, heard_s, published_s, shape, levels, cube)


def from_white(white: White, number: int, heard_s: float, published_s: float, *, expected: bool) -> Picture:
    """Make a picture of what comes before a cube; `expected` if the cube itself will come."""
    dq = np.where(np.isfinite(white.data), np.uint32(0), np.uint32(Dq.DO_NOT_USE))
    shape = (white.data.shape[0], white.data.shape[1])
    levels = (Level(1, white.data, white.err, dq),)
    view: ViewName = "ramp" if white.header.provisional else "reduced"
    return Picture(number, view, white.header, heard_s, published_s, shape, levels, expected=expected)


def sliced(picture: Picture, collapse: Collapse | None) -> Picture:
    """Return a cube's picture collapsed in another way; any other picture as it is."""
    if picture.cube is None or collapse is None:
        return picture
    return replace(picture, levels=(Level(1, *collapsed(picture.cube, collapse)),), collapse=collapse)


def from_preview(preview: Preview, number: int, heard_s: float, published_s: float) -> Iterator[Picture]:
    """Make the pictures of a preview: `number` is the raw read, `number + 1` the ramp in progress."""
    header = preview.header
    for offset, (view, data) in enumerate((("raw", preview.raw), ("ramp", preview.rate))):
        name: ViewName = "raw" if view == "raw" else "ramp"
        yield Picture(
            number + offset, name, header, heard_s, published_s, header.full_shape, (Level(header.binning, data),)
        )
