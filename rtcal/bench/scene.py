"""The pixels that benchmarks work on: a ramp in progress, its references, and frames; seeded."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rtcal.estimator import Ends, Tables, end_factors, slope_tables
from rtcal.kernels.flags import DO_NOT_USE
from rtcal.kernels.ramp import BLOCK, NEVER
from rtcal.steps import ExposureSums, FlagImage, FloatImage, RampPlanes, Scaled, border_flags, plane

READS = 10
FRAME_TIME_S = 0.72
GAIN_E_PER_DN = 3.04
READ_NOISE_E = 9.0
CEILING_DN = 33_000.0
BORDER = 4
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
        self.read: NDArray[np.uint16] = self._rng.integers(5000, 9000, self.shape, dtype=np.uint16)
        self.bright_read = self.read.copy()
        self.bright_read[:, ::BLOCK] = 60_000
        self.planes, self.bright_planes = self._ramp(), self._ramp()
        self.sums = ExposureSums.allocate(self.shape)
        self.static_dq = self._bad_pixels()
        self.dark = Scaled(self._around(0.025), self._around(0.005))
        self.sky = Scaled(self._around(110.0), self._around(0.5), 1.07, 0.004)
        self.flat = (self._around(1.0), self._around(0.002))
        self.picture = self._picture(static_dq=self.static_dq)
        self.bare = self._picture(static_dq=np.zeros(self.shape, np.uint32))
        self.binning = max(1, size // 1024)
        self.binned: FloatImage = np.zeros((size // self.binning, size // self.binning), np.float32)
        for array in (self.read, self.bright_read, self.static_dq, *self.flat):
            array.setflags(write=False)  # as what comes from the wire and from the cache

    @cached_property
    def tables(self) -> Tables:
        """The slope tables of the ramp."""
        return slope_tables(self.times_s, GAIN_E_PER_DN)

    @cached_property
    def ends(self) -> Ends:
        """The ends of a correlated double sample of the ramp."""
        index = np.arange(READS)
        ends = end_factors(self.times_s, index == 0, index == READS - 1, GAIN_E_PER_DN)
        assert ends is not None  # two ends that do not overlap
        return ends

    def _around(self, level: float) -> FloatImage:
        image = self._rng.random(self.shape, np.float32)
        image *= np.float32(0.2 * level)
        image += np.float32(0.9 * level)
        return image

    def _ramp(self) -> RampPlanes:
        planes = RampPlanes.allocate(self.shape, np.uint16)
        planes.first[:] = self._rng.integers(4000, 5000, self.shape, dtype=np.uint16)
        for array, level in ((planes.s_sum, 2e4), (planes.t_sum, 3e4), (planes.head, 10.0), (planes.tail, 4e3)):
            array[:] = self._around(level)
        planes.first_bad.fill(NEVER)
        return planes

    def _bad_pixels(self) -> FlagImage:
        dq = border_flags(self.shape, BORDER)
        dq[self._rng.random(self.shape, np.float32) < BAD_FRACTION] |= DO_NOT_USE
        return dq

    def _picture(self, static_dq: FlagImage) -> Picture:
        rate, err = plane(self.shape, np.float32, 11), plane(self.shape, np.float32, 12)
        dq = plane(self.shape, np.uint32, 13)
        rate[:], err[:], dq[:] = self._around(110.0), self._around(4.0), static_dq
        return Picture(rate, err, dq)
