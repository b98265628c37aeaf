"""Where detectors lie in the plane that a page looks at: alone, or as the mosaic.

Coordinates of a scene are detector pixels, y up; a detector's pixel (0, 0) is centred on its tile's origin.
"""

from dataclasses import dataclass

from dashboards.feed import Snapshot
from dashboards.history import Key
from dashboards.picture import Picture
from dashboards.settings import ViewName

MOSAIC = "MOSAIC"


@dataclass(frozen=True, slots=True)
class Tile:
    """A detector's place in a scene."""

    detector: str
    x0: int
    y0: int
    width: int
    height: int
    picture: Picture | None
    """None where nothing of this view was heard yet."""
    against: Picture | None = None
    """Subtracted from it, where a difference is wanted."""

    def pixel_at(self, x: float, y: float) -> tuple[int, int] | None:
        """Return the detector pixel (x, y) under a point of the scene, None outside."""
        column, row = round(x) - self.x0, round(y) - self.y0
        return (column, row) if 0 <= column < self.width and 0 <= row < self.height else None


@dataclass(frozen=True, slots=True)
class Scene:
    """What one page looks at."""

    name: str
    """A detector's name, or `MOSAIC`."""
    view: ViewName
    width: int
    height: int
    tiles: tuple[Tile, ...]

    def tile_at(self, x: float, y: float) -> Tile | None:
        """Return the tile under a point of the scene."""
        return next((tile for tile in self.tiles if tile.pixel_at(x, y) is not None), None)


@dataclass(frozen=True, slots=True)
class Layout:
    """The mosaic: rows of detector names, the top row first, and the gap as part of a detector's side."""

    rows: tuple[tuple[str, ...], ...]
    gap: float

    @property
    def detectors(self) -> list[str]:
        """Names in reading order."""
        return [name for row in self.rows for name in row if name]


def ordered(snapshot: Snapshot, layout: Layout) -> list[str]:
    """Return the detectors heard of: those of the mosaic in its order, then the others by name."""
    heard = snapshot.detectors()
    first = [name for name in layout.detectors if name in heard]
    return first + sorted(heard.difference(first))


@dataclass(frozen=True, slots=True)
class Moment:
    """Which pictures of the history are meant: those that were the newest when that of a number came."""

    at: int | None = None
    """None: the latest."""
    against: int | None = None
    """Subtract those of this moment."""
    whole_since_s: float | None = None
    """Pass over a picture whose own pixels are on their way, if it came after this [monotonic clock]."""


LATEST = Moment()


def build(snapshot: Snapshot, layout: Layout, detector: str, view: ViewName, moment: Moment = LATEST) -> Scene | None:
    """Lay out what a page asks for.

    Parameters
    ----------
    detector
        A detector's name, `MOSAIC`, or "" for the page's own choice: the mosaic as soon as two of
        its detectors were heard, else the first detector.
    moment
        Which pictures: the latest, or earlier ones.

    Returns
    -------
    None while nothing was heard that could be laid out. The sizes depend on the detectors alone, not
    on the view, so that a change of view leaves the zoom as it is.
    """
    heard = ordered(snapshot, layout)
    if not detector:
        in_mosaic = [name for name in heard if name in layout.detectors]
        detector = MOSAIC if len(in_mosaic) > 1 else next((name for name in heard if _shape(snapshot, name)), "")
    if detector == MOSAIC:
        return _mosaic(snapshot, layout, view, moment)
    shape = _shape(snapshot, detector)
    if shape is None:
        return None
    height, width = shape
    tile = Tile(detector, 0, 0, width, height, *_pictures(snapshot, (detector, view), moment))
    return Scene(detector, view, width, height, (tile,))


def _pictures(snapshot: Snapshot, key: Key, moment: Moment) -> tuple[Picture | None, Picture | None]:
    """Return a tile's picture and the one to subtract."""
    history = snapshot.history
    against = None if moment.against is None else history.as_of(key, moment.against)
    if moment.at is None and moment.whole_since_s is not None:
        return history.whole(key, moment.whole_since_s), against
    return history.as_of(key, moment.at), against


def _shape(snapshot: Snapshot, detector: str) -> tuple[int, int] | None:
    """Find a detector's (y, x) size from its newest picture of any view."""
    pictures = [picture for (name, _), picture in snapshot.pictures.items() if name == detector]
    return max(pictures, key=lambda picture: picture.number).full_shape if pictures else None


def _mosaic(snapshot: Snapshot, layout: Layout, view: ViewName, moment: Moment) -> Scene | None:
    shapes = {name: _shape(snapshot, name) for name in layout.detectors}
    known = [shape for shape in shapes.values() if shape is not None]
    if not known:
        return None
    cell_height, cell_width = max(shape[0] for shape in known), max(shape[1] for shape in known)
    gap = round(layout.gap * max(cell_height, cell_width))
    tiles = []
    for row, names in enumerate(reversed(layout.rows)):
        for column, name in enumerate(names):
            if name:
                height, width = shapes[name] or (cell_height, cell_width)
                x0, y0 = column * (cell_width + gap), row * (cell_height + gap)
                tiles.append(Tile(name, x0, y0, width, height, *_pictures(snapshot, (name, view), moment)))
    columns = max(len(names) for names in layout.rows)
    width = columns * (cell_width + gap) - gap
    height = len(layout.rows) * (cell_height + gap) - gap
    return Scene(MOSAIC, view, width, height, tuple(tiles))
