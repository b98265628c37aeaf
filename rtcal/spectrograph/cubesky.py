"""The sky in cubes: taken out, and its OH lines held against the wavelengths."""

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from refcache import ReferenceSet
from rtcal.spectrograph import sky as night_sky
from rtcal.spectrograph.cube import Cube, CubeMaker, white_light
from rtcal.spectrograph.profiles import Image
from rtcal.spectrograph.settings import SpectrographSettings
from rtcal.spectrograph.sky import SkySpectrum
from streams.messages import FrameHeader

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Taken:
    """A sky that was subtracted from a frame: the reference's rate and error, (y, x) [e-/s], and what it was scaled by.

    Without planes (a frame from elsewhere) it is only known that there was one.
    """

    planes: tuple[Image, Image] | None
    scale: float


def taken_from(header: FrameHeader, references: ReferenceSet) -> Taken | None:
    """Return the sky that a frame has lost; None if it has its own."""
    if not any(one.reftype.lower() == "sky" and one.status in ("OK", "STALE") for one in header.references):
        return None
    sky = references.types["sky"].reference if "sky" in references.types else None
    scale = 1.0 if header.sky_scale is None else header.sky_scale
    return Taken(None if sky is None else (sky.rate, sky.err), scale)  # type: ignore[attr-defined]


class CubeSky:
    """Takes the sky out of one detector's cubes; keeps that of the night's sky exposures.

    Parameters
    ----------
    settings
        The table `[spectrograph]`.

    Attributes
    ----------
    counters
        `oh_offset_warnings`.
    """

    def __init__(self, settings: SpectrographSettings) -> None:
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._latest: tuple[str, SkySpectrum] | None = None
        self._lost: tuple[ref[Image], ref[CubeMaker], SkySpectrum] | None = None  # neither is kept for its sake

    def take(
        self, cube: Cube, maker: CubeMaker, kind: str, taken: Taken | None, more: dict[str, Any], threads: int
    ) -> None:
        """Check a cube's wavelengths by the sky's lines, and subtract the sky.

        Parameters
        ----------
        cube
            Changed in place.
        maker
            Made it; nothing of the frame is wanted from it any more.
        kind
            Kind of the exposure.
        taken
            What the frame has lost already.
        more
            Takes what there is to say in the cube's header: sky, scales, offset of the lines, notes.
        threads
            That share the work.
        """
        white, _ = white_light(cube, threads=threads)
        faint = night_sky.faint_spaxels(white)
        if not faint.any():
            return
        sky = night_sky.sky_of(cube, faint)
        self._check_wavelengths(self._with_lost(sky, taken, maker), cube, more)
        self._subtract(cube, sky, kind, more, sky_taken=taken is not None)

    def _with_lost(self, sky: SkySpectrum, taken: Taken | None, maker: CubeMaker) -> SkySpectrum:
        """Return the sky as the detector saw it: what is left of it, and what was subtracted from the frame."""
        if taken is None or taken.planes is None or taken.planes[0].shape != maker.shape:
            return sky
        rate, err = taken.planes
        if self._lost is None or self._lost[0]() is not rate or self._lost[1]() is not maker:
            whole = maker.make(rate, err, np.zeros(rate.shape, np.uint32))
            self._lost = ref(rate), ref(maker), night_sky.sky_of(whole, _any_value(whole))
        lost = self._lost[2]
        return SkySpectrum(sky.data + taken.scale * lost.data, np.hypot(sky.err, taken.scale * lost.err))

    def _check_wavelengths(self, sky: SkySpectrum, cube: Cube, more: dict[str, Any]) -> None:
        offset, count = night_sky.oh_offset_px(sky, cube.grid)
        more["oh_offset_px"] = offset
        if offset is not None and abs(offset) > self._settings.oh_warn_px:
            self.counters["oh_offset_warnings"] += 1
            text = f"{count} OH lines lie {offset:+.2f} px from where the arc puts them: has the grating moved?"
            more["notes"].append(text)
            log.warning("%s", text)

    def _subtract(self, cube: Cube, sky: SkySpectrum, kind: str, more: dict[str, Any], *, sky_taken: bool) -> None:
        """Subtract the sky; that of a sky exposure is kept for those that follow."""
        grid_key = f"{cube.grid.first_um:.9f}/{cube.grid.step_um:.12f}/{cube.grid.bins}"
        if kind.startswith("SKY"):
            self._latest = grid_key, night_sky.sky_of(cube, _any_value(cube))
            more["sky"] = "none"
            return
        if sky_taken:
            more["sky"] = "frame"
            return
        if self._settings.sky == "off":
            return
        if self._settings.sky == "exposure" and self._latest is not None and self._latest[0] == grid_key:
            scale, by_group = night_sky.group_scales(sky.data, self._latest[1].data, cube.grid)
            night_sky.subtract(cube, self._latest[1], scale)
            more |= {"sky": "exposure", "sky_scales": by_group}
            return
        if self._settings.sky == "exposure":
            more["notes"].append("no sky exposure of this mode yet: the faintest spaxels serve")
        night_sky.subtract(cube, sky)
        more["sky"] = "spaxels"


def _any_value(cube: Cube) -> NDArray[np.bool_]:
    """Return which spaxels have a value, (y, x)."""
    return np.asarray(np.isfinite(white_light(cube)[0]))
