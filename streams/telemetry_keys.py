"""The key table: which telemetry is known, what it means, and how it is joined to a read.

Values come out of it in the table's own unit and type; what does not fit is refused, never guessed at.
"""

import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streams.clock import NS, UNIX_EPOCH_MJD, parse_iso_utc, utc_to_tai_ns
from streams.key_files import Event, Parameter, read_keys, shipped_keys
from streams.messages import ObserveName, Scalar, TelemetryHeader
from streams.windows import base_detector

Value = Scalar | list[Scalar]
ALL = "*"
"""A parameter of this name is the median of all numbers of its event: several sensors of one quantity."""
TAI_NS = "tai_ns"
"""Unit of a time that travels as TAI nanoseconds."""
MAX_SENSORS = 4096
MAX_OFF_NS = 86_400 * NS
"""A valid time further than this from the event's own is no valid time."""

_SINCE_1970 = ((1e8, 1e10, NS), (1e11, 1e13, 10**6), (1e14, 1e16, 1000), (1e17, 1e19, 1))
"""Seconds, ms, us and ns since 1970 are told apart by their size: from, to, ns in a step."""
_TYPES: dict[str, tuple[type, ...]] = {
    "real": (int, float),
    "integer": (int,),
    "text": (str,),
    "flag": (bool,),
    "any": (str, int, float, bool),
}


@dataclass(frozen=True, eq=False)
class Key:
    """One parameter of one event: `name` is `EVENT.parameter`, or the event alone for a median."""

    event: str
    parameter: str
    rate_hz: float
    about: Parameter

    @property
    def name(self) -> str:
        """The name by which rules and tables call it."""
        return self.event if self.parameter == ALL else f"{self.event}.{self.parameter}"

    @property
    def fits(self) -> str:
        """Its FITS keyword, empty if it has none."""
        return self.about.fits or ""

    @property
    def unit(self) -> str:
        """Its unit in the table."""
        return self.about.unit

    def concerns(self, detector: str) -> bool:
        """Tell whether it says something of a detector, or of the one that a window is of."""
        return not self.about.detectors or base_detector(detector) in self.about.detectors

    def in_range(self, value: Value) -> bool:
        """Tell whether a value lies within the limits, or is one of the choices."""
        about = self.about
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                if about.choices and one not in about.choices:
                    return False
            elif (about.low is not None and one < about.low) or (about.high is not None and one > about.high):
                return False
        return True

    def of_detector(self, value: Value, detector: str) -> Value | None:
        """Return what a value says of one detector; None if it says nothing."""
        if not self.about.per_detector or not isinstance(value, list):
            return value
        detector = base_detector(detector)
        place = self.about.detectors.index(detector) if detector in self.about.detectors else len(value)
        return value[place] if place < len(value) else None


class KeyTable:
    """All keys, by event.

    Parameters
    ----------
    path
        The TOML file.

    Raises
    ------
    SettingsError
        If the file is missing or anything in it is wrong: names the file, the entry and what would be right.
    """

    def __init__(self, path: Path) -> None:
        table = read_keys(path)
        self.path = path
        self.keys: dict[str, list[Key]] = {
            event: [Key(event, name, about.rate_hz, one) for name, one in about.parameters.items()]
            for event, about in table.events.items()
        }
        self._table = table
        self._by_name = {key.name: key for keys in self.keys.values() for key in keys}

    def all(self) -> list[Key]:
        """Return every key, in the file's order."""
        return list(self._by_name.values())

    def event(self, name: str) -> Event | None:
        """Return what is known of an event, by any of its names."""
        return self._table.events.get(self.canonical(name))

    def named(self, word: str) -> list[Key]:
        """Return the keys that go by a name or a FITS keyword, in the file's order."""
        if word in self._by_name:
            return [self._by_name[word]]
        return [key for key in self._by_name.values() if key.fits == word]

    def canonical(self, event: str) -> str:
        """Return an event's name in the table; a name that is not known comes back as it is."""
        if event in self._table.events:
            return event
        alias = self._table.aliases.get(event)
        return alias.event if alias else re.sub(r"\[?\d+\]?$", "[N]", event)

    def csw_unit(self, unit: str) -> str:
        """Return a unit's name in the observatory's event service."""
        return self._table.csw_units.get(unit, unit) or "NoUnits"

    def observe_name(self, event: str) -> ObserveName | Literal[""] | None:
        """Return our name of an observing step; empty: known, nothing follows; None: no such step."""
        words = event.split(".")
        for start in range(max(len(words) - 2, 0), len(words)):
            name = self._table.observe.get(".".join(words[start:]))
            if name is not None:
                return name
        return None

    def valid_ns(self, header: TelemetryHeader) -> int:
        """Return since when an event's values hold [ns TAI]: what it says of it, else its own time."""
        about = self.event(header.event)
        names = [about.valid_time] if about and about.valid_time else ["timestamp", "time"]
        scale = about.valid_scale if about else "utc"
        for name in names:
            instant = _instant(header.values.get(name), header.units.get(name, ""), scale)
            if instant is not None and abs(instant - header.time_ns) <= MAX_OFF_NS:
                return min(max(instant, 0), 2**62)
        return header.time_ns

    def values(self, header: TelemetryHeader) -> Iterator[tuple[Key, Value | None]]:
        """Yield each key of an event that came with a value, in the table's unit; None: not of its type."""
        alias = self._table.aliases.get(header.event)
        names = alias.parameters if alias else {}
        came = {names.get(name, name): (value, header.units.get(name, "")) for name, value in header.values.items()}
        for key in self.keys.get(self.canonical(header.event), ()):
            if key.parameter == ALL:
                values = [self._convert(key, value, unit) for value, unit in came.values()]
                numbers = [one for value in values for one in (value if isinstance(value, list) else [value])]
                known = [one for one in numbers if isinstance(one, int | float) and not isinstance(one, bool)]
                yield key, statistics.median(known) if known else None
            elif key.parameter in came and came[key.parameter][0] is not None:
                yield key, self._convert(key, *came[key.parameter])

    def as_sent(self, key: Key, value: float) -> tuple[float, str]:
        """Return a number of the table in the unit in which its event carries it, and that unit."""
        factor, offset = self._scale(key.about, key.about.sent_unit) or (1.0, 0.0)
        return (value - offset) / factor, key.about.sent_unit or key.unit

    def _convert(self, key: Key, value: object, unit: str) -> Value | None:
        """Return a value in the key's type and unit, or None if it cannot be."""
        about = key.about
        items: list[Any] = value if isinstance(value, list) else [value]
        if not items or len(items) > (about.length if key.parameter != ALL else MAX_SENSORS):
            return None
        if not all(_is_of(item, about.type) for item in items):
            return None
        if about.type == "real":
            scale = self._scale(about, unit)
            if scale is None:
                return None
            items = [float(item) * scale[0] + scale[1] for item in items]
            if not all(map(math.isfinite, items)):
                return None
        return list(items) if isinstance(value, list) else items[0]

    def _scale(self, about: Parameter, unit: str) -> tuple[float, float] | None:
        came = unit or about.sent_unit or about.unit
        if came == about.unit or not about.unit:
            return 1.0, 0.0
        factor = self._table.units[about.unit].get(came)
        if factor is None:
            return None
        return factor if isinstance(factor, tuple) else (factor, 0.0)


def load_keys(path: str) -> KeyTable:
    """Read a key table; an empty path means the shipped one.

    Raises
    ------
    SettingsError
        If it cannot be used.
    """
    return KeyTable(Path(path) if path else shipped_keys())


def _is_of(value: object, kind: str) -> bool:
    if isinstance(value, bool) and kind not in ("flag", "any"):
        return False  # to Python a flag is a number, to an observatory it is not
    return isinstance(value, _TYPES[kind])


def _instant(value: object, unit: str, scale: str) -> int | None:
    """Read an instant as TAI [ns]: TAI ns, an ISO date, a Modified Julian Date, or seconds (ms, us, ns) since 1970."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        try:
            return parse_iso_utc(value)
        except ValueError:
            return None
    if not math.isfinite(value):
        return None
    if unit == TAI_NS:
        return int(value)
    if 15_000 < value < 100_000:
        count = round((value - UNIX_EPOCH_MJD) * 86_400 * NS)
    else:
        step_ns = next((step_ns for low, high, step_ns in _SINCE_1970 if low < value < high), None)
        if step_ns is None:
            return None
        count = round(value * step_ns)
    return count if unit.lower() == "tai" or (scale == "tai" and unit.lower() != "utc") else utc_to_tai_ns(count)
