"""Contours, surfaces and histograms of what is seen."""

import math
from typing import Any

import contourpy
import numpy as np

from dashboards.analysis.numbers import listed, number
from dashboards.analysis.tools import Box
from dashboards.patch import Patch, patch_of
from dashboards.render import bin_mean, smooth, smoothing_weights
from dashboards.scene import Scene, Tile
from streams.robust import clipped_median

CONTOUR_SIDE = 320
"""Contours are drawn on an image of at most so many pixels a side: the eye follows no finer ones."""
MOST_VERTICES = 40_000
CONTOUR_SMOOTHING = 1.2
"""Sigma, in the pixels of that image."""
SURFACE_SIDE = 56
BINS = 120
HISTOGRAM_SIDE = 1024


def _seen(tile: Tile, area: tuple[float, float, float, float], side: int) -> tuple[Patch, np.ndarray, int] | None:
    """Return the part of a tile in an area of the scene, averaged until neither side is longer than `side`."""
    x0, x1, y0, y1 = area
    patch = patch_of(tile, x0 - tile.x0, x1 - tile.x0, y0 - tile.y0, y1 - tile.y0)
    if patch is None or min(patch.data.shape) < 2:
        return None
    factor = max(1, math.ceil(max(patch.data.shape) / side))
    data = np.ascontiguousarray(patch.data)
    values = bin_mean(data, factor) if patch.dq is None else bin_mean(data, factor, patch.dq, 1)
    return patch, values, factor


def contours(scene: Scene, area: tuple[float, float, float, float], count: int) -> dict[str, Any]:
    """Trace lines of equal value on the smoothed image, in scene coordinates: `xs` and `ys`, one list for each line.

    The levels rise by equal factors above the median, from three sigma to near the brightest pixel.
    """
    xs: list[list[float | None]] = []
    ys: list[list[float | None]] = []
    vertices = 0
    parts = [(tile, _seen(tile, area, CONTOUR_SIDE)) for tile in scene.tiles if tile.picture]
    weights = smoothing_weights("gaussian", CONTOUR_SMOOTHING)
    smoothed = [(tile, seen, smooth(seen[1], weights)) for tile, seen in parts if seen and min(seen[1].shape) >= 2]
    levels = _levels([values for _, _, values in smoothed], count)
    for tile, seen, values in smoothed:
        patch, _, factor = seen
        trace = contourpy.contour_generator(z=np.ma.masked_invalid(values)).lines
        step = patch.binning * factor
        first_x, first_y = tile.x0 + patch.x0 + (step - 1) / 2, tile.y0 + patch.y0 + (step - 1) / 2
        for level in levels:
            for line in trace(level):
                points = np.asarray(line)
                vertices += len(points)
                if vertices <= MOST_VERTICES:
                    xs.append(listed(first_x + step * points[:, 0], 1))
                    ys.append(listed(first_y + step * points[:, 1], 1))
    return {"levels": levels, "xs": xs, "ys": ys, "cut_short": vertices > MOST_VERTICES}


def _levels(images: list[np.ndarray], count: int) -> list[float]:
    values = np.concatenate([image[np.isfinite(image)] for image in images]) if images else np.empty(0)
    middle, sigma, _ = clipped_median(values)
    if not (sigma > 0 and values.max() > middle + 3 * sigma):
        return []
    highest = 0.8 * (float(values.max()) - middle)
    if count == 1 or highest <= 3 * sigma:
        return [middle + 3 * sigma]
    return [middle + float(step) for step in np.geomspace(3 * sigma, highest, count)]


def surface(scene: Scene, box: Box) -> dict[str, Any]:
    """Return a coarse grid of heights, row by row from below, for a view in three dimensions."""
    x0, x1 = sorted((box.x0, box.x1))
    y0, y1 = sorted((box.y0, box.y1))
    tile = scene.tile_at((x0 + x1) / 2, (y0 + y1) / 2)
    seen = _seen(tile, (x0, x1, y0, y1), SURFACE_SIDE) if tile and tile.picture else None
    if seen is None:
        return {"why": "nothing to show"}
    patch, values, factor = seen
    return {
        "rows": values.shape[0],
        "columns": values.shape[1],
        "values": listed(values.ravel(), None),
        "pixels": patch.binning * factor,
    }


def histogram(scene: Scene, area: tuple[float, float, float, float], low: float, high: float) -> dict[str, Any]:
    """Count the good pixels of an area by value, every n-th of them where there are many.

    The bins cover the display's limits and the central 99.8 % of the values.
    """
    found = [values for tile in scene.tiles if tile.picture and (values := _picked(tile, area)) is not None]
    values = np.concatenate(found) if found else np.empty(0, np.float32)
    if not values.size:
        return {"why": "no good pixel in view"}
    inner = np.percentile(values, (0.1, 99.9))
    start, stop = min(low, float(inner[0])), max(high, float(inner[1]))
    counts, _ = np.histogram(values, BINS, (start, stop if stop > start else start + 1))
    return {
        "low": start,
        "high": stop,
        "counts": counts.tolist(),
        "limits": [low, high],
        "pixels": int(values.size),
        "below": int((values < start).sum()),
        "above": int((values > stop).sum()),
        "median": number(float(np.median(values))),
    }


def _picked(tile: Tile, area: tuple[float, float, float, float]) -> np.ndarray | None:
    x0, x1, y0, y1 = area
    patch = patch_of(tile, x0 - tile.x0, x1 - tile.x0, y0 - tile.y0, y1 - tile.y0)
    if patch is None:
        return None
    step = max(1, math.ceil(math.sqrt(patch.data.size) / HISTOGRAM_SIDE))
    part = slice(step // 2, None, step), slice(step // 2, None, step)
    data = patch.data[part]
    good = np.isfinite(data) if patch.dq is None else np.isfinite(data) & (patch.dq[part] & np.uint32(1) == 0)
    return np.asarray(data[good])
