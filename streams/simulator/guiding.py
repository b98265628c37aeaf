"""Guide windows: one small rectangle of each imager detector that is read at a pace of its own.

While it is, its pixels are missing in the full frame. A window's ramps follow each other through its detector's
exposure, and go under the window's own name, `IMG1.W1`.
"""

import itertools
from collections.abc import Iterator

import msgspec
import numpy as np

from streams.clock import NS
from streams.messages import Message, Read, ReadHeader
from streams.simulator.detector import Chip, Detector
from streams.simulator.instrument import REFERENCE_BORDER
from streams.simulator.scene import Scene
from streams.simulator.settings import Kind, SimulatorSettings
from streams.simulator.setup import INSTRUMENT, exposure_id, setup_keys
from streams.windows import Window

CLEARANCE_PX = 16
"""A guide star is at least so far from the border of reference pixels, window and all."""


def guide_window(settings: SimulatorSettings, scene: Scene, detector: str) -> Window | None:
    """Return the window around the brightest star that lies well inside an imager detector; None where there is none.

    In a field without such a star it lies in the middle.
    """
    side = settings.guide_window
    if not side or detector == "IFS":
        return None
    least = REFERENCE_BORDER + CLEARANCE_PX + side // 2
    stars = scene.stars[detector].within(settings.size, -least)
    x, y = settings.size / 2, settings.size / 2
    if stars.flux_e_per_s.size:
        brightest = int(np.argmax(stars.flux_e_per_s))
        x, y = stars.x_px[brightest], stars.y_px[brightest]
    return Window(round(y) - side // 2, round(x) - side // 2, side, side)


class WindowStream:
    """The reads of a guide window, in order; its detector's events are its own too.

    Parameters
    ----------
    settings
        The table `[simulator]`.
    detector
        Name of the whole detector.
    window
        Where it is.
    scene
        Tells what the detector looks at.
    late_ns
        How much later than the epoch the detector begins.
    epoch_ns
        Start of the simulation (TAI).
    """

    def __init__(
        self, settings: SimulatorSettings, detector: str, window: Window, scene: Scene, late_ns: int, epoch_ns: int
    ) -> None:
        self._settings = settings
        self._detector = detector
        self._name = f"{detector}.W1"
        self._window = window
        self._scene = scene
        self._late_ns = late_ns
        self._epoch_ns = epoch_ns
        self._pixels = Detector(
            msgspec.structs.replace(settings, size=window.rows),
            self._name,
            _part(scene.chips[detector], window),
            scene.tile,
        )
        self._reads = itertools.count()

    def messages(self) -> Iterator[tuple[float, Message]]:
        """Yield the reads of the whole sequence; they are made when they are asked for."""
        settings = self._settings
        numbers = range(settings.exposures) if settings.exposures else itertools.count()
        for number, kind in zip(numbers, itertools.cycle(settings.sequence), strict=False):
            start_ns = self._late_ns + number * settings.exposure_ns
            window = self._window
            setup = setup_keys(settings, self._detector, kind, self._epoch_ns + start_ns) | {
                "SUBARRAY": "ODGW",
                "SARRMODE": "ODGW",
                "SUBARRID": 1,
                "XSTART": window.x + 1,
                "YSTART": window.y + 1,
                "XSIZE": window.columns,
                "YSIZE": window.rows,
            }
            name = f"{exposure_id(settings, self._detector, kind, number + 1)}-01"
            yield from self._expose(name, kind, setup, start_ns)

    def _expose(
        self, name: str, kind: Kind, setup: dict[str, str | int | float | bool], start_ns: int
    ) -> Iterator[tuple[float, Message]]:
        settings = self._settings
        spacing_ns, usual = settings.guide_frame_time_ns, self._scene.rate(self._detector, kind)
        for ramp in range(settings.guide_ramps):
            self._pixels.reset()
            reset_ns = start_ns + (ramp * (settings.reads_per_ramp + 1) + 1) * spacing_ns
            for read in range(settings.reads_per_ramp):
                seen = self._scene.seen(self._detector, kind, (reset_ns + read * spacing_ns) / NS, usual)
                raw_dn, _ = self._pixels.read(
                    np.ascontiguousarray(seen[self._window.slices]), settings.guide_frame_time_s
                )
                header = ReadHeader(
                    instrument=INSTRUMENT,
                    detector=self._name,
                    sequence=next(self._reads),
                    time_ns=self._epoch_ns + reset_ns + read * spacing_ns,
                    exposure_id=name,
                    ramp=ramp,
                    read=read,
                    ramps_planned=settings.guide_ramps,
                    reads_planned=settings.reads_per_ramp,
                    reset_ns=self._epoch_ns + reset_ns,
                    frame_time_ns=spacing_ns,
                    gain_e_per_dn=settings.gain_e_per_dn,
                    read_noise_e=settings.read_noise_e or None,
                    saturation_dn=settings.saturation_dn,
                    setup=setup,
                )
                yield (reset_ns + (read + 1) * spacing_ns) / NS, Read(header, raw_dn)


def _part(chip: Chip, window: Window) -> Chip:
    dark, flat, bias = (np.ascontiguousarray(p[window.slices]) for p in (chip.dark_e_per_s, chip.flat, chip.bias_dn))
    return Chip(dark, flat, bias, np.ascontiguousarray(chip.dq[window.slices]))
