"""The telemetry of a night as a stream: every event of the key table at its rate, and what goes wrong on demand."""

import heapq
import math
from collections import Counter
from collections.abc import Iterator
from itertools import count
from operator import itemgetter

from streams.clock import NS
from streams.messages import Telemetry, TelemetryHeader
from streams.simulator.faults import FaultKind, Faults
from streams.simulator.night import Night
from streams.simulator.settings import SimulatorSettings
from streams.telemetry_keys import KeyTable, Value

TICK_S = 0.02
"""Events leave together so often: a pause between any two would cost more than they do."""
AGAIN_S = 60.0
"""Events that come only when something changes come again after so long, for who listens later."""
CHANGES: dict[str, tuple[FaultKind, ...]] = {
    "NFIRAOS.rtc.loop": ("loop", "shake"),
    "NFIRAOS.rtc.turbLgs": ("seeing",),
    "IRIS.is.sciAdcFollow": ("adc",),
    "TCS.pk.pointingStatus": ("slew",),
}
"""Events that come when a fault of these kinds begins or ends."""
Due = tuple[float, Telemetry]


def telemetry_messages(settings: SimulatorSettings, table: KeyTable, epoch_ns: int, end_s: float) -> Iterator[Due]:
    """Yield (due time since the start [s], event) up to `end_s`, in the order of time."""
    if not settings.telemetry_rate:
        return iter(())
    night = Night(settings, table, epoch_ns)
    return _Publisher(settings, table, night, epoch_ns).messages(end_s)


class _Publisher:
    """Makes messages of what the night says, with faults put in."""

    def __init__(self, settings: SimulatorSettings, table: KeyTable, night: Night, epoch_ns: int) -> None:
        self._settings = settings
        self._table = table
        self._night = night
        self._epoch_ns = epoch_ns
        self._faults = Faults(settings.faults, settings.r0_m, settings.wavefront_error_nm)
        self._sequences: Counter[str] = Counter()

    def messages(self, end_s: float) -> Iterator[Due]:
        """Yield every event at its times."""
        times = [self._times(event, end_s) for event, keys in self._table.keys.items() if keys]
        for time_s, event in heapq.merge(*times, key=itemgetter(0)):
            if self._faults.of("missing", time_s, event) is None:
                yield math.ceil(round(time_s / TICK_S, 3)) * TICK_S, self._message(event, time_s)

    def _times(self, event: str, end_s: float) -> Iterator[tuple[float, str]]:
        about = self._table.event(event)
        rate_hz = about.rate_hz if about is not None else 0.0
        period_s = 1 / rate_hz if rate_hz else AGAIN_S
        period_s /= self._settings.telemetry_rate
        changes = sorted(
            edge
            for fault in self._settings.faults
            if fault.kind in CHANGES.get(event, ())
            for edge in (fault.start_s, fault.end_s)
        )
        for number in count():
            time_s = number * period_s
            while changes and changes[0] <= min(time_s, end_s):
                yield changes.pop(0), event
            if time_s > end_s:
                return
            yield time_s, event

    def _message(self, event: str, time_s: float) -> Telemetry:
        held = self._faults.of("frozen", time_s, event) or self._faults.of("stale", time_s, event)
        values, units = self._night.of(event, time_s if held is None else held.start_s)
        if held is not None and held.kind == "frozen":
            fresh, _ = self._night.of(event, time_s)
            values |= {name: fresh[name] for name in ("timestamp", "time") if name in fresh}
        elif held is not None:
            values["timestamp"], units["timestamp"] = self._epoch_ns + round(held.start_s * NS), "tai_ns"
        if self._faults.of("range", time_s, event) is not None:
            values |= self._out_of_range(event)
        subsystem = event.split(".")[0]
        self._sequences[subsystem] += 1
        header = TelemetryHeader(
            instrument=subsystem,
            detector="ALL",
            sequence=self._sequences[subsystem] - 1,
            time_ns=self._epoch_ns + round(time_s * NS),
            event=event,
            values=dict(values),
            units=units,
        )
        return Telemetry(header)

    def _out_of_range(self, event: str) -> dict[str, Value]:
        """Return values beyond the limits, and words that are no choice."""
        wrong: dict[str, Value] = {}
        for key in self._table.keys[event]:
            about = key.about
            if about.high is not None:
                value: Value = about.high + max(1.0, abs(about.high))
            elif about.choices:
                value = "BROKEN"
            else:
                continue
            names = [key.parameter] if key.parameter != "*" else [f"sensor-{number}" for number in range(4)]
            for name in names:
                wrong[name] = [value] * about.length if about.length > 1 else value  # type: ignore[list-item]
        return wrong
