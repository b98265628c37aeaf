"""Limits from a dated file, watched on every frame: raised with hysteresis, acknowledged by a person."""

import threading
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from dashboards.quantities import quantities
from streams.clock import NS, iso_utc, parse_iso_utc
from streams.errors import SettingsError
from streams.messages import FrameHeader

SHIPPED = Path(__file__).with_name("alarms.toml")


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """What must not be exceeded, or undercut."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    quantity: str
    clear: float
    above: float | None = None
    below: float | None = None
    after: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Frames in a row beyond it before it is raised."""
    detector: str = "*"
    level: Literal["warn", "alarm"] = "warn"

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"{self.name}: give one of above and below")
        if (self.above is not None and self.clear > self.above) or (self.below is not None and self.clear < self.below):
            raise ValueError(f"{self.name}: clear = {self.clear:g} lies beyond the limit itself")

    def exceeded(self, value: float) -> bool:
        """Tell whether a value is beyond the limit."""
        return value > self.above if self.above is not None else self.below is not None and value < self.below

    def cleared(self, value: float) -> bool:
        """Tell whether a value is far enough on the right side."""
        return value <= self.clear if self.above is not None else value >= self.clear


class LimitSet(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits that hold from a date on."""

    useafter: str
    limit: list[Limit] = []


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    set: list[LimitSet]


def load_limits(path: Path | None) -> list[tuple[int, list[Limit]]]:
    """Read a file of limits: pairs of the time from which they hold (TAI ns) and the limits, the oldest first.

    Raises
    ------
    SettingsError
        If the file is missing or wrong; names the file and what is wrong.
    """
    path = path or SHIPPED
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
        return sorted(((parse_iso_utc(one.useafter), one.limit) for one in found.set), key=lambda pair: pair[0])
    except (OSError, ValueError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class Alarm:
    """A limit of one detector and where it stands."""

    limit: Limit
    detector: str
    beyond: int = 0
    """Frames in a row."""
    value: float = 0.0
    since_ns: int | None = None
    """When it was raised; None while it is not."""
    acknowledged_ns: int | None = None

    @property
    def key(self) -> str:
        """What a page calls it by."""
        return f"{self.limit.name}/{self.detector}"

    def seen(self, value: float, time_ns: int) -> "Alarm":
        """Return it after a frame."""
        beyond = self.beyond + 1 if self.limit.exceeded(value) else 0
        if self.since_ns is None:
            raised = time_ns if beyond >= self.limit.after else None
            return replace(self, beyond=beyond, value=value, since_ns=raised, acknowledged_ns=None)
        if self.limit.cleared(value):
            return replace(self, beyond=0, value=value, since_ns=None, acknowledged_ns=None)
        return replace(self, beyond=beyond, value=value)

    def told(self) -> dict[str, Any]:
        """Describe it for the page."""
        limit = self.limit
        words = f"{limit.quantity} {self.value:.4g}, limit {limit.above if limit.above is not None else limit.below:g}"
        return {
            "key": self.key, "name": limit.name, "detector": self.detector, "level": limit.level, "words": words,
            "since_utc": iso_utc(self.since_ns or 0)[:19], "acknowledged": self.acknowledged_ns is not None,
        }  # fmt: skip


@dataclass
class Alarms:
    """All limits of all detectors; frames come on one thread, acknowledgements on another."""

    sets: list[tuple[int, list[Limit]]]
    _known: dict[str, Alarm] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, header: FrameHeader) -> None:
        """Look at the numbers of a frame."""
        values = quantities(header)
        with self._lock:
            for limit in self._limits(header.time_ns):
                value = values.get(limit.quantity)
                if limit.detector in ("*", header.detector) and value is not None:
                    alarm = self._known.get(f"{limit.name}/{header.detector}") or Alarm(limit, header.detector)
                    alarm = replace(alarm, limit=limit).seen(value, header.time_ns)
                    self._known[alarm.key] = alarm

    def _limits(self, time_ns: int) -> list[Limit]:
        holding = [limits for since_ns, limits in self.sets if since_ns <= time_ns]
        return holding[-1] if holding else []

    def acknowledge(self, key: str, now_ns: int) -> bool:
        """Note that a person has seen an alarm; False if it is not raised."""
        with self._lock:
            alarm = self._known.get(key)
            if alarm is None or alarm.since_ns is None:
                return False
            self._known[key] = replace(alarm, acknowledged_ns=now_ns)
            return True

    def raised(self) -> list[dict[str, Any]]:
        """Describe those that are raised, those that nobody has acknowledged first."""
        with self._lock:
            up = [alarm for alarm in self._known.values() if alarm.since_ns is not None]
        order = {"alarm": 0, "warn": 1}
        up.sort(key=lambda one: (one.acknowledged_ns is not None, order[one.limit.level], -(one.since_ns or 0) // NS))
        return [alarm.told() for alarm in up]
