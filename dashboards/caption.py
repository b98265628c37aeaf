"""What an image shows, in plain values: they travel with its pixels, so that both agree."""

from typing import Any

from dashboards.picture import Picture
from dashboards.scene import Scene, Tile
from dashboards.sky import compass, residual
from streams.clock import iso_utc
from streams.messages import CubeHeader, FrameHeader, WhiteHeader


def caption(scene: Scene) -> dict[str, Any]:
    """Say what the image shows: the page writes its title from this, so that text and pixels agree."""
    pictures = [tile.picture for tile in scene.tiles if tile.picture]
    newest = max(pictures, key=lambda picture: picture.number, default=None)
    return {
        "scene": {"name": scene.name, "view": scene.view, "width": scene.width, "height": scene.height},
        "units": newest.units if newest else "",
        "tiles": [_tile(tile) for tile in scene.tiles],
    }


def _tile(tile: Tile) -> dict[str, Any]:
    place = {"detector": tile.detector, "x0": tile.x0, "y0": tile.y0, "width": tile.width, "height": tile.height}
    return place | {"shown": _shown(tile.picture) if tile.picture else None}


def _shown(picture: Picture) -> dict[str, Any]:
    header = picture.header
    names = ("exposure_id", "ramp", "read", "ramps", "ramps_planned", "reads_planned", "revision", "complete")
    return {name: getattr(header, name) for name in names if hasattr(header, name)} | {
        "number": picture.number,
        "sequence": header.sequence,
        "filter": str(header.setup.get("FILTER", "")),
        "last_read_utc": iso_utc(header.time_ns),
        "published_ms": picture.published_s * 1000.0,
        "cube": _cube(picture) if isinstance(picture.header, CubeHeader | WhiteHeader) else None,
        **_on_sky(picture),
    }


def _on_sky(picture: Picture) -> dict[str, Any]:
    """Say where north and east are, and what dispersion the frame has; nothing of what is no frame."""
    header = picture.header
    if not isinstance(header, FrameHeader):
        return {"compass": None, "residual": None}
    return {"compass": compass(header.wcs), "residual": residual(header.adc)}


def _cube(picture: Picture) -> dict[str, Any]:
    names = ("bins", "wave_first_um", "wave_step_um", "scale_mas", "status", "sky", "provisional")
    return {name: getattr(picture.header, name) for name in names} | {"awaited": picture.expected}
