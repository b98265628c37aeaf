"""Where a frame lies on the sky and how the atmosphere smears it, from its telemetry."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from refcache import Chosen
from rtcal.config import Settings
from rtcal.dispersion import dispersion_of
from rtcal.midexposure import MidExposure
from rtcal.prisms import PrismsError, read_curve
from rtcal.sky_settings import AdcSettings
from rtcal.snapshots import is_spectral
from rtcal.wcs import wcs_keys
from streams.messages import AdcResidual, FrameHeader, TelemetryRow

NO_POINTING = "no pointing: coordinates are in pixels"


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
    adc = None if found is None else found.residual
    notes = [] if found is None else [*problem, *found.notes]
    if is_spectral(header.setup):
        return Sky(adc, {}, notes)
    middle = MidExposure(rows)
    pointing = middle.pointing
    if pointing is None:
        return Sky(adc, {}, [*notes, NO_POINTING])
    if middle.stale:
        notes.append("the pointing is stale: coordinates are from held values")
    shift = (0.0, 0.0)
    if settings.wcs.shift_by_dispersion and adc is not None and adc.shift_mas is not None:
        shift = (adc.shift_mas[0], adc.shift_mas[1])
    keys = wcs_keys(header.detector, shape, header.setup, pointing, shift, settings.wcs, settings.optics.pixel_mas)
    return Sky(adc, keys, notes)


def _with_curve(settings: AdcSettings, prisms: Chosen | None) -> tuple[AdcSettings, list[str]]:
    """Put the curve of a reference into the settings, and say what is wrong with it if it cannot be used."""
    if prisms is None or prisms.reference is None:
        return settings, []
    try:
        curve = read_curve(prisms.reference.path, prisms.reference.sha256)
    except PrismsError as error:
        return settings, [f"prisms: {error}"[:1000]]
    return replace(settings, curve_um=list(curve.wavelength_um), curve_mas=list(curve.dispersion_mas)), []
