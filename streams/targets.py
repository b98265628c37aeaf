"""Offsets of the telescope: what a person confirmed in the display, on its way to the observatory."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from streams.messages import Id, Name, Telemetry, TelemetryHeader

EVENT = "IRIS.quicklook.targetOffset"
"""Name of the telemetry message that the display publishes."""
REQUEST = "rtcal.offsetRequest"
"""Name of the observatory's event that is made of it, after the instrument's."""
UNITS = {
    "x": "pix", "y": "pix", "reference_x": "pix", "reference_y": "pix", "east_arcsec": "arcsec",
    "north_arcsec": "arcsec", "instrument_x_arcsec": "arcsec", "instrument_y_arcsec": "arcsec",
}  # fmt: skip

Number = Annotated[float, Meta(ge=-1e9, le=1e9)]


class Offset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From a detector's reference pixel to a target; what it takes to move the target there is the reverse of it."""

    request: Id
    """Names it, so that it can be found again in the event service."""
    detector: Name
    exposure_id: Id
    """The exposure in which the target was seen."""
    method: Literal["centroid", "raw"]
    x: Number
    y: Number
    """The target [pixel, 0-based]."""
    reference_x: Number
    reference_y: Number
    instrument_x_arcsec: Number
    instrument_y_arcsec: Number
    """Along the detector's axes."""
    east_arcsec: Number | None
    north_arcsec: Number | None
    """None where the frame has no world coordinates."""


def offset_message(offset: Offset, time_ns: int, sequence: int) -> Telemetry:
    """Return the message that asks for an offset."""
    header = TelemetryHeader(
        instrument="IRIS", detector=offset.detector, sequence=sequence, time_ns=time_ns,
        event=EVENT, values=msgspec.to_builtins(offset), units=UNITS,
    )  # fmt: skip
    return Telemetry(header)


def offset_of(header: TelemetryHeader) -> Offset | None:
    """Return the offset that a message asks for; None for other events.

    Raises
    ------
    msgspec.ValidationError
        If it is one, but cannot be believed.
    """
    return msgspec.convert(header.values, Offset) if header.event == EVENT else None
