"""Multipart messages that must not be believed, for the codec, the sources and the daemon alike.

After any of them the next good exposure still comes out.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack
import numpy as np

from streams import wire
from tests.samples import SAMPLES, make_read


class Hostile(NamedTuple):
    """A message, and the cause it is refused for (one of `wire.CAUSES`)."""

    name: str
    parts: list[bytes]
    cause: str


def good_parts(kind: str = "read") -> list[bytes]:
    """Return the parts of a good message, as bytes."""
    message = make_read(0) if kind == "read" else SAMPLES[kind]
    return [bytes(part) for part in wire.encode(message)]


def _changed(index: int, change: Callable[[dict[str, Any]], object], kind: str = "read") -> list[bytes]:
    """Return a good message with the map of one part changed."""
    parts = good_parts(kind)
    unpacked = msgpack.unpackb(parts[index])
    change(unpacked)
    parts[index] = msgpack.packb(unpacked)
    return parts


def _metadata(key: str, value: object) -> list[bytes]:
    return _changed(0, lambda part: part["metadata"].update({key: value}))


def _scalar(key: str, value: object, kind: str = "read") -> list[bytes]:
    return _changed(1, lambda scalars: scalars.update({key: value}), kind)


def _array(key: str, value: object) -> list[bytes]:
    return _changed(2, lambda part: part.update({key: value}))


def _replaced(index: int, part: bytes, kind: str = "read") -> list[bytes]:
    parts = good_parts(kind)
    parts[index] = part
    return parts


def _deep(depth: int) -> bytes:
    return b"\x81\xa1a" * depth + b"\xc0"


def _raw_scalars(tail: bytes) -> bytes:
    """Return the scalar map with one more pair of raw bytes."""
    packed = good_parts()[1]
    count = packed[1] * 256 + packed[2] if packed[0] == 0xDE else packed[0] & 0x0F
    start = 3 if packed[0] == 0xDE else 1
    return b"\xde" + (count + 1).to_bytes(2, "big") + packed[start:] + tail


def _random(seed: int, *sizes: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [rng.bytes(size) for size in sizes]


_GOOD = good_parts()
_FRAME = good_parts("frame")

_LAYOUT = [
    Hostile("no parts", [], "parts"),
    Hostile("one part", _GOOD[:1], "parts"),
    Hostile("three parts: pixels missing", _GOOD[:3], "parts"),
    Hostile("two parts: array missing", _GOOD[:2], "parts"),
    Hostile("six parts: array twice", _GOOD + _GOOD[2:], "parts"),
    Hostile("pixels of two messages", _GOOD + _GOOD, "parts"),
    Hostile("frame without its DQ", _FRAME[:6], "parts"),
    Hostile("empty parts", [b"", b"", b"", b""], "msgpack"),
    Hostile("empty scalars", _replaced(1, b""), "msgpack"),
    Hostile("parts swapped", [_GOOD[2], _GOOD[3], _GOOD[0], _GOOD[1]], "header"),
    Hostile("scalars in place of the header", [_GOOD[1], _GOOD[0], *_GOOD[2:]], "header"),
    Hostile("arrays in another order", [*_FRAME[:2], *_FRAME[4:6], *_FRAME[2:4], *_FRAME[6:]], "header"),
    Hostile("duplicate path", [*_FRAME[:4], *_FRAME[2:4], *_FRAME[6:]], "header"),
    Hostile("random bytes, one part", _random(1, 100), "parts"),
    Hostile("random bytes, two parts", _random(2, 40, 400), "msgpack"),
    Hostile("random bytes, four parts", _random(3, 40, 400, 40, 4000), "msgpack"),
]

_PACKING = [
    Hostile("truncated header", _replaced(0, _GOOD[0][:-3]), "msgpack"),
    Hostile("truncated scalars", _replaced(1, _GOOD[1][: len(_GOOD[1]) // 2]), "msgpack"),
    Hostile("truncated array header", _replaced(2, _GOOD[2][:5]), "msgpack"),
    Hostile("bytes behind the header", _replaced(0, _GOOD[0] + b"\xc0"), "msgpack"),
    Hostile("header is a list", _replaced(0, msgpack.packb([1, 2])), "msgpack"),
    Hostile("scalars are a number", _replaced(1, msgpack.packb(7)), "msgpack"),
    Hostile("invalid UTF-8", _replaced(1, _raw_scalars(b"\xa1\xff\x01")), "msgpack"),
    Hostile("ext type", _replaced(1, _raw_scalars(b"\xa1e" + msgpack.packb(msgpack.ExtType(4, b"abc")))), "msgpack"),
    Hostile("empty ext type", _replaced(1, _raw_scalars(b"\xa1e\xc7\x00\x04")), "schema"),
    Hostile("timestamp type", _replaced(1, _raw_scalars(b"\xa1t\xd6\xff\x00\x00\x00\x00")), "msgpack"),
    Hostile("binary value", _replaced(1, _raw_scalars(b"\xa1b" + msgpack.packb(b"abc"))), "msgpack"),
    Hostile("number as key", _replaced(1, _raw_scalars(b"\x07\x01")), "msgpack"),
    Hostile("key twice", _replaced(1, _raw_scalars(msgpack.packb("ramp") + b"\x05")), "msgpack"),
    Hostile("deep nesting", _replaced(1, _deep(300)), "version"),
    Hostile("deeper nesting", _replaced(1, _deep(100_000)), "msgpack"),
    Hostile("array bomb", _replaced(1, b"\xdd\xff\xff\xff\xff"), "msgpack"),
    Hostile("map bomb", _replaced(1, b"\xdf\xff\xff\xff\xff"), "msgpack"),
    Hostile("string bomb", _replaced(1, b"\xdb\xff\xff\xff\xff"), "msgpack"),
    Hostile("nested array bomb", _replaced(0, b"\xdd\x00\x00\xff\xff" * 700), "msgpack"),
    Hostile("oversized header", _metadata("more", "x" * 5000), "size"),
    Hostile("oversized scalars", _scalar("setup", {"K": "x" * (1 << 20)}), "size"),
    Hostile("oversized array header", _array("more", "x" * 5000), "size"),
    Hostile("oversized map", _replaced(1, msgpack.packb({f"k{n}": 0 for n in range(5000)})), "msgpack"),
]

_HEADERS = [
    Hostile("source disagrees", _changed(0, lambda part: part.update(source="IRIS/IMG2/read")), "header"),
    Hostile("source is a number", _changed(0, lambda part: part.update(source=7)), "header"),
    Hostile("unknown content", _changed(0, lambda part: part.update(content="json")), "header"),
    Hostile("no metadata", _changed(0, lambda part: part.pop("metadata")), "header"),
    Hostile("metadata is a list", _changed(0, lambda part: part.update(metadata=[])), "header"),
    Hostile("tid disagrees", _metadata("timestamp.tid", 5), "header"),
    Hostile("tid is a bool", _metadata("timestamp.tid", False), "header"),
    Hostile("NaN timestamp", _metadata("timestamp", math.nan), "header"),
    Hostile("infinite timestamp", _metadata("timestamp", math.inf), "header"),
    Hostile("no timestamp", _changed(0, lambda part: part["metadata"].pop("timestamp")), "header"),
    Hostile("text as timestamp", _metadata("timestamp", "now"), "header"),
]

_SCHEMA = [
    Hostile("unknown version", _scalar("version", 2), "version"),
    Hostile("no version", _changed(1, lambda scalars: scalars.pop("version")), "version"),
    Hostile("version is a bool", _scalar("version", True), "schema"),
    Hostile("version is a float", _scalar("version", 1.0), "schema"),
    Hostile("unknown kind", _scalar("kind", "movie"), "schema"),
    Hostile("no kind", _changed(1, lambda scalars: scalars.pop("kind")), "schema"),
    Hostile("kind is a list", _scalar("kind", ["read"]), "schema"),
    Hostile("read said to be a frame", _scalar("kind", "frame"), "schema"),
    Hostile("unknown field", _scalar("exposure", "A"), "schema"),
    Hostile("missing field", _changed(1, lambda scalars: scalars.pop("exposure_id")), "schema"),
    Hostile("NaN time", _scalar("time_ns", math.nan), "schema"),
    Hostile("NaN frame time", _scalar("frame_time_ns", math.nan), "schema"),
    Hostile("float time", _scalar("time_ns", 1e18), "schema"),
    Hostile("negative time", _scalar("time_ns", -1), "schema"),
    Hostile("huge time", _scalar("time_ns", 2**64 - 1), "schema"),
    Hostile("no frame time", _scalar("frame_time_ns", 0), "schema"),
    Hostile("NaN gain", _scalar("gain_e_per_dn", math.nan), "schema"),
    Hostile("infinite saturation", _scalar("saturation_dn", math.inf), "schema"),
    Hostile("NaN in the setup", _scalar("setup", {"XSIZE": math.nan}), "schema"),
    Hostile("NaN in telemetry", _scalar("values", {"angle": [1.0, math.nan]}, "telemetry"), "schema"),
    Hostile("NaN effective time", _scalar("effective_s", math.nan, "frame"), "schema"),
    Hostile("negative gain", _scalar("gain_e_per_dn", -3.0), "schema"),
    Hostile("negative sequence", _scalar("sequence", -1), "schema"),
    Hostile("huge sequence", _scalar("sequence", 2**63), "schema"),
    Hostile("negative read", _scalar("read", -1), "schema"),
    Hostile("huge read", _scalar("read", 2**40), "schema"),
    Hostile("bool for an index", _scalar("ramp", True), "schema"),
    Hostile("text for an index", _scalar("ramp", "1"), "schema"),
    Hostile("number for a flag", _scalar("complete", 1), "schema"),
    Hostile("nothing for an id", _scalar("exposure_id", None), "schema"),
    Hostile("empty id", _scalar("exposure_id", ""), "schema"),
    Hostile("id with a newline", _scalar("exposure_id", "A\n"), "schema"),
    Hostile("id with a blank", _scalar("exposure_id", "A B"), "schema"),
    Hostile("endless id", _scalar("exposure_id", "A" * 129), "schema"),
    Hostile("detector with a slash", _scalar("detector", "../IMG1"), "schema"),
    Hostile("detector with a newline", _scalar("detector", "IMG1\n"), "schema"),
    Hostile("setup is a list", _scalar("setup", ["FILTER"]), "schema"),
    Hostile("setup too long", _scalar("setup", {f"K{n}": n for n in range(200)}), "schema"),
    Hostile("setup nested", _scalar("setup", {"A": {"B": 1}}), "schema"),
]

_ARRAYS = [
    Hostile("array of another source", _array("source", "IRIS/IMG2/read"), "header"),
    Hostile("array of another path", _array("path", "dq"), "header"),
    Hostile("array without content", _changed(2, lambda part: part.pop("content")), "header"),
    Hostile("wrong dtype", _array("dtype", "int64"), "array"),
    Hostile("big-endian dtype", _array("dtype", ">u2"), "array"),
    Hostile("object dtype", _array("dtype", "object"), "array"),
    Hostile("dtype is a list", _array("dtype", [["a", "<u2"]]), "array"),
    Hostile("dtype of another size", _array("dtype", "float32"), "array"),
    Hostile("no dtype", _changed(2, lambda part: part.pop("dtype")), "array"),
    Hostile("no shape", _changed(2, lambda part: part.pop("shape")), "array"),
    Hostile("shape in one dimension", _array("shape", [12]), "array"),
    Hostile("shape in three dimensions", _array("shape", [1, 3, 4]), "array"),
    Hostile("shape that does not fit the bytes", _array("shape", [3, 5]), "array"),
    Hostile("shape of nothing", _array("shape", [0, 4]), "array"),
    Hostile("negative shape", _array("shape", [-3, -4]), "array"),
    Hostile("float shape", _array("shape", [3.0, 4.0]), "array"),
    Hostile("bool shape", _array("shape", [True, 12]), "array"),
    Hostile("huge shape", _array("shape", [2**31, 2**31]), "array"),
    Hostile("shape beyond the limit", _array("shape", [1, 16385]), "array"),
    Hostile("shape is text", _array("shape", "3x4"), "array"),
    Hostile("truncated pixels", _replaced(3, _GOOD[3][:-1]), "array"),
    Hostile("too many pixels", _replaced(3, _GOOD[3] + b"\0"), "array"),
    Hostile("no pixels", _replaced(3, b""), "array"),
    Hostile(
        "arrays of different shapes",
        [*_FRAME[:2], msgpack.packb(msgpack.unpackb(_FRAME[2]) | {"shape": [1, 4]}), *_FRAME[3:]],
        "array",
    ),
]

HOSTILE: list[Hostile] = [*_LAYOUT, *_PACKING, *_HEADERS, *_SCHEMA, *_ARRAYS]
"""Every hostile message; the good ones they were made of are `good_parts`."""
