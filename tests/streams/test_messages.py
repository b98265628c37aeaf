from pathlib import Path

import msgspec
import numpy as np
import pytest

from streams.dq import DESCRIPTIONS, Dq, names
from streams.messages import MESSAGE_TYPES, DetectorStatus, Provenance, Quality, Read, ReadHeader
from streams.ordering import COUNTERS
from streams.wire import CAUSES, decode
from tests.samples import SAMPLES, make_read


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_kind_is_the_last_word_of_the_source(kind: str) -> None:
    header = SAMPLES[kind].header
    assert header.kind == kind
    assert header.source == f"{header.instrument}/{header.detector}/{kind}"
    assert type(SAMPLES[kind]) is MESSAGE_TYPES[kind]


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_messages_are_frozen(kind: str) -> None:
    with pytest.raises(AttributeError):
        SAMPLES[kind].header.sequence = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        SAMPLES[kind].header = None  # type: ignore[misc,assignment]


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_arrays_of_a_message_have_the_dtypes_that_travel(kind: str) -> None:
    message = SAMPLES[kind]
    assert [field for field in message.__slots__ if field != "header"] == list(message.DTYPES)
    for path, dtypes in message.DTYPES.items():
        assert getattr(message, path).dtype.str in dtypes


def test_headers_of_reads_say_no_more_than_they_know() -> None:
    header = make_read(data=np.zeros((2, 2), dtype="<u2")).header
    assert (header.gain_e_per_dn, header.reset_ns, header.reads_planned) == (None, None, 0)
    assert header.complete


@pytest.mark.parametrize(
    ("field", "value"),
    [("detector", "IMG 1"), ("detector", "-IMG1"), ("exposure_id", "Ä"), ("exposure_id", "A\n"), ("ramp", 10_000_001)],
)
def test_values_out_of_bounds_are_no_header(field: str, value: object) -> None:
    scalars = msgspec.to_builtins(make_read().header) | {field: value}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(scalars, type=ReadHeader)


def test_every_dq_bit_is_described_and_fits_uint32() -> None:
    assert set(DESCRIPTIONS) == set(Dq)
    assert len(Dq) == 32
    assert sum(int(bit) for bit in Dq) == 2**32 - 1


def test_dq_names_come_lowest_bit_first() -> None:
    assert names(0) == []
    assert names((1 << 31) | 0b11) == ["DO_NOT_USE", "SATURATED", "REFERENCE_PIXEL"]


DOCUMENT = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_every_key_of_every_kind_is_in_the_document(kind: str) -> None:
    common, section = DOCUMENT.split("### Every kind")[1], DOCUMENT.split(f"### `{kind}`")[1]
    common, section = common.split("\n### ")[0], section.split("\n### ")[0]
    for field in type(SAMPLES[kind].header).__struct_fields__:
        assert f"`{field}`" in section + common, field
    for path in SAMPLES[kind].DTYPES:
        assert f"`{path}`" in section, path


@pytest.mark.parametrize("struct", [Provenance, DetectorStatus, Quality])
def test_every_key_of_the_parts_of_headers_is_in_the_document(struct: type[msgspec.Struct]) -> None:
    for field in struct.__struct_fields__:
        assert f"`{field}`" in DOCUMENT, field


def test_every_cause_and_counter_is_in_the_document() -> None:
    for word in (*CAUSES, *COUNTERS):
        assert f"`{word}`" in DOCUMENT, word


def test_the_document_s_own_publisher_is_understood() -> None:
    code = DOCUMENT.split("karabo-bridge package:\n\n```python\n")[1].split("```")[0]
    lines = [line for line in code.splitlines() if "socket" not in line or "send_multipart" in line]
    sent: list[list[bytes]] = []
    script = "\n".join(lines).replace("socket.send_multipart(", "sent.append(").replace("4096, 4096", "4, 5")
    exec(script, {"sent": sent})
    read = decode(sent[0])
    assert isinstance(read, Read)
    assert (read.header.source, read.header.exposure_id, read.data.shape) == ("IRIS/IMG1/read", "E1", (4, 5))
