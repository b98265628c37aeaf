"""What goes wrong in a simulation, and when: of the telemetry, and of the light itself."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from streams.errors import SettingsError
from streams.simulator.instrument import MAS_PER_RADIAN, TELESCOPE_M

FaultKind = Literal["missing", "frozen", "stale", "range", "loop", "seeing", "shake", "adc", "slew"]
VALUED = {"seeing": "r0 in metres", "shake": "how far images shake, in mas"}
"""Kinds that have a value, and what it is."""
OPEN_LOOP_NM = 1500.0
"""Wavefront error without adaptive optics: nothing is left of the core."""
NOMINAL_POWER = 5 / 6
"""What adaptive optics leaves grows as r0 to this power."""
TILT_PART = 0.3
"""Part that tilts of the whole wavefront have in the variance that bad seeing adds (assumed)."""


class Optics(NamedTuple):
    """What seeing and adaptive optics make of the light."""

    r0_m: float
    """Fried's parameter at 500 nm."""
    wavefront_error_nm: float
    """Left by adaptive optics, without tilt."""
    jitter_mas: float = 0.0
    """How far images shake, root mean square in each axis, beyond what they always do."""


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that is wrong from `start_s` to `end_s`, counted from the simulation's start."""

    kind: FaultKind
    """`missing`: an event does not come; `frozen`: its values do not change; `stale`: nor does its valid time;
    `range`: its values lie out of range; `loop`: the adaptive optics' loop is open; `seeing`: r0 is `value`; `shake`:
    the loop of tip and tilt is lost, images shake by `value`; `adc`: the prisms do not follow;
    `slew`: the telescope moves."""
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
        if (self.kind in VALUED) != (self.value is not None):
            wants = f"needs a value: {VALUED[self.kind]}" if self.kind in VALUED else "has no value"
            raise ValueError(f"a fault of kind {self.kind} {wants}")

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
        self.usual = Optics(r0_m, wavefront_error_nm)

    def of(self, kind: FaultKind, time_s: float, event: str = "") -> Fault | None:
        """Return the fault of a kind (and an event) that is on."""
        found = (fault for fault in self._faults if fault.kind == kind and fault.event == event and fault.at(time_s))
        return next(found, None)

    def r0_m(self, time_s: float) -> float | None:
        """Return Fried's parameter while seeing is bad."""
        fault = self.of("seeing", time_s)
        return None if fault is None else fault.value

    def optics(self, time_s: float) -> Optics:
        """Return what seeing and adaptive optics are like.

        Notes
        -----
        Without its loop adaptive optics leaves nothing in phase. Bad seeing adds to the error; a part of that tilts the
        whole wavefront, which moves images instead of scattering their light. A wavefront with an error sigma along one
        axis of a round pupil is tilted by 4 sigma / D.
        """
        r0_m = self.r0_m(time_s) or self.usual.r0_m
        shake = self.of("shake", time_s)
        jitter_mas = 0.0 if shake is None or shake.value is None else shake.value
        if self.of("loop", time_s) is not None:
            return Optics(r0_m, OPEN_LOOP_NM, jitter_mas)
        usual_nm = self.usual.wavefront_error_nm
        error_nm = usual_nm * (self.usual.r0_m / r0_m) ** NOMINAL_POWER
        if error_nm <= usual_nm:
            return Optics(r0_m, error_nm, jitter_mas)
        added = error_nm**2 - usual_nm**2
        tilt_mas = 4 * math.sqrt(TILT_PART * added / 2) * 1e-9 / TELESCOPE_M * MAS_PER_RADIAN
        return Optics(r0_m, math.sqrt(usual_nm**2 + (1 - TILT_PART) * added), math.hypot(jitter_mas, tilt_mas))


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
        rest = {} if len(words) < 4 else {"value": float(words[3])} if kind in VALUED else {"event": words[3]}
        fault = Fault(kind, float(start), float(end), **rest)  # type: ignore[arg-type]
    except ValueError as error:
        raise SettingsError(f"fault {text!r}: {error}; {how}") from error
    if kind not in FaultKind.__args__:  # type: ignore[attr-defined]
        raise SettingsError(f"fault {text!r}: the kinds are {', '.join(FaultKind.__args__)}")  # type: ignore[attr-defined]
    return fault
