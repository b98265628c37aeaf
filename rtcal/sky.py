"""Where a frame lies on the sky and how the atmosphere smears it, from its telemetry."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rtcal.config import Settings
from rtcal.dispersion import dispersion_of
from rtcal.exposure import SPECTRAL
from rtcal.snapshot import Snapshot
from rtcal.wcs import wcs_keys
from streams.messages import AdcResidual, FrameHeader, TelemetryRow

NO_POINTING = "no pointing: coordinates are in pixels"


@dataclass(frozen=True)
class Sky:
    """What a frame's header says of the sky; nothing where nothing is known."""

    adc: AdcResidual | None = None
    wcs: dict[str, str | int | float | bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def sky_of(header: FrameHeader, shape: tuple[int, int], rows: Sequence[TelemetryRow], settings: Settings) -> Sky:
    """Work out dispersion and world coordinates at the middle of an exposure.

    Frames without any telemetry have neither, and frames of spectra have no world coordinates.
    """
    if not rows:
        return Sky()
    found = dispersion_of(Snapshot(rows), header.setup, settings.adc, settings.filters, settings.optics.telescope_m)
    adc = None if found is None else found.residual
    notes = [] if found is None else list(found.notes)
    if str(header.setup.get("INSTMODE", "IMG")).upper() in SPECTRAL:
        return Sky(adc, {}, notes)
    snapshot = Snapshot(rows)
    ra, dec, angle = snapshot.number("RA"), snapshot.number("DEC"), snapshot.number("PA")
    if ra is None or dec is None or angle is None:
        return Sky(adc, {}, [*notes, NO_POINTING])
    if snapshot.stale:
        notes.append("the pointing is stale: coordinates are from held values")
    shift = (0.0, 0.0)
    if settings.wcs.shift_by_dispersion and adc is not None and adc.shift_mas is not None:
        shift = (adc.shift_mas[0], adc.shift_mas[1])
    pointing, pixel_mas = (ra, dec, angle), settings.optics.pixel_mas
    keys = wcs_keys(header.detector, shape, header.setup, pointing, shift, settings.wcs, pixel_mas)
    return Sky(adc, keys, notes)
