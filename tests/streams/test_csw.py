"""Events of the event service: the present layout both ways, its traps, and everything that is no event."""

import math
import struct
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.clock import NS, parse_iso_utc, utc_to_tai_ns
from streams.csw import CAUSES, MAX_VALUES, CswEvent, CswParameter, decode, encode
from streams.errors import CswError

TIME_NS = parse_iso_utc("2031-01-15T06:00:00.250")
SECONDS = 1_926_223_200


def payload(**changes: Any) -> dict[str, Any]:
    """An event as CSW's own Python client publishes one."""
    event = {
        "_type": "SystemEvent",
        "eventId": "test",
        "source": "CSW.TestPublisher",
        "eventName": "testEvent1",
        "eventTime": {"seconds": SECONDS, "nanos": 250_000_000},
        "paramSet": [{"DoubleKey": {"keyName": "assemblyEventValue", "values": [42.0], "units": "NoUnits"}}],
    }
    return event | changes


def one(kind: str, values: Any, units: str = "NoUnits") -> bytes:
    return cbor2.dumps(payload(paramSet=[{f"{kind}Key": {"keyName": "p", "values": values, "units": units}}]))


def refused(data: bytes) -> str:
    with pytest.raises(CswError) as error:
        decode(data)
    assert error.value.cause in CAUSES
    assert len(str(error.value)) < 500
    return error.value.cause


def test_a_real_event() -> None:
    event = decode(cbor2.dumps(payload()))
    assert event == CswEvent(
        "CSW.TestPublisher",
        "testEvent1",
        TIME_NS,
        {"assemblyEventValue": CswParameter("Double", [42.0], "NoUnits")},
        "SystemEvent",
        "test",
    )
    assert event.key == "CSW.TestPublisher.testEvent1"


def test_bytes_made_by_hand() -> None:
    """The same event byte by byte, containers of indefinite length and a half-width 100.0, as Scala writes it."""

    def text(word: str) -> bytes:
        return (
            bytes([0x60 + len(word)]) + word.encode()
            if len(word) < 24
            else b"\x78" + bytes([len(word)]) + word.encode()
        )

    value = (
        b"\xbf"
        + text("keyName")
        + text("v")
        + text("values")
        + b"\x9f\xf9\x56\x40\xff"
        + text("units")
        + text("mas")
        + b"\xff"
    )
    time = b"\xa2" + text("seconds") + b"\x1a" + struct.pack(">I", SECONDS) + text("nanos") + b"\x00"
    data = (
        b"\xbf"
        + text("_type")
        + text("ObserveEvent")
        + text("eventId")
        + text("a-1")
        + text("source")
        + text("IRIS.imager.detector")
        + text("eventName")
        + text("ObserveEvent.ExposureStart")
        + text("eventTime")
        + time
        + text("paramSet")
        + b"\x9f\xa1"
        + text("FloatKey")
        + value
        + b"\xff\xff"
    )
    event = decode(data)
    assert event.key == "IRIS.imager.detector.ObserveEvent.ExposureStart"
    assert event.parameters == {"v": CswParameter("Float", [100.0], "mas")}
    assert event.time_ns == utc_to_tai_ns(SECONDS * NS)


@pytest.mark.parametrize(
    ("kind", "came", "values"),
    [
        ("String", ["a", "b"], ["a", "b"]),
        ("Choice", ["LOCK"], ["LOCK"]),
        ("Boolean", [True, False], [True, False]),
        ("Char", ["x"], ["x"]),
        ("Char", [120], ["x"]),
        ("Byte", b"\x01\xff", [1, -1]),
        ("ByteArray", [b"\x01", b"\x80\x02"], [[1], [-128, 2]]),
        ("Short", [-3], [-3]),
        ("Int", [7], [7]),
        ("Long", [2**62], [2**62]),
        ("Float", [1, 0.5], [1.0, 0.5]),
        ("Double", [3, 1e300], [3.0, 1e300]),
        ("DoubleArray", [[1.5, 1.6, 1.7]], [[1.5, 1.6, 1.7]]),
        ("IntMatrix", [[[1, 2], [3, 4]]], [[[1, 2], [3, 4]]]),
        ("UTCTime", [{"seconds": SECONDS, "nanos": 5}], [utc_to_tai_ns(SECONDS * NS + 5)]),
        ("TAITime", [{"seconds": SECONDS, "nanos": 5}], [SECONDS * NS + 5]),
        ("Struct", [{"paramSet": []}], []),
    ],
)
def test_every_type_of_parameter(kind: str, came: Any, values: list[Any]) -> None:
    found = decode(one(kind, came, "meter")).parameters["p"]
    assert found == CswParameter(kind, values, "meter")
    assert [type(value) for value in found.values] == [type(value) for value in values]


def test_a_real_that_is_not_finite_is_kept() -> None:
    values = decode(one("Double", [math.nan, math.inf])).parameters["p"].values
    assert math.isnan(values[0])
    assert values[1] == math.inf


def test_coordinates_stay_as_they_came() -> None:
    value = {"_type": "EqCoord", "tag": "BASE", "ra": 659912250000, "dec": -109892300000, "frame": "ICRS"}
    assert decode(one("EqCoord", [value])).parameters["p"].values == [value]
    assert refused(one("EqCoord", [{"ra": 1}])) == "type"


def test_the_time_as_text_as_the_json_form_has_it() -> None:
    assert decode(cbor2.dumps(payload(eventTime="2031-01-15T06:00:00.250Z"))).time_ns == TIME_NS
    assert refused(cbor2.dumps(payload(eventTime="noon"))) == "time"


def test_the_same_id_twice_is_two_events() -> None:
    assert decode(cbor2.dumps(payload())).id == decode(cbor2.dumps(payload(eventName="other"))).id == "test"


OBSOLETE = {
    "SystemEvent": {
        "eventId": "7a4cd6ab",
        "source": "wfos.blue.filter",
        "eventName": "filter wheel",
        "eventTime": {"seconds": 1, "nanos": 0},
        "paramSet": [{"keyName": "ra", "keyType": "IntKey", "items": [1, 2], "units": "NoUnits"}],
    }
}


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "cbor"),
        (b"\xff", "cbor"),
        (b"\x81" * 100_000, "cbor"),
        (b"\x9b" + b"\xff" * 8, "cbor"),
        (b"\x5b\x00\x00\x00\xff\xff\xff\xff\xff", "cbor"),
        (b"\xd8\x1c\x81\xd8\x1d\x00", "cbor"),  # a list that holds itself
        (b"\xc2\x58\x20" + b"\xff" * 32, "cbor"),
        (b"\xa2\x61a\x01\x61a\x02", "cbor"),
        (cbor2.dumps(2**60), "layout"),
        (b"x" * (1 << 20) + b"x", "size"),
        (cbor2.dumps([1]), "layout"),
        (cbor2.dumps({}), "layout"),
        (cbor2.dumps(OBSOLETE), "obsolete"),
        (cbor2.dumps(payload(_type="Alarm")), "layout"),
        (cbor2.dumps(payload(eventId="-1")), "time"),
        (cbor2.dumps(payload(eventTime={"seconds": -1, "nanos": 999_000_000})), "time"),
        (cbor2.dumps(payload(eventTime={"seconds": 1.5, "nanos": 0})), "time"),
        (cbor2.dumps(payload(eventTime={"seconds": True, "nanos": 0})), "time"),
        (cbor2.dumps(payload(eventTime={"seconds": 2**62, "nanos": 0})), "time"),
        (cbor2.dumps(payload(eventTime=7)), "time"),
        (cbor2.dumps(payload(source=" TCS.pk")), "layout"),
        (cbor2.dumps(payload(source=7)), "layout"),
        (cbor2.dumps(payload(eventName="")), "layout"),
        (cbor2.dumps(payload(eventName="x" * 300)), "layout"),
        (cbor2.dumps(payload(paramSet={})), "layout"),
        (cbor2.dumps(payload(paramSet=[{}])), "layout"),
        (cbor2.dumps(payload(paramSet=[{"Double": {"keyName": "a", "values": []}}])), "layout"),
        (cbor2.dumps(payload(paramSet=[{"DoubleKey": []}])), "layout"),
        (cbor2.dumps(payload(paramSet=[{"IntKey": {"keyName": "a", "values": [1]}}] * 2)), "layout"),
        (cbor2.dumps(payload(paramSet=[{"IntKey": {"keyName": "a", "values": [1]}}] * 257)), "layout"),
        (one("Int", [True]), "type"),
        (one("Int", [1.0]), "type"),
        (one("Long", [2**63]), "type"),
        (one("Double", ["1.0"]), "type"),
        (one("Double", [True]), "type"),
        (one("Double", 1.0), "type"),
        (one("DoubleArray", [1.0]), "type"),
        (one("Boolean", [1]), "type"),
        (one("String", [1]), "type"),
        (one("Char", ["xy"]), "type"),
        (one("Byte", [1, 2]), "type"),
        (one("ByteArray", b"ab"), "type"),
        (one("UTCTime", [5]), "time"),
        (one("Double", [0.5] * (MAX_VALUES + 1)), "size"),
        (one("IntMatrix", [[[1] * 100] * 100]), "size"),
    ],
)
def test_what_is_no_event_is_refused_by_cause(data: bytes, cause: str) -> None:
    assert refused(data) == cause


def assert_event_or_refusal(data: bytes) -> None:
    cause = CAUSES[0]
    try:
        decode(data)
    except CswError as error:
        cause = error.cause
    assert cause in CAUSES


@given(st.binary(max_size=400))
def test_any_bytes_are_an_event_or_a_refusal(data: bytes) -> None:
    assert_event_or_refusal(data)


@given(st.data())
def test_a_damaged_event_is_an_event_or_a_refusal(data: st.DataObject) -> None:
    whole = bytearray(one("DoubleArray", [[1.5, 1.6]], "micron"))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    assert_event_or_refusal(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


reals = st.floats(allow_nan=False)
texts = st.text(max_size=20)
times = st.integers(0, 2**62)
parameters = st.one_of(
    st.builds(CswParameter, st.just("Double"), st.lists(reals), st.sampled_from(["NoUnits", "mas", "marcsec"])),
    st.builds(CswParameter, st.just("DoubleArray"), st.lists(st.lists(reals))),
    st.builds(CswParameter, st.just("FloatMatrix"), st.lists(st.lists(st.lists(reals)))),
    st.builds(CswParameter, st.just("Long"), st.lists(st.integers(-(2**63) + 1, 2**63 - 1))),
    st.builds(CswParameter, st.sampled_from(["String", "Choice"]), st.lists(texts)),
    st.builds(CswParameter, st.just("Boolean"), st.lists(st.booleans())),
    st.builds(CswParameter, st.just("Byte"), st.lists(st.integers(-128, 127))),
    st.builds(CswParameter, st.just("TAITime"), st.lists(times)),
)


@given(
    st.dictionaries(texts, parameters, max_size=5),
    st.integers(parse_iso_utc("2017-02-01"), 2**62),
    st.sampled_from(["SystemEvent", "ObserveEvent"]),
)
def test_what_is_written_is_read_back(named: dict[str, CswParameter], time_ns: int, kind: Any) -> None:
    event = CswEvent("TCS.ENC Assembly", "CurrentPosition", time_ns, named, kind, "1")
    assert decode(encode(event)) == event


def test_the_present_layout_is_written() -> None:
    event = CswEvent("TCS.pk", "currentPosition", TIME_NS, {"el": CswParameter("Double", [60.0], "degree")}, id="7")
    assert cbor2.loads(encode(event)) == {
        "_type": "SystemEvent",
        "eventId": "7",
        "source": "TCS.pk",
        "eventName": "currentPosition",
        "eventTime": {"seconds": SECONDS, "nanos": 250_000_000},
        "paramSet": [{"DoubleKey": {"keyName": "el", "values": [60.0], "units": "degree"}}],
    }
