"""Statistics of the good pixels in a rectangle or a circle."""

from typing import Any

import numpy as np

from dashboards.analysis.numbers import number
from dashboards.analysis.tools import Box
from dashboards.patch import Patch, patch_of
from dashboards.scene import Scene
from streams.optics import Optics

MOST_PIXELS = 1 << 21
"""A region of more is measured on the binned image, and says so: numbers of a whole detector would take half a GB."""


def region(scene: Scene, box: Box, optics: Optics) -> dict[str, Any]:
    """Measure the pixels that a rectangle touches, or whose middles a circle holds, on the detector under its middle.

    Returns
    -------
    `pixels` used and `excluded` (bad ones); `sum` with its `error`, `area_arcsec2`, `surface_brightness` (sum over
    area), `mean`, `median`, `min`, `max`, `variance` and `std` (n - 1). Of a binned image each bin counts as the
    binning squared in `sum` and area; `binning` says which it is.
    """
    tile = scene.tile_at((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    if tile is None or tile.picture is None:
        return {"why": "no image under the region"}
    x0, x1 = sorted((box.x0 - tile.x0, box.x1 - tile.x0))
    y0, y1 = sorted((box.y0 - tile.y0, box.y1 - tile.y0))
    patch = patch_of(tile, x0, x1, y0, y1, MOST_PIXELS)
    if patch is None:
        return {"why": "no pixel in the region"}
    held = inside(patch, box.shape, x0, x1, y0, y1)
    good = patch.good & held
    if not good.any():
        return {"why": "no good pixel in the region", "excluded": int(held.sum())}
    values = patch.data[good].astype(np.float64)
    weight = patch.binning**2
    area = values.size * weight * ((tile.picture.pixel_mas or optics.pixel_mas) / 1000) ** 2
    total = float(values.sum()) * weight
    error = None if patch.err is None else float(np.sqrt((patch.err[good].astype(np.float64) ** 2).sum()))
    variance = float(values.var(ddof=1)) if values.size > 1 else float("nan")
    return {
        "detector": tile.detector,
        "units": tile.picture.units,
        "binning": patch.binning,
        "pixels": int(values.size),
        "excluded": int(held.sum()) - int(values.size),
        "sum": total,
        "error": None if error is None else number(error),
        "area_arcsec2": area,
        "surface_brightness": total / area,
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "min": float(values.min()),
        "max": float(values.max()),
        "variance": number(variance),
        "std": number(np.sqrt(variance)),
    }


def inside(patch: Patch, shape: str, x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    """Tell which pixels of a patch a region holds."""
    if shape == "rectangle":
        return np.ones(patch.data.shape, bool)  # the patch is what the rectangle touches
    x, y = patch.axes()
    half_x, half_y = max((x1 - x0) / 2, 0.5), max((y1 - y0) / 2, 0.5)
    away_x, away_y = (x - (x0 + x1) / 2) / half_x, (y - (y0 + y1) / 2) / half_y
    return np.asarray(away_y[:, None] ** 2 + away_x[None, :] ** 2 <= 1.0)
