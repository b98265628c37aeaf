"""What the reducer tells the observatory: its status, the quality of each frame, and offsets that it asks for.

They are CSW events like any other (`IRIS.rtcal.*`), made from the messages that the daemon publishes anyway.
"""

import math
import threading
from typing import Protocol

from streams.csw import CswEvent, CswParameter, encode
from streams.messages import FrameHeader, Message, Quality, StatusHeader
from streams.sources import Source

SOURCE = "rtcal"
MAX_PROBLEMS = 16
POLL_S = 0.2


class Publisher(Protocol):
    """What takes a payload under a key: `CswPublisher`."""

    def publish(self, key: str, payload: bytes) -> bool:
        """Publish; False if something had to be dropped."""
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


def offset_event(
    instrument: str, east_mas: float, north_mas: float, time_ns: int, reason: str, sequence: int = 0
) -> CswEvent:
    """Return `INSTRUMENT.rtcal.offsetRequest`: where the telescope is asked to move; a request, never a command.

    Raises
    ------
    ValueError
        If an offset is no finite number.
    """
    if not (math.isfinite(east_mas) and math.isfinite(north_mas)):
        raise ValueError(f"an offset of {east_mas}, {north_mas} mas is none")
    parameters = {
        "east": CswParameter("Double", [east_mas], "mas"),
        "north": CswParameter("Double", [north_mas], "mas"),
        "reason": CswParameter("String", [reason]),
    }
    return _event(instrument, "offsetRequest", time_ns, parameters, sequence)


def _event(instrument: str, name: str, time_ns: int, parameters: dict[str, CswParameter], sequence: int) -> CswEvent:
    return CswEvent(f"{instrument}.{SOURCE}", name, time_ns, parameters, "SystemEvent", f"{SOURCE}-{name}-{sequence}")
