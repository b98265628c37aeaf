"""The event service on real Redis servers: bridge and publisher, absent servers, restarts, silence, sentinels."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from msgspec import Struct
from msgspec.structs import replace

from streams import settings as settings_file
from streams.clock import SystemClock
from streams.csw import CswEvent, CswParameter, decode, encode
from streams.csw_bridge import MAX_TOGETHER, CswBridge
from streams.csw_messages import to_message
from streams.csw_redis import MAX_WAITING, CswPublisher, CswSubscriber
from streams.csw_settings import CswSettings
from streams.csw_sink import CswSink
from streams.errors import EventServerError
from streams.messages import Message, Observe, ObserveHeader, Telemetry, TelemetryHeader
from streams.telemetry_keys import KeyTable, load_keys
from tests.fakes import ListSink
from tests.redis_server import WAIT_S, RedisServer, free_port, redis_sentinel, redis_server
from tests.samples import SAMPLES, TIME_NS


class _Tables(Struct, frozen=True):
    csw: CswSettings


@pytest.fixture(scope="module")
def table() -> KeyTable:
    return load_keys("")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as running:
        yield running


def settings(**changes: Any) -> CswSettings:
    quick = {"timeout_s": 0.3, "silence_s": 0.2, "retry_s": 0.02, "retry_max_s": 0.05}
    return replace(settings_file.load(None, _Tables).csw, **(quick | changes))


class Rig:
    """A bridge on a thread of its own."""

    def __init__(self, table: KeyTable, **changes: Any) -> None:
        self.sink = ListSink()
        self.subscriber = CswSubscriber(settings(**changes), SystemClock())
        self.bridge = CswBridge(self.subscriber, table, self.sink)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.bridge.run, args=(self._stop, 0.02), daemon=True)

    def __enter__(self) -> "Rig":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self.subscriber.close()

    def until(self, wanted: Callable[["Rig"], bool]) -> None:
        until_s = time.monotonic() + WAIT_S
        while not wanted(self):
            assert time.monotonic() < until_s, self.bridge.counters
            time.sleep(0.005)

    def until_count(self, name: str, count: int) -> None:
        self.until(lambda rig: rig.bridge.counters[name] >= count)

    def events(self) -> list[tuple[str, Any]]:
        return [(one.header.event, one.header.values) for one in self.sink.of(Telemetry)]


def angle(value: float, source: str = "TCS.cmIRIS", name: str = "positionAngle") -> tuple[str, bytes]:
    event = CswEvent(source, name, TIME_NS, {"positionAngle": CswParameter("Double", [value], "degree")})
    return event.key, encode(event)


def publish(server: RedisServer, key: str, payload: bytes) -> None:
    with server.client() as client:
        client.set(key, payload)
        client.publish(key, payload)


def test_events_come_as_messages(server: RedisServer, table: KeyTable) -> None:
    with Rig(table, redis=server.address) as rig:
        rig.until(lambda rig: rig.subscriber.connected)
        publish(server, *angle(12.5))
        publish(server, *angle(13.5))
        rig.until_count("telemetry", 2)
    first, second = rig.sink.of(Telemetry)
    assert first.header == TelemetryHeader(
        instrument="TCS",
        detector="ALL",
        sequence=0,
        time_ns=TIME_NS,
        event="TCS.cmIRIS.positionAngle",
        values={"positionAngle": 12.5},
        units={"positionAngle": "degree"},
    )
    assert (second.header.sequence, second.header.values) == (1, {"positionAngle": 13.5})


def test_the_last_value_of_each_event_is_fetched_first(server: RedisServer, table: KeyTable) -> None:
    publish(server, *angle(1.0))
    publish(server, *angle(2.0))
    publish(server, *angle(3.0, name="pupilRotation"))
    publish(server, "CSW.first.event.init", b"\xff")
    with Rig(table, redis=server.address) as rig:
        rig.until_count("telemetry", 2)
    assert rig.events() == [
        ("TCS.cmIRIS.positionAngle", {"positionAngle": 2.0}),
        ("TCS.cmIRIS.pupilRotation", {"positionAngle": 3.0}),
    ]
    assert rig.bridge.counters["last_values"] == 2


def test_only_the_wanted_patterns(server: RedisServer, table: KeyTable) -> None:
    publish(server, *angle(1.0, source="WFOS.red"))
    with Rig(table, redis=server.address, patterns=["TCS.*", "IRIS.*"]) as rig:
        rig.until(lambda rig: rig.subscriber.connected)
        publish(server, *angle(2.0, source="WFOS.red"))
        publish(server, *angle(3.0))
        rig.until_count("telemetry", 1)
    assert rig.events() == [("TCS.cmIRIS.positionAngle", {"positionAngle": 3.0})]


def test_a_server_that_comes_late_and_one_that_dies_and_comes_back(
    tmp_path: Path, table: KeyTable, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path)
    try:
        with Rig(table, redis=server.address) as rig:
            rig.until_count("connection_failures", 3)
            server.start()
            rig.until(lambda rig: rig.subscriber.connected)
            publish(server, *angle(1.0))
            rig.until_count("telemetry", 1)
            server.stop()
            rig.until_count("connection_failures", rig.bridge.counters["connection_failures"] + 3)
            server.start()
            publish(server, *angle(2.0))
            rig.until_count("telemetry", 2)
            rig.until(lambda rig: rig.subscriber.connected)
            publish(server, *angle(3.0))
            rig.until(lambda rig: bool(rig.events()) and rig.events()[-1][1] == {"positionAngle": 3.0})
    finally:
        server.stop()
    assert rig.bridge.counters["connected"] == 2
    refusals = [record for record in caplog.records if "trying again" in record.getMessage()]
    assert 1 <= len(refusals) <= 4  # said when it changes, not at every attempt


def test_a_server_that_says_nothing_is_left(table: KeyTable) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with Rig(table, redis=f"127.0.0.1:{deaf.getsockname()[1]}", timeout_s=0.05) as rig:
            rig.until_count("connection_failures", 2)
            assert not rig.subscriber.connected


def test_a_server_that_falls_silent_is_left_and_found_again(server: RedisServer, table: KeyTable) -> None:
    with Rig(table, redis=server.address, timeout_s=0.1) as rig:
        rig.until(lambda rig: rig.subscriber.connected)
        with server.client() as client:
            client.execute_command("CLIENT", "PAUSE", "700", "ALL")
        rig.until_count("connection_failures", 1)
        rig.until(lambda rig: rig.subscriber.connected)
        publish(server, *angle(4.0))
        rig.until_count("telemetry", 1)


def test_a_quiet_server_that_answers_is_kept(server: RedisServer, table: KeyTable) -> None:
    with Rig(table, redis=server.address, silence_s=0.02) as rig:
        rig.until(lambda rig: rig.subscriber.connected)
        began_s = time.monotonic()
        rig.until(lambda _: time.monotonic() - began_s > 0.6)
        assert rig.bridge.counters["connected"] == 1
        assert rig.bridge.counters["connection_failures"] == 0


def test_the_server_is_found_by_a_sentinel(server: RedisServer, table: KeyTable, tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    with redis_sentinel(tmp_path, server, "eventServer") as sentinel:
        with Rig(table, redis=nowhere, sentinel=[nowhere, sentinel.address]) as rig:
            publish(server, *angle(5.0))
            rig.until_count("telemetry", 1)
        with Rig(table, sentinel=[sentinel.address], master="other") as lost:
            lost.until_count("connection_failures", 1)
    assert rig.events()[0] == ("TCS.cmIRIS.positionAngle", {"positionAngle": 5.0})


def test_what_is_no_event_is_counted_and_the_next_one_comes(
    server: RedisServer, table: KeyTable, caplog: pytest.LogCaptureFixture
) -> None:
    obsolete = cbor2.dumps({"SystemEvent": {"source": "a", "paramSet": []}})
    with Rig(table, redis=server.address) as rig:
        rig.until(lambda rig: rig.subscriber.connected)
        with server.client() as client:
            for _ in range(50):
                client.publish("TCS.a.b", b"\xff\x00")
            client.publish("TCS.a.b", obsolete)
            client.publish("TCS.a.b", b"")
        publish(server, *angle(6.0, source="TCS.nobody knows"))
        rig.until_count("telemetry", 1)
    counters = rig.bridge.counters
    assert counters["rejected_cbor"] == 51
    assert counters["rejected_obsolete"] == 1
    assert counters["unknown_events"] == 1
    assert len([record for record in caplog.records if "refused event" in record.getMessage()]) == 3  # 1st, 10th, 1st


def test_what_is_published_is_what_the_bridge_takes(server: RedisServer, table: KeyTable) -> None:
    header = TelemetryHeader(
        instrument="IRIS",
        detector="ALL",
        sequence=0,
        time_ns=TIME_NS,
        event="TCS.cmIRIS.imgAtmDispersion",
        values={"wavelength": [1.5, 1.65], "orientation": -12.5, "timestamp": TIME_NS + 5, "unknown": None},
        units={"wavelength": "um", "orientation": "deg", "timestamp": "tai_ns"},
    )
    loop = replace(header, event="NFIRAOS.rtc.loop", values={"ho": "LOCK", "count": 3, "on": True}, units={})
    step = ObserveHeader(
        instrument="IRIS", detector="IMG1", sequence=0, time_ns=TIME_NS, name="ExposureEnd", exposure_id="E-1"
    )
    messages: list[Message] = [Telemetry(header), Telemetry(loop), Observe(step), SAMPLES["status"]]
    with (
        CswSink(CswPublisher(settings(redis=server.address), SystemClock()), table) as sink,
        Rig(table, redis=server.address) as rig,
    ):
        rig.until(lambda rig: rig.subscriber.connected)
        assert all(sink.send(message) for message in messages)
        rig.until_count("observe", 1)
        rig.until_count("telemetry", 2)
    dispersion, state = rig.sink.of(Telemetry)
    expected = {"wavelength": [1.5, 1.65], "orientation": -12.5, "timestamp": TIME_NS + 5}
    assert dispersion.header.values == expected
    assert dispersion.header.units == {"wavelength": "micron", "orientation": "degree", "timestamp": "tai_ns"}
    assert state.header.values == {"ho": "LOCK", "count": 3, "on": True}
    assert rig.sink.of(Observe)[0].header.exposure_id == "E-1"
    assert sink.counters["sent"] == 3
    with server.client() as client:
        kept = cbor2.loads(client.get("NFIRAOS.rtc.loop"))
    assert {"ChoiceKey": {"keyName": "ho", "values": ["LOCK"], "units": "NoUnits"}} in kept["paramSet"]


def test_a_flood_comes_whole_and_in_order(server: RedisServer, table: KeyTable) -> None:
    count = 3 * MAX_TOGETHER + 50
    with (
        CswSink(CswPublisher(settings(redis=server.address), SystemClock()), table) as sink,
        Rig(table, redis=server.address) as rig,
    ):
        rig.until(lambda rig: rig.subscriber.connected)
        for number in range(count):
            assert sink.send(numbered(number))
        rig.until_count("telemetry", count)
    values = [values["positionAngle"] for _, values in rig.events()]
    assert values == [float(number) for number in range(count)]
    with server.client() as client:
        assert decode(client.get("TCS.cmIRIS.positionAngle")).parameters["positionAngle"].values == [count - 1]


def test_a_sink_publishes_what_it_took_before_it_closes(server: RedisServer, table: KeyTable) -> None:
    with CswSink(CswPublisher(settings(redis=server.address), SystemClock()), table) as sink:
        sink.send(numbered(1))
        sink.send(numbered(2))
    assert sink.counters["sent"] == 2


def test_who_sends_never_waits_for_a_server_that_hangs(table: KeyTable) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        sink = CswSink(CswPublisher(settings(redis=address, timeout_s=WAIT_S), SystemClock()), table)
        taken = [sink.send(SAMPLES["telemetry"]) for _ in range(3 * MAX_WAITING)]
        assert not taken[-1]
        assert sum(taken) >= MAX_WAITING
        assert sink.counters["dropped"] == taken.count(False)
    sink.close()  # the other end is gone: its thread is told at once


def test_a_publisher_keeps_what_it_could_not_send(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    publisher = CswPublisher(settings(redis=server.address, retry_s=0.001, retry_max_s=0.001), SystemClock())
    with pytest.raises(EventServerError, match="no event server at 127"):
        publisher.require()
    assert publisher.publish(*angle(1.0))
    try:
        server.start()
        until_s = time.monotonic() + WAIT_S
        while not publisher.counters["sent"]:
            assert time.monotonic() < until_s
            publisher.publish(*angle(2.0))
        assert publisher.counters["dropped"] == 0
        assert publisher.counters["sent"] > 1
        with server.client() as client:
            assert client.exists("TCS.cmIRIS.positionAngle")
    finally:
        server.stop()
    publisher.close()


def test_a_publisher_forgets_the_oldest_while_the_server_is_away() -> None:
    publisher = CswPublisher(settings(redis=f"127.0.0.1:{free_port()}"), SystemClock())
    assert publisher.publish_all([angle(float(number)) for number in range(MAX_WAITING)])
    assert not publisher.publish_all([angle(-1.0), angle(-2.0)])
    assert publisher.counters["dropped"] == 2
    assert [publisher._waiting[0], publisher._waiting[-1]] == [angle(2.0), angle(-2.0)]


def numbered(number: int) -> Telemetry:
    sample = SAMPLES["telemetry"]
    assert isinstance(sample, Telemetry)
    return Telemetry(
        replace(sample.header, event="TCS.cmIRIS.positionAngle", values={"positionAngle": float(number)}, units={})
    )


def message_of(event: CswEvent, table: KeyTable) -> Any:
    return to_message(event, table, lambda _: 7)


EXPOSURE = "2031A-001-001-IRIS-IMG2-SCI0-0001"


@pytest.mark.parametrize(
    ("source", "name", "parameters", "expected"),
    [
        ("IRIS.imager.detector", "ObserveEvent.ExposureStart", {"exposureId": EXPOSURE}, ("ExposureStart", "IMG2")),
        ("ESW.iris", "ObserveEvent.ExposureAborted", {"exposureId": EXPOSURE}, ("ExposureAborted", "IMG2")),
        ("IRIS.ifs.detector", "endExposure", {"exposure": "E-7", "detector": "IFS"}, ("ExposureEnd", "IFS")),
        ("IRIS.is", "startPrepare", {"obsId": "2031A-001-001"}, ("PrepareStart", "ALL")),
        ("IRIS.is", "startPrepare", {}, None),
        ("IRIS.is", "startPrepare", {"obsId": "two words"}, None),
        ("IRIS.is", "ObserveEvent.PresetStart", {"obsId": "x"}, None),
    ],
)
def test_steps_of_the_sequence(
    table: KeyTable, source: str, name: str, parameters: dict[str, str], expected: tuple[str, str] | None
) -> None:
    given = {key: CswParameter("String", [value]) for key, value in parameters.items()}
    message = message_of(CswEvent(source, name, TIME_NS, given, "ObserveEvent"), table)
    if expected is None:
        assert message is None
    else:
        assert isinstance(message, Observe)
        assert (message.header.name, message.header.detector, message.header.instrument) == (*expected, "IRIS")


def test_how_values_are_flattened(table: KeyTable) -> None:
    given = {
        "matrix": CswParameter("DoubleMatrix", [[[1.0, 2.0], [3.0, 4.0]]], "mas"),
        "nan": CswParameter("Double", [float("nan")]),
        "empty": CswParameter("Double", []),
        "base": CswParameter("EqCoord", [{"_type": "EqCoord", "ra": 659912250000, "dec": -109892300000}]),
        "long": CswParameter("String", ["x" * 5000]),
    }
    header = message_of(CswEvent("TCS.x", "y", TIME_NS, given), table).header
    assert header.sequence == 7
    assert header.values["matrix"] == [1.0, 2.0, 3.0, 4.0]
    assert header.values["nan"] is None
    assert header.values["empty"] is None
    assert header.values["base.ra"] == pytest.approx(183.3089583333)
    assert header.values["base.dec"] == pytest.approx(-30.5256388889)
    assert header.units == {"matrix": "mas", "base.ra": "deg", "base.dec": "deg"}
    assert len(header.values["long"]) == 1024
