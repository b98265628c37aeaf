"""Arcs as they come: reduced frames, detector reads, or spectra that are one-dimensional already."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from refcache import ReferenceStore
from rtcal.bands import Bands
from rtcal.config import Settings
from rtcal.errors import UsageError
from rtcal.kernels import extract as kernel
from rtcal.reduce import Reducer
from rtcal.spectrograph.detection import Spectra
from rtcal.spectrograph.profiles import UNUSABLE, Profiles
from rtcal.spectrograph.traces import Traces
from streams.clock import SystemClock, iso_utc
from streams.dq import Dq
from streams.fits_files import expand, guarded, open_fits
from streams.fits_reads import FitsSource
from streams.messages import Frame, Scalar

ISOLATED_RATIO = 3.0
ISOLATED_SNR = 5.0
FLUX_COLUMNS = ("flux", "counts", "intensity")


@dataclass(frozen=True, eq=False)
class ArcFrame:
    """One reduced arc.

    Attributes
    ----------
    name
        File or exposure, for people.
    data, err
        Float32, (y, x) [e-/s].
    dq
        Uint32, (y, x); pixels that stand alone as no line can have DO_NOT_USE.
    header
        What the reads said: INSTRUME, DETECTOR, INSTMODE, GRATING, LAMPS ...
    start
        First read, ISO UTC; "" if it is not known.
    """

    name: str
    data: NDArray[np.float32]
    err: NDArray[np.float32]
    dq: NDArray[np.uint32]
    header: Mapping[str, Scalar]
    start: str


def frame_of(message: Frame) -> ArcFrame:
    """Take a frame of the pipeline as an arc."""
    header = {"INSTRUME": message.header.instrument, "DETECTOR": message.header.detector, **message.header.setup}
    return _arc_frame(
        message.header.exposure_id, message.data, message.err, message.dq, header, iso_utc(message.header.first_read_ns)
    )


def load_frames(
    inputs: Sequence[Path], settings: Settings, on_read: Callable[[], None] = lambda: None
) -> list[ArcFrame]:
    """Load reduced arcs, and reduce reads through the program's own pipeline.

    Parameters
    ----------
    inputs
        Files and directories; a file with an extension DATA is a reduced frame, the others are reads.
    settings
        The whole configuration.
    on_read
        Called for each read that is reduced.

    Raises
    ------
    UsageError
        If nothing comes out, or the arcs differ in shape.
    StreamsError
        If a file cannot be read.
    """
    reduced, reads = [], []
    for path in expand(inputs):
        frame = _load(path)
        if frame is None:
            reads.append(path)
        else:
            reduced.append(frame)
    if reads:
        reduced += [frame_of(frame) for frame in _reduce(reads, settings, on_read)]
    shapes = sorted({frame.data.shape for frame in reduced})
    if not reduced:
        raise UsageError("no arc came out of the inputs: a ramp needs two reads")
    if len(shapes) > 1:
        raise UsageError(f"arcs to be solved together must be of one shape, found {shapes}")
    return reduced


def load_spectra(path: Path, number: int | None) -> tuple[Spectra, dict[str, Scalar]] | None:
    """Load one-dimensional spectra; None where the file holds no such thing.

    Known are a table with a column `flux`, a row for each pixel, and a cube (spectrum, 4, pixel) of wavelength,
    flux, error and flags as SpeX's programs write it. Wavelengths in the file are not looked at.

    Parameters
    ----------
    path
        The file.
    number
        Which spectrum of the file, from 1; None takes all.

    Raises
    ------
    UsageError
        If the file has no spectrum of that number.
    """
    with open_fits(path) as hdus, guarded(path):
        header = _plain(hdus[0].header)
        flux = _table_flux(hdus)
        if flux is None:
            flux = _cube_flux(hdus[0])
    if flux is None:
        return None
    if number is not None and not 1 <= number <= flux.shape[0]:
        raise UsageError(f"{path}: has {flux.shape[0]} spectra, there is no number {number}")
    chosen = flux if number is None else flux[number - 1 : number]
    return _one_dimensional(chosen), header


def spectra_of(frames: Iterable[ArcFrame], traces: Traces, half_rows: float) -> list[Spectra]:
    """Extract the spectra of each arc."""
    gaussian = bool((traces.sigma > 0).all())
    half = np.full(len(traces), half_rows) if gaussian else traces.height / 2
    place = np.column_stack([traces.column, traces.middle_y]).astype(np.float64)
    profiles: Profiles | None = None
    out = []
    for frame in frames:
        profiles = profiles or Profiles(traces, half, frame.data.shape[0])
        profiles.extract(frame.data, frame.err, frame.dq)
        flux = profiles.flux.astype(np.float64)
        noise = np.sqrt(profiles.variance.astype(np.float64))
        saturated = (profiles.dq & np.uint32(Dq.SATURATED) != 0) & np.isfinite(flux)
        out.append(Spectra(flux, noise, saturated, traces.length, place))
    return out


def together(arcs: Sequence[Spectra]) -> NDArray[np.float64]:
    """Add up the spectra of several arcs, (trace, t); NaN where none has a value."""
    light = np.stack([arc.flux for arc in arcs])
    return np.where(np.isfinite(light).any(axis=0), np.nansum(light, axis=0), np.nan)


def _load(path: Path) -> ArcFrame | None:
    with open_fits(path) as hdus, guarded(path):
        if "DATA" not in hdus or hdus["DATA"].data is None or hdus["DATA"].data.ndim != 2:
            return None
        data = np.array(hdus["DATA"].data, np.float32)
        err = np.array(hdus["ERR"].data, np.float32) if "ERR" in hdus else np.zeros_like(data)
        dq = np.array(hdus["DQ"].data, np.uint32) if "DQ" in hdus else np.zeros(data.shape, np.uint32)
        header = _plain(hdus[0].header)
    return _arc_frame(path.name, data, err, dq, header, str(header.get("DATE-OBS", "")))


def _arc_frame(
    name: str,
    data: NDArray[np.float32],
    err: NDArray[np.float32],
    dq: NDArray[np.uint32],
    header: Mapping[str, Scalar],
    start: str,
) -> ArcFrame:
    if not (err > 0).any():
        err = np.full(data.shape, _scatter(data), np.float32)
    isolated = np.zeros(data.shape, bool)
    kernel.find_isolated(data, err, ISOLATED_RATIO, ISOLATED_SNR, 0, data.shape[0], isolated)
    flags = dq.astype(np.uint32) | np.where(isolated | ~np.isfinite(data), UNUSABLE, np.uint32(0))
    return ArcFrame(name, data, err, flags, header, start)


def _scatter(data: NDArray[np.float32]) -> float:
    """Return the noise of an image without errors, from the differences of neighbours."""
    step = np.diff(data, axis=1)
    step = step[np.isfinite(step)]
    return float(1.4826 * np.median(np.abs(step - np.median(step))) / np.sqrt(2)) if step.size else 1.0


def _reduce(reads: Sequence[Path], settings: Settings, on_read: Callable[[], None]) -> list[Frame]:
    references = ReferenceStore(settings.refcache, settings.calibration.stale_s)
    references.preload()
    with FitsSource(reads, settings.fits_keys) as source, Bands(settings.daemon.threads) as bands:
        reducer = Reducer(settings, references, bands, SystemClock())
        return [frame for frame in reducer.frames(source, lambda _: on_read()) if frame.header.final]


def _plain(header: fits.Header) -> dict[str, Scalar]:
    return {key: value for key, value in header.items() if isinstance(value, str | int | float | bool) and key}


def _table_flux(hdus: fits.HDUList) -> NDArray[np.float64] | None:
    for hdu in hdus:
        for column in getattr(hdu, "columns", None) or ():
            if column.name.lower() in FLUX_COLUMNS and hdu.data[column.name].ndim == 1:
                return np.array(hdu.data[column.name], np.float64)[None]
    return None


def _cube_flux(hdu: Any) -> NDArray[np.float64] | None:
    if hdu.data is None or hdu.data.ndim not in (2, 3) or hdu.data.shape[-2] != 4:
        return None
    return np.array(hdu.data.reshape(-1, 4, hdu.data.shape[-1])[:, 1], np.float64)


def _one_dimensional(flux: NDArray[np.float64]) -> Spectra:
    finite = np.isfinite(flux)
    length = np.array([row.size - row[::-1].argmax() if row.any() else 2 for row in finite], np.int64)
    noise = np.array([np.full(flux.shape[1], max(_scatter(row[None].astype(np.float32)), 1e-12)) for row in flux])
    # An order's number says nothing of its neighbours' wavelengths: places far apart, nothing shared.
    place = np.column_stack([np.zeros(len(flux)), np.arange(len(flux))]).astype(np.float64)
    return Spectra(flux, noise, np.zeros(flux.shape, bool), length, place)
