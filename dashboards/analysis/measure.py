"""One answer to all that a page wants measured."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from dashboards.analysis.cuts import cut
from dashboards.analysis.regions import region
from dashboards.analysis.shapes import contours, histogram, surface
from dashboards.analysis.spectra import spectrum_of
from dashboards.analysis.stars import star
from dashboards.analysis.tools import Box, Line, Tools
from dashboards.compose import Wish, limits_of
from dashboards.picture import Picture
from dashboards.scene import Scene
from streams.optics import Optics

log = logging.getLogger(__name__)


def measure(
    scene: Scene,
    other: Scene | None,
    wish: Wish,
    tools: Tools,
    optics: Optics,
    contrast: float,
    past: Sequence[Picture] = (),
) -> bytes:
    """Work out a page's measurements of a scene and write the message.

    Parameters
    ----------
    scene, other
        What is shown, and the scene of the moment that it is compared with, if there is one.
    wish, tools
        What the page wants to see and to have measured.
    optics
        Angles and diffraction.
    contrast
        Of the zscale rule.
    past
        Earlier frames of the detector, for the history of a source.
    """
    low, high = limits_of(scene, wish, contrast)
    area = wish.region or (-0.5, scene.width - 0.5, -0.5, scene.height - 0.5)
    traced = other if tools.contours_of == "other" and other is not None else scene
    jobs: dict[str, Callable[[], Any]] = {}
    if tools.cut is not None:
        jobs["cut"] = partial(_cuts, scene, other, tools.cut)
    if tools.region is not None:
        jobs["region"] = partial(region, scene, tools.region, optics)
    if tools.star is not None:
        jobs["star"] = partial(star, scene, tools.star, optics, past)
    if tools.histogram:
        jobs["histogram"] = partial(histogram, scene, area, low, high)
    if tools.contours:
        jobs["contours"] = partial(contours, traced, area, tools.contours)
    if tools.spectrum is not None:
        jobs["spectrum"] = partial(_spectra, scene, other, tools.spectrum)
    if tools.surface is not None:
        jobs["surface"] = partial(surface, scene, tools.surface)
    answers = {name: _safe(name, job) for name, job in jobs.items()}
    numbers = [tile.picture.number for tile in scene.tiles if tile.picture]
    head = {"kind": "measures", "number": max(numbers, default=-1), "scene": scene.name, "view": scene.view}
    return msgspec.json.encode(head | answers)


def _cuts(scene: Scene, other: Scene | None, line: Line) -> dict[str, Any]:
    answer = cut(scene, line)
    if other is not None:
        answer["other"] = cut(other, line)["values"]
    return answer


def _spectra(scene: Scene, other: Scene | None, box: Box) -> dict[str, Any]:
    answer = spectrum_of(scene, box)
    if other is not None and "why" not in answer:
        answer["other"] = spectrum_of(other, box).get("values")
    return answer


def _safe(name: str, job: Callable[[], Any]) -> Any:
    """One measurement that fails must not take the page's others with it."""
    try:
        with np.errstate(all="ignore"):
            return job()
    except Exception:
        log.exception("%s could not be measured", name)
        return {"why": "could not be measured; the server's log says more"}
