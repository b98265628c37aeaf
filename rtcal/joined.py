"""Telemetry joined to the reads of one detector: which reads a rule leaves out, and what a frame carries.

The live join, at each read, holds the latest values; the final one, at a ramp's end, may also lie between two.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from msgspec import structs

from refcache import Chosen
from rtcal.config import DetectorSettings, Settings
from rtcal.rules import Moment, Rule, parse_rules
from rtcal.sky import Sky, sky_of
from rtcal.telemetry import Joined, TelemetryHistory
from streams.bandpass import tidy
from streams.clock import NS
from streams.messages import MAX_TELEMETRY_ROWS, Frame, ReadHeader, Scalar, TelemetryRow
from streams.telemetry_keys import Key, Value

MAX_LOGGED = 65_000
"""Reads of one exposure that are remembered."""
MAX_NOTES = 64
MAX_LIST = 64
MAX_TEXT = 128
"""Values of a list, and characters of a text, that a frame carries: its header has to stay small."""
SAME = 1e-3
"""Numbers of a header and of telemetry that differ by less than this part of themselves are the same."""


@dataclass(frozen=True, slots=True)
class LoggedRead:
    """A read that came, in terms of time."""

    ramp: int
    read: int
    middle_ns: int
    end_ns: int
    marks: tuple[str, ...]
    """Names of the rules that were true of it."""
    excluded: tuple[str, ...]
    """Those that left it out."""
    light: bool
    """The light that came up to it is to be left out, not the read alone: telemetry says that it was bad."""


class Monitor:
    """What telemetry has to say of one detector's reads.

    Parameters
    ----------
    settings
        The whole configuration.
    history
        All telemetry, shared with the other detectors.
    exclude
        Rules that leave reads out, besides those of the settings.

    Raises
    ------
    UsageError
        If a rule cannot be read.
    """

    def __init__(self, settings: Settings, history: TelemetryHistory, exclude: Sequence[str] = ()) -> None:
        self.settings = settings
        self.history = history
        table = settings.telemetry
        self._settle_ns = round(table.settle_s * NS)
        self._on_sky = [name.upper() for name in table.on_sky]
        self._excluding = parse_rules(table.rules, [*table.exclude, *exclude], history.table)
        names = {rule.name for rule in self._excluding}
        others = [name for name in table.rules if name not in names]
        self._marking = parse_rules(table.rules, others, history.table)
        self._log: list[LoggedRead] = []

    def start(self) -> None:
        """Begin a new exposure."""
        self._log.clear()

    def judge(self, header: ReadHeader) -> LoggedRead:
        """Join a read with what is known, and note which rules are true of it."""
        moment = Moment(header.ramp, header.read, cache(partial(self._value, header)))
        excluded = self._true(self._excluding, moment, header)
        marks = excluded + self._true(self._marking, moment, header)
        light = any(rule.keys for rule in self._excluding if rule.name in excluded)
        judged = LoggedRead(header.ramp, header.read, _middle_ns(header), _end_ns(header), marks, excluded, light)
        if len(self._log) < MAX_LOGGED:
            self._log.append(judged)
        return judged

    def sees_sky(self, setup: Mapping[str, Scalar]) -> bool:
        """Tell whether an exposure looks at the sky, as far as its type says."""
        kind = str(setup.get("EXPTYPE", "")).strip().upper()
        return not kind or kind in self._on_sky

    def forget(self, judged: LoggedRead) -> None:
        """Take a read back that the ramp refused."""
        if self._log and self._log[-1] is judged:
            self._log.pop()

    def detector(self, header: ReadHeader) -> DetectorSettings:
        """Return what is said of a read's detector: its gain and the noise of a read."""
        return DetectorSettings(
            gain_e_per_dn=self._number(header, "GAIN"), read_noise_e=self._number(header, "READNOIS")
        )

    def _number(self, header: ReadHeader, keyword: str) -> float | None:
        """Return the number above 0 that a FITS keyword has at a read, if it is known."""
        for key in self.history.table.named(keyword):
            value = self._value(header, key)
            if isinstance(value, float) and value > 0:
                return value
        return None

    def _value(self, header: ReadHeader, key: Key) -> Value | None:
        """Return what a key says of a read's detector in the middle of the read, where it can be believed."""
        if not key.concerns(header.detector):
            return None
        (joined,) = self.history.at([key], _middle_ns(header), _end_ns(header) - self._settle_ns)
        return None if joined.usable is None else key.of_detector(joined.usable, header.detector)

    def rows(self, detector: str) -> list[TelemetryRow]:
        """Return each key at the middle of the exposure, and those that are wanted for each read at each read."""
        if not self._log:
            return []
        first, last = self._log[0], self._log[-1]
        cut_ns = last.end_ns - self._settle_ns
        keys = [key for key in self.history.known(cut_ns) if key.concerns(detector)]
        middle_ns = (first.middle_ns + last.middle_ns) // 2
        rows = [_row(one, detector) for one in self.history.at(keys, middle_ns, cut_ns, between=True)]
        per_read = [key for key in keys if key.about.per_read]
        room = MAX_TELEMETRY_ROWS - len(rows)
        step = math.ceil(len(self._log) * len(per_read) / room) if per_read and room > 0 else 1
        for read in self._log[:: max(step, 1)] if per_read else ():
            found = self.history.at(per_read, read.middle_ns, cut_ns, between=True)
            rows += [_row(one, detector, read) for one in found]
        return rows[:MAX_TELEMETRY_ROWS]

    def notes(self) -> list[str]:
        """Say of which reads a rule was true, and which were left out."""
        notes = []
        for rule in (*self._excluding, *self._marking):
            reads = [read for read in self._log if rule.name in read.marks]
            if reads:
                what = "left out" if rule in self._excluding else "taken although"
                says = rule.name if rule.name == rule.text else f"{rule.name} ({rule.text})"
                notes.append(f"{_numbers(reads)} {what}: {says}"[:1000])
        return notes

    def _true(self, rules: Sequence[Rule], moment: Moment, header: ReadHeader) -> tuple[str, ...]:
        """Return the names of the rules that are true; telemetry says nothing of exposures that look at no sky."""
        on_sky = self.sees_sky(header.setup)
        return tuple(rule.name for rule in rules if (on_sky or not rule.keys) and rule.excludes(moment))


def _middle_ns(header: ReadHeader) -> int:
    return header.time_ns + header.frame_time_ns // 2


def _end_ns(header: ReadHeader) -> int:
    return header.time_ns + header.frame_time_ns


def disagreements(setup: Mapping[str, Scalar], rows: Sequence[TelemetryRow]) -> list[str]:
    """Say where the reads' own header and telemetry differ; the header is what was used."""
    said = []
    for row in rows:
        own = setup.get(row.fits) if row.fits and row.read is None and row.status in ("OK", "AGE") else None
        if own is None or row.value is None or isinstance(row.value, list):
            continue
        if isinstance(own, bool) or isinstance(row.value, bool) or isinstance(own, str) or isinstance(row.value, str):
            same = tidy(own) == tidy(row.value)  # names are spelled in many ways: Br_Gamma, BrGamma
        else:
            same = math.isclose(own, row.value, rel_tol=SAME, abs_tol=SAME)
        if not same:
            said.append(f"{row.fits}: the header says {own}, telemetry {row.value}; the header was used"[:1000])
    return said


def with_telemetry(frame: Frame, monitor: Monitor, prisms: Chosen | None = None) -> Frame:
    """Return a frame that carries the telemetry of its reads and says what it means for it.

    `prisms` is the reference with the dispersion of the corrector's prisms, if one was looked for.
    """
    header = frame.header
    rows = monitor.rows(header.detector)
    shape = (frame.data.shape[0], frame.data.shape[1])
    sky = sky_of(header, shape, rows, monitor.settings, prisms) if monitor.sees_sky(header.setup) else Sky()
    notes = [*header.notes, *monitor.notes(), *disagreements(header.setup, rows), *sky.notes]
    changed = structs.replace(header, telemetry=rows, adc=sky.adc, wcs=sky.wcs, notes=notes[:MAX_NOTES])
    return replace(frame, header=changed)


def _row(joined: Joined, detector: str, read: LoggedRead | None = None) -> TelemetryRow:
    key = joined.key
    value = None if joined.value is None else key.of_detector(joined.value, detector)
    return TelemetryRow(
        key=key.event,
        param=key.parameter,
        fits=key.fits,
        time_ns=joined.time_ns,
        value=[_short(one) for one in value[:MAX_LIST]] if isinstance(value, list) else _short(value),
        unit=key.unit,
        age_s=joined.age_s,
        status=joined.status,
        ramp=None if read is None else read.ramp,
        read=None if read is None else read.read,
    )


def _short(value: Scalar | None) -> Any:
    return value[:MAX_TEXT] if isinstance(value, str) else value


def _numbers(reads: Sequence[LoggedRead]) -> str:
    """Write reads as `reads 3-5,7 of ramp 0`, ramp after ramp."""
    parts = []
    for ramp in sorted({read.ramp for read in reads}):
        numbers = sorted({read.read for read in reads if read.ramp == ramp})
        runs: list[list[int]] = []
        for number in numbers:
            if runs and number == runs[-1][-1] + 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        spans = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
        parts.append(f"reads {','.join(spans)} of ramp {ramp}")
    return ", ".join(parts)
