"""The spectrum of a spaxel or a region of a cube."""

from typing import Any

import numpy as np

from dashboards.analysis.cuts import averaged
from dashboards.analysis.numbers import listed
from dashboards.analysis.regions import inside
from dashboards.analysis.tools import Box
from dashboards.cubes import spectrum, wavelengths_um
from dashboards.patch import patch_of
from dashboards.scene import Scene

MOST_POINTS = 1000


def spectrum_of(scene: Scene, box: Box) -> dict[str, Any]:
    """Sum a cube over the spaxels in a region.

    Returns
    -------
    `wave_um`, `values`, `errors`, `spaxels`; neighbours are averaged where there are more bins than a plot could show.
    """
    tile = scene.tile_at((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    cube = tile.picture.cube if tile is not None and tile.picture is not None else None
    if tile is None or cube is None:
        awaited = tile is not None and tile.picture is not None and tile.picture.expected
        return {"why": "the cube is on its way" if awaited else "no cube is kept of this image"}
    x0, x1 = sorted((box.x0 - tile.x0, box.x1 - tile.x0))
    y0, y1 = sorted((box.y0 - tile.y0, box.y1 - tile.y0))
    patch = patch_of(tile, x0, x1, y0, y1)
    if patch is None:
        return {"why": "no spaxel in the region"}
    mask = np.zeros(cube.data.shape[1:], bool)
    rows, columns = patch.data.shape
    mask[patch.y0 : patch.y0 + rows, patch.x0 : patch.x0 + columns] = inside(patch, box.shape, x0, x1, y0, y1)
    if not mask.any():
        return {"why": "no spaxel in the region"}
    rate, noise, spaxels = spectrum(cube, mask)
    count = max(1, -(-rate.size // MOST_POINTS))
    return {
        "wave_um": listed(averaged(wavelengths_um(cube), count), 6),
        "values": listed(averaged(rate, count), None),
        "errors": listed(averaged(noise, count), None),
        "spaxels": spaxels,
        "averaged": count,
        "units": cube.header.units,
    }
