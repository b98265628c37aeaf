"""The pipeline of one detector: messages in, previews and frames out.

A read is put in order (`streams.ordering`), opens an exposure if it is the first of one (`selection`: its references),
is added (`exposure`, `steps`, `kernels`) and gives a preview; the last one of a ramp gives the frame (`issuing`), which
the night may have then (`handover`).

It is the same object live, replayed and offline, and it looks at no clock that could reach a pixel:
time limits live in the daemon, which calls `finish_ramp` when a ramp's end does not come.
"""

from collections import Counter
from collections.abc import Iterator

from rtcal.bands import Bands
from rtcal.buffers import Buffers, Stock
from rtcal.config import detector_of
from rtcal.errors import ReadRejected
from rtcal.exposure import Exposure
from rtcal.handover import Handover
from rtcal.issuing import Issuer
from rtcal.joined import Monitor
from rtcal.night.desk import Desk
from rtcal.night.night import Night
from rtcal.pipeline_settings import PipelineSettings
from rtcal.ramp import Plan
from rtcal.routing import WindowSeen
from rtcal.selection import References, Selection
from rtcal.snapshots import is_spectral
from rtcal.spectrograph.stage import CubeStage
from streams.clock import Clock
from streams.messages import (
    DetectorStatus,
    Message,
    Observe,
    ObserveHeader,
    Read,
    ReadHeader,
    Telemetry,
)
from streams.ordering import Resequencer

END_FRAMES = 3
"""Frame times after its end that reads of an exposure may still come."""


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
        self._monitor = monitor
        self._stock = stock
        desk = None
        if settings.night is not None:
            night = night or Night(settings.night, live=False)
            desk = Desk(settings.night, settings.calibration, night, bands, settings.preview_pixels, settings.meter)
        self._order = Resequencer(settings.hold_reads)
        self._selection = Selection(references, settings, desk, self.counters)
        self._issuer = Issuer(settings, bands, clock, monitor, cubes, self.counters)
        self._night = None if desk is None else Handover(desk, self._issuer)
        self._parts = [part for part in (self._order, cubes, desk) if part is not None]
        self._exposure: Exposure | None = None
        self._buffers: Buffers | None = None
        self._latest: ReadHeader | None = None
        self._ended: tuple[str, int] | None = None
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
            self._selection.windows.see(message)
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
                self._selection.hear(message.header, self._latest)
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
        if self._night is not None:
            yield from self._night.revisit(self._references)

    def settle(self, timeout_s: float) -> Iterator[Message]:
        """Wait for what the night is still making of what was handed in; yield the frames that it issues again."""
        if self._night is not None:
            yield from self._night.settle(timeout_s)

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
        self._selection.forget()
        if self._night is not None:
            self._night.forget()
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
        return DetectorStatus(
            exposure_id=latest.exposure_id if latest else "",
            ramp=latest.ramp if latest else 0,
            read=latest.read if latest else 0,
            reads_planned=latest.reads_planned if latest else 0,
            queued=queued,
            latency_s=latency_s,
            counters=dict(sum((part.counters for part in self._parts), self.counters)),
            references=self._selection.provenance(),
        )

    def _read(self, read: Read, *, preview: bool) -> Iterator[Message]:
        header = read.header
        if self._is_over(header):
            if header.read > 0 or self.ramp_open:
                self.counters["late"] += 1
                return
            self._exposure = self._ended = None  # played again from the start
        if self._night is not None:
            self._night.free_sums()
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
        if ramp is None:
            return  # every read of it so far was left out
        complete = ramp.is_complete
        if complete:  # the frame first: it is what is waited for
            yield from self._close_ramp(aborted=False)
        if preview and not (complete and self._bands.turn.locked()):  # frames of other detectors are waited for, too
            self._selection.mask(exposure)
            yield self._issuer.preview(exposure, header, ramp)
            if not complete:  # else the whole cube is out
                yield from self._issuer.cube_so_far(exposure, header, ramp)

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
                self._selection.prepare(header.setup, header.time_ns, self._latest)
            case "ReadoutFailed":
                self.counters["readouts_failed"] += 1
        self.counters["events"] += 1

    def _open(self, read: Read) -> Exposure:
        """Begin the exposure of a read: detector, references, planes to work in."""
        header, monitor = read.header, self._monitor
        detector = detector_of(header, self._settings.detectors, monitor.detector(header) if monitor else None)
        shape = (read.data.shape[0], read.data.shape[1])
        calibration = self._selection.begin(header, shape, detector.reference_border)
        plan = Plan.of(self._settings.ramp, calibration.measured(detector), header, read.data.dtype)
        self._buffers = Buffers.fit_for(read, self._buffers, self._stock)
        self._issuer.begin()
        if monitor is not None:
            monitor.start()
        self.counters["exposures"] += 1
        exposure = Exposure(read, plan, calibration, self._buffers, self._bands)
        self._selection.mask(exposure)
        return exposure

    def _close_ramp(self, *, aborted: bool) -> Iterator[Message]:
        exposure = self._exposure
        if exposure is None or exposure.ramp is None:
            return
        opening = exposure.ramp.opening
        lost_before = exposure.counts["lost"]
        with self._bands.turn.take(urgent=is_spectral(opening.setup)):
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
        if exposure is not None and exposure.ramps and not self._issuer.final:
            yield from self._issue(exposure, final=True)

    def _issue(self, exposure: Exposure, *, final: bool) -> Iterator[Message]:
        """Publish an exposure's frame; the night may have the exposure after its final one."""
        latest_ns = self._latest.time_ns if self._latest is not None else exposure.opening.time_ns
        self._selection.renew(exposure, latest_ns)
        frame, look = self._issuer.frame(exposure, final=final)
        yield from self._issuer.products(frame, self._issuer.survey, look)
        if final and self._night is not None:
            yield from self._night.take(exposure, frame, self._selection)


def _concerns(step: ObserveHeader, opening: ReadHeader) -> bool:
    """Tell whether a step is about an exposure: by its name, or by that of its observation if it is not older."""
    if step.exposure_id == opening.exposure_id:
        return True
    return opening.exposure_id.startswith(f"{step.exposure_id}-") and step.time_ns >= opening.time_ns
