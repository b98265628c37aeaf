"""What the reducer tells the observatory: its status, the quality of each frame, and offsets that it asks for.

They are CSW events like any other (`IRIS.rtcal.*`), made from the messages that the daemon publishes anyway.
"""

import logging
import math
import threading
from typing import Protocol

import msgspec

from streams.clock import NS, Clock
from streams.csw import CswEvent, CswParameter, encode
from streams.messages import FrameHeader, Message, Quality, StatusHeader, TelemetryHeader
from streams.sources import Source
from streams.targets import REQUEST, Offset, offset_of

log = logging.getLogger(__name__)

SOURCE = "rtcal"
MAX_PROBLEMS = 16
MAX_OFFSET_AGE_S = 10.0
"""An older offset is not passed on, nor kept for who comes later."""
POLL_S = 0.2


class Publisher(Protocol):
    """What takes a payload under a key, sooner or later: `CswPublisher`."""

    def publish(self, key: str, payload: bytes) -> bool:
        """Publish; False if something had to be dropped."""
        ...


class OffsetPublisher(Protocol):
    """What takes a payload under a key at once: `CswPublisher`."""

    def publish_now(self, key: str, payload: bytes, keep_s: float) -> bool:
        """Publish, and keep it for late listeners for so long; False if the server is away."""
        ...


def tell(source: Source, publisher: Publisher, stop: threading.Event) -> None:
    """Publish what the daemon's messages have to tell, until `stop` is set or nothing can come any more."""
    while not stop.is_set() and not source.exhausted:
        message = source.receive(POLL_S)
        event = None if message is None else product_event(message)
        if event is not None:
            publisher.publish(event.key, encode(event))


def product_event(message: Message) -> CswEvent | None:
    """Return what a message of the daemon has to tell; None for kinds that tell nothing."""
    header = message.header
    if isinstance(header, StatusHeader):
        return status_event(header)
    if isinstance(header, FrameHeader):
        return quality_event(header)
    return None


def status_event(header: StatusHeader) -> CswEvent:
    """Return `INSTRUMENT.rtcal.status`: state, counts of reads and events, and each detector's exposure."""
    detectors = sorted(header.detectors)
    each = [header.detectors[name] for name in detectors]
    lost = [one.counters.get("reads_lost", 0) + one.counters.get("dropped_queue_full", 0) for one in each]
    parameters = {
        "state": CswParameter("Choice", [header.state]),
        "software": CswParameter("String", [header.software]),
        "reads": CswParameter("Long", [header.counters.get("reads", 0)]),
        "telemetryEvents": CswParameter("Long", [header.counters.get("telemetry_events", 0)]),
        "detectors": CswParameter("String", list(detectors)),
        "exposureIds": CswParameter("String", [one.exposure_id for one in each]),
        "readsLost": CswParameter("Long", lost),
        "readsExcluded": CswParameter("Long", [one.counters.get("reads_excluded", 0) for one in each]),
        "problems": CswParameter("String", list(header.problems[:MAX_PROBLEMS])),
    }
    return _event(header.instrument, "status", header.time_ns, parameters, header.sequence)


def quality_event(header: FrameHeader) -> CswEvent:
    """Return `INSTRUMENT.rtcal.quality` of a frame; what could not be measured has no parameter."""
    parameters = {
        "exposureId": CswParameter("String", [header.exposure_id]),
        "detector": CswParameter("String", [header.detector]),
        "final": CswParameter("Boolean", [header.final]),
        "readsUsed": CswParameter("Long", [header.reads_used]),
        "readsLost": CswParameter("Long", [header.reads_lost]),
        "readsExcluded": CswParameter("Long", [header.reads_excluded]),
        "integrationTime": CswParameter("Double", [header.effective_s], "second"),
    }
    quality = header.quality or Quality()
    edge_mas = header.adc.edge_mas if header.adc is not None else None
    measured = {
        "fwhm": (quality.fwhm_mas, "mas"),
        "strehl": (quality.strehl, "NoUnits"),
        "sky": (quality.sky, "NoUnits"),
        "residualDispersion": (None if edge_mas is None else math.hypot(*edge_mas), "mas"),
    }
    for name, (value, unit) in measured.items():
        if value is not None:
            parameters[name] = CswParameter("Double", [value], unit)
    return _event(header.instrument, "quality", header.time_ns, parameters, header.sequence)


def offset_event(instrument: str, offset: Offset, time_ns: int, sequence: int = 0) -> CswEvent:
    """Return `INSTRUMENT.rtcal.offsetRequest`: a request, never a command; what is not known has no parameter."""
    parameters = {
        "request": CswParameter("String", [offset.request]),
        "detector": CswParameter("String", [offset.detector]),
        "exposureId": CswParameter("String", [offset.exposure_id]),
        "method": CswParameter("Choice", [offset.method]),
        "x": CswParameter("Double", [offset.x], "pix"),
        "y": CswParameter("Double", [offset.y], "pix"),
        "referenceX": CswParameter("Double", [offset.reference_x], "pix"),
        "referenceY": CswParameter("Double", [offset.reference_y], "pix"),
        "instrumentX": CswParameter("Double", [offset.instrument_x_arcsec], "arcsec"),
        "instrumentY": CswParameter("Double", [offset.instrument_y_arcsec], "arcsec"),
    }
    for name, value in (("east", offset.east_arcsec), ("north", offset.north_arcsec)):
        if value is not None:
            parameters[name] = CswParameter("Double", [value], "arcsec")
    return _event(instrument, REQUEST.partition(".")[2], time_ns, parameters, sequence)


def pass_offset(message: Message, publisher: OffsetPublisher, clock: Clock) -> bool:
    """Ask the observatory for a confirmed offset, now or never: after a while the telescope points elsewhere.

    Returns
    -------
    bool
        True if the event service took it. What is not is dropped, and the log says why.
    """
    header = message.header
    if not isinstance(header, TelemetryHeader):
        return False
    try:
        offset = offset_of(header)
    except msgspec.ValidationError as error:
        log.warning("an offset that cannot be believed was dropped: %s", error)
        return False
    if offset is None:
        return False
    age_s = (clock.tai_ns() - header.time_ns) / NS
    if abs(age_s) > MAX_OFFSET_AGE_S:
        log.warning("an offset that is %.0f s old was dropped: %s", age_s, offset)
        return False
    event = offset_event(header.instrument, offset, header.time_ns, header.sequence)
    taken = publisher.publish_now(event.key, encode(event), MAX_OFFSET_AGE_S)
    log.warning("offset request %s%s", "published: " if taken else "not published, the event server is away: ", offset)
    return taken


def pass_offsets(source: Source, publisher: OffsetPublisher, clock: Clock, stop: threading.Event) -> None:
    """Pass on what displays send, until `stop` is set or nothing can come any more."""
    while not stop.is_set() and not source.exhausted:
        message = source.receive(POLL_S)
        if message is not None:
            pass_offset(message, publisher, clock)


def _event(instrument: str, name: str, time_ns: int, parameters: dict[str, CswParameter], sequence: int) -> CswEvent:
    return CswEvent(f"{instrument}.{SOURCE}", name, time_ns, parameters, "SystemEvent", f"{SOURCE}-{name}-{sequence}")
