"""Key tables on disk: what a TOML file says of telemetry, checked as a whole when it is read.

`docs/telemetry.md` explains the entries; `data/iris_keys.toml` is the table of IRIS.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from streams.errors import SettingsError
from streams.messages import ObserveName

Join = Literal["hold", "linear", "angular"]


class Parameter(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a parameter of an event."""

    type: Literal["real", "integer", "text", "flag", "any"]
    fits: Annotated[str, Meta(pattern=r"^[A-Z0-9_-]{1,8}$")] | None = None
    length: Annotated[int, Meta(ge=1, le=4096)] = 1
    """More than 1: a list of at most so many values."""
    unit: str = ""
    sent_unit: str = ""
    """The unit where the event names none; empty: `unit`."""
    low: float | None = None
    high: float | None = None
    choices: list[str] = []
    join: Join = "hold"
    per_read: bool = False
    """True: frames carry its value at each read, not at mid-exposure alone."""
    detectors: list[str] = []
    """Those that it concerns; empty: all."""
    per_detector: bool = False
    """The list has an entry for each of `detectors`."""


class Event(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of an event."""

    rate_hz: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    """0: it comes when something changes, and is never stale."""
    valid_time: str = ""
    """Parameter that tells since when the others hold; without it `timestamp` or `time`, else the event's own time."""
    valid_scale: Literal["utc", "tai"] = "utc"
    parameters: dict[str, Parameter] = {}


class Alias(Struct, frozen=True, forbid_unknown_fields=True):
    """Another name of an event."""

    event: str
    parameters: dict[str, str] = {}
    """Name as it comes = name in the table."""


class KeyFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Literal[1]
    units: dict[str, dict[str, float | tuple[float, float]]]
    csw_units: dict[str, str]
    events: dict[str, Event]
    aliases: dict[str, Alias]
    observe: dict[str, ObserveName | Literal[""]]


def shipped_keys() -> Path:
    """Return the path of IRIS's key table."""
    return Path(__file__).with_name("data") / "iris_keys.toml"


def read_keys(path: Path) -> KeyFile:
    """Read and check a key table.

    Raises
    ------
    SettingsError
        If the file is missing or anything in it is wrong: names the file, the entry and what would be right.
    """
    table = _read(path)
    _check(path, table)
    return table


def _read(path: Path) -> KeyFile:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the key table cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    try:
        return msgspec.convert(content, type=KeyFile)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_where(error, content)}") from error


def _where(error: msgspec.ValidationError, content: Mapping[str, Any]) -> str:
    """Say which entry is wrong: msgspec names free keys `[...]`, so each is tried alone."""
    kinds: tuple[tuple[str, Any], ...] = (("events", Event), ("aliases", Alias))
    for table, kind in kinds:
        entries = content.get(table)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            parameters = entry.get("parameters") if table == "events" and isinstance(entry, dict) else None
            for parameter, about in parameters.items() if isinstance(parameters, dict) else ():
                try:
                    msgspec.convert(about, type=Parameter)
                except msgspec.ValidationError as inner:
                    return f"[events.{name!r}] {parameter}: {inner}"
            try:
                msgspec.convert(entry, type=kind)
            except msgspec.ValidationError as inner:
                return f"[{table}.{name!r}]: {inner}"
    return str(error)


def _check(path: Path, table: KeyFile) -> None:
    for name, alias in table.aliases.items():
        if name in table.events:
            raise SettingsError(f"{path}: [aliases.{name!r}] is an event of the table itself")
        target = table.events.get(alias.event)
        if target is None:
            raise SettingsError(f"{path}: [aliases.{name!r}] event {alias.event!r} is not in the table")
        for parameter in alias.parameters.values():
            if parameter not in target.parameters:
                raise SettingsError(f"{path}: [aliases.{name!r}] {alias.event!r} has no parameter {parameter!r}")
    for unit in table.csw_units:
        if unit not in table.units:
            raise SettingsError(f"{path}: [csw_units] {unit!r} is not in [units]")
    for event, about in table.events.items():
        for name, one in about.parameters.items():
            _check_parameter(f"{path}: [events.{event!r}] {name}", one, table)


def _check_parameter(where: str, about: Parameter, table: KeyFile) -> None:
    if about.join != "hold" and (about.type != "real" or about.per_detector):
        raise SettingsError(f"{where}: join = {about.join!r} needs type = 'real'")
    if about.join == "angular" and about.unit != "deg":
        raise SettingsError(f"{where}: join = 'angular' needs unit = 'deg'")
    if about.low is not None and about.high is not None and about.low >= about.high:
        raise SettingsError(f"{where}: low = {about.low:g} is not below high = {about.high:g}")
    if about.choices and about.type != "text":
        raise SettingsError(f"{where}: choices need type = 'text'")
    if about.per_detector and about.length != len(about.detectors):
        raise SettingsError(
            f"{where}: per_detector needs a length of {len(about.detectors)}, one for each of detectors"
        )
    if about.unit and about.unit not in table.units:
        raise SettingsError(f"{where}: unit {about.unit!r} is not in [units]; known are {', '.join(table.units)}")
    if about.sent_unit and about.sent_unit not in table.units.get(about.unit, {}):
        raise SettingsError(f"{where}: sent_unit {about.sent_unit!r} is not in [units] {about.unit}")
