"""What goes wrong in a simulation, and when: of the telemetry, and of the light itself."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from streams.errors import SettingsError

FaultKind = Literal["missing", "frozen", "stale", "range", "loop", "seeing", "adc", "slew"]
OPEN_LOOP_NM = 1500.0
"""Wavefront error without adaptive optics: nothing is left of the core."""
NOMINAL_POWER = 5 / 6
"""What adaptive optics leaves grows as r0 to this power."""


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that is wrong from `start_s` to `end_s`, counted from the simulation's start."""

    kind: FaultKind
    """`missing`: an event does not come; `frozen`: its values do not change; `stale`: nor does its valid time;
    `range`: its values lie out of range; `loop`: the adaptive optics' loop is open; `seeing`: r0 is `value`; `adc`:
    the prisms do not follow; `slew`: the telescope moves."""
    start_s: Annotated[float, Meta(ge=0)]
    end_s: Annotated[float, Meta(gt=0)]
    event: str = ""
    """Which one, for `missing`, `frozen`, `stale` and `range`."""
    value: Annotated[float, Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        if self.end_s <= self.start_s:
            raise ValueError(f"a fault of kind {self.kind} ends at {self.end_s:g} s, before it begins")
        if (self.kind in ("missing", "frozen", "stale", "range")) != bool(self.event):
            raise ValueError(f"a fault of kind {self.kind} {'needs' if not self.event else 'has no'} event")
        if (self.kind == "seeing") != (self.value is not None):
            raise ValueError("a fault of kind seeing, and no other, needs a value: r0 in metres")

    def at(self, time_s: float) -> bool:
        """Tell whether it is on."""
        return self.start_s <= time_s < self.end_s


class Faults:
    """All faults of a simulation.

    Parameters
    ----------
    faults
        Those of the settings.
    r0_m, wavefront_error_nm
        What seeing and adaptive optics are like where nothing is wrong.
    """

    def __init__(self, faults: Sequence[Fault], r0_m: float, wavefront_error_nm: float) -> None:
        self._faults = faults
        self._r0_m, self._error_nm = r0_m, wavefront_error_nm

    @property
    def usual(self) -> tuple[float, float]:
        """Fried's parameter [m] and the wavefront error [nm] where nothing is wrong."""
        return self._r0_m, self._error_nm

    def of(self, kind: FaultKind, time_s: float, event: str = "") -> Fault | None:
        """Return the fault of a kind (and an event) that is on."""
        found = (fault for fault in self._faults if fault.kind == kind and fault.event == event and fault.at(time_s))
        return next(found, None)

    def r0_m(self, time_s: float) -> float | None:
        """Return Fried's parameter while seeing is bad."""
        fault = self.of("seeing", time_s)
        return None if fault is None else fault.value

    def optics(self, time_s: float) -> tuple[float, float]:
        """Return Fried's parameter [m] and the wavefront error [nm]."""
        r0_m = self.r0_m(time_s)
        if self.of("loop", time_s) is not None:
            return r0_m or self._r0_m, OPEN_LOOP_NM
        if r0_m is None:
            return self._r0_m, self._error_nm
        return r0_m, self._error_nm * (self._r0_m / r0_m) ** NOMINAL_POWER


def parse_fault(text: str) -> Fault:
    """Read a fault as it is written on a command line: `KIND START END [EVENT or VALUE]`.

    Raises
    ------
    SettingsError
        If it cannot be read: says how it is written.
    """
    words = text.split(maxsplit=3)
    how = "write KIND START END and an event or a value, e.g. 'seeing 10 20 0.05', 'missing 5 60 NFIRAOS.rtc.loop'"
    try:
        kind, start, end = words[:3]
        rest = {} if len(words) < 4 else {"value": float(words[3])} if kind == "seeing" else {"event": words[3]}
        fault = Fault(kind, float(start), float(end), **rest)  # type: ignore[arg-type]
    except ValueError as error:
        raise SettingsError(f"fault {text!r}: {error}; {how}") from error
    if kind not in FaultKind.__args__:  # type: ignore[attr-defined]
        raise SettingsError(f"fault {text!r}: the kinds are {', '.join(FaultKind.__args__)}")  # type: ignore[attr-defined]
    return fault
