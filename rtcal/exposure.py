"""One exposure of one detector: its reads summed into ramps, its ramps into a frame."""

from collections import Counter

import numpy as np

import rtcal
from rtcal import steps
from rtcal.bands import Bands
from rtcal.buffers import Buffers, RawImage, clear
from rtcal.calibration import Calibration
from rtcal.config import CalibrationSettings
from rtcal.errors import ReadRejected
from rtcal.estimator import Ends, Slope, Timeline, ends_of, slope_of
from rtcal.finishing import ExposureSums, finish
from rtcal.kernels.finish import Estimate, Noise
from rtcal.kernels.planes import Sample
from rtcal.kernels.weighted import Weighting
from rtcal.quality import channel_noise_e
from rtcal.ramp import Plan, Ramp
from rtcal.snapshots import is_spectral
from rtcal.steps import Chain
from rtcal.survey import Survey
from streams.dq import Dq
from streams.messages import Frame, FrameHeader, Read, ReadHeader
from streams.windows import corner

MAX_READS = 65_000
LAST_NUMBER = 65_534
"""The highest read number that `saturated_from` can hold: 65535 means never."""
LOOK_BACK = 2
"""Reads before the latest one that the test for jumps looks at."""


class Exposure:
    """The sums of one exposure, from its first read to its last frame.

    Parameters
    ----------
    opening
        The first read that came of it.
    plan
        Mode, saturation, detector.
    calibration
        The references of its setup.
    buffers
        Planes to work in; this exposure owns them until the next one begins.
    bands
        The pool of threads.
    """

    def __init__(self, opening: Read, plan: Plan, calibration: Calibration, buffers: Buffers, bands: Bands) -> None:
        self.opening = opening.header
        self.plan = plan
        self.calibration = calibration
        self.ramp: Ramp | None = None
        self.ramps = 0
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []
        self._buffers = buffers
        self._bands = bands
        self._chain = Chain(
            calibration.levels(plan.limits, plan.detector, buffers.dtype),
            calibration.curve(plan.detector),
            plan.jump_test,
        )
        self._estimate: Estimate | None = None
        self._noise: Noise | None = None
        self._effective_s = 0.0
        self.first_ns = self.last_ns = opening.header.time_ns
        """Times of the first and the last of the reads that were used, TAI [ns]."""
        self._whole = True
        self.channel_noise_e: list[float] = []
        """Of one read in the last ramp that was closed, by channel; empty without reference pixels."""
        self.last_ramp_index = opening.header.ramp
        self._excluded: list[int] = []
        self._parting = False
        self._fits = 0
        clear(buffers.state)

    @property
    def awaits_reads(self) -> bool:
        """True while planned reads have not come."""
        if self.ramp is not None:
            return self.ramp.opening.reads_planned > 0
        return self.opening.reads_planned > 0 and self.last_ramp_index + 1 < self.opening.ramps_planned

    def add(self, read: Read) -> None:
        """Add a read to the ramp that is open, or open the ramp with it.

        Raises
        ------
        ReadRejected
            If the read has another shape or dtype than the exposure, is of a window that has moved, came twice, or
            (`late`) arrived out of order in a mode that needs the order.
        """
        buffers = self._buffers
        if read.data.shape != buffers.shape or read.data.dtype != buffers.dtype:
            found = f"{read.data.shape} {read.data.dtype}"
            raise self._refused("mismatched", read, f"is {found}, the exposure {buffers.shape} {buffers.dtype}")
        if corner(read.header.setup) != corner(self.opening.setup):
            raise self._refused("moved", read, f"begins at {corner(read.header.setup)}, the exposure's first elsewhere")
        # Read-only, wherever it came from: one type for the kernels, compiled once.
        pixels = read.data.view()
        pixels.setflags(write=False)
        read = Read(read.header, pixels)
        if self.ramp is None:
            self._open_ramp(read)
        else:
            self._add_to(self.ramp, read)

    def exclude(self, header: ReadHeader, *, light: bool) -> None:
        """Leave out a read that came: it is in no sum, and not among the lost.

        With `light` the light that came up to it is left out too, which all later reads hold: reads before and after
        are summed apart.
        """
        self.counts["excluded"] += 1
        self._parting = self._parting or light
        if self.ramp is None:
            if header.ramp != self.last_ramp_index:
                self._excluded.clear()
            self.last_ramp_index = header.ramp
            self._excluded.append(header.read)
        else:
            self.ramp.excluded.append(header.read)

    def _refused(self, cause: str, read: Read, why: str) -> ReadRejected:
        """Count a read that is left out, and say on the frame why."""
        if self.ramp is not None:
            self.ramp.rejected += 1
        text = f"read {read.header.read} of ramp {read.header.ramp} {why}"
        self._note(f"{text}; left out")
        return ReadRejected(cause, text)

    def _open_ramp(self, read: Read) -> None:
        self.ramp = Ramp(read.header)
        if read.header.ramp == self.last_ramp_index:
            self.ramp.excluded = self._excluded
        self._excluded = []
        self.last_ramp_index = read.header.ramp
        self.ramp.zero = read.data
        self._parting = False
        steps.open_ramp(self._buffers.state, self._bands)
        if self.plan.mode != "utr":
            self._buffers.clear_ends()
        self._take(self.ramp, read)

    def _add_to(self, ramp: Ramp, read: Read) -> None:
        index, time_ns = read.header.read, read.header.time_ns
        if index in ramp.reads:
            raise ReadRejected("duplicates", f"read {index} of ramp {read.header.ramp} came twice")
        if ramp.closed:
            raise self._refused("surplus", read, "came after all that were planned")
        if time_ns in ramp.times_ns:
            raise self._refused("bad_time", read, "has the time of an earlier one")
        if len(ramp.reads) >= MAX_READS:
            raise ReadRejected("too_many", f"a ramp holds at most {MAX_READS} reads")
        ordered = index > ramp.reads[-1]
        if ordered != (time_ns > ramp.times_ns[-1]):
            raise self._refused("bad_time", read, "has a time that contradicts its place in the ramp")
        if not ordered and (self.plan.mode != "utr" or self.plan.jump_sigma):
            raise self._refused("late", read, f"came late; {self._needs_order()} need reads in order")
        if self._parting:
            self._parting = False
            self._fit(ramp, None, further=True)
            ramp.part(read.data)
            steps.open_ramp(self._buffers.state, self._bands)
        self._take(ramp, read)

    def _needs_order(self) -> str:
        return "jumps" if self.plan.jump_sigma else self.plan.mode.upper()

    def _take(self, ramp: Ramp, read: Read) -> None:
        """Put a read into the sums; the ramp's first one is their zero level."""
        assert ramp.zero is not None
        ramp.append(read.header)
        ramp.samples = [self._sample(read.data, ramp.zero), *ramp.samples[: LOOK_BACK if self._chain.test else 0]]
        number = min(read.header.read, LAST_NUMBER)
        ramp.closed = len(ramp.reads) == ramp.opening.reads_planned
        steps.add_read(
            self._buffers.state,
            self._chain,
            ramp.samples,
            ramp.zero,
            ramp.timeline,
            number,
            self._bands,
            closes=ramp.closed,
        )
        if self.plan.mode == "mcds":
            self._take_end(ramp, read.header.read)
        time_ns = read.header.time_ns
        self.first_ns, self.last_ns = min(self.first_ns, time_ns), max(self.last_ns, time_ns)

    def _sample(self, raw: RawImage, zero: RawImage) -> Sample:
        """Measure the reference pixels; without a border the read stays as it is, and the frame says so."""
        detector = self.plan.detector
        if not self.plan.reference_pixels:
            return steps.sample(raw)
        border, channels = detector.reference_border, detector.channels
        if not border or channels < 1 or raw.shape[1] % (2 * channels) or min(raw.shape) <= 2 * border:
            self._note("reference pixels: none to correct by")
            return steps.sample(raw)
        return steps.sample(raw, steps.border_terms(raw, zero, self.calibration.masks, border, channels))

    def _take_end(self, ramp: Ramp, number: int) -> None:
        """Add the latest read to the sum of the end that it belongs to."""
        m, planned = self.plan.ends_of(self.opening), self.opening.reads_planned
        if number < m:
            self._add_end(ramp, far=False)
        if number >= planned - m >= m:
            self._add_end(ramp, far=True)

    def _add_end(self, ramp: Ramp, *, far: bool) -> None:
        assert ramp.zero is not None
        assert self._buffers.ends is not None
        steps.add_end(self._buffers.ends, far, ramp.samples[0], ramp.zero, self._chain, self._bands)

    def preview(self, binning: int, ramp: Ramp) -> tuple[np.ndarray, np.ndarray]:
        """Bin the latest read [DN] and the provisional rate [e-/s] of the open ramp, or of the one closed last."""
        state, masks, gain = self._buffers.state, self.calibration.masks, self.plan.detector.gain_e_per_dn
        raw, is_open = ramp.samples[0].raw, ramp is self.ramp
        return steps.make_preview(state, ramp.timeline, gain, raw, masks, binning, self._bands, is_open=is_open)

    def close_ramp(self, *, aborted: bool = False) -> None:
        """Fit the open ramp and add it to the exposure."""
        ramp, self.ramp = self.ramp, None
        if ramp is None:
            return
        planned = ramp.opening.reads_planned
        expected = ramp.reads_so_far if aborted or not planned else planned
        lost = max(expected - len(ramp.reads) - ramp.rejected - len(ramp.excluded), 0)
        self._whole = self._whole and not aborted and lost == 0 and ramp.rejected == 0
        self.counts.update(used=len(ramp.reads), lost=lost, rejected=ramp.rejected)
        self._fit(ramp, self._ends(ramp))
        self._effective_s += ramp.length_s
        self.ramps += 1

    def _fit(self, ramp: Ramp, ends: Ends | None, *, further: bool = False) -> None:
        """Close the sums of a ramp, or of a part of it; those of several are gathered, for each may be the last."""
        assert ramp.zero is not None
        state, timeline, gain = self._buffers.state, ramp.timeline, self.plan.detector.gain_e_per_dn
        if not ramp.closed:
            steps.close_ramp(state, self._chain, ramp.samples, ramp.zero, timeline, self._bands)
        fitted = ends if ends is not None else slope_of(timeline.times_s)
        if len(timeline) < 2:
            self._note(f"ramp {ramp.opening.ramp} has one read; a rate takes two")
        weighting = self._weighting(fitted, timeline)
        several = self.opening.ramps_planned != 1 or self._fits > 0 or further or weighting is not None
        self._fits += 1
        self._estimate = steps.estimate_of(state, self._buffers.ends, fitted, len(timeline), gain, several)
        if weighting is not None:
            now, n_used = ramp.samples[0], len(timeline)
            steps.gather_weighted_ramp(state, self._chain, now, ramp.zero, weighting, n_used, self._bands)
        elif several:
            steps.gather_ramp(state, self._estimate, gain, self._bands)
        detector = self.plan.detector
        last = ramp.samples[0].raw
        self.channel_noise_e = channel_noise_e(ramp.zero, last, detector.reference_border, detector.channels, gain)
        variance = self.plan.detector.read_noise_e**2
        self._noise = Noise(np.float32(gain), np.float32(variance), ramp.zero, self._chain.curve)

    def _weighting(self, fitted: Slope | Ends, timeline: Timeline) -> Weighting | None:
        """Return how weights follow the light, if they are to; None where equal ones are as good or reads came late."""
        if not self.plan.by_signal or not isinstance(fitted, Slope) or self.plan.mode != "utr":
            return None
        if (np.diff(timeline.times_s) < 0).any():
            self._note("reads came late; they have equal weights")
            return None
        self._note("reads are weighted by signal to noise")
        return fitted.weighting(self.plan.detector.read_noise_e, self.plan.detector.gain_e_per_dn)

    def _ends(self, ramp: Ramp) -> Ends | None:
        """Return the two ends of a CDS or MCDS ramp; None where the least-squares slope has to serve."""
        if self.plan.mode == "utr":
            return None
        if ramp.split:
            self._note(f"ramp {ramp.opening.ramp} is in parts; their slopes were used, not {self.plan.mode.upper()}")
            return None
        index, m, planned = np.array(ramp.reads), self.plan.ends_of(self.opening), self.opening.reads_planned
        near, far = index < m, index >= planned - m
        if self.plan.mode == "cds":
            # The nearest surviving reads: what a lost end leaves is still right by its time stamps.
            near, far = index == index[0], index == index[-1]
            self._add_end(ramp, far=True)
        ends = ends_of(ramp.timeline.times_s, near, far)
        if ends is None:
            self._note(f"ramp {ramp.opening.ramp} has no two ends for {self.plan.mode.upper()}; its slope was used")
        return ends

    def _note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < 32:
            self.notes.append(text)

    def frame(
        self,
        settings: CalibrationSettings,
        survey: Survey,
        *,
        sequence: int,
        revision: int,
        final: bool,
        published_ns: int,
    ) -> Frame:
        """Calibrate what the closed ramps have given; `survey` sees its rows go by.

        Returns
        -------
        Frame
            Rate and error in e-/s; NaN with DO_NOT_USE where no ramp gave a slope and no neighbour helped.
        """
        opening, detector = self.opening, self.plan.detector
        spectral = is_spectral(opening.setup)
        sums, always = self.sums, self.always
        out, sky = finish(sums, self.calibration, settings, self._bands, survey, always=always, spectral=spectral)
        header = FrameHeader(
            instrument=opening.instrument,
            detector=opening.detector,
            sequence=sequence,
            time_ns=self.last_ns,
            exposure_id=opening.exposure_id,
            revision=revision,
            ramps=self.ramps,
            ramps_planned=opening.ramps_planned,
            reads_planned=opening.reads_planned,
            mode=self.plan.mode,
            reads_per_end=self.plan.ends_of(opening),
            effective_s=self._effective_s,
            first_read_ns=self.first_ns,
            published_ns=published_ns,
            reads_used=self.counts["used"],
            reads_lost=self.counts["lost"],
            reads_rejected=self.counts["rejected"],
            reads_excluded=self.counts["excluded"],
            complete=self._whole and self.ramps >= opening.ramps_planned,
            final=final,
            gain_e_per_dn=detector.gain_e_per_dn,
            read_noise_e=detector.read_noise_e,
            saturation_dn=detector.saturation_dn,
            sky_scale=float(sky.part.scale) if sky else None,
            setup=opening.setup,
            references=self.calibration.provenance(detector, sky),
            crds_context=self.calibration.references.crds_context,
            crds_sha1=self.calibration.references.crds_sha1,
            software=f"rtcal {rtcal.__version__}",
            notes=list(self.notes),
        )
        return Frame(header, out.rate, out.err, out.dq, out.saturated_from)

    @property
    def sums(self) -> ExposureSums:
        """What its rates follow from, after a ramp was closed; its own until the next read."""
        assert self._estimate is not None
        assert self._noise is not None
        return ExposureSums(self._buffers.state, self._estimate, self._noise)

    @property
    def always(self) -> int:
        """Flags that every pixel of its frame gets."""
        return int(Dq.MISSING_READ) if self.counts["lost"] or self.counts["rejected"] else 0
