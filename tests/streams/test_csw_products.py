"""What the reducer tells the observatory, read back from a real Redis."""

import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from streams import settings as settings_file
from streams.clock import NS, SystemClock
from streams.csw import CswEvent, decode
from streams.csw_products import offset_event, pass_offset, pass_offsets, product_event, tell
from streams.csw_redis import CswPublisher
from streams.messages import Frame, Quality, Telemetry
from streams.targets import offset_message
from tests.fakes import FakeClock, ListSource
from tests.redis_server import WAIT_S, redis_server
from tests.rigs import Settings
from tests.samples import OFFSET, SAMPLES, TIME_NS


def values(event: CswEvent) -> dict[str, object]:
    return {name: one.values[0] if len(one.values) == 1 else one.values for name, one in event.parameters.items()}


def test_status_and_quality_are_there_for_who_comes_later(tmp_path: Path) -> None:
    settings = settings_file.load(None, Settings).csw
    with redis_server(tmp_path) as server:
        publisher = CswPublisher(replace(settings, redis=server.address), SystemClock())
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


def asked(offset=OFFSET, at_ns=TIME_NS, **values):
    message = offset_message(offset, at_ns, 3)
    return Telemetry(replace(message.header, values=message.header.values | values))


def test_a_confirmed_offset_is_a_request_to_the_observatory() -> None:
    event = offset_event("IRIS", OFFSET, TIME_NS)
    assert event.key == "IRIS.rtcal.offsetRequest"
    told = values(event)
    assert (told["request"], told["detector"], told["exposureId"], told["method"]) == (
        "1f00aa",
        "IMG1",
        "E-1",
        "centroid",
    )
    assert (told["east"], told["north"], told["x"]) == (-0.027, 0.108, 70.25)
    assert {event.parameters[name].units for name in ("east", "north", "instrumentX")} == {"arcsec"}
    blind = offset_event("IRIS", replace(OFFSET, east_arcsec=None, north_arcsec=None), TIME_NS)
    assert not {"east", "north"} & set(blind.parameters)


def test_offsets_reach_who_listens_now_and_are_soon_forgotten(tmp_path: Path) -> None:
    settings = settings_file.load(None, Settings).csw
    with redis_server(tmp_path) as server, server.client() as client, client.pubsub() as listener:
        listener.subscribe("IRIS.rtcal.offsetRequest")
        assert listener.get_message(timeout=WAIT_S)["type"] == "subscribe"
        publisher = CswPublisher(replace(settings, redis=server.address), SystemClock())
        now_ns = SystemClock().tai_ns()
        assert pass_offset(asked(at_ns=now_ns), publisher, SystemClock())
        heard = decode(listener.get_message(timeout=WAIT_S)["data"])
        assert values(heard)["request"] == "1f00aa"
        assert 0 < client.pttl("IRIS.rtcal.offsetRequest") <= 10_000
        server.stop()
        assert not pass_offset(asked(at_ns=now_ns), publisher, SystemClock())
        server.start()
        publisher._link._next_s = 0.0  # it would be tried again a moment later
        assert publisher.publish("IRIS.rtcal.status", b"x")
        with server.client() as again:
            assert again.keys() == [b"IRIS.rtcal.status"]  # the offset did not wait
        publisher.close()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (asked(at_ns=TIME_NS - 11 * NS), "11 s old"),
        (asked(at_ns=TIME_NS + 11 * NS), "-11 s old"),
        (asked(x="left"), "cannot be believed"),
        (asked(more=1), "cannot be believed"),
        (asked(east_arcsec=1e12), "cannot be believed"),
        (SAMPLES["telemetry"], ""),
        (SAMPLES["read"], ""),
    ],
)
def test_what_is_old_or_cannot_be_believed_moves_no_telescope(message, words, caplog) -> None:
    class Nobody:
        def publish_now(self, *_):
            raise AssertionError("published")

    pass_offsets(ListSource([message]), Nobody(), FakeClock(TIME_NS), threading.Event())
    assert words in caplog.text
