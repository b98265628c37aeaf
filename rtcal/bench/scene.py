"""The pixels that benchmarks work on: a ramp in progress, its references, and frames; seeded."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rtcal import steps
from rtcal.bands import Bands
from rtcal.estimator import Ends, Slope, Timeline, ends_of, slope_of
from rtcal.kernels.flags import DO_NOT_USE
from rtcal.kernels.segments import BLOCK
from rtcal.steps import (
    BorderTerms,
    ExposureSums,
    FlagImage,
    FloatImage,
    JumpTest,
    Limits,
    RampPlanes,
    RawImage,
    Scaled,
    border_flags,
    plane,
)

READS = 10
FRAME_TIME_S = 0.72
GAIN_E_PER_DN = 3.04
READ_NOISE_E = 9.0
CEILING_DN = 33_000.0
BORDER = 4
CHANNEL_COLUMNS = 64
TEST = JumpTest(READ_NOISE_E / GAIN_E_PER_DN, GAIN_E_PER_DN, 5.0)
BAD_FRACTION = 0.01


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame: rate, error or variance, flags."""

    rate: FloatImage
    err: FloatImage
    dq: FlagImage


class Scene:
    """A square detector in the middle of an exposure.

    Parameters
    ----------
    size
        Pixels on a side.
    seed
        The same seed gives the same pixels.
    """

    def __init__(self, size: int, seed: int = 1) -> None:
        self.shape = (size, size)
        self._rng = np.random.default_rng(seed)
        self.times_s: NDArray[np.float64] = (np.arange(READS, dtype=np.float64) - (READS - 1) / 2) * FRAME_TIME_S
        self.reads = self._ramp_reads()
        self.read = self.reads[-1]
        self.bright_reads = [self._with_bright_pixels(read) for read in self.reads]
        self.sums = ExposureSums.allocate(self.shape)
        self.planes = RampPlanes.allocate(self.shape, np.uint16)
        self.bright_planes = RampPlanes.allocate(self.shape, np.uint16)
        self.bad_reference = np.zeros(self.shape, np.uint8)
        self.static_dq = self._bad_pixels()
        self.dark = Scaled(self._around(0.025), self._around(0.005))
        self.sky = Scaled(self._around(110.0), self._around(0.5), 1.07, 0.004)
        self.flat = (self._around(1.0), self._around(0.002))
        self.picture = self._picture(static_dq=self.static_dq)
        self.bare = self._picture(static_dq=np.zeros(self.shape, np.uint32))
        self.binning = max(1, size // 1024)
        self.binned: FloatImage = np.zeros((size // self.binning, size // self.binning), np.float32)
        for array in (*self.reads, *self.bright_reads, self.static_dq, *self.flat):
            array.setflags(write=False)  # as what comes from the wire and from the cache
        with Bands(0) as bands:
            self.timeline = self.run_ramp(self.planes, self.reads, bands, whole_chain=True)
            self.run_ramp(self.bright_planes, self.bright_reads, bands, whole_chain=True)
        self.planes.head[:], self.planes.tail[:] = self._around(10.0), self._around(200.0)

    def run_ramp(self, planes: RampPlanes, reads: list[RawImage], bands: Bands, *, whole_chain: bool) -> Timeline:
        """Take in all reads of a ramp; the whole chain has reference pixels and the test for jumps too."""
        timeline, none = Timeline(), BorderTerms.none(self.shape)
        channels = max(1, self.shape[1] // CHANNEL_COLUMNS)
        steps.start_ramp(planes, reads[0], bands, ends=False)
        for index, read in enumerate(reads):
            timeline.append(float(self.times_s[index]))
            steps.mark_limits(planes, self.sums, read, Limits(CEILING_DN, 0.0), index, index, bands)
            terms = none
            if whole_chain:
                terms = steps.border_terms(read, planes.zero, self.bad_reference, BORDER, channels)
            test = TEST if whole_chain else None
            steps.add_read(planes, self.sums, read, terms, timeline, test, bands, keep=False)
        return timeline

    @cached_property
    def slope(self) -> Slope:
        """The slope of the ramp."""
        return slope_of(self.times_s)

    @cached_property
    def ends(self) -> Ends:
        """The ends of a correlated double sample of the ramp."""
        index = np.arange(READS)
        ends = ends_of(self.times_s, index == 0, index == READS - 1)
        assert ends is not None  # two ends that do not overlap
        return ends

    def _ramp_reads(self) -> list[RawImage]:
        """Return reads of a faint sky with read noise: what most pixels of a ramp look like."""
        bias = self._rng.integers(4000, 5000, self.shape, dtype=np.uint16)
        noise = self._rng.normal(0, READ_NOISE_E / GAIN_E_PER_DN, self.shape).astype(np.float32)
        reads: list[RawImage] = []
        for index in range(READS):
            shifted = np.roll(noise, tuple(self._rng.integers(0, self.shape[0], 2)), (0, 1))
            reads.append((bias + np.float32(26.0 * index) + shifted).astype(np.uint16))
        return reads

    @staticmethod
    def _with_bright_pixels(read: RawImage) -> RawImage:
        bright = read.copy()
        bright[:, ::BLOCK] = 60_000
        return bright

    def _around(self, level: float) -> FloatImage:
        image = self._rng.random(self.shape, np.float32)
        image *= np.float32(0.2 * level)
        image += np.float32(0.9 * level)
        return image

    def _bad_pixels(self) -> FlagImage:
        dq = border_flags(self.shape, BORDER)
        dq[self._rng.random(self.shape, np.float32) < BAD_FRACTION] |= DO_NOT_USE
        return dq

    def _picture(self, static_dq: FlagImage) -> Picture:
        rate, err = plane(self.shape, np.float32, 11), plane(self.shape, np.float32, 12)
        dq = plane(self.shape, np.uint32, 13)
        rate[:], err[:], dq[:] = self._around(110.0), self._around(4.0), static_dq
        return Picture(rate, err, dq)
