"""Events of the observatory's event service (CSW): CBOR to typed events and back.

The layout is that of CSW since 2021: one map with a flat `_type`, each parameter a map of one entry whose
key names the type. Publishers in several languages write it differently: floats of any width or integers
for reals, units under old names, the event's time as text. What is written here is read by all of them.
Nothing here touches a socket.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import cbor2
from msgspec import Struct

from streams.clock import NS, parse_iso_utc, tai_to_utc_ns, utc_to_tai_ns
from streams.errors import CswError

CAUSES = ("size", "cbor", "obsolete", "layout", "time", "type")
"""Why an event can be refused: too large, no CBOR, the layout before 2021, another layout, no time, a wrong value."""

MAX_BYTES = 1 << 20
MAX_PARAMETERS = 256
MAX_VALUES = 4096
MAX_DEPTH = 16
MAX_NAME = 256
IGNORED_KEY = "CSW.first.event.init"
"""The event service publishes it to itself."""

Kind = Literal["SystemEvent", "ObserveEvent"]
Item = str | int | float | bool | bytes | dict[str, Any]


class CswParameter(Struct, frozen=True):
    """A parameter: `type` without the word Key, and its values as CSW counts them.

    An array parameter has lists as values, a matrix parameter lists of lists. Times are TAI [ns]; coordinates
    are maps as they came, their angles in microarcseconds. A real that is NaN or infinite stays so.
    """

    type: str
    values: list[Any]
    units: str = "NoUnits"


class CswEvent(Struct, frozen=True):
    """An event: `source` is the publisher's prefix, `key` its name in the event service."""

    source: str
    name: str
    time_ns: int
    """The event's own time [ns TAI]."""
    parameters: dict[str, CswParameter] = {}
    kind: Kind = "SystemEvent"
    id: str = ""

    @property
    def key(self) -> str:
        """Channel and key in Redis."""
        return f"{self.source}.{self.name}"


def decode(payload: bytes) -> CswEvent:
    """Turn what the event service carries into an event.

    Raises
    ------
    CswError
        For anything that is not an event in the present layout; `cause` is one of `CAUSES`.
    """
    if len(payload) > MAX_BYTES:
        raise CswError("size", f"{len(payload)} bytes, at most {MAX_BYTES} are taken")
    try:
        content = cbor2.loads(
            payload, max_depth=MAX_DEPTH, allow_duplicate_keys=False, tag_hook=_no_tag, semantic_decoders=_NO_TAGS
        )
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CswError("cbor", f"not CBOR: {str(error)[:200]}") from error
    if not isinstance(content, dict):
        raise CswError("layout", f"a {type(content).__name__}, not a map")
    kind = content.get("_type")
    if kind is None and set(content) & {"SystemEvent", "ObserveEvent"}:
        raise CswError("obsolete", "the layout of before 2021; the publisher needs a newer CSW")
    if kind not in ("SystemEvent", "ObserveEvent"):
        raise CswError("layout", f"_type is {kind!r:.40}, not SystemEvent or ObserveEvent")
    event_id = _text(content, "eventId")
    if event_id == "-1":
        raise CswError("time", "eventId -1: the event service's own word for no event")
    return CswEvent(
        source=_name(content, "source"),
        name=_name(content, "eventName"),
        time_ns=_event_time(content.get("eventTime")),
        parameters=_parameters(content.get("paramSet")),
        kind=kind,
        id=event_id,
    )


def encode(event: CswEvent) -> bytes:
    """Turn an event into what the event service carries."""
    parameters = [
        {f"{one.type}Key": {"keyName": name, "values": _written(one), "units": one.units}}
        for name, one in event.parameters.items()
    ]
    seconds, nanos = divmod(tai_to_utc_ns(event.time_ns), NS)
    return cbor2.dumps(
        {
            "_type": event.kind,
            "eventId": event.id,
            "source": event.source,
            "eventName": event.name,
            "eventTime": {"seconds": seconds, "nanos": nanos},
            "paramSet": parameters,
        }
    )


def _no_tag(*_: object) -> None:
    raise ValueError("a tag; events have none")


# Those that the decoder knows itself: references to other values among them, with which a few bytes can
# stand for more than any memory.
_NO_TAGS: Any = dict.fromkeys(range(55_800), _no_tag)


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise CswError("layout", f"{key} is {value!r:.60}, not a text of at most {MAX_NAME} characters")
    return value


def _name(content: Mapping[str, Any], key: str) -> str:
    value = _text(content, key)
    if not value or value != value.strip() or not value.isprintable():
        raise CswError("layout", f"{key} is {value!r:.60}, no name")
    return value


def _event_time(value: object) -> int:
    if isinstance(value, str):  # the JSON form of an event writes it so
        try:
            return parse_iso_utc(value)
        except ValueError as error:
            raise CswError("time", f"eventTime {value!r:.60} is no date") from error
    count_ns = _count_ns("eventTime", value)
    if count_ns < 0:
        raise CswError("time", "eventTime before 1970: the event service's own word for no event")
    return utc_to_tai_ns(count_ns)


def _count_ns(name: str, value: object) -> int:
    seconds = value.get("seconds") if isinstance(value, dict) else None
    nanos = value.get("nanos") if isinstance(value, dict) else None
    if type(seconds) is not int or type(nanos) is not int or not (abs(seconds) < 1 << 33 and 0 <= nanos < NS):
        raise CswError("time", f"{name} is {value!r:.60}, not {{seconds, nanos}}")
    return seconds * NS + nanos


def _parameters(parameters: object) -> dict[str, CswParameter]:
    if not isinstance(parameters, list) or len(parameters) > MAX_PARAMETERS:
        raise CswError("layout", f"paramSet is no list of at most {MAX_PARAMETERS} parameters")
    read: dict[str, CswParameter] = {}
    for entry in parameters:
        if not isinstance(entry, dict) or len(entry) != 1:
            raise CswError("layout", f"a parameter is {entry!r:.60}, not a map of one entry")
        ((key, body),) = entry.items()
        if not isinstance(key, str) or not key.endswith("Key") or not isinstance(body, dict):
            raise CswError("layout", f"a parameter's type is {key!r:.60}")
        name = _text(body, "keyName")
        if name in read:
            raise CswError("layout", f"parameter {name!r:.60} comes twice")
        units = body.get("units", "NoUnits")
        kind = key.removesuffix("Key")
        read[name] = CswParameter(kind, _values(kind, body.get("values"), name), str(units)[:MAX_NAME])
    return read


def _values(kind: str, values: object, name: str) -> list[Any]:
    nesting = kind.endswith("Array") + 2 * kind.endswith("Matrix")
    base = kind.removesuffix("Array").removesuffix("Matrix")
    if base == "Byte":
        return _bytes(values, nesting, name)
    convert = _CONVERT.get(base)
    if convert is None:
        return []  # Struct and what may come: its name is told, not its values
    budget = [MAX_VALUES]
    found = _nested(values, nesting, convert, name, budget)
    return list(found)


def _nested(values: object, nesting: int, convert: Callable[[Any], Any], name: str, budget: list[int]) -> list[Any]:
    if not isinstance(values, list):
        raise CswError("type", f"the values of {name!r:.60} are a {type(values).__name__}, not a list")
    if nesting:
        return [_nested(value, nesting - 1, convert, name, budget) for value in values]
    budget[0] -= len(values)
    if budget[0] < 0:
        raise CswError("size", f"{name!r:.60} has more than {MAX_VALUES} values")
    try:
        return [convert(value) for value in values]
    except CswError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise CswError("type", f"{name!r:.60}: {error}") from error


def _bytes(values: object, nesting: int, name: str) -> list[Any]:
    """Bytes travel as one byte string in the place of a list of them."""
    if nesting == 0:
        if not isinstance(values, bytes) or len(values) > MAX_VALUES:
            raise CswError("type", f"{name!r:.60} is no byte string of at most {MAX_VALUES}")
        return [value - 256 if value > 127 else value for value in values]
    if not isinstance(values, list) or len(values) > MAX_VALUES:
        raise CswError("type", f"{name!r:.60} is no list of byte strings")
    return [_bytes(value, nesting - 1, name) for value in values]


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is no flag")
    return value


def _integer(value: object) -> int:
    if type(value) is not int or abs(value) >= 1 << 63:
        raise TypeError(f"{value!r:.40} is no integer")
    return value


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.40} is no number")
    return float(value)


def _character(value: object) -> str:
    if type(value) is int and 0 <= value < 0x110000:
        return chr(value)
    if not isinstance(value, str) or len(value) != 1:
        raise TypeError(f"{value!r:.40} is no character")
    return value


def _utc(value: object) -> int:
    return utc_to_tai_ns(_count_ns("a UTCTime", value))


def _tai(value: object) -> int:
    return _count_ns("a TAITime", value)


def _coordinate(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("_type"), str):
        raise TypeError(f"{value!r:.40} is no coordinate")
    return value


_COORDINATES = ("Coord", "EqCoord", "SolarSystemCoord", "MinorPlanetCoord", "CometCoord", "AltAzCoord")
_CONVERT: dict[str, Callable[[Any], Any]] = {
    "String": _string,
    "Choice": _string,
    "Char": _character,
    "Boolean": _flag,
    "Short": _integer,
    "Int": _integer,
    "Long": _integer,
    "Float": _real,
    "Double": _real,
    "UTCTime": _utc,
    "TAITime": _tai,
    **dict.fromkeys(_COORDINATES, _coordinate),
}


def _written(parameter: CswParameter) -> Any:
    kind = parameter.type
    if kind.startswith("Byte"):
        nesting = kind.endswith("Array") + 2 * kind.endswith("Matrix")
        return _written_bytes(parameter.values, nesting)
    if kind == "UTCTime":
        return [_seconds(tai_to_utc_ns(value)) for value in parameter.values]
    if kind == "TAITime":
        return [_seconds(value) for value in parameter.values]
    return parameter.values


def _written_bytes(values: list[Any], nesting: int) -> Any:
    if nesting:
        return [_written_bytes(value, nesting - 1) for value in values]
    return bytes(value & 0xFF for value in values)


def _seconds(count_ns: int) -> dict[str, int]:
    seconds, nanos = divmod(count_ns, NS)
    return {"seconds": seconds, "nanos": nanos}
