"""From the spectrograph's frames to what goes out: white light and a spectrum at once, then the cube."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

import rtcal
from refcache import Chosen, ReferenceSet
from rtcal.errors import RtcalError
from rtcal.midexposure import MidExposure
from rtcal.sky_settings import WcsSettings
from rtcal.spectrograph import sky as night_sky
from rtcal.spectrograph.arcfile import read_arc
from rtcal.spectrograph.cube import Cube, CubeMaker, brightest_place, white_light
from rtcal.spectrograph.grid import Grid
from rtcal.spectrograph.lensletscan import LensletScan, read_scan
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.nightarcs import NightArcs
from rtcal.spectrograph.profiles import Flags, Image
from rtcal.spectrograph.settings import SpectrographSettings
from rtcal.spectrograph.shifts import shift_slices
from rtcal.spectrograph.sky import SkySpectrum
from rtcal.wcs import y_angle_deg
from streams import messages
from streams.clock import NS, Clock
from streams.dq import Dq
from streams.errors import StreamsError
from streams.messages import (
    AdcResidual,
    CubeHeader,
    Frame,
    FrameHeader,
    Provenance,
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
Status = Literal["OK", "APPROX", "UNRELIABLE"]


@dataclass(frozen=True)
class _Given:
    """What a product says of the frame that it was made of."""

    common: dict[str, Any]
    scale_mas: float | None
    kind: str


@dataclass(frozen=True)
class _Map:
    """The wavelengths in force: the maker of cubes, and where they came from."""

    maker: CubeMaker
    provenance: Provenance
    status: Status
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """What is made of a frame at once, and what its cube needs besides."""

    quick: tuple[messages.White | messages.Spectrum, ...]
    """White light, and the spectrum of the brightest source if there is any light."""
    frame: FrameHeader
    given: _Given
    current: _Map


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
        self._map: tuple[tuple[str, str, str], _Map] | None = None
        self._failed: tuple[tuple[str, str, str], str] | None = None
        self._sky: tuple[str, SkySpectrum] | None = None
        self._sequences: Counter[str] = Counter()

    @property
    def counters(self) -> Counter[str]:
        """What was made and what was not, arcs of the night included."""
        return self._counters + (self.night.counters if self.night else Counter())

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
            self.night.offer(frame, self._known(arc, header.setup, header.first_read_ns))
        if not _is_spectral(header.setup) or kind in UNSPECTRAL:
            return None
        current = self._current(references, header.setup, header.first_read_ns)
        if current is None:
            self._counters["cubes_without_arc"] += 1
            return None
        given = _Given(_of_frame(header) | {"pointing_deg": self._pointing(header)}, _scale_of(header.setup), kind)
        try:
            current.maker.extract(frame.data, frame.err, frame.dq)
            return Look(tuple(self._quick(given, current)), header, given, current)
        except Exception as error:
            self._fail(header, error)
            return None

    def cube(self, look: Look) -> Iterator[messages.Cube]:
        """Yield the cube of the frame that was looked at last; nothing if it fails."""
        header = look.frame
        try:
            cube = look.current.maker.finish()
            taken = _had_sky(header)
            yield self._whole(cube, look.given, look.current, residual_of(header.adc), sky_taken=taken)
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
        current = self._current(references, header.setup, header.time_ns)
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

    def _current(self, references: ReferenceSet, setup: dict[str, Any], time_ns: int) -> _Map | None:
        """Return the maker for an arc, made once; None where there is none that can be used."""
        arc, scan = references.arc, references.lensletscan
        tonight = self.night.best(setup, time_ns, arc) if self.night is not None else None
        if tonight is not None:
            age_s = (time_ns - tonight.start_ns) / NS
            given = Provenance(
                reftype="ARC", status="OK", name=tonight.path.name, sha256=tonight.sha256, age_s=age_s, note="tonight's"
            )
            return self._made(tonight.path, given, scan, nominal=False)
        path = self._known(arc, setup, time_ns)
        if path is None:
            return None
        return self._made(path, _provenance(arc, path), scan, nominal=arc.reference is None)

    def _known(self, arc: Chosen, setup: dict[str, Any], time_ns: int) -> Path | None:
        """Return the file with traces and wavelengths of a mode: tonight's, the rules', or the layout."""
        tonight = self.night.best(setup, time_ns, arc) if self.night is not None else None
        if tonight is not None:
            return tonight.path
        return arc.reference.path if arc.reference is not None else self._layout_of(setup)

    def _made(self, path: Path, given: Provenance, scan: Chosen, *, nominal: bool) -> _Map | None:
        key = str(path), given.sha256, scan.sha256 if scan.reference is not None else ""
        if self._map is not None and self._map[0] == key:
            return replace(self._map[1], provenance=given)
        if self._failed is not None and self._failed[0] == key:
            return None
        self._map = None  # before the next one takes its memory
        profiles, note = _read_scan(scan)
        try:
            maker = CubeMaker(read_arc(path), self._threads, self._settings.separate_steps, profiles)
        except (RtcalError, StreamsError) as error:
            self._failed = key, str(error)
            log.warning("arc %s cannot be used: %s", path, error)
            return None
        notes = [*([note] if note else []), *maker.notes]
        whole = not maker.profiles.weighted or (maker.measured and not notes)
        status: Status = "OK" if whole else "APPROX"
        made = _Map(maker, given, "UNRELIABLE" if nominal else status, tuple(notes))
        self._map = key, made
        return made

    def _pointing(self, header: FrameHeader) -> tuple[float, float, float] | None:
        """Return where the field lies and how it is turned, by the telemetry of the frame."""
        pointing = MidExposure(header.telemetry).pointing
        if self._wcs is None or pointing is None:
            return None
        ra, dec, angle = pointing
        return ra, dec, y_angle_deg(angle, self._wcs)

    def _layout_of(self, setup: dict[str, Any]) -> Path | None:
        """Return the file of nominal traces and wavelengths, for where no arc fits."""
        path = Path(self._settings.layout).expanduser() if self._settings.layout else None
        if path is None:
            return None
        try:
            arc = read_arc(path)
        except (RtcalError, StreamsError):
            return path  # says what is wrong with it where it is used
        mode = str(arc.header.get("INSTMODE", setup.get("INSTMODE", ""))).upper()
        return path if mode == str(setup.get("INSTMODE", "")).upper() else None

    def _quick(self, given: _Given, current: _Map) -> Iterator[messages.White | messages.Spectrum]:
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

    def _whole(
        self, cube: Cube, given: _Given, current: _Map, residual: Residual | None, *, sky_taken: bool
    ) -> messages.Cube:
        problem = self.night.problem if self.night is not None else ""
        more: dict[str, Any] = {"notes": [*([problem] if problem else []), *current.notes]}
        white, _ = white_light(cube, threads=self._threads)
        faint = night_sky.faint_spaxels(white)
        sky = night_sky.sky_of(cube, faint) if faint.any() else None
        if sky is not None:
            self._check_wavelengths(sky, cube, more)
            self._take_sky(cube, sky, given, more, sky_taken=sky_taken)
        if residual is not None and self._settings.adc_shift and given.scale_mas:
            shift = -residual(cube.grid.centres_um) / given.scale_mas
            more["adc_shift_max"] = shift_slices(cube, shift)
        night_sky.flag_oh(cube)
        if current.status == "UNRELIABLE":
            np.bitwise_or(cube.dq, np.uint32(Dq.UNRELIABLE_WS), out=cube.dq)
        self._counters["cubes"] += 1
        values = self._values(cube.grid, given, current) | more
        return messages.Cube(CubeHeader(**values, sequence=self._next("cube")), cube.data, cube.err, cube.dq)

    def _check_wavelengths(self, sky: SkySpectrum, cube: Cube, more: dict[str, Any]) -> None:
        offset, count = night_sky.oh_offset_px(sky, cube.grid)
        more["oh_offset_px"] = offset
        if offset is not None and abs(offset) > self._settings.oh_warn_px:
            self._counters["oh_offset_warnings"] += 1
            text = f"{count} OH lines lie {offset:+.2f} px from where the arc puts them: has the grating moved?"
            more["notes"].append(text)
            log.warning("%s", text)

    def _take_sky(self, cube: Cube, sky: SkySpectrum, given: _Given, more: dict[str, Any], *, sky_taken: bool) -> None:
        """Subtract the sky; that of a sky exposure is kept for those that follow."""
        grid_key = f"{cube.grid.first_um:.9f}/{cube.grid.step_um:.12f}/{cube.grid.bins}"
        if given.kind.startswith("SKY"):
            self._sky = grid_key, night_sky.sky_of(cube, np.isfinite(white_light(cube)[0]))
            more["sky"] = "none"
            return
        if sky_taken:
            more["sky"] = "frame"
            return
        if self._settings.sky == "off":
            return
        if self._settings.sky == "exposure" and self._sky is not None and self._sky[0] == grid_key:
            scale, by_group = night_sky.group_scales(sky.data, self._sky[1].data, cube.grid)
            night_sky.subtract(cube, self._sky[1], scale)
            more |= {"sky": "exposure", "sky_scales": by_group}
            return
        if self._settings.sky == "exposure":
            more["notes"].append("no sky exposure of this mode yet: the faintest spaxels serve")
        night_sky.subtract(cube, sky)
        more["sky"] = "spaxels"

    def _values(self, grid: Grid, given: _Given, current: _Map) -> dict[str, Any]:
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


def _read_scan(scan: Chosen) -> tuple[LensletScan | None, str]:
    """Return the measured profiles that were chosen; None, and why, where they cannot be used."""
    if scan.reference is None:
        return None, ""
    try:
        return read_scan(scan.reference.path), ""
    except (RtcalError, StreamsError) as error:
        log.warning("%s", error)
        return None, str(error)[:1000]


def _is_spectral(setup: dict[str, Any]) -> bool:
    return str(setup.get("INSTMODE", "")).upper() in SPECTRAL


def _kind(setup: dict[str, Any]) -> str:
    return str(setup.get("EXPTYPE", "SCI")).upper()[:3]


def _had_sky(header: FrameHeader) -> bool:
    """Tell whether a frame's sky was subtracted."""
    return any(one.reftype.lower() == "sky" and one.status in ("OK", "STALE") for one in header.references)


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


def _provenance(arc: Chosen, path: Path) -> Provenance:
    if arc.reference is None:
        note = f"nominal wavelengths of {path.name}: {arc.note or 'no arc fits'}"
        return Provenance(reftype="ARC", status=arc.status, name=path.name, note=note[:1000])
    return Provenance(
        reftype="ARC", status=arc.status, name=arc.name, sha256=arc.sha256, age_s=arc.age_s, note=arc.note
    )
