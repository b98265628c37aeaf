import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from streams.array_1_0 import MAX_HEADER_BYTES, Array10Settings, decode
from streams.clock import NS, parse_iso_utc
from streams.endpoints import StreamsSettings
from streams.errors import WireError
from streams.messages import Read, ReadHeader
from streams.ordering import Resequencer
from streams.settings import load
from streams.sources import ZmqSource
from tests.samples import same

PIXELS = np.arange(12, dtype="<u2").reshape(3, 4)
START_NS = parse_iso_utc("2031-01-15T06:00:00")
SETTINGS = Array10Settings(
    instrument="IRIS",
    detector="IMG2",
    exposure_prefix="lab",
    reads_per_ramp=4,
    ramps_per_exposure=2,
    frame_time_s=0.5,
    start_utc="2031-01-15T06:00:00",
    unknown_keys="refuse",
    setup={"DETECTOR": "IMG2", "FILTER": "H"},
)


def parts(pixels: np.ndarray[Any, Any] = PIXELS, **changes: object) -> list[bytes]:
    header: dict[str, object] = {"htype": "array-1.0", "type": pixels.dtype.name, "shape": pixels.shape, "frame": 0}
    return [json.dumps(header | changes).encode(), pixels.tobytes()]


def test_the_bare_form_is_completed_from_the_frame_number() -> None:
    read = decode(parts(frame=13), SETTINGS)
    assert read.header == ReadHeader(
        instrument="IRIS",
        detector="IMG2",
        sequence=13,
        time_ns=START_NS + 13 * NS // 2,
        exposure_id="lab-000001",
        ramp=1,
        read=1,
        ramps_planned=2,
        reads_planned=4,
        frame_time_ns=NS // 2,
        setup={"DETECTOR": "IMG2", "FILTER": "H"},
    )
    np.testing.assert_array_equal(read.data, PIXELS)
    assert not read.data.flags.writeable


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("htype", ["array-1.0", ["array-1.0"], ["detector", "array-1.0"]])
def test_both_pixel_types_and_all_writings_of_htype_are_taken(dtype: str, htype: object) -> None:
    pixels = np.linspace(0, 1000, 6).astype(dtype).reshape(2, 3)
    read = decode(parts(pixels, htype=htype), SETTINGS)
    assert read.data.dtype == dtype
    np.testing.assert_array_equal(read.data, pixels)


def test_what_the_header_gives_wins() -> None:
    given_keys = {
        "instrument": "LAB",
        "detector": "H4RG",
        "sequence": 99,
        "time_ns": 5 * 10**17,
        "exposure_id": "E1",
        "ramp": 3,
        "read": 7,
        "ramps_planned": 9,
        "reads_planned": 20,
        "reset_ns": 4 * 10**17,
        "frame_time_ns": 1_000_000,
        "complete": False,
        "gain_e_per_dn": 2.5,
        "read_noise_e": 8,
        "saturation_dn": 40000,
    }
    header = decode(parts(**given_keys), SETTINGS).header
    assert {name: getattr(header, name) for name in given_keys} == given_keys


def test_reads_that_are_numbered_by_the_header_have_no_plan_from_the_settings() -> None:
    header = decode(parts(exposure_id="E1", ramp=0, read=7), SETTINGS).header
    assert (header.reads_planned, header.ramps_planned) == (0, 0)


def test_setup_keys_of_the_header_join_those_of_the_settings() -> None:
    header = decode(parts(setup={"FILTER": "Ks", "XSIZE": 4}), SETTINGS).header
    assert header.setup == {"DETECTOR": "IMG2", "FILTER": "Ks", "XSIZE": 4}


@pytest.mark.parametrize("timestamp", [1926396000.25, 1926396000])
def test_a_timestamp_is_utc(timestamp: float) -> None:
    header = decode(parts(timestamp=timestamp), SETTINGS).header
    assert header.time_ns == round(timestamp * NS) + 37 * NS


def test_time_ns_is_more_exact_than_timestamp_and_wins() -> None:
    assert decode(parts(timestamp=1.0, time_ns=5), SETTINGS).header.time_ns == 5


def test_the_same_bytes_always_give_the_same_read() -> None:
    assert same(decode(parts(frame=5), SETTINGS), decode(parts(frame=5), SETTINGS))


@given(st.integers(0, 10**6))
def test_consecutive_frames_are_consecutive_reads(frame: int) -> None:
    order = Resequencer(2)
    one, two = decode(parts(frame=frame), SETTINGS), decode(parts(frame=frame + 1), SETTINGS)
    assert len(order.push(one)) == len(order.push(two)) == 1
    assert two.header.time_ns - one.header.time_ns == NS // 2
    assert two.header.read == (one.header.read + 1) % 4
    assert (two.header.exposure_id == one.header.exposure_id) == ((frame + 1) % 8 != 0)


def test_unknown_keys_are_refused_or_ignored_as_the_settings_say() -> None:
    with pytest.raises(WireError, match="pulse_id"):
        decode(parts(pulse_id=4), SETTINGS)
    lenient = msgspec.structs.replace(SETTINGS, unknown_keys="ignore")
    assert same(decode(parts(pulse_id=4, source="x"), lenient), decode(parts(), SETTINGS))


HOSTILE: list[tuple[str, list[bytes], str]] = [
    ("no parts", [], "parts"),
    ("header alone", parts()[:1], "parts"),
    ("three parts", [*parts(), b""], "parts"),
    ("empty header", [b"", PIXELS.tobytes()], "header"),
    ("random header", [b"\x93\xff\x00", PIXELS.tobytes()], "header"),
    ("truncated header", [parts()[0][:-4], PIXELS.tobytes()], "header"),
    ("header is a list", [b"[1, 2]", PIXELS.tobytes()], "header"),
    ("invalid UTF-8", [b'{"htype": "\xff"}', PIXELS.tobytes()], "header"),
    ("UTF-16", [parts()[0].decode().encode("utf-16"), PIXELS.tobytes()], "header"),
    ("key twice", [parts()[0][:-1] + b', "frame": 1}', PIXELS.tobytes()], "header"),
    ("deep nesting", [b'{"a":' * 20000, PIXELS.tobytes()], "size"),
    ("nesting at the limit", [b"[" * 60000, PIXELS.tobytes()], "header"),
    ("oversized header", [parts()[0] + b" " * MAX_HEADER_BYTES, PIXELS.tobytes()], "size"),
    ("NaN time", [parts()[0][:-1] + b', "timestamp": NaN}', PIXELS.tobytes()], "header"),
    ("infinite gain", [parts()[0][:-1] + b', "gain_e_per_dn": Infinity}', PIXELS.tobytes()], "header"),
    ("gain beyond all numbers", [parts()[0][:-1] + b', "gain_e_per_dn": 1e999}', PIXELS.tobytes()], "header"),
    ("frame of 5000 digits", [parts()[0][:-1] + b', "ramp": ' + b"9" * 5000 + b"}", PIXELS.tobytes()], "header"),
    ("another htype", parts(htype="array-2.0"), "header"),
    ("htype without array-1.0", parts(htype=["dimage-1.0"]), "header"),
    ("no htype", [b'{"type": "uint16", "shape": [3, 4], "frame": 0}', PIXELS.tobytes()], "schema"),
    ("htype is a number", parts(htype=1), "schema"),
    ("unknown type", parts(type="int64"), "array"),
    ("numpy code as type", parts(type="<u2"), "array"),
    ("type of another size", parts(type="float32"), "array"),
    ("shape in one dimension", parts(shape=[12]), "schema"),
    ("shape in three dimensions", parts(shape=[1, 3, 4]), "schema"),
    ("shape of nothing", parts(shape=[0, 4]), "schema"),
    ("negative shape", parts(shape=[-3, -4]), "schema"),
    ("float shape", parts(shape=[3.0, 4.0]), "schema"),
    ("bool shape", parts(shape=[True, 12]), "schema"),
    ("shape beyond the limit", parts(shape=[1, 16385]), "schema"),
    ("shape that does not fit", parts(shape=[3, 5]), "array"),
    ("too few bytes", [parts()[0], PIXELS.tobytes()[:-1]], "array"),
    ("no bytes", [parts()[0], b""], "array"),
    ("negative frame", parts(frame=-1), "schema"),
    ("bool frame", parts(frame=True), "schema"),
    ("float frame", parts(frame=1.0), "schema"),
    ("text frame", parts(frame="1"), "schema"),
    ("huge frame", parts(frame=2**63), "schema"),
    ("frame beyond all times", parts(frame=2**61), "schema"),
    ("negative timestamp", parts(timestamp=-1.0), "schema"),
    ("timestamp in ns", parts(timestamp=1.9e18), "schema"),
    ("exposure without read", parts(exposure_id="A", ramp=0), "schema"),
    ("ramp alone", parts(ramp=1), "schema"),
    ("id with a newline", parts(exposure_id="A\n", ramp=0, read=0), "schema"),
    ("detector with a slash", parts(detector="../x"), "schema"),
    ("nested setup", parts(setup={"A": {"B": 1}}), "schema"),
]


@pytest.mark.parametrize(("message", "cause"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
@pytest.mark.parametrize("unknown_keys", ["refuse", "ignore"])
def test_hostile_messages_are_refused_for_their_cause(message: list[bytes], cause: str, unknown_keys: str) -> None:
    with pytest.raises(WireError) as refused:
        decode(message, msgspec.structs.replace(SETTINGS, unknown_keys=unknown_keys))
    assert refused.value.cause == cause


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_refused(message: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode(message, SETTINGS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([field.name for field in msgspec.structs.fields(ReadHeader)] + ["shape", "frame"]), json_values)
def test_any_value_of_any_key_gives_a_read_or_a_wire_error(key: str, value: object) -> None:
    message = parts(**{key: value})
    try:
        read = decode(message, SETTINGS)
    except WireError:
        return
    msgspec.convert(msgspec.to_builtins(read.header), type=ReadHeader)  # what was believed is a header


def test_pixels_at_an_odd_address_become_aligned() -> None:
    header, blob = parts(np.ones((2, 3), dtype="<f4"))
    read = decode([header, memoryview(b"x" + blob)[1:]], SETTINGS)
    assert read.data.flags.aligned
    assert (read.data == 1).all()


@pytest.fixture
def pair() -> Iterator[tuple[Callable[[list[bytes]], None], ZmqSource]]:
    with zmq.Context() as context:
        source = ZmqSource(
            "inproc://array",
            pattern="pull",
            bind=True,
            high_water=10,
            decode=partial(decode, settings=SETTINGS),
            zmq_context=context,
        )
        socket = context.socket(zmq.PUSH)
        socket.connect("inproc://array")
        yield socket.send_multipart, source
        socket.close(linger=0)
        source.close()


def test_a_detector_that_speaks_it_needs_no_bridge(
    pair: tuple[Callable[[list[bytes]], None], ZmqSource],
) -> None:
    send, source = pair
    send(parts(type="int8"))
    pixels = np.random.default_rng(5).integers(0, 65535, (256, 512)).astype("<u2")
    send(parts(pixels, frame=6))
    assert source.receive(10.0) is None
    read = source.receive(10.0)
    assert isinstance(read, Read)
    assert (read.header.ramp, read.header.read) == (1, 2)
    np.testing.assert_array_equal(read.data, pixels)
    assert source.counters == {"received": 2, "rejected_array": 1}


class Settings(msgspec.Struct, frozen=True):
    streams: StreamsSettings


def test_the_configuration_chooses_it() -> None:
    streams = load(None, Settings, {"streams": {"protocol": "array-1.0"}}).streams
    read = streams.decode(parts(frame=11))
    assert isinstance(read, Read)
    assert read.header.exposure_id == "array-000001"


@pytest.mark.parametrize("change", [{"start_utc": "soon"}, {"reads_per_ramp": 0}, {"exposure_prefix": "a b"}])
def test_settings_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(msgspec.to_builtins(SETTINGS) | change, type=Array10Settings)
