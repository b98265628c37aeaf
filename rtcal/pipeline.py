"""The pipeline of one detector: messages in, previews and frames out.

It is the same object live, replayed and offline, and it looks at no clock that could reach a pixel:
time limits live in the daemon, which calls `finish_ramp` when a ramp's end does not come.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from msgspec.structs import replace

from refcache import Choice, ReferenceSet
from rtcal.announcements import Announcements
from rtcal.bands import Bands
from rtcal.binned import screen_binning
from rtcal.buffers import Buffers, Stock
from rtcal.calibration import Calibration, Limits
from rtcal.config import CalibrationSettings, Detector, DetectorSettings, Mode, NightSettings, RampSettings, detector_of
from rtcal.errors import ReadRejected, RtcalError
from rtcal.exposure import Exposure, Plan, Ramp
from rtcal.joined import Monitor, with_telemetry
from rtcal.night.bare import Harvest
from rtcal.night.desk import PUT_S, Desk
from rtcal.night.kept import Kept
from rtcal.night.kinds import Kind, fitting, kind_of
from rtcal.night.night import Night
from rtcal.persistence import Persistence
from rtcal.quality import Meter, survey_frame
from rtcal.routing import WindowSeen
from rtcal.snapshots import complete
from rtcal.spectrograph.stage import CubeStage
from rtcal.windowing import Windows
from streams.clock import Clock
from streams.messages import (
    DetectorStatus,
    Frame,
    FrameHeader,
    Message,
    Observe,
    ObserveHeader,
    Preview,
    PreviewHeader,
    Read,
    ReadHeader,
    Scalar,
    Telemetry,
)
from streams.ordering import Resequencer
from streams.windows import Window, base_detector

END_FRAMES = 3
"""Frame times after its end that reads of an exposure may still come."""


class References(Protocol):
    """What the pipeline asks of the reference store; it never raises."""

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


@dataclass(frozen=True)
class PipelineSettings:
    """The tables of the configuration that a pipeline needs."""

    ramp: RampSettings
    calibration: CalibrationSettings
    detectors: dict[str, DetectorSettings]
    hold_reads: int
    preview_pixels: int
    meter: Meter | None = None
    """Measures each frame before it leaves."""
    night: NightSettings | None = None
    """None: exposures of the night become no references."""
    announce: dict[str, str] = field(default_factory=dict)
    """Setup key by the telemetry that tells of its change: references are loaded ahead."""


class Pipeline:
    """Everything that happens to the messages of one detector, in their order.

    Parameters
    ----------
    settings
        The tables of the configuration.
    references
        Chooses the references of a setup, from memory.
    bands
        The pool of threads.
    clock
        For `published_ns` alone.
    monitor
        What telemetry says of the reads; None: there is none.
    cubes
        Makes the spectrograph's cubes; None: none are made.
    stock
        Planes that are ready; None: they are made when the first read comes.
    night
        Where the night's references are made beside the reads; None: at once, between two reads.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        references: References,
        bands: Bands,
        clock: Clock,
        monitor: Monitor | None = None,
        cubes: CubeStage | None = None,
        stock: Stock | None = None,
        night: Night | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._references = references
        self._bands = bands
        self._clock = clock
        self._monitor = monitor
        self._meter = settings.meter
        self._persistence = None if settings.meter is None else Persistence(settings.meter.settings)
        self._cubes = cubes
        self._stock = stock
        self._order = Resequencer(settings.hold_reads)
        self._exposure: Exposure | None = None
        self._buffers: Buffers | None = None
        self._announcements = Announcements(settings.announce)
        self._choice: Choice | None = None
        self._calibration: Calibration | None = None
        self._prepared: Calibration | None = None
        self._kind: Kind = "science"
        self._desk: Desk | None = None
        if settings.night is not None:
            night = night or Night(settings.night, live=False)
            self._desk = Desk(settings.night, settings.calibration, night, bands, settings.meter)
        self._harvest: Harvest | None = None
        self._glow = np.empty(0, np.int64)
        self._landed = 0
        self._windows = Windows(self.counters)
        self._masked: tuple[Calibration, frozenset[Window], Calibration] | None = None
        self._sequences: Counter[str] = Counter()
        self._latest: ReadHeader | None = None
        self._ended: tuple[str, int] | None = None
        self._revision, self._final = 0, False
        self._end_due_ns: int | None = None

    def process(self, message: Message | WindowSeen, *, preview: bool = True) -> Iterator[Message]:
        """Take one message; yield what follows from it.

        Parameters
        ----------
        message
            A read or an event of this detector, or that it has a window; other kinds are counted and ignored.
        preview
            False leaves out the preview of a read (the daemon is behind, or nobody looks).
        """
        if isinstance(message, WindowSeen):
            self._windows.see(message)
            return
        yield from self.revisit()
        if self._end_due_ns is not None and message.header.time_ns >= self._end_due_ns:
            yield from self.finish(aborted=False)
        match message:
            case Read():
                for read in self._order.push(message):
                    yield from self._read(read, preview=preview)
            case Observe():
                yield from self._observe(message)
            case Telemetry():
                changes = self._announcements.changes(message.header)
                if changes:
                    self._prepare(changes, message.header.time_ns)
                self.counters["ignored"] += 1
            case _:
                self.counters["ignored"] += 1

    def finish_ramp(self, *, aborted: bool = True) -> Iterator[Message]:
        """End the open ramp with the reads that are there (no more will come): its frame."""
        for read in self._order.flush():
            yield from self._read(read, preview=False)
        ended, self._end_due_ns = self._end_due_ns is not None, None
        yield from self._close_ramp(aborted=aborted and not ended)
        if ended:
            yield from self._conclude()

    def finish(self, *, aborted: bool = True) -> Iterator[Message]:
        """End everything that is open (no more will come): the frame of the ramp, and the exposure's final one."""
        yield from self.finish_ramp(aborted=aborted)
        yield from self._conclude()

    def revisit(self) -> Iterator[Message]:
        """Issue frames again for which there are better references by now."""
        if self._desk is None:
            return
        landed = self._references.landed
        if landed != self._landed and self._desk.loading:
            self._desk.look_again()
        self._landed = landed
        yield from self._again(self._desk.results())

    def settle(self, timeout_s: float) -> Iterator[Message]:
        """Wait for what the night is still making of what was handed in; yield the frames that it issues again."""
        for _ in range(round(timeout_s / PUT_S)):
            if self._desk is None or self._desk.idle:
                return
            yield from self._again(self._desk.wait_for_result(PUT_S))

    def rest(self) -> None:
        """Let a publisher begin anew: after a pause the same recording may be played again.

        While a ramp is open nothing is forgotten.
        """
        if not self.ramp_open:
            self._order.reset()

    def forget(self) -> None:
        """Drop the open exposure, after a fault inside; the next one starts clean."""
        self._exposure = self._end_due_ns = None
        self._buffers = None
        self._calibration = self._masked = self._harvest = None
        self._order.reset()  # its counters go on

    @property
    def ramp_open(self) -> bool:
        """True while reads of a ramp are in the sums and its frame is not out."""
        return self._exposure is not None and self._exposure.ramp is not None

    @property
    def latest(self) -> ReadHeader | None:
        """The header of the latest read that was used."""
        return self._latest

    def status(self, queued: int = 0, latency_s: float | None = None) -> DetectorStatus:
        """Say where the pipeline stands."""
        latest = self._latest
        references = [] if self._calibration is None else self._calibration.provenance()
        parts = (self._order, self._cubes, self._desk)
        return DetectorStatus(
            exposure_id=latest.exposure_id if latest else "",
            ramp=latest.ramp if latest else 0,
            read=latest.read if latest else 0,
            reads_planned=latest.reads_planned if latest else 0,
            queued=queued,
            latency_s=latency_s,
            counters=dict(sum((part.counters for part in parts if part is not None), self.counters)),
            references=references,
        )

    def _read(self, read: Read, *, preview: bool) -> Iterator[Message]:
        header = read.header
        if self._is_over(header):
            if header.read > 0 or self.ramp_open:
                self.counters["late"] += 1
                return
            self._exposure = self._ended = None  # played again from the start
        self._free_sums()
        exposure = self._exposure
        if exposure is not None and self._is_new_ramp(exposure, header):
            yield from self._close_ramp(aborted=False)
        if exposure is None or exposure.opening.exposure_id != header.exposure_id:
            yield from self._conclude()
            exposure = self._exposure = self._open(read)
        if not self._add(exposure, read):
            return
        self._latest = header
        ramp = exposure.ramp
        if ramp is not None and ramp.is_complete:  # the frame first: it is what is waited for
            yield from self._close_ramp(aborted=False)
            if preview:
                yield self._preview(exposure, header, ramp)
        elif ramp is not None and preview:
            yield self._preview(exposure, header, ramp)
            yield from self._cube_so_far(exposure, header)

    def _add(self, exposure: Exposure, read: Read) -> bool:
        """Put a read into the sums, or leave it out by a rule; False if it cannot be part of its ramp."""
        judged = None if self._monitor is None else self._monitor.judge(read.header)
        if judged is not None and judged.excluded:
            self.counters["reads_excluded"] += 1
            exposure.exclude(read.header, light=judged.light)
            return True
        try:
            exposure.add(read)
        except ReadRejected as rejected:
            self.counters[f"rejected_{rejected.cause}"] += 1
            if self._monitor is not None and judged is not None:
                self._monitor.forget(judged)
            return False
        self.counters["reads_used"] += 1
        return True

    def _is_over(self, header: ReadHeader) -> bool:
        """Tell whether the frame of the read's ramp is out already."""
        if self._ended is None:
            return False
        exposure_id, ramp = self._ended
        return header.exposure_id == exposure_id and header.ramp <= ramp

    @staticmethod
    def _is_new_ramp(exposure: Exposure, header: ReadHeader) -> bool:
        if exposure.opening.exposure_id != header.exposure_id:
            return True
        return exposure.ramp is not None and exposure.last_ramp_index != header.ramp

    def _observe(self, message: Observe) -> Iterator[Message]:
        header, exposure = message.header, self._exposure
        ours = exposure is not None and _concerns(header, exposure.opening)
        match header.name:
            case "ExposureEnd" | "ObserveEnd" if ours and exposure is not None and exposure.awaits_reads:
                # It may have come another way than the reads, and faster: those that it ends are waited for.
                self._end_due_ns = header.time_ns + END_FRAMES * exposure.opening.frame_time_ns
            case "ExposureEnd" | "ObserveEnd" if ours:
                yield from self.finish(aborted=False)
            case "ExposureAborted" if ours:
                self.counters["aborted"] += 1
                yield from self.finish()
            case "PrepareStart":
                self._prepare(header.setup, header.time_ns)
            case "ReadoutFailed":
                self.counters["readouts_failed"] += 1
        self.counters["events"] += 1

    def _open(self, read: Read) -> Exposure:
        header = read.header
        shape = (read.data.shape[0], read.data.shape[1])
        detector = detector_of(
            header, self._settings.detectors, self._monitor.detector(header) if self._monitor else None
        )
        mode = self._settings.ramp.mode_of(header)
        setup = _full_setup(header)
        self._choice = self._references.open(setup, shape, mode, header.time_ns)
        self._kind = kind_of(header)
        if self._desk is not None:
            self._desk.begin(header)
        ready, self._prepared = self._prepared or self._calibration, None
        references = self._chosen(self._choice, header.time_ns)
        references = references.keeping(references)  # what is late for the reads is late for all of the exposure
        self._calibration = Calibration.build(references, shape, detector.reference_border, ready)
        self._buffers = Buffers.fit_for(read, self._buffers, self._stock)
        plan = self._plan(mode, self._calibration.measured(detector), read)
        self._revision, self._final = 0, False
        if self._monitor is not None:
            self._monitor.start()
        self.counters["exposures"] += 1
        self._windows.begin(header, shape)
        exposure = Exposure(read, plan, self._calibration, self._buffers, self._bands)
        self._mask(exposure)
        return exposure

    def _plan(self, mode: Mode, detector: Detector, read: Read) -> Plan:
        ramp = self._settings.ramp
        # Only numbers straight from the converter have its floor; reads in float were worked on before.
        floor_dn = 0.0 if read.data.dtype.kind == "u" else float("-inf")
        return Plan(
            mode,
            ramp.reads_per_end,
            Limits(detector.saturation_dn * ramp.saturation_fraction, floor_dn),
            detector,
            jump_sigma=ramp.jump_sigma,
            by_signal=ramp.weights == "snr",
            reference_pixels=ramp.reference_pixels,
        )

    def _close_ramp(self, *, aborted: bool) -> Iterator[Message]:
        exposure = self._exposure
        if exposure is None or exposure.ramp is None:
            return
        opening = exposure.ramp.opening
        lost_before = exposure.counts["lost"]
        with self._bands.turn:
            exposure.close_ramp(aborted=aborted)
        self.counters["reads_lost"] += exposure.counts["lost"] - lost_before
        self._ended = (opening.exposure_id, opening.ramp)
        self.counters["ramps"] += 1
        yield from self._issue(exposure, final=aborted or opening.ramp + 1 >= opening.ramps_planned)

    def _conclude(self) -> Iterator[Message]:
        """Close the exposure; its last frame goes out again as final where the ramps that were to follow never came."""
        exposure, self._exposure = self._exposure, None
        self._end_due_ns = None
        if exposure is not None and not exposure.ramps and exposure.counts["excluded"]:
            self.counters["exposures_excluded"] += 1  # no read is left that a frame could be made of
        if exposure is not None and exposure.ramps and not self._final:
            yield from self._issue(exposure, final=True)

    def _issue(self, exposure: Exposure, *, final: bool) -> Iterator[Message]:
        """Publish an exposure's frame; then see what a final one is good for, and which others are better by it."""
        with self._bands.turn:
            frame = self._frame(exposure, final=final)
        calibration, desk, choice = exposure.calibration, self._desk, self._choice
        yield from self._products(frame, calibration.references)
        if desk is None or choice is None or not final:
            return
        if desk.wants(frame, self._kind, calibration.references):
            self._hand_in(desk, exposure, choice, frame.header)
        else:
            desk.pass_by()
        yield from self._again(desk.results())

    def _hand_in(self, desk: Desk, exposure: Exposure, choice: Choice, header: FrameHeader) -> None:
        """Let the night have an exposure whose frame is out; its sums stay as they are until the next read."""
        calibration = exposure.calibration
        try:
            sums = desk.new_sums((calibration.static_dq.shape[0], calibration.static_dq.shape[1]))
        except RtcalError as error:
            desk.fail(error)
            return
        kept = Kept(
            self._kind,
            header,
            sums,
            opening=calibration.references,
            references=calibration.references,
            choice=choice,
            detector=exposure.plan.detector,
            border=calibration.border,
            windows=self._windows.places,
            noise_e=tuple(exposure.channel_noise_e),
            always=exposure.always,
            glow=self._glow,
        )
        self._harvest = desk.take(kept, exposure.sums, calibration)

    def _again(self, results: Iterable[tuple[Frame, Kept]]) -> Iterator[Message]:
        """Give the frames that are issued again their numbers and times."""
        for frame, kept in results:
            header = replace(frame.header, sequence=self._next("frame"), published_ns=self._clock.tai_ns())
            self.counters["frames"] += 1
            self.counters["reissued"] += 1
            yield from self._products(dataclasses.replace(frame, header=header), kept.opening)

    def _free_sums(self) -> None:
        """Have the rates of the last exposure out of the sums before these change."""
        if self._harvest is not None:
            self._harvest.hurry()
            self._harvest = None

    def _products(self, frame: Frame, references: ReferenceSet) -> Iterator[Message]:
        """Yield the frame, then what the spectrograph makes of it."""
        yield frame
        if self._cubes is not None:
            yield from self._cubes.products(frame, references)

    def _cube_so_far(self, exposure: Exposure, header: ReadHeader) -> Iterator[Message]:
        if self._cubes is None or exposure.ramp is None or not self._cubes.wants_preview(header):
            return
        if exposure.ramp.is_complete:
            return  # the whole cube is about to follow
        _, rate = exposure.preview(1, exposure.ramp)
        calibration = exposure.calibration
        cube = self._cubes.preview(rate, calibration.static_dq, header, calibration.references, exposure.ramp.length_s)
        if cube is not None:
            yield cube

    def _frame(self, exposure: Exposure, *, final: bool) -> Frame:
        self._choose_again(exposure)
        frame = exposure.frame(
            self._settings.calibration,
            sequence=self._next("frame"),
            revision=self._revision,
            final=final,
            published_ns=self._clock.tai_ns(),
        )
        if self._monitor is not None:
            frame = with_telemetry(frame, self._monitor, exposure.calibration.references.types.get("adc"))
        frame = dataclasses.replace(frame, header=replace(frame.header, references=complete(frame.header)))
        frame = self._measured(frame, exposure)
        self._revision += 1
        self._final = final
        self.counters["frames"] += 1
        return frame

    def _measured(self, frame: Frame, exposure: Exposure) -> Frame:
        """Say in a frame's header how good it is, and flag what may glow."""
        if self._meter is None or self._persistence is None:
            return frame
        self._glow = self._persistence.flag(frame)
        rows = survey_frame(frame, self._bands)
        quality = self._meter.measure(frame, rows, exposure.channel_noise_e, int(self._glow.size))
        self._persistence.remember(frame, rows)
        header = replace(frame.header, quality=quality, published_ns=self._clock.tai_ns())
        return dataclasses.replace(frame, header=header)

    def _choose_again(self, exposure: Exposure) -> None:
        """Take what has been loaded since the exposure began, but for what its reads were corrected with."""
        assert self._choice is not None  # an exposure is open, or was
        old = exposure.calibration
        latest_ns = self._latest.time_ns if self._latest is not None else exposure.opening.time_ns
        middle_ns = (exposure.opening.time_ns + latest_ns) // 2
        references = self._chosen(self._choice, middle_ns).keeping(old.references)
        shape = (old.static_dq.shape[0], old.static_dq.shape[1])
        self._calibration = Calibration.build(references, shape, old.border, self._calibration)
        self._mask(exposure)

    def _chosen(self, choice: Choice, middle_ns: int) -> ReferenceSet:
        """Return the references of the exposure: by the rules, for its kind, and what the night has better."""
        if self._desk is None:
            return fitting(choice.select(), self._kind)
        return self._desk.choose(choice, self._kind, middle_ns)

    def _mask(self, exposure: Exposure) -> None:
        """Leave the pixels of the exposure's windows out."""
        assert self._calibration is not None  # built when the exposure began
        if self._masked is None or self._masked[:2] != (self._calibration, self._windows.places):
            masked = self._calibration.masked(self._windows.places)
            self._masked = self._calibration, self._windows.places, masked
        exposure.calibration = self._masked[2]
        exposure.notes += [note for note in self._windows.notes if note not in exposure.notes]

    def _prepare(self, setup: Mapping[str, Scalar], time_ns: int) -> None:
        """Have the references of an exposure that is announced made ready, on another thread.

        It is of the shape and in the mode of the latest read; what its own setup does not say holds on.
        """
        latest, before = self._latest, self._calibration
        if latest is None or before is None:
            return
        shape, border = (before.static_dq.shape[0], before.static_dq.shape[1]), before.border

        def make_ready(references: ReferenceSet) -> None:
            self._prepared = Calibration.build(references, shape, border, before)

        coming = replace(latest, setup={**latest.setup, **setup})
        full_setup = _full_setup(coming)
        self._references.prepare(full_setup, shape, self._settings.ramp.mode_of(coming), time_ns, make_ready)

    def _preview(self, exposure: Exposure, header: ReadHeader, ramp: Ramp) -> Preview:
        self._mask(exposure)
        shape = (exposure.calibration.static_dq.shape[0], exposure.calibration.static_dq.shape[1])
        binning = screen_binning(shape, self._settings.preview_pixels)
        raw, rate = exposure.preview(binning, ramp)
        return Preview(
            PreviewHeader(
                instrument=header.instrument,
                detector=header.detector,
                sequence=self._next("preview"),
                time_ns=header.time_ns,
                exposure_id=header.exposure_id,
                ramp=header.ramp,
                read=header.read,
                ramps_planned=header.ramps_planned,
                reads_planned=header.reads_planned,
                reads_used=len(ramp.reads),
                reads_lost=ramp.lost,
                effective_s=ramp.length_s,
                binning=binning,
                full_shape=shape,
                published_ns=self._clock.tai_ns(),
                setup=header.setup,
            ),
            raw,
            rate,
        )

    def _next(self, kind: str) -> int:
        """Return the sequence number of the next message of a kind."""
        number = self._sequences[kind]
        self._sequences[kind] += 1
        return number


def _full_setup(header: ReadHeader) -> dict[str, Scalar]:
    return {"INSTRUME": header.instrument, "DETECTOR": base_detector(header.detector), **header.setup}


def _concerns(step: ObserveHeader, opening: ReadHeader) -> bool:
    """Tell whether a step is about an exposure: by its name, or by that of its observation if it is not older."""
    if step.exposure_id == opening.exposure_id:
        return True
    return opening.exposure_id.startswith(f"{step.exposure_id}-") and step.time_ns >= opening.time_ns
