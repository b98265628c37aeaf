"""What a reference says of itself: whom it is for, from when on, and where it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from astropy.io import fits

import rtcal
from rtcal.refmake.ramps import Ramp, RampStack
from streams.clock import iso_utc
from streams.messages import FrameHeader, Scalar
from streams.windows import base_detector, is_window

UNITS = {
    "DARK": "e-/s",
    "SKY": "e-/s",
    "BIAS": "DN",
    "SATURATION": "DN",
    "READNOISE": "e-",
    "GAIN": "e-/DN",
}
DETECTOR_KEYS = ("INSTERA", "INSTMODE", "READMODE", "SUBARRAY")
PLACE_KEYS = ("XSTART", "YSTART")
"""Of a window's own references."""
OPTICS_KEYS = ("FILTER", "GRATING", "SCALE")
OPTICAL = ("DARK", "DQ", "SKY")
"""Types that say what optics they were taken with, where all inputs agree; the others do not depend on it."""


@dataclass(frozen=True)
class Origin:
    """One exposure or ramp that went into a reference."""

    instrument: str
    detector: str
    setup: Mapping[str, Scalar]
    first_ns: int
    text: str
    """What is known of it, for people."""

    @classmethod
    def of_frame(cls, header: FrameHeader) -> "Origin":
        """Return what a frame's header tells."""
        text = f"{header.exposure_id}: {header.reads_used} reads, {header.effective_s:.3f} s"
        return cls(header.instrument, header.detector, header.setup, header.first_read_ns, text)

    @classmethod
    def of_ramp(cls, ramp: Ramp) -> "Origin":
        """Return what a ramp's first read tells."""
        header, times = ramp.opening, ramp.times_s
        text = f"{ramp.name}: {len(times)} reads, {times[-1] - times[0]:.3f} s"
        return cls(header.instrument, header.detector, header.setup, header.time_ns, text)


def origins_of(ramps: RampStack) -> list[Origin]:
    """Return what all ramps tell."""
    return [Origin.of_ramp(ramp) for ramp in ramps.ramps]


def reference_cards(
    reftype: str, origins: Sequence[Origin], pedigree: str, own: Mapping[str, tuple[Scalar, str]] | None = None
) -> fits.Header:
    """Return the PRIMARY cards of a reference.

    Parameters
    ----------
    reftype
        CRDS's type.
    origins
        What it was made of; keys in which they differ are left out.
    pedigree
        Where it comes from.
    own
        Further cards of this type: value and comment.
    """
    first = min(origins, key=lambda origin: origin.first_ns)
    cards = fits.Header()
    cards["INSTRUME"] = first.instrument
    cards["DETECTOR"] = str(first.setup.get("DETECTOR", base_detector(first.detector)))
    keys = DETECTOR_KEYS + (OPTICS_KEYS if reftype in OPTICAL else ()) + (PLACE_KEYS if is_window(first.setup) else ())
    for key in keys:
        values = {origin.setup[key] for origin in origins if key in origin.setup}
        if len(values) == 1:
            cards[key] = values.pop()
    cards["REFTYPE"] = (reftype, "type of reference")
    cards["REFVER"] = ("1", "version")
    cards["USEAFTER"] = (iso_utc(first.first_ns)[:19].replace("T", " "), "UTC")
    cards["PEDIGREE"] = (pedigree, "where it comes from")
    cards["DATAMODL"] = "ReferenceImage"
    if reftype in UNITS:
        cards["BUNIT"] = UNITS[reftype]
    for key, card in (own or {}).items():
        cards[key] = card
    cards["DATE"] = (datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "UTC, file made")
    cards["ORIGIN"] = f"rtcal {rtcal.__version__}"
    for origin in origins:
        cards["HISTORY"] = f"from {origin.text}"
    return cards
