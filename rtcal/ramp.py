"""How the ramps of an exposure are to be reduced, and the reads that one has so far."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rtcal.buffers import RawImage
from rtcal.calibration import Limits
from rtcal.config import Detector, Mode, RampSettings
from rtcal.estimator import Timeline
from rtcal.kernels.planes import Sample
from rtcal.steps import JumpTest
from streams.clock import NS
from streams.messages import ReadHeader


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
    by_signal: bool = False
    """Whether the weights of reads in a slope follow the light of each pixel; else they are equal."""

    @classmethod
    def of(cls, ramp: RampSettings, detector: Detector, header: ReadHeader, dtype: np.dtype[Any]) -> "Plan":
        """Return what the `[ramp]` table asks for an exposure that opens with a read."""
        # Only numbers straight from the converter have its floor; reads in float were worked on before.
        floor_dn = 0.0 if dtype.kind == "u" else float("-inf")
        return cls(
            ramp.mode_of(header),
            ramp.reads_per_end,
            Limits(detector.saturation_dn * ramp.saturation_fraction, floor_dn),
            detector,
            jump_sigma=ramp.jump_sigma,
            by_signal=ramp.weights == "snr",
            reference_pixels=ramp.reference_pixels,
        )

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


class Ramp:
    """The reads used so far in the ramp that is open."""

    def __init__(self, opening: ReadHeader) -> None:
        self.opening = opening
        self.reads: list[int] = []
        self.times_ns: list[int] = []
        self.timeline = Timeline()  # of the part that is being summed: light that is left out parts a ramp
        self.split = False
        self._first, self._closed_s = 0, 0.0
        self.rejected = 0
        self.excluded: list[int] = []
        self.zero: RawImage | None = None
        """Raw pixels of the first read, which signals are relative to."""
        self.closed = False
        """Whether all reads have come and the sums are closed with the last of them."""
        self.samples: list[Sample] = []
        """The last reads, the latest first: as many as the test for jumps looks back."""

    def append(self, header: ReadHeader) -> None:
        """Note a read; times count from the middle of the planned ramp, so that sums of float32 stay small."""
        self.reads.append(header.read)
        self.times_ns.append(header.time_ns)
        middle_s = max(self.opening.reads_planned - 1, 0) * self.opening.frame_time_ns / NS / 2
        self.timeline.append((header.time_ns - self.times_ns[self._first]) / NS - middle_s)

    def part(self, zero: RawImage) -> None:
        """Begin a new part, whose signals are not compared with those before."""
        self._closed_s, self._first, self.split = self.length_s, len(self.reads), True
        self.timeline, self.samples, self.zero = Timeline(), [], zero

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
        """Time from the first to the last read used, summed over parts [s]."""
        times_ns = self.times_ns[self._first :]
        return self._closed_s + ((max(times_ns) - min(times_ns)) / NS if times_ns else 0.0)

    @property
    def is_complete(self) -> bool:
        """True once every planned read has come or the last one has."""
        planned = self.opening.reads_planned
        return planned > 0 and self.reads_so_far >= planned
