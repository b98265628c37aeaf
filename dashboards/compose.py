"""From a scene and what a page wants of it to one binary message for the browser.

A message is the length of its JSON header (4 bytes, little endian), the header, and the 8-bit pixels
of each image it names, one after another, row 0 at the bottom. It comes in two layers: `base` is the
whole scene at the resolution of a screen, `detail` is a finer cut-out where a page has zoomed in.
"""

import math
import struct
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from dashboards.caption import caption
from dashboards.cubes import Collapse
from dashboards.limits import minmax_limits, percentile_limits, sample, tick_values, zscale_limits
from dashboards.marks import KINDS, Kind
from dashboards.picture import Level, Picture
from dashboards.render import bin_mean, classify, smooth, smoothing_weights, to_bytes
from dashboards.scene import Moment, Scene, Tile
from dashboards.settings import Limits, Smoothing, Stretch, ViewName
from streams.dq import Dq

Finite = Annotated[float, Meta(ge=-1e30, le=1e30)]
Index = Annotated[int, Meta(ge=0, le=2**53)]
Layer = Literal["base", "detail"]

MARGIN = 0.25
"""Part of the visible width that a cut-out has more on each side, so that a short pan shows no edge."""
MAX_DETAIL_PIXELS = 4 << 20
SNAPS = 8


class Wish(Struct, frozen=True, forbid_unknown_fields=True, tag="view"):
    """What a page wants to see; equal wishes of different pages are rendered once."""

    detector: Annotated[str, Meta(max_length=64)]
    """A detector, `MOSAIC`, or "" for whatever fits."""
    view: ViewName
    limits: Limits
    percentile: Annotated[float, Meta(ge=50, le=100)]
    low: Finite
    high: Finite
    stretch: Stretch
    mark_bad: bool
    """Paint DO_NOT_USE pixels as bad where single pixels are seen."""
    smooth: Smoothing = "none"
    smooth_px: Annotated[float, Meta(ge=0.5, le=64)] = 2.0
    """Sigma of the Gaussian or width of the box, detector pixels."""
    marks: Annotated[tuple[Kind, ...], Meta(max_length=16)] = ()
    """Kinds of flags that are painted over the image."""
    at: Index | None = None
    """Number of a past picture: show what was the newest then."""
    other: Index | None = None
    """Number of a past picture to compare with."""
    difference: bool = False
    """Subtract it."""
    collapse: Collapse | None = None
    """How a cube becomes an image; None: the mean of all its wavelengths."""
    region: tuple[Finite, Finite, Finite, Finite] | None = None
    """Visible part of the scene, (x0, x1, y0, y1); None for all of it."""
    screen_pixels: Annotated[int, Meta(ge=16, le=8192)] = 1024
    """Longer side of the visible part on the screen."""

    @property
    def moment(self) -> Moment:
        """Which pictures of the history are meant."""
        return Moment(self.at, self.other if self.difference else None)


@dataclass(frozen=True, slots=True)
class Cut:
    """Part of a scene to be rendered at `pitch` detector pixels per rendered pixel."""

    x0: float
    x1: float
    y0: float
    y1: float
    pitch: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """A rendered rectangle of one tile; x, y is its lower left corner in the scene."""

    detector: str
    x: float
    y: float
    pitch: int
    pixels: NDArray[np.uint8]
    marks: NDArray[np.uint8] | None = None
    """Number of the kind of flag in each pixel, 0 for none."""


def base_cut(scene: Scene, display_pixels: int) -> Cut:
    """Return the whole scene at the pitch that fits a screen (a quarter over is allowed)."""
    pitch = 1
    while max(scene.width, scene.height) > 1.25 * pitch * display_pixels:
        pitch *= 2
    return Cut(0, scene.width, 0, scene.height, pitch)


def detail_cut(scene: Scene, wish: Wish, base: Cut) -> Cut | None:
    """Return the cut-out for the visible region, None where the base layer is as fine.

    Its edges lie on a coarse grid, so that pages that look at nearly the same region share it.
    """
    if wish.region is None:
        return None
    x0, x1, y0, y1 = wish.region
    extent = max(x1 - x0, y1 - y0)
    if not (x1 > x0 and y1 > y0):
        return None
    pitch = 2 ** max(0, round(math.log2(extent / wish.screen_pixels)))
    grid = 2 ** max(3, math.ceil(math.log2(extent / SNAPS)))
    edges = (
        max(0, grid * math.floor((x0 - MARGIN * (x1 - x0)) / grid)),
        min(scene.width, grid * math.ceil((x1 + MARGIN * (x1 - x0)) / grid)),
        max(0, grid * math.floor((y0 - MARGIN * (y1 - y0)) / grid)),
        min(scene.height, grid * math.ceil((y1 + MARGIN * (y1 - y0)) / grid)),
    )
    area = max(0, edges[1] - edges[0]) * max(0, edges[3] - edges[2])
    while area / pitch**2 > MAX_DETAIL_PIXELS:
        pitch *= 2
    return Cut(*edges, pitch) if area and pitch < base.pitch else None


def key(scene: Scene, wish: Wish, cut: Cut | None, layer: Layer) -> tuple[object, ...]:
    """Return what decides the bytes of a message: the same key is the same message."""
    limits = (wish.limits, wish.percentile, wish.low, wish.high)
    look = (wish.stretch, wish.mark_bad, wish.smooth, wish.smooth_px, wish.marks)
    return (layer, *identity(scene, cut), limits, *look, cut)


def identity(scene: Scene, cut: Cut | None = None) -> tuple[object, ...]:
    """Return what decides the pixels of a scene; with a cut, those that it is rendered from.

    So the whole scene is not sent again when the full pixels of a frame have come.
    """
    pictures = [picture for tile in scene.tiles for picture in (tile.picture, tile.against)]
    drawn = tuple((one.number, _served(one, cut), one.collapse) if one else None for one in pictures)
    return (scene.name, scene.view, scene.width, scene.height, drawn)


def _served(picture: Picture, cut: Cut | None) -> tuple[object, ...]:
    if cut is not None:
        return (picture.level_for(cut.pitch).binning,)
    return picture.held


def limits_of(scene: Scene, wish: Wish, zscale_contrast: float) -> tuple[float, float]:
    """Find the display limits of a scene, the same for all its tiles, on the binned images."""
    if wish.limits == "manual":
        return (wish.low, wish.high) if wish.high > wish.low else (wish.low, wish.low + 1.0)
    values = sample([_coarse(tile) for tile in scene.tiles if tile.picture])
    if wish.limits == "percentile":
        return percentile_limits(values, wish.percentile)
    if wish.limits == "minmax":
        return minmax_limits(values)
    return zscale_limits(values, zscale_contrast)


def message(scene: Scene, wish: Wish, cut: Cut | None, layer: Layer, zscale_contrast: float) -> bytes:
    """Render one layer of a scene; a detail layer without a cut is empty and takes the last one away."""
    low, high = limits_of(scene, wish, zscale_contrast) if cut else (0.0, 1.0)
    base_pitch = cut.pitch if cut and layer == "base" else None
    pieces = [_piece(tile, cut, low, high, wish) for tile in scene.tiles] if cut else []
    rendered = [piece for piece in pieces if piece is not None]
    header: dict[str, Any] = {
        "kind": "image",
        "layer": layer,
        "images": [_place(piece) for piece in rendered],
    }
    if base_pitch is not None:
        header |= caption(scene) | {"low": low, "high": high, "ticks": tick_values(low, high, wish.stretch)}
    text = msgspec.json.encode(header)
    planes = (plane for piece in rendered for plane in (piece.pixels, piece.marks) if plane is not None)
    return b"".join((struct.pack("<I", len(text)), text, *(plane.tobytes() for plane in planes)))


def _coarse(tile: Tile) -> NDArray[np.float32]:
    """Return what limits are found on."""
    assert tile.picture is not None
    level = tile.picture.coarse
    against = None if tile.against is None else tile.against.coarse
    return level.data - against.data if against and against.data.shape == level.data.shape else level.data


def _piece(tile: Tile, cut: Cut, low: float, high: float, wish: Wish) -> _Piece | None:
    """Render the part of a tile inside a cut, on the tile's own grid of pixels."""
    picture = tile.picture
    if picture is None:
        return None
    level = picture.level_for(cut.pitch)
    if tile.against is not None and level.binning not in {one.binning for one in tile.against.levels}:
        level = picture.coarse  # one of the two has lost its full pixels
    factor = max(1, cut.pitch // level.binning)
    pitch = factor * level.binning
    rows, y0 = _part(cut.y0 - tile.y0, cut.y1 - tile.y0, pitch, factor, level.data.shape[0])
    columns, x0 = _part(cut.x0 - tile.x0, cut.x1 - tile.x0, pitch, factor, level.data.shape[1])
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    values = _smoothed(tile, level, rows, columns, factor, wish)
    if values is None:
        return None
    pixels = to_bytes(values, low, high, wish.stretch)
    marks = None
    if wish.marks and level.dq is not None:
        wanted = tuple(flags if kind in wish.marks else 0 for kind, flags in KINDS.items())
        marks = classify(level.dq[rows, columns], factor, wanted)
    return _Piece(tile.detector, tile.x0 + x0 - 0.5, tile.y0 + y0 - 0.5, pitch, pixels, marks)


def _smoothed(
    tile: Tile, level: Level, rows: slice, columns: slice, factor: int, wish: Wish
) -> NDArray[np.float32] | None:
    """Return a part's values, smoothed with those beyond its edges so that cut-outs fit together."""
    weights = smoothing_weights(wish.smooth, wish.smooth_px / (factor * level.binning))
    reach = weights.size // 2
    wide_rows, down = _widened(rows, reach * factor, level.data.shape[0])
    wide_columns, left = _widened(columns, reach * factor, level.data.shape[1])
    values = _values(level, wide_rows, wide_columns, factor, wish.mark_bad)
    if tile.against is not None:
        other = next((one for one in tile.against.levels if one.binning == level.binning), None)
        if other is None or other.data.shape != level.data.shape:
            return None
        values = values - _values(other, wide_rows, wide_columns, factor, wish.mark_bad)
    if reach:
        values = smooth(values, weights)
    height, width = -(-(rows.stop - rows.start) // factor), -(-(columns.stop - columns.start) // factor)
    return values[down // factor : down // factor + height, left // factor : left // factor + width]


def _widened(part: slice, margin: int, length: int) -> tuple[slice, int]:
    """Return a part with a margin on both sides as far as there are pixels, and the margin before it."""
    start = max(0, part.start - margin)
    return slice(start, min(length, part.stop + margin)), part.start - start


def _part(start: float, stop: float, pitch: int, factor: int, length: int) -> tuple[slice, int]:
    """Return the pixels of a level, on whole steps of `factor`, that cover start to stop, and where they begin."""
    first = max(0, math.floor(start / pitch))
    last = max(first, math.ceil(stop / pitch))
    return slice(first * factor, min(last * factor, length)), first * pitch


def _values(level: Level, rows: slice, columns: slice, factor: int, mark_bad: bool) -> NDArray[np.float32]:
    data = level.data[rows, columns]
    if level.dq is None or not (mark_bad or factor > 1):
        return data if factor == 1 else bin_mean(data, factor)
    return bin_mean(data, factor, level.dq[rows, columns], Dq.DO_NOT_USE)


def _place(piece: _Piece) -> dict[str, Any]:
    height, width = piece.pixels.shape
    size = {"dw": width * piece.pitch, "dh": height * piece.pitch, "marks": piece.marks is not None}
    return {"detector": piece.detector, "x": piece.x, "y": piece.y, "rows": height, "columns": width} | size
