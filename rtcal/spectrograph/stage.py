"""From the spectrograph's frames to what goes out: white light and a spectrum at once, then the cube."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import rtcal
from refcache import ReferenceSet
from rtcal.errors import RtcalError
from rtcal.midexposure import MidExposure
from rtcal.sky_settings import WcsSettings
from rtcal.spectrograph.cube import Cube, brightest_place
from rtcal.spectrograph.cubesky import CubeSky, Taken, taken_from
from rtcal.spectrograph.grid import Grid
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.nightarcs import NightArcs
from rtcal.spectrograph.profiles import Flags, Image
from rtcal.spectrograph.settings import SpectrographSettings
from rtcal.spectrograph.shifts import shift_slices
from rtcal.spectrograph.sky import flag_oh
from rtcal.spectrograph.wavelengths import Map, Wavelengths
from rtcal.wcs import y_angle_deg
from streams import messages
from streams.clock import Clock
from streams.dq import Dq
from streams.messages import (
    AdcResidual,
    CubeHeader,
    Frame,
    FrameHeader,
    ReadHeader,
    SpectrumHeader,
    WhiteHeader,
)

log = logging.getLogger(__name__)

SPECTRAL = ("SLICER", "LENSLET")
UNSPECTRAL = ("ARC", "DRK", "DAR", "MDK", "FFD", "FLA", "CAL")
"""Kinds of exposure, by their first three letters, of which no cube is made."""
Residual = Callable[[Floats], Floats]
"""Residual of the dispersion corrector at wavelengths [um]: (wavelength, 2), y and x on the field [mas]."""


@dataclass(frozen=True)
class _Given:
    """What a product says of the frame that it was made of."""

    common: dict[str, Any]
    scale_mas: float | None
    kind: str


@dataclass(frozen=True)
class Look:
    """What is made of a frame at once, and what its cube needs besides."""

    quick: tuple[messages.White | messages.Spectrum, ...]
    """White light, and the spectrum of the brightest source if there is any light."""
    frame: FrameHeader
    given: _Given
    current: Map
    taken: Taken | None
    """The sky that the frame has lost."""


class CubeStage:
    """Makes the products of the spectrograph's frames.

    Parameters
    ----------
    settings
        The table `[spectrograph]`.
    clock
        For `published_ns` alone.
    threads
        Threads that share the traces.
    night
        Solves arc exposures; None: they are frames and nothing more.
    wcs
        How the field is turned against the position angle; None: cubes have no coordinates on the sky.

    Attributes
    ----------
    counters
        `cubes`, `cubes_without_arc`, `cubes_failed`, `oh_offset_warnings`.
    """

    def __init__(
        self,
        settings: SpectrographSettings,
        clock: Clock,
        threads: int,
        night: NightArcs | None = None,
        wcs: WcsSettings | None = None,
    ) -> None:
        self._counters: Counter[str] = Counter()
        self.night = night
        self._wcs = wcs
        self._settings = settings
        self._clock = clock
        self._threads = threads
        self._wavelengths = Wavelengths(settings, threads, night)
        self._sky = CubeSky(settings)
        self._sequences: Counter[str] = Counter()

    @property
    def counters(self) -> Counter[str]:
        """What was made and what was not, arcs of the night included."""
        return self._counters + self._sky.counters + (self.night.counters if self.night else Counter())

    def products(
        self, frame: Frame, references: ReferenceSet
    ) -> Iterator[messages.White | messages.Spectrum | messages.Cube]:
        """Yield white light and the spectrum of the brightest source, then the cube (`look`, `cube`)."""
        look = self.look(frame, references)
        if look is not None:
            yield from look.quick
            yield from self.cube(look)

    def look(self, frame: Frame, references: ReferenceSet) -> Look | None:
        """Extract a frame's spectra, and make of them what needs neither separation nor resampling.

        Nothing comes of frames without spectra, of arcs, darks and flats, or where no arc fits: the frame has been
        published, and that is all that can be said.

        Parameters
        ----------
        frame
            The frame.
        references
            Those that were chosen for it: wavelengths and the lenslets' profiles count.

        Returns
        -------
        What `cube` makes a cube of, before the next frame is looked at; None where no spectra come of the frame.
        """
        header, arc = frame.header, references.arc
        kind = _kind(header.setup)
        if kind == "ARC" and header.final and self.night is not None and _is_spectral(header.setup):
            self.night.offer(frame, self._wavelengths.known(arc, header.setup, header.first_read_ns))
        if not _is_spectral(header.setup) or kind in UNSPECTRAL:
            return None
        current = self._wavelengths.current(references, header.setup, header.first_read_ns)
        if current is None:
            self._counters["cubes_without_arc"] += 1
            return None
        given = _Given(_of_frame(header) | {"pointing_deg": self._pointing(header)}, _scale_of(header.setup), kind)
        try:
            current.maker.extract(frame.data, frame.err, frame.dq)
            taken = taken_from(header, references)
            return Look(tuple(self._quick(given, current)), header, given, current, taken)
        except Exception as error:
            self._fail(header, error)
            return None

    def cube(self, look: Look) -> Iterator[messages.Cube]:
        """Yield the cube of the frame that was looked at last; nothing if it fails."""
        header = look.frame
        try:
            yield self._whole(look.current.maker.finish(), look, residual_of(header.adc))
        except Exception as error:
            self._fail(header, error)

    def wants_preview(self, header: ReadHeader) -> bool:
        """Tell whether a provisional cube is due after a read."""
        every = self._settings.preview_every
        spectral = _is_spectral(header.setup) and _kind(header.setup) not in UNSPECTRAL
        return spectral and every > 0 and (header.read + 1) % every == 0

    def preview(
        self, rate: Image, dq: Flags, header: ReadHeader, references: ReferenceSet, effective_s: float
    ) -> messages.Cube | None:
        """Return a cube of the rate so far, binned in wavelength; None where no arc fits."""
        current = self._wavelengths.current(references, header.setup, header.time_ns)
        if current is None or rate.shape != current.maker.shape:
            return None
        binned = current.maker.make_coarse(rate, np.ones_like(rate), dq, self._settings.preview_bins)
        given = _Given(_of_read(header, effective_s), _scale_of(header.setup), "SCI")
        values = self._values(binned.grid, given, current) | {"provisional": True, "final": False}
        return messages.Cube(CubeHeader(**values, sequence=self._next("preview")), binned.data, binned.err, binned.dq)

    def _fail(self, header: FrameHeader, error: Exception) -> None:
        """Say that there is no cube; no fault of one may cost the frame or the next read."""
        self._counters["cubes_failed"] += 1
        log.warning("%s: no cube: %s", header.exposure_id, error, exc_info=not isinstance(error, RtcalError))

    def _pointing(self, header: FrameHeader) -> tuple[float, float, float] | None:
        """Return where the field lies and how it is turned, by the telemetry of the frame."""
        pointing = MidExposure(header.telemetry).pointing
        if self._wcs is None or pointing is None:
            return None
        ra, dec, angle = pointing
        return ra, dec, y_angle_deg(angle, self._wcs)

    def _quick(self, given: _Given, current: Map) -> Iterator[messages.White | messages.Spectrum]:
        """Yield what needs neither separation nor all resampling."""
        maker = current.maker
        white, white_err = maker.white()
        values = self._values(maker.grid, given, current)
        yield messages.White(WhiteHeader(**values, sequence=self._next("white")), white, white_err)
        if not np.isfinite(white).any():
            return
        y, x = brightest_place(white)
        radius = self._settings.aperture_radius
        rate, err, dq = maker.spectrum(y, x, radius)
        values |= {"aperture_y": y, "aperture_x": x, "aperture_radius": radius, "published_ns": self._clock.tai_ns()}
        yield messages.Spectrum(SpectrumHeader(**values, sequence=self._next("spectrum")), rate, err, dq)

    def _whole(self, cube: Cube, look: Look, residual: Residual | None) -> messages.Cube:
        given, current = look.given, look.current
        problem = self.night.problem if self.night is not None else ""
        more: dict[str, Any] = {"notes": [*([problem] if problem else []), *current.notes]}
        self._sky.take(cube, current.maker, given.kind, look.taken, more, self._threads)
        if residual is not None and self._settings.adc_shift and given.scale_mas:
            shift = -residual(cube.grid.centres_um) / given.scale_mas
            more["adc_shift_max"] = shift_slices(cube, shift)
        flag_oh(cube)
        if current.status == "UNRELIABLE":
            np.bitwise_or(cube.dq, np.uint32(Dq.UNRELIABLE_WS), out=cube.dq)
        self._counters["cubes"] += 1
        values = self._values(cube.grid, given, current) | more
        return messages.Cube(CubeHeader(**values, sequence=self._next("cube")), cube.data, cube.err, cube.dq)

    def _values(self, grid: Grid, given: _Given, current: Map) -> dict[str, Any]:
        full = current.maker.grid
        return {
            **given.common,
            "wave_first_um": grid.first_um,
            "wave_step_um": grid.step_um,
            "bins": grid.bins,
            "binning": max(1, round(grid.step_um / full.step_um)),
            "field": current.maker.field,
            "scale_mas": given.scale_mas,
            "status": current.status,
            "arc": current.provenance,
            "published_ns": self._clock.tai_ns(),
            "software": f"rtcal {rtcal.__version__}",
        }

    def _next(self, kind: str) -> int:
        number = self._sequences[kind]
        self._sequences[kind] += 1
        return number


def _is_spectral(setup: dict[str, Any]) -> bool:
    return str(setup.get("INSTMODE", "")).upper() in SPECTRAL


def _kind(setup: dict[str, Any]) -> str:
    return str(setup.get("EXPTYPE", "SCI")).upper()[:3]


def residual_of(adc: AdcResidual | None) -> Residual | None:
    """Return the residual of a frame as a function of wavelength; None where it is not known."""
    if adc is None or adc.status == "UNKNOWN" or not adc.x_mas:
        return None
    order = np.argsort(adc.wavelength_um)
    known, y, x = (np.array(values, np.float64)[order] for values in (adc.wavelength_um, adc.y_mas, adc.x_mas))
    return lambda at: np.column_stack([np.interp(at, known, y), np.interp(at, known, x)])


def _of_frame(header: FrameHeader) -> dict[str, Any]:
    return {
        "instrument": header.instrument,
        "detector": header.detector,
        "time_ns": header.time_ns,
        "exposure_id": header.exposure_id,
        "revision": header.revision,
        "ramps": header.ramps,
        "final": header.final,
        "effective_s": header.effective_s,
        "first_read_ns": header.first_read_ns,
        "setup": header.setup,
        "references": header.references,
    }


def _of_read(header: ReadHeader, effective_s: float) -> dict[str, Any]:
    return {
        "instrument": header.instrument,
        "detector": header.detector,
        "time_ns": header.time_ns,
        "exposure_id": header.exposure_id,
        "ramps": header.ramp,
        "effective_s": effective_s,
        "first_read_ns": header.time_ns,
        "setup": header.setup,
    }


def _scale_of(setup: dict[str, Any]) -> float | None:
    """Return the side of a spaxel [mas] from SCALE, a number or text that begins with one; None if there is none."""
    try:
        value = float(str(setup.get("SCALE", "")).lower().removesuffix("mas").strip())
    except ValueError:
        return None
    return value if 0 < value < 1e4 else None
