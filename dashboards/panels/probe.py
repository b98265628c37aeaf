"""What is under the cursor, as plain values."""

from typing import Any

from dashboards.analysis.numbers import number
from dashboards.patch import patch_of
from dashboards.picture import Picture
from dashboards.scene import Scene
from dashboards.sky import radec_deg, sexagesimal
from streams.dq import names
from streams.messages import FrameHeader


def probe(scene: Scene | None, x: float, y: float) -> dict[str, Any]:
    """Read the pixel under a point of a scene from the finest level that is kept.

    Returns
    -------
    `detector`, `x`, `y` (detector pixels, 0-based) and, where there is a picture, `value` and
    `error` (None for NaN or not known), `units`, `dq` (names), `binning` (1 for a pixel's own value),
    `sky` (right ascension and declination, where the frame has world coordinates).
    """
    answer: dict[str, Any] = {"kind": "probe", "detector": None}
    tile = scene.tile_at(x, y) if scene else None
    at = tile.pixel_at(x, y) if tile else None
    if tile is None or at is None:
        return answer
    answer |= {"detector": tile.detector, "x": at[0], "y": at[1]}
    if tile.picture is None:
        return answer
    patch = patch_of(tile, at[0], at[0], at[1], at[1])
    if patch is None or not patch.data.size:  # a last, partial bin that the publisher left out
        return answer
    return answer | {
        "value": number(patch.data[0, 0]),
        "error": None if patch.err is None else number(patch.err[0, 0]),
        "units": tile.picture.units,
        "dq": names(0 if patch.dq is None else int(patch.dq[0, 0])),
        "binning": patch.binning,
        "sky": _sky(tile.picture, *at),
    }


def _sky(picture: Picture, x: float, y: float) -> str:
    place = radec_deg(picture.header.wcs, x, y) if isinstance(picture.header, FrameHeader) else None
    return sexagesimal(*place) if place else ""
