"""One exposure of one detector: its reads summed into ramps, its ramps into a frame."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

import rtcal
from rtcal import steps
from rtcal.bands import Bands
from rtcal.calibration import Calibration
from rtcal.config import CalibrationSettings, Detector, Mode
from rtcal.errors import ReadRejected
from rtcal.estimator import Ends, Timeline, ends_of
from rtcal.steps import BorderTerms, ExposureSums, JumpTest, Limits, RampPlanes, RawImage
from streams.clock import NS
from streams.dq import Dq
from streams.messages import Frame, FrameHeader, Read, ReadHeader
from streams.windows import corner

SPECTRAL = ("SLICER", "LENSLET", "IFU", "IFS")
"""Values of INSTMODE whose frames hold spectra."""
MAX_READS = 65_000
LAST_NUMBER = 65_534
"""The highest read number that `saturated_from` can hold: 65535 means never."""


@dataclass(frozen=True)
class Plan:
    """How an exposure is to be reduced; fixed when its first read comes."""

    mode: Mode
    reads_per_end: int
    limits: Limits
    detector: Detector
    jump_sigma: float = 0.0
    """Threshold of the test for jumps; 0 for none."""
    reference_pixels: bool = False

    def ends_of(self, header: ReadHeader) -> int:
        """Return the number of reads at each end: 1 for CDS, m for MCDS if 2 m were planned, 0 for UTR."""
        if self.mode == "mcds":
            return min(self.reads_per_end, header.reads_planned // 2)
        return 1 if self.mode == "cds" else 0

    @property
    def jump_test(self) -> JumpTest | None:
        """The test for jumps, if there is one."""
        if not self.jump_sigma:
            return None
        gain = self.detector.gain_e_per_dn
        return JumpTest(self.detector.read_noise_e / gain, gain, self.jump_sigma)


@dataclass(eq=False)
class Buffers:
    """The planes of one detector, allocated once and used for every exposure of the same shape and dtype."""

    planes: RampPlanes
    sums: ExposureSums

    @classmethod
    def fit_for(cls, read: Read, old: "Buffers | None") -> "Buffers":
        """Return `old` if it fits the read, else new buffers."""
        shape = (read.data.shape[0], read.data.shape[1])
        if old is not None and old.planes.shape == shape and old.planes.zero.dtype == read.data.dtype:
            return old
        new = cls(RampPlanes.allocate(shape, read.data.dtype), ExposureSums.allocate(shape))
        steps.take_pages(shape)  # after the buffers, which stay: they would take what is given back
        return new


class Ramp:
    """The reads used so far in the ramp that is open."""

    def __init__(self, opening: ReadHeader) -> None:
        self.opening = opening
        self.reads: list[int] = []
        self.times_ns: list[int] = []
        self.timeline = Timeline()
        self.rejected = 0
        self.excluded: list[int] = []
        self.last: RawImage | None = None

    def append(self, read: Read) -> None:
        """Note a read; times count from the middle of the planned ramp, so that sums of float32 stay small."""
        header = read.header
        self.reads.append(header.read)
        self.times_ns.append(header.time_ns)
        middle_s = max(self.opening.reads_planned - 1, 0) * self.opening.frame_time_ns / NS / 2
        self.timeline.append((header.time_ns - self.times_ns[0]) / NS - middle_s)
        self.last = read.data

    @property
    def lost(self) -> int:
        """Reads that should have come before the latest one, and did not."""
        return self.reads_so_far - len(self.reads) - self.rejected - len(self.excluded)

    @property
    def reads_so_far(self) -> int:
        """Reads of the ramp up to the latest one that came, used or left out."""
        return max([-1, *self.reads, *self.excluded]) + 1

    @property
    def length_s(self) -> float:
        """Time from the first to the last read used [s]."""
        return (max(self.times_ns) - min(self.times_ns)) / NS if self.times_ns else 0.0

    @property
    def is_complete(self) -> bool:
        """True once every planned read has come or the last one has."""
        planned = self.opening.reads_planned
        return planned > 0 and self.reads_so_far >= planned


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
        self._effective_s = 0.0
        self._first_ns = self._last_ns = opening.header.time_ns
        self._whole = True
        self.last_ramp_index = opening.header.ramp
        self._excluded: list[int] = []
        buffers.sums.clear()

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
        planes = self._buffers.planes
        if read.data.shape != planes.shape or read.data.dtype != planes.zero.dtype:
            self._reject()
            found = f"{read.data.shape} {read.data.dtype}"
            raise ReadRejected("mismatched", f"read is {found}, the exposure {planes.shape} {planes.zero.dtype}")
        if corner(read.header.setup) != corner(self.opening.setup):
            self._reject()
            raise ReadRejected("moved", f"read begins at {corner(read.header.setup)}, the exposure's first elsewhere")
        # Read-only, wherever it came from: one type for the kernels, compiled once.
        pixels = read.data.view()
        pixels.setflags(write=False)
        read = Read(read.header, pixels)
        if self.ramp is None:
            self._open_ramp(read)
        else:
            self._add_to(self.ramp, read)

    def exclude(self, header: ReadHeader) -> None:
        """Leave out a read that came: it is in no sum, and not among the lost."""
        self.counts["excluded"] += 1
        if self.ramp is None:
            if header.ramp != self.last_ramp_index:
                self._excluded.clear()
            self.last_ramp_index = header.ramp
            self._excluded.append(header.read)
        else:
            self.ramp.excluded.append(header.read)

    def _reject(self) -> None:
        if self.ramp is not None:
            self.ramp.rejected += 1

    def _open_ramp(self, read: Read) -> None:
        self.ramp = Ramp(read.header)
        if read.header.ramp == self.last_ramp_index:
            self.ramp.excluded = self._excluded
        self._excluded = []
        self.last_ramp_index = read.header.ramp
        steps.start_ramp(self._buffers.planes, read.data, self._bands, ends=self.plan.mode != "utr")
        self._take(self.ramp, read)

    def _add_to(self, ramp: Ramp, read: Read) -> None:
        index, time_ns = read.header.read, read.header.time_ns
        if index in ramp.reads or time_ns in ramp.times_ns:
            raise ReadRejected("duplicates", f"read {index} of ramp {read.header.ramp} came twice")
        if len(ramp.reads) >= MAX_READS:
            raise ReadRejected("too_many", f"a ramp holds at most {MAX_READS} reads")
        ordered = index > ramp.reads[-1]
        if ordered != (time_ns > ramp.times_ns[-1]):
            self._reject()
            raise ReadRejected("bad_time", f"read {index} has a time that contradicts its place in the ramp")
        if not ordered and (self.plan.mode != "utr" or self.plan.jump_sigma):
            self._reject()
            raise ReadRejected("late", f"read {index} came late; {self._needs_order()} need reads in order")
        self._take(ramp, read)

    def _needs_order(self) -> str:
        return "jumps" if self.plan.jump_sigma else self.plan.mode.upper()

    def _take(self, ramp: Ramp, read: Read) -> None:
        """Put a read into the sums; the ramp's first one is their zero level."""
        planes, sums = self._buffers.planes, self._buffers.sums
        ramp.append(read)
        index = len(ramp.reads) - 1
        number = min(read.header.read, LAST_NUMBER)
        steps.mark_limits(planes, sums, read.data, self.plan.limits, index, number, self._bands)
        terms = self._border_terms(read.data)
        test, ends = self.plan.jump_test, self.plan.mode != "utr"
        steps.add_read(planes, sums, read.data, terms, ramp.timeline, test, self._bands, keep=ends)
        if self.plan.mode == "mcds":
            self._take_end(read, index)
        time_ns = read.header.time_ns
        self._first_ns, self._last_ns = min(self._first_ns, time_ns), max(self._last_ns, time_ns)

    def _border_terms(self, data: RawImage) -> BorderTerms:
        """Measure the reference pixels; without a border the read stays as it is, and the frame says so."""
        shape, detector = (data.shape[0], data.shape[1]), self.plan.detector
        if not self.plan.reference_pixels:
            return BorderTerms.none(shape)
        border, channels = detector.reference_border, detector.channels
        if not border or channels < 1 or shape[1] % (2 * channels) or min(shape) <= 2 * border:
            self._note("reference pixels: none to correct by")
            return BorderTerms.none(shape)
        bad = self.calibration.bad_reference
        return steps.border_terms(data, self._buffers.planes.zero, bad, border, channels)

    def _take_end(self, read: Read, index: int) -> None:
        planes, m = self._buffers.planes, self.plan.ends_of(self.opening)
        if read.header.read < m:
            steps.add_end(planes, planes.head, index, self._bands)
        if read.header.read >= self.opening.reads_planned - m >= m:
            steps.add_end(planes, planes.tail, index, self._bands)

    def preview(self, binning: int) -> tuple[np.ndarray, np.ndarray]:
        """Bin the latest read [DN] and the provisional rate [e-/s] of the open ramp."""
        if self.ramp is None or self.ramp.last is None:
            raise ValueError("no ramp is open")
        planes, dq, gain = self._buffers.planes, self.calibration.static_dq, self.plan.detector.gain_e_per_dn
        return steps.preview(planes, self.ramp.timeline, gain, self.ramp.last, dq, binning, self._bands)

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
        planes, sums, gain = self._buffers.planes, self._buffers.sums, self.plan.detector.gain_e_per_dn
        ends = self._ends(ramp)
        steps.close_ramp(planes, sums, ramp.timeline, ends, gain, self.plan.jump_test, self._bands)
        self._effective_s += ramp.length_s
        self.ramps += 1

    def _ends(self, ramp: Ramp) -> Ends | None:
        """Return the two ends of a CDS or MCDS ramp; None where the least-squares slope has to serve."""
        if self.plan.mode == "utr":
            return None
        index, m, planned = np.array(ramp.reads), self.plan.ends_of(self.opening), self.opening.reads_planned
        near, far = index < m, index >= planned - m
        if self.plan.mode == "cds":
            # The nearest surviving reads: what a lost end leaves is still right by its time stamps.
            near, far = index == index[0], index == index[-1]
            steps.add_end(self._buffers.planes, self._buffers.planes.tail, len(index) - 1, self._bands)
        ends = ends_of(ramp.timeline.times_s, near, far)
        if ends is None:
            self._note(f"ramp {ramp.opening.ramp} has no two ends for {self.plan.mode.upper()}; its slope was used")
        return ends

    def _note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < 32:
            self.notes.append(text)

    def frame(
        self, settings: CalibrationSettings, *, sequence: int, revision: int, final: bool, published_ns: int
    ) -> Frame:
        """Calibrate what the closed ramps have given.

        Returns
        -------
        Frame
            Rate and error in e-/s; NaN with DO_NOT_USE where no ramp gave a slope and no neighbour helped.
        """
        sums, calibration = self._buffers.sums, self.calibration
        spectral = str(self.opening.setup.get("INSTMODE", "IMG")).upper() in SPECTRAL
        dark, sky = calibration.dark(), calibration.sky(sums, settings, spectral=spectral)
        subtrahends = [part for part in (dark, sky.part if sky else None) if part is not None]
        rate, err, dq = steps.calibrate_frame(
            sums,
            calibration.static_dq,
            int(Dq.MISSING_READ) if self.counts["lost"] else 0,
            self.plan.detector.read_noise_e,
            subtrahends,
            calibration.flat(),
            self._bands,
        )
        steps.finish_pixels(rate, err, dq, settings.bad_pixels, self._bands)
        opening, detector = self.opening, self.plan.detector
        header = FrameHeader(
            instrument=opening.instrument,
            detector=opening.detector,
            sequence=sequence,
            time_ns=self._last_ns,
            exposure_id=opening.exposure_id,
            revision=revision,
            ramps=self.ramps,
            ramps_planned=opening.ramps_planned,
            reads_planned=opening.reads_planned,
            mode=self.plan.mode,
            reads_per_end=self.plan.ends_of(opening),
            effective_s=self._effective_s,
            first_read_ns=self._first_ns,
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
            sky_scale=sky.part.scale if sky else None,
            setup=opening.setup,
            references=calibration.provenance(sky),
            crds_context=calibration.references.crds_context,
            crds_sha1=calibration.references.crds_sha1,
            software=f"rtcal {rtcal.__version__}",
            notes=list(self.notes),
        )
        return Frame(header, rate, err, dq, sums.saturated_from.copy())
