"""Reads in the `array-1.0` form of PSI detectors: a JSON header part and a part of raw pixels.

The header says `htype`, `type`, `shape` and `frame`; whatever else a read needs may be given by further
keys and is derived otherwise from the settings and the frame number (`docs/wire.md`). No clock is read.
"""

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from streams.clock import NS, parse_iso_utc, utc_to_tai_ns
from streams.errors import WireError
from streams.messages import (
    Count,
    DurationNs,
    Id,
    Index,
    Name,
    Positive,
    Read,
    ReadHeader,
    SetupKeys,
    Side,
    TimeNs,
)
from streams.wire import pixel_view

MAX_HEADER_BYTES = 1 << 16
MAX_UTC_S = 4e9

_DTYPES = {"uint16": "<u2", "float32": "<f4"}
_OWN_KEYS = ("htype", "type", "shape", "frame", "timestamp")
"""Keys of array-1.0 itself and our `timestamp`; the other keys of `_Given` are those of `ReadHeader`."""


class Array10Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table [streams.array_1_0]: what holds where a header does not say."""

    instrument: Name
    detector: Name
    exposure_prefix: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+\Z")]
    reads_per_ramp: Annotated[int, Meta(ge=1, le=100_000)]
    ramps_per_exposure: Annotated[int, Meta(ge=1, le=100_000)]
    frame_time_s: Annotated[float, Meta(gt=0, le=1e5)]
    start_utc: str
    """Time of frame 0, ISO 8601."""
    unknown_keys: Literal["refuse", "ignore"]
    setup: SetupKeys

    def __post_init__(self) -> None:
        try:
            parse_iso_utc(self.start_utc)
        except ValueError as error:
            raise ValueError(f"start_utc = {self.start_utc!r} is no date; write 2026-01-31T00:00:00") from error


class _Given(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys that a header may have."""

    htype: str | list[str]
    type: str
    shape: tuple[Side, Side]
    frame: Count
    timestamp: Annotated[float, Meta(ge=0, le=MAX_UTC_S)] | None = None
    """UTC of the first pixel, seconds since 1970 (POSIX)."""
    instrument: Name | None = None
    detector: Name | None = None
    sequence: Count | None = None
    time_ns: TimeNs | None = None
    exposure_id: Id | None = None
    ramp: Index | None = None
    read: Index | None = None
    ramps_planned: Index | None = None
    reads_planned: Index | None = None
    reset_ns: TimeNs | None = None
    frame_time_ns: DurationNs | None = None
    complete: bool | None = None
    gain_e_per_dn: Positive | None = None
    read_noise_e: Positive | None = None
    saturation_dn: Positive | None = None
    setup: SetupKeys | None = None


def decode(parts: Sequence[Any], settings: Array10Settings) -> Read:
    """Turn the two parts of an `array-1.0` message into a read.

    Parameters
    ----------
    parts
        JSON header and raw pixels (C order, little endian), as bytes, buffers or `zmq.Frame`.
    settings
        What holds where the header does not say.

    Returns
    -------
    Read
        Pixels are a read-only view of the second part, (y, x) (a copy if it lies at an odd address).

    Raises
    ------
    WireError
        For anything else; `cause` is `parts`, `size`, `header`, `schema` or `array`.
    """
    if len(parts) != 2:
        raise WireError("parts", f"array-1.0 is a header and a blob, found {len(parts)} parts")
    header, pixels = (memoryview(getattr(part, "buffer", part)).cast("B") for part in parts)
    given = _convert(_parse(header), settings)
    if "array-1.0" not in ([given.htype] if isinstance(given.htype, str) else given.htype):
        raise WireError("header", f"htype {given.htype!r}, needs 'array-1.0'")
    dtype = _DTYPES.get(given.type)
    if dtype is None:
        raise WireError("array", f"type {given.type!r}, needs one of {sorted(_DTYPES)}")
    expected = given.shape[0] * given.shape[1] * np.dtype(dtype).itemsize
    if len(pixels) != expected:
        raise WireError("array", f"{given.shape} {given.type} needs {expected} bytes, found {len(pixels)}")
    return Read(_complete(given, settings), pixel_view(pixels, dtype, given.shape))


def _parse(buffer: memoryview) -> dict[str, Any]:
    if len(buffer) > MAX_HEADER_BYTES:
        raise WireError("size", f"the JSON header has {len(buffer)} bytes, at most {MAX_HEADER_BYTES} are taken")
    try:
        parsed = json.loads(
            bytes(buffer).decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise WireError("header", f"the first part is not JSON as we take it: {error}") from error
    if not isinstance(parsed, dict):
        raise WireError("header", f"the JSON header is a {type(parsed).__name__}, not an object")
    return parsed


def _convert(parsed: dict[str, Any], settings: Array10Settings) -> _Given:
    if settings.unknown_keys == "ignore":
        known = {field.name for field in msgspec.structs.fields(_Given)}
        parsed = {key: value for key, value in parsed.items() if key in known}
    try:
        return msgspec.convert(parsed, type=_Given)
    except (msgspec.ValidationError, OverflowError) as error:
        raise WireError("schema", f"array-1.0 header: {error}") from error


def _complete(given: _Given, settings: Array10Settings) -> ReadHeader:
    """Fill in what the header left out."""
    names = [field.name for field in msgspec.structs.fields(_Given) if field.name not in _OWN_KEYS]
    values = {name: value for name in names if (value := getattr(given, name)) is not None}
    values.setdefault("instrument", settings.instrument)
    values.setdefault("detector", settings.detector)
    values.setdefault("sequence", given.frame)
    values.setdefault("frame_time_ns", round(settings.frame_time_s * NS))
    values.setdefault("time_ns", _time_ns(given, settings))
    values["setup"] = settings.setup | (given.setup or {})
    numbering = [name for name in ("exposure_id", "ramp", "read") if name not in values]
    if len(numbering) == 3:
        ramps, read = divmod(given.frame, settings.reads_per_ramp)
        exposure, ramp = divmod(ramps, settings.ramps_per_exposure)
        values |= {"exposure_id": f"{settings.exposure_prefix}-{exposure:06d}", "ramp": ramp, "read": read}
        values.setdefault("reads_planned", settings.reads_per_ramp)
        values.setdefault("ramps_planned", settings.ramps_per_exposure)
    elif numbering:
        raise WireError("schema", f"exposure_id, ramp and read come together; missing {', '.join(numbering)}")
    return ReadHeader(**values)


def _time_ns(given: _Given, settings: Array10Settings) -> int:
    if given.timestamp is not None:
        return utc_to_tai_ns(round(given.timestamp * NS))
    time_ns = parse_iso_utc(settings.start_utc) + given.frame * round(settings.frame_time_s * NS)
    if time_ns > 2**62:
        raise WireError("schema", f"frame {given.frame} lies beyond all times")
    return time_ns


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key comes twice")
    return unique


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is beyond all numbers")
    return value
