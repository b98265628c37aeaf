"""The filmstrip: which pictures of the past can be seen, and what each looks like."""

import io
from typing import Any

from PIL import Image

from dashboards.feed import Snapshot
from dashboards.limits import sample, zscale_limits
from dashboards.picture import Picture
from dashboards.render import bin_mean, to_bytes
from dashboards.scene import MOSAIC, Scene
from streams.clock import iso_utc
from streams.messages import PreviewHeader

THUMBNAIL_SIDE = 96


def shelf_of(snapshot: Snapshot, scene: Scene) -> tuple[Picture, ...]:
    """Return the pictures that a scene's strip shows: those of its detector, of the mosaic's fullest one."""
    shelves = [snapshot.history.shelves.get((tile.detector, scene.view), ()) for tile in scene.tiles]
    return max(shelves, key=len, default=())


def strip(snapshot: Snapshot, scene: Scene, session: str) -> dict[str, Any]:
    """Describe the strip of a scene."""
    return {
        "kind": "strip",
        "session": session,
        "scene": scene.name,
        "view": scene.view,
        "mosaic": scene.name == MOSAIC,
        "entries": [_entry(picture) for picture in shelf_of(snapshot, scene)],
    }


def _entry(picture: Picture) -> dict[str, Any]:
    header = picture.header
    word = f"read {header.read + 1}" if isinstance(header, PreviewHeader) else f"revision {header.revision}"
    return {
        "number": picture.number,
        "exposure": header.exposure_id,
        "part": "" if word == "revision 0" else word,
        "utc": iso_utc(header.time_ns),
        "full": picture.levels[0].binning == 1,
    }


def thumbnail(picture: Picture) -> bytes:
    """Draw a picture small, as PNG."""
    data = picture.coarse.data
    small = bin_mean(data, max(1, -(-max(data.shape) // THUMBNAIL_SIDE)))
    low, high = zscale_limits(sample([small]), 0.25)
    content = io.BytesIO()
    Image.fromarray(to_bytes(small, low, high, "linear")[::-1]).save(content, "PNG")
    return content.getvalue()
