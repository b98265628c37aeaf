"""A source under the cursor: place, width, encircled light, sharpness, signal to noise and how it grows."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from dashboards.analysis.numbers import number
from dashboards.analysis.tools import Place
from dashboards.patch import Patch, patch_of
from dashboards.picture import Picture
from dashboards.scene import Scene, Tile
from streams.clock import NS
from streams.messages import FrameHeader
from streams.optics import Optics, strehl_proxy
from streams.photometry import NoSource, Star, measure_star, time_to_snr

ANNULUS_PX = 12.0
MOST_PAST = 40


def star(scene: Scene, place: Place, optics: Optics, past: Sequence[Picture] = ()) -> dict[str, Any]:
    """Measure the source near a point, and the same source in frames of the past.

    Returns
    -------
    Detector coordinates and pixels, milliarcseconds where the name says so; `why` instead where there is no source.
    """
    tile = scene.tile_at(place.x, place.y)
    if tile is None or tile.picture is None:
        return {"why": "no image there"}
    try:
        patch, found = _measured(tile, place.x - tile.x0, place.y - tile.y0, place)
    except NoSource as error:
        return {"why": str(error), "detector": tile.detector}
    x, y = patch.place_of(found.x, found.y)
    answer = _described(found, patch.binning, tile.picture, optics)
    answer |= {"detector": tile.detector, "x": x, "y": y, "scene_x": x + tile.x0, "scene_y": y + tile.y0}
    answer |= _growth(found, tile.picture, place)
    answer["past"] = [one for picture in past[-MOST_PAST:] if (one := _then(picture, x, y, place)) is not None]
    return answer


def locate(tile: Tile, x: float, y: float, place: Place) -> tuple[float, float]:
    """Return the centroid of the source near a point of a detector.

    Raises
    ------
    NoSource
        If there is none.
    """
    patch, found = _measured(tile, x, y, place)
    return patch.place_of(found.x, found.y)


def _measured(tile: Tile, x: float, y: float, place: Place) -> tuple[Patch, Star]:
    margin = place.reach + place.radius + ANNULUS_PX + 2
    patch = patch_of(tile, x - margin, x + margin, y - margin, y + margin)
    if patch is None:
        raise NoSource("no image there")
    column, row = patch.pixel_of(x, y)
    size = patch.binning
    found = measure_star(
        patch.data,
        patch.err,
        patch.good,
        column,
        row,
        reach=max(1.5, place.reach / size),
        radius=max(3.0, place.radius / size),
        annulus=max(3.0, ANNULUS_PX / size),
    )
    return patch, found


def _described(found: Star, binning: int, picture: Picture, optics: Optics) -> dict[str, Any]:
    mas = binning * (picture.pixel_mas or optics.pixel_mas)
    diffraction = optics.diffraction_px(picture.header.setup)
    strehl = None
    if diffraction is not None and isinstance(picture.header, FrameHeader):
        strehl = number(strehl_proxy(found.peak, found.flux, found.x, found.y, diffraction))
    at_50 = found.encircled_at(50.0 / mas)
    return {
        "units": picture.units,
        "binning": binning,
        "flux": found.flux * binning**2,
        "error": number(found.flux_error) if found.flux_error else None,
        "peak": found.peak,
        "background": found.background,
        "noise": number(found.noise),
        "fwhm_mas": found.fwhm * mas,
        "fwhm_px": found.fwhm * binning,
        "ellipticity": found.ellipticity,
        "angle_deg": found.angle_deg,
        "ee50_mas": found.radius_of(0.5) * mas,
        "ee_50mas": number(at_50),
        "strehl": strehl,
        "snr": number(found.snr),
        "radius_mas": [radius * mas for radius in found.radii],
        "encircled": list(found.encircled),
    }


def _growth(found: Star, picture: Picture, place: Place) -> dict[str, Any]:
    """Say how long one CDS exposure must be for the wanted signal to noise, and how many like this one."""
    header = picture.header
    if not isinstance(header, FrameHeader) or not found.flux_error:
        return {"seconds_to_snr": None, "frames_to_snr": None, "wanted_snr": place.wanted_snr}
    background = max(found.background, 0.0)
    seconds = time_to_snr(found.flux, background, found.pixels, header.read_noise_e, place.wanted_snr)
    frames = math.ceil((place.wanted_snr / found.snr) ** 2) if found.snr > 0 else None
    return {"seconds_to_snr": number(seconds), "frames_to_snr": frames, "wanted_snr": place.wanted_snr}


class _Past:
    """Sources measured in earlier frames: they never change, so each is measured once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[tuple[object, ...], dict[str, Any] | None] = OrderedDict()

    def get(self, picture: Picture, x: float, y: float, place: Place) -> dict[str, Any] | None:
        key = (picture.number, picture.held, round(x), round(y), place.reach, place.radius)
        if key not in self._known:
            self._known[key] = self._measured(picture, round(x), round(y), place)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return self._known[key]

    @staticmethod
    def _measured(picture: Picture, x: float, y: float, place: Place) -> dict[str, Any] | None:
        height, width = picture.full_shape
        tile = Tile(picture.detector, 0, 0, width, height, picture)
        try:
            patch, found = _measured(tile, x, y, place)
        except NoSource:
            return None
        return {
            "number": picture.number,
            "utc_ms": picture.header.time_ns / NS * 1000.0,
            "snr": number(found.snr),
            "flux": found.flux * patch.binning**2,
            "fwhm_px": found.fwhm * patch.binning,
        }


_past = _Past(4000)


def _then(picture: Picture, x: float, y: float, place: Place) -> dict[str, Any] | None:
    return _past.get(picture, x, y, place)
