"""Messages to bytes and back: karabo-bridge 2.2 (`docs/wire.md`).

A message is a ZeroMQ multipart of pairs. The first pair is a header that names the source and a
msgpack map of scalars; each array follows as a header with path, dtype and shape, and its raw bytes.
Nothing here touches a socket.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgpack
import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.clock import NS, tai_to_utc_ns
from streams.errors import WireError
from streams.messages import MAX_SIDE, MESSAGE_TYPES, VERSION, Header, Message

CAUSES = ("parts", "size", "header", "msgpack", "schema", "version", "array")
"""Why a message can be refused: layout, size limit, part header, msgpack, typed schema, version, pixels."""

AXES = {1: "(wavelength)", 2: "(y, x)", 3: "(wavelength, y, x)"}
MAX_PART_HEADER_BYTES = 4096
MAX_SCALARS_BYTES = 1 << 20

_DECODER: msgspec.msgpack.Decoder[Header] = msgspec.msgpack.Decoder(Header)

Part = bytes | bytearray | memoryview | NDArray[Any]


def topic(source: str) -> bytes:
    """Return the first bytes of every message of `source`, for ZeroMQ SUB filters."""
    packed: bytes = msgpack.packb({"source": source, "content": "", "metadata": ""})
    return packed[: 8 + len(msgpack.packb(source))]


def encode(message: Message) -> list[Part]:
    """Turn a message into multipart parts; pixels are views of its arrays, not copies.

    Raises
    ------
    WireError
        If an array has a dtype that its kind does not carry, or a scalar is NaN or infinite: the
        receiver would refuse it.
    """
    header = message.header
    source = header.source
    scalars = msgspec.to_builtins(header)
    _refuse_non_finite(scalars, source)
    parts: list[Part] = [
        msgpack.packb({"source": source, "content": "msgpack", "metadata": _metadata(source, header)}),
        msgpack.packb(scalars),
    ]
    for path, dtypes in message.DTYPES.items():
        array = np.ascontiguousarray(getattr(message, path))
        if array.dtype.newbyteorder("<").str not in dtypes:
            raise WireError("array", f"{path} of {source} is {array.dtype}, needs one of {dtypes}")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        part = {"source": source, "content": "array", "path": path, "dtype": array.dtype.name, "shape": array.shape}
        parts += [msgpack.packb(part), array.data.cast("B")]
    return parts


def decode(parts: Sequence[Any]) -> Message:
    """Turn received parts (bytes, buffers or `zmq.Frame`) into a message.

    Arrays are read-only and aligned: views of the received buffers, or copies of those that lie at an odd
    address (small ones from ZeroMQ, any from a recording), which compiled kernels do not take.

    Raises
    ------
    WireError
        For anything that is not exactly a message of this version; `cause` is one of `CAUSES`.
    """
    buffers = [memoryview(getattr(part, "buffer", part)).cast("B") for part in parts]
    if len(buffers) < 2 or len(buffers) % 2:
        raise WireError("parts", f"a message is pairs of parts, found {len(buffers)} parts")
    header = decode_header(buffers[0], buffers[1])
    message_type = MESSAGE_TYPES[header.kind]
    wanted, ndim = message_type.DTYPES, getattr(message_type, "NDIM", 2)
    if len(buffers) != 2 + 2 * len(wanted):
        raise WireError("parts", f"{header.source} needs {2 + 2 * len(wanted)} parts, found {len(buffers)}")
    arrays = {}
    for (path, dtypes), index in zip(wanted.items(), range(2, len(buffers), 2), strict=True):
        form = array_form(header.source, path, dtypes, ndim, buffers[index], len(buffers[index + 1]))
        arrays[path] = pixel_view(buffers[index + 1], *form)
    if len({array.shape for array in arrays.values()}) > 1:
        raise WireError("array", f"arrays of {header.source} differ in shape")
    return message_type(header, **arrays)  # type: ignore[arg-type]


def _metadata(source: str, header: Header) -> dict[str, object]:
    utc_ns = tai_to_utc_ns(header.time_ns)
    seconds, rest_ns = divmod(utc_ns, NS)
    return {
        "source": source,
        "timestamp": utc_ns / NS,
        "timestamp.sec": str(seconds),
        "timestamp.frac": f"{rest_ns:09d}000000000",
        "timestamp.tid": header.sequence,
    }


def _unpack(buffer: memoryview, limit: int, what: str) -> dict[str, Any]:
    if len(buffer) > limit:
        raise WireError("size", f"{what} has {len(buffer)} bytes, at most {limit} are taken")
    try:
        unpacked = msgpack.unpackb(
            buffer,
            max_str_len=limit,
            max_bin_len=0,
            max_ext_len=0,
            max_array_len=min(65536, len(buffer)),  # no element is smaller than a byte: a larger claim is a bomb
            max_map_len=min(4096, len(buffer)),
            object_pairs_hook=_unique,
        )
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise WireError("msgpack", f"{what} is not msgpack: {error}") from error
    if not isinstance(unpacked, dict):
        raise WireError("msgpack", f"{what} is a {type(unpacked).__name__}, not a map")
    return unpacked


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Build a map, refusing a key that comes twice: two readers could believe two values."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key of a map comes twice")
    return unique


def _refuse_non_finite(values: dict[str, Any] | list[Any], where: str) -> None:
    """Refuse NaN and infinity anywhere in the scalars; what is not known is None."""
    named = values.items() if isinstance(values, dict) else ((None, value) for value in values)
    for name, value in named:
        if isinstance(value, float):
            if not math.isfinite(value):
                where = where if name is None else f"{where}.{name}"
                raise WireError("schema", f"{where} is {value}; a value that is not known is None")
        elif isinstance(value, dict | list):
            _refuse_non_finite(value, where if name is None else f"{where}.{name}")


def decode_header(first: memoryview, second: memoryview) -> Header:
    """Turn the first pair of a message into its header.

    Raises
    ------
    WireError
        As `decode`.
    """
    part = _unpack(first, MAX_PART_HEADER_BYTES, "the first part")
    metadata = part.get("metadata")
    if part.get("content") != "msgpack" or not isinstance(metadata, dict):
        raise WireError("header", f"the first part has content {part.get('content')!r}, not 'msgpack' with metadata")
    scalars = _unpack(second, MAX_SCALARS_BYTES, "the scalar map")
    if scalars.get("version") != VERSION:
        raise WireError("version", f"message version {scalars.get('version')!r}, this program speaks {VERSION}")
    try:
        header = _DECODER.decode(second)  # again from the bytes: a sixth of what `msgspec.convert` takes
    except msgspec.DecodeError as error:
        raise WireError("schema", str(error)) from error
    _refuse_non_finite(scalars, header.source)  # after the schema, which bounds the depth of this walk
    if part.get("source") != header.source:
        raise WireError("header", f"source {part.get('source')!r} disagrees with the scalars, {header.source!r}")
    sequence, timestamp = metadata.get("timestamp.tid"), metadata.get("timestamp")
    if type(sequence) is not int or sequence != header.sequence:
        raise WireError("header", f"timestamp.tid {sequence!r} is not {header.sequence}")
    if type(timestamp) is not float or not math.isfinite(timestamp):
        raise WireError("header", f"timestamp {timestamp!r} of {header.source} is no time in seconds")
    return header


def array_form(
    source: str, path: str, dtypes: tuple[str, ...], ndim: int, first: memoryview, nbytes: int
) -> tuple[str, list[int]]:
    """Return dtype and shape of an array from the part before it; `nbytes` is what the array's own part has.

    Raises
    ------
    WireError
        As `decode`.
    """
    part = _unpack(first, MAX_PART_HEADER_BYTES, f"the header of {path}")
    if part.get("content") != "array" or part.get("source") != source or part.get("path") != path:
        raise WireError("header", f"expected array {path} of {source}, found {part}")
    names = {np.dtype(dtype).name: dtype for dtype in dtypes} | {dtype: dtype for dtype in dtypes}
    dtype = names.get(str(part.get("dtype")))
    if dtype is None:
        raise WireError("array", f"{path} of {source} has dtype {part.get('dtype')!r}, needs one of {dtypes}")
    shape = part.get("shape")
    fits = isinstance(shape, list) and len(shape) == ndim and all(type(n) is int and 1 <= n <= MAX_SIDE for n in shape)
    if not isinstance(shape, list) or not fits:
        raise WireError("array", f"{path} of {source} has shape {shape!r}, needs {AXES[ndim]} of 1 to {MAX_SIDE}")
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if nbytes != expected:
        raise WireError("array", f"{path} of {source}: {shape} {dtype} needs {expected} bytes, found {nbytes}")
    return dtype, shape


def pixel_view(pixels: memoryview, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
    """Return raw bytes as a read-only array: a view, or a copy if they lie at an odd address."""
    array = np.frombuffer(pixels, dtype=dtype)
    if not array.flags.aligned:
        array = np.frombuffer(pixels, dtype=np.uint8).copy().view(dtype)  # five times as quick as array.copy()
    array = array.reshape(shape)
    array.setflags(write=False)
    return array
