"""Where a frame lies on the sky and how the atmosphere smears it, from its telemetry."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from refcache import Chosen
from rtcal.config import Settings
from rtcal.dispersion import dispersion_of
from rtcal.guidestars import with_guide_stars
from rtcal.midexposure import MidExposure
from rtcal.prisms import PrismsError, read_curve
from rtcal.sky_settings import AdcSettings
from rtcal.snapshots import is_spectral
from rtcal.wcs import HEADER, HEADER_DIFFERS, POINTING, Plane, apart_arcsec, plane_keys, pointed_plane, told_plane
from streams.messages import AdcResidual, FrameHeader, TelemetryRow

NO_POINTING = "no pointing: coordinates are in pixels"
HEADER_ALONE = "no pointing: coordinates are those of the telescope's WCS header"
STALE_POINTING = "the pointing is stale: coordinates are from held values"
STALE_POINTING_HEADER = "the pointing is stale: coordinates are those of the telescope's WCS header"


@dataclass(frozen=True)
class Sky:
    """What a frame's header says of the sky; nothing where nothing is known."""

    adc: AdcResidual | None = None
    wcs: dict[str, str | int | float | bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def sky_of(
    header: FrameHeader,
    shape: tuple[int, int],
    rows: Sequence[TelemetryRow],
    settings: Settings,
    prisms: Chosen | None = None,
) -> Sky:
    """Work out dispersion and world coordinates at the middle of an exposure.

    Frames without any telemetry have neither, and frames of spectra have no world coordinates. `prisms` is the
    reference with the prisms' dispersion; without one the settings' curve serves, or what stands in for it.
    """
    if not rows:
        return Sky()
    curve, problem = _with_curve(settings.adc, prisms)
    found = dispersion_of(MidExposure(rows), header.setup, curve, settings.filters, settings.optics.telescope_m)
    adc, notes = None, list[str]()
    if found is not None:
        adc, said = with_guide_stars(found.residual, MidExposure(rows), settings.adc, settings.optics.pixel_mas)
        notes = [*problem, *found.notes, *said]
    if is_spectral(header.setup):
        return Sky(adc, {}, notes)
    plane, name, said = _plane(header, shape, rows, settings)
    if plane is None:
        return Sky(adc, {}, [*notes, *said])
    shift_mas = (0.0, 0.0)
    if settings.wcs.shift_by_dispersion and adc is not None and adc.shift_mas is not None:
        shift_mas = (adc.shift_mas[0], adc.shift_mas[1])
    pixel_mas = settings.optics.pixel_mas
    keys = plane_keys(plane, name, (shift_mas[0] / pixel_mas, shift_mas[1] / pixel_mas))
    return Sky(adc, keys, [*notes, *said])


def _plane(
    header: FrameHeader, shape: tuple[int, int], rows: Sequence[TelemetryRow], settings: Settings
) -> tuple[Plane | None, str, list[str]]:
    """Choose between the telescope's WCS header and its pointing: the header, where the two are of one mind.

    Returns
    -------
    tuple
        The plane, where it comes from, and notes.
    """
    middle, heard = MidExposure(rows), MidExposure(rows)
    pointing, pixel_mas, table = middle.pointing, settings.optics.pixel_mas, settings.wcs
    told = told_plane(heard, header.detector, shape, header.setup, table, pixel_mas)
    said = [f"the telescope's WCS header is not used: {told.problem}"] if told.problem else []
    if pointing is None:
        if told.plane is None:
            return None, "", [*said, NO_POINTING]
        return told.plane, HEADER, [HEADER_ALONE]
    pointed = pointed_plane(header.detector, shape, header.setup, pointing, table, pixel_mas)
    if told.plane is not None and pointed is not None and not heard.stale:
        if middle.stale:
            return told.plane, HEADER, [STALE_POINTING_HEADER]
        apart = apart_arcsec(told.plane, pointed, shape)
        if apart <= table.header_check_arcsec:
            return told.plane, HEADER, said
        differs = f"the telescope's WCS header is not used: it differs from the pointing by {apart:.1f} arcsec"
        return pointed, HEADER_DIFFERS, [differs]
    return pointed, POINTING, [*said, STALE_POINTING] if middle.stale else said


def _with_curve(settings: AdcSettings, prisms: Chosen | None) -> tuple[AdcSettings, list[str]]:
    """Put the curve of a reference into the settings, and say what is wrong with it if it cannot be used."""
    if prisms is None or prisms.reference is None:
        return settings, []
    try:
        curve = read_curve(prisms.reference.path, prisms.reference.sha256)
    except PrismsError as error:
        return settings, [f"prisms: {error}"[:1000]]
    return replace(settings, curve_um=list(curve.wavelength_um), curve_mas=list(curve.dispersion_mas)), []
