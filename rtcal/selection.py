"""Which references an exposure of one detector has: chosen, merged, made ready ahead, without the pixels of windows."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec.structs import replace

from refcache import Choice, ReferenceSet
from rtcal.announcements import Announcements
from rtcal.calibration import Calibration
from rtcal.config import Mode
from rtcal.exposure import Exposure
from rtcal.night.desk import Desk
from rtcal.night.kinds import Kind, fitting, kind_of
from rtcal.pipeline_settings import PipelineSettings
from rtcal.windowing import Windows
from streams.messages import Provenance, ReadHeader, Scalar, TelemetryHeader
from streams.windows import Window, base_detector


class References(Protocol):
    """What is asked of the reference store; it never raises."""

    @property
    def landed(self) -> int:
        """Goes up whenever something was loaded that a choice may have waited for."""
        ...

    def open(
        self,
        setup: Mapping[str, str | int | float | bool],
        shape: tuple[int, int],
        mode: Mode,
        exposure_time_ns: int,
    ) -> Choice:
        """Begin an exposure: the references for its setup, by the rules of this moment."""
        ...

    def prepare(
        self,
        setup: Mapping[str, str | int | float | bool],
        shape: tuple[int, int],
        mode: Mode,
        time_ns: int,
        then: Callable[[ReferenceSet], None],
    ) -> None:
        """Load in the background what a setup will need, then call `then` there with what was chosen."""
        ...


class Selection:
    """The references of one detector's exposures, one after the other.

    Parameters
    ----------
    references
        Chooses them, from memory.
    settings
        The tables of the configuration.
    desk
        Has what the night brought; None: nothing.
    counters
        Of the pipeline, for `Windows`.

    Attributes
    ----------
    kind, choice
        What the exposure is of, and what it asks the rules; None before the first one.
    windows
        Where the exposure has windows.
    """

    def __init__(
        self,
        references: References,
        settings: PipelineSettings,
        desk: Desk | None,
        counters: Counter[str],
    ) -> None:
        self.kind: Kind = "science"
        self.choice: Choice | None = None
        self.windows = Windows(counters)
        self._references = references
        self._ramp = settings.ramp
        self._announcements = Announcements(settings.announce)
        self._desk = desk
        self._calibration: Calibration | None = None
        self._prepared: Calibration | None = None
        self._masked: tuple[Calibration, frozenset[Window], Calibration] | None = None

    def begin(self, header: ReadHeader, shape: tuple[int, int], border: int) -> Calibration:
        """Choose for the exposure that a read opens."""
        mode = self._ramp.mode_of(header)
        self.choice = self._references.open(_full_setup(header), shape, mode, header.time_ns)
        self.kind = kind_of(header)
        if self._desk is not None:
            self._desk.begin(header)
        ready, self._prepared = self._prepared or self._calibration, None
        references = self._chosen(self.choice, header.time_ns)
        references = references.keeping(references)  # what is late for the reads is late for all of the exposure
        self._calibration = Calibration.build(references, shape, border, ready)
        self.windows.begin(header, shape)
        return self._calibration

    def renew(self, exposure: Exposure, latest_ns: int) -> None:
        """Take what has been loaded since the exposure began, but for what its reads were corrected with."""
        assert self.choice is not None  # an exposure is open, or was
        old = exposure.calibration
        middle_ns = (exposure.opening.time_ns + latest_ns) // 2
        references = self._chosen(self.choice, middle_ns).keeping(old.references)
        self._calibration = Calibration.build(references, old.shape, old.border, self._calibration)
        self.mask(exposure)

    def mask(self, exposure: Exposure) -> None:
        """Leave the pixels of the exposure's windows out."""
        assert self._calibration is not None  # built when the exposure began
        if self._masked is None or self._masked[:2] != (self._calibration, self.windows.places):
            masked = self._calibration.masked(self.windows.places)
            self._masked = self._calibration, self.windows.places, masked
        exposure.calibration = self._masked[2]
        exposure.notes += [note for note in self.windows.notes if note not in exposure.notes]

    def hear(self, header: TelemetryHeader, latest: ReadHeader | None) -> None:
        """Look whether telemetry announces a setup."""
        changes = self._announcements.changes(header)
        if changes:
            self.prepare(changes, header.time_ns, latest)

    def prepare(self, setup: Mapping[str, Scalar], time_ns: int, latest: ReadHeader | None) -> None:
        """Have the references of an exposure that is announced made ready, on another thread.

        It is of the shape and in the mode of the latest read; what its own setup does not say holds on.
        """
        before = self._calibration
        if latest is None or before is None:
            return
        shape, border = before.shape, before.border

        def make_ready(references: ReferenceSet) -> None:
            self._prepared = Calibration.build(references, shape, border, before)

        coming = replace(latest, setup={**latest.setup, **setup})
        self._references.prepare(_full_setup(coming), shape, self._ramp.mode_of(coming), time_ns, make_ready)

    def provenance(self) -> list[Provenance]:
        """Say what the exposure has; nothing before the first one."""
        return [] if self._calibration is None else self._calibration.provenance()

    def forget(self) -> None:
        """Drop what was merged, after a fault inside."""
        self._calibration = self._masked = None

    def _chosen(self, choice: Choice, middle_ns: int) -> ReferenceSet:
        """Return the references of the exposure: by the rules, for its kind, and what the night has better."""
        if self._desk is None:
            return fitting(choice.select(), self.kind)
        return self._desk.choose(choice, self.kind, middle_ns)


def _full_setup(header: ReadHeader) -> dict[str, Scalar]:
    return {"INSTRUME": header.instrument, "DETECTOR": base_detector(header.detector), **header.setup}
