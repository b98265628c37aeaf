import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from streams import wire
from streams.errors import WireError
from streams.messages import MESSAGE_TYPES, Frame, Read
from streams.recording import split_parts
from tests.hostile import HOSTILE, Hostile, good_parts
from tests.samples import GOLDEN, SAMPLES, make_read, same


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_a_message_of_each_kind_has_exactly_its_golden_bytes(kind: str) -> None:
    golden = [bytes(part) for part in split_parts((GOLDEN / f"{kind}.parts").read_bytes())]
    assert [bytes(part) for part in wire.encode(SAMPLES[kind])] == golden
    assert same(wire.decode(golden), SAMPLES[kind])


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_decode_undoes_encode(kind: str) -> None:
    assert same(wire.decode(wire.encode(SAMPLES[kind])), SAMPLES[kind])


@given(
    arrays(st.sampled_from(["<u2", "<f4", ">u2"]), st.tuples(st.integers(1, 20), st.integers(1, 20))),
    st.integers(0, 2**62),
)
def test_any_pixels_come_back(data: np.ndarray, time_ns: int) -> None:
    sent = make_read(0, data=data, time_ns=time_ns)
    received = wire.decode([bytes(part) for part in wire.encode(sent)])
    assert isinstance(received, Read)
    assert received.header == sent.header
    np.testing.assert_array_equal(received.data, data)
    assert received.data.dtype.str == data.dtype.newbyteorder("<").str


def test_pixels_are_views_in_both_directions() -> None:
    read = make_read(data=np.zeros((64, 64), dtype="<u2"))
    parts = wire.encode(read)
    assert np.shares_memory(np.frombuffer(parts[3], dtype="<u2"), read.data)
    decoded = wire.decode(parts)
    assert np.shares_memory(decoded.data, read.data)
    assert not decoded.data.flags.writeable
    assert read.data.flags.writeable


def test_a_part_of_a_larger_image_is_sent_as_it_looks() -> None:
    image = np.arange(100, dtype="<u2").reshape(10, 10)
    received = wire.decode(wire.encode(make_read(data=image[2:5, ::3])))
    np.testing.assert_array_equal(received.data, image[2:5, ::3])


def test_pixels_at_an_odd_address_become_aligned() -> None:
    parts = good_parts()
    buffer = bytearray(len(parts[3]) + 1)
    buffer[1:] = parts[3]
    for offset in (0, 1):
        view = memoryview(buffer)[offset : offset + len(parts[3])]
        decoded = wire.decode([*parts[:3], view])
        assert decoded.data.flags.aligned
        assert not decoded.data.flags.writeable
    np.testing.assert_array_equal(decoded.data, make_read(0).data)


def test_topic_is_the_beginning_of_the_source_s_messages_and_of_no_other() -> None:
    detectors = ["IMG1", "IMG2", "IMG10", "I", "X" * 40, "X" * 64]
    for detector in detectors:
        first = bytes(wire.encode(make_read(detector=detector))[0])
        matching = [other for other in detectors if first.startswith(wire.topic(f"IRIS/{other}/read"))]
        assert matching == [detector]


def test_metadata_is_karabo_s() -> None:
    metadata = msgpack.unpackb(good_parts("status")[0])["metadata"]
    assert metadata["timestamp.sec"] == "1928473163"  # TAI is 37 s ahead of UTC
    assert metadata["timestamp.frac"] == "123456789000000000"  # attoseconds
    assert metadata["timestamp"] == pytest.approx(1928473163.123456789, abs=1e-6)
    assert metadata["timestamp.tid"] == 99


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_hostile_messages_are_refused_for_their_cause(case: Hostile) -> None:
    with pytest.raises(WireError) as refused:
        wire.decode(case.parts)
    assert refused.value.cause == case.cause
    assert len(str(refused.value)) < 10_000


def test_the_corpus_knows_every_cause_and_every_name_once() -> None:
    assert {case.cause for case in HOSTILE} == set(wire.CAUSES)
    assert len({case.name for case in HOSTILE}) == len(HOSTILE)


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_any_bytes_give_a_message_or_a_wire_error(parts: list[bytes]) -> None:
    with pytest.raises(WireError) as refused:  # random bytes are never a message by chance
        wire.decode(parts)
    assert refused.value.cause in wire.CAUSES


def believed_or_refused(parts: Sequence[Any]) -> bool:
    """Decode; what is believed must be a message in every respect, what is not must have a known cause."""
    try:
        message = wire.decode(parts)
    except WireError as error:
        return error.cause in wire.CAUSES
    return same(wire.decode(wire.encode(message)), message)


@settings(max_examples=300)
@given(st.data(), st.sampled_from(sorted(MESSAGE_TYPES)))
def test_a_good_message_with_damaged_bytes_gives_a_message_or_a_wire_error(data: st.DataObject, kind: str) -> None:
    parts = [bytearray(part) for part in good_parts(kind)]
    for _ in range(data.draw(st.integers(1, 4))):
        part = parts[data.draw(st.integers(0, len(parts) - 1))]
        part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    assert believed_or_refused(parts)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(MESSAGE_TYPES)), st.data())
def test_any_value_of_any_field_gives_a_message_or_a_wire_error(kind: str, data: st.DataObject) -> None:
    parts = good_parts(kind)
    scalars = msgpack.unpackb(parts[1])
    scalars[data.draw(st.sampled_from(sorted(scalars)))] = data.draw(json_like)
    parts[1] = msgpack.packb(scalars)
    assert believed_or_refused(parts)


def test_nan_among_the_scalars_is_refused_where_it_is_made() -> None:
    telemetry = SAMPLES["telemetry"]
    header = msgspec.structs.replace(telemetry.header, values={"angle": math.nan})
    with pytest.raises(WireError, match=r"schema: TCS/ALL/telemetry\.values\.angle is nan"):
        wire.encode(dataclasses.replace(telemetry, header=header))


def test_nan_pixels_travel() -> None:
    frame = wire.decode(good_parts("frame"))
    assert isinstance(frame, Frame)
    assert np.isnan(frame.data[0, 1])


def test_a_wrong_dtype_is_refused_where_it_is_made() -> None:
    with pytest.raises(WireError, match="data of IRIS/IMG1/read is int64"):
        wire.encode(make_read(data=np.zeros((2, 2), dtype=np.int64)))
