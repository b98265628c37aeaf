"""What the reducer tells the observatory, read back from a real Redis."""

import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from streams import settings as settings_file
from streams.clock import SystemClock
from streams.csw import CswEvent, decode
from streams.csw_products import offset_event, product_event, tell
from streams.csw_redis import CswPublisher
from streams.messages import Frame, Quality
from streams.telemetry_keys import load_keys
from tests.fakes import ListSource
from tests.redis_server import redis_server
from tests.rigs import Settings
from tests.samples import SAMPLES, TIME_NS


def values(event: CswEvent) -> dict[str, object]:
    return {name: one.values[0] if len(one.values) == 1 else one.values for name, one in event.parameters.items()}


def test_status_and_quality_are_there_for_who_comes_later(tmp_path: Path) -> None:
    settings = settings_file.load(None, Settings).csw
    with redis_server(tmp_path) as server:
        publisher = CswPublisher(replace(settings, redis=server.address), load_keys(""), SystemClock())
        tell(ListSource([SAMPLES["status"], SAMPLES["read"], SAMPLES["frame"]]), publisher, threading.Event())
        publisher.close()
        assert publisher.counters["sent"] == 2
        with server.client() as client:
            assert sorted(client.keys()) == [b"IRIS.rtcal.quality", b"IRIS.rtcal.status"]
            status, quality = (decode(client.get(f"IRIS.rtcal.{name}")) for name in ("status", "quality"))
    assert status.time_ns == TIME_NS
    told = values(status)
    assert (told["state"], told["detectors"], told["problems"]) == ("running", "IMG1", "no flat for FILTER=H")
    told = values(quality)
    assert (told["detector"], told["readsUsed"], told["readsExcluded"]) == ("IMG1", 19, 2)
    assert told["residualDispersion"] == pytest.approx(0.559, abs=0.001)


def test_what_could_not_be_measured_is_not_told() -> None:
    frame = SAMPLES["frame"]
    assert isinstance(frame, Frame)
    poor = replace(frame.header, quality=Quality(strehl=0.5), adc=None)
    event = product_event(Frame(poor, frame.data, frame.err, frame.dq, frame.saturated_from))
    assert event is not None
    assert event.parameters["strehl"].values == [0.5]
    assert not {"fwhm", "sky", "residualDispersion"} & set(event.parameters)
    none = product_event(Frame(replace(poor, quality=None), frame.data, frame.err, frame.dq, frame.saturated_from))
    assert none is not None
    assert "strehl" not in none.parameters
    assert product_event(SAMPLES["read"]) is None


def test_an_offset_is_a_request_in_mas() -> None:
    event = offset_event("IRIS", 120.0, -35.5, TIME_NS, "star to the slit")
    assert event.key == "IRIS.rtcal.offsetRequest"
    assert values(event) == {"east": 120.0, "north": -35.5, "reason": "star to the slit"}
    assert {event.parameters[name].units for name in ("east", "north")} == {"mas"}
    with pytest.raises(ValueError, match="nan"):
        offset_event("IRIS", float("nan"), 0.0, TIME_NS, "")
