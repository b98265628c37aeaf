"""Profiles along a line, through any number of detectors."""

import math
from typing import Any

import numpy as np

from dashboards.analysis.numbers import listed
from dashboards.analysis.tools import Line
from dashboards.patch import patch_of
from dashboards.scene import Scene
from streams.dq import Dq

MOST_STEPS = 20_000
MOST_POINTS = 900


def cut(scene: Scene, line: Line) -> dict[str, Any]:
    """Read the pixels under a line at steps of one pixel.

    Returns
    -------
    `x`, `y` (scene coordinates of each step), `at` (distance from the start), `values`, None where there is no
    good pixel. Where there are more steps than a plot could show, neighbours are averaged: `averaged` of them.
    """
    length = math.hypot(line.x1 - line.x0, line.y1 - line.y0)
    steps = min(MOST_STEPS, max(2, math.ceil(max(abs(line.x1 - line.x0), abs(line.y1 - line.y0))) + 1))
    x, y = np.linspace(line.x0, line.x1, steps), np.linspace(line.y0, line.y1, steps)
    values = _sampled(scene, x, y)
    count = max(1, -(-steps // MOST_POINTS))
    at = np.linspace(0, length, steps)
    return {
        "at": listed(averaged(at, count), 2),
        "x": listed(averaged(x, count), 2),
        "y": listed(averaged(y, count), 2),
        "values": listed(averaged(values, count), None),
        "averaged": count,
    }


def _sampled(scene: Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    values = np.full(x.size, np.nan)
    for tile in scene.tiles:
        column, row = np.rint(x).astype(int) - tile.x0, np.rint(y).astype(int) - tile.y0
        inside = (column >= 0) & (column < tile.width) & (row >= 0) & (row < tile.height)
        if not inside.any():
            continue
        column, row = column[inside], row[inside]
        patch = patch_of(tile, column.min(), column.max(), row.min(), row.max())
        if patch is None:
            continue
        i, j = (column - patch.x0) // patch.binning, (row - patch.y0) // patch.binning
        known = (i < patch.data.shape[1]) & (j < patch.data.shape[0])  # a last, partial bin may be missing
        found = np.full(column.size, np.nan)
        found[known] = patch.data[j[known], i[known]]
        if patch.dq is not None:  # asked for on the line alone: the rectangle around a long diagonal is large
            bad = patch.dq[j[known], i[known]] & np.uint32(Dq.DO_NOT_USE) != 0
            found[np.flatnonzero(known)[bad]] = np.nan
        values[inside] = found
    return values


def averaged(values: np.ndarray, count: int) -> np.ndarray:
    """Return the means of `count` neighbours each, NaN left out."""
    if count == 1:
        return values
    padded = np.concatenate((values, np.full(-values.size % count, np.nan))).reshape(-1, count)
    good = np.isfinite(padded)
    number = good.sum(axis=1)
    sums = np.where(good, padded, 0.0).sum(axis=1)
    means: np.ndarray = np.divide(sums, number, out=np.full(number.size, np.nan), where=number > 0)
    return means
