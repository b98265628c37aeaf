"""The pixels that benchmarks work on: a ramp in progress, its references, and frames; seeded."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rtcal import steps
from rtcal.bands import Bands
from rtcal.buffers import FlagImage, FloatImage, RawImage, allocate_state, clear
from rtcal.estimator import Timeline, slope_of
from rtcal.kernels.finish import Noise
from rtcal.kernels.flags import DO_NOT_USE
from rtcal.kernels.planes import BLOCK, Curve, Sample
from rtcal.steps import Chain, Inputs, JumpTest

READS = 10
FRAME_TIME_S = 0.72
GAIN_E_PER_DN = 3.04
READ_NOISE_E = 9.0
CEILING_DN = 33_000.0
BORDER = 4
CHANNEL_COLUMNS = 64
TEST = JumpTest(READ_NOISE_E / GAIN_E_PER_DN, GAIN_E_PER_DN, 5.0)
BAD_FRACTION = 0.01
BIAS_DN = 3900.0
POWERS = (1.0, 2e-7, 1e-12, 1e-17)
"""A detector that is low by some per cent when it is full."""
LIMIT_E_PER_S = 1e9


@dataclass(frozen=True, eq=False)
class Work:
    """A ramp to take in, and what its reads go through."""

    reads: list[RawImage]
    chain: Chain
    refpix: bool


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
        self.state = allocate_state(self.shape)
        self.static_dq = self._bad_pixels()
        self.masks = np.where(self.static_dq & DO_NOT_USE, steps.UNUSABLE, np.uint8(0))
        self.dark = steps.product(self._around(0.025), self._around(0.005))
        self.sky = steps.product(self._around(110.0), self._around(0.5), 1.07, 0.004)
        self.flat = (self._around(1.0), self._around(0.002))
        self.curve = self._curve()
        self.out = steps.output(self.shape)
        self.binning = max(1, size // 1024)
        self.binned: FloatImage = np.zeros((size // self.binning, size // self.binning), np.float32)
        for array in (*self.reads, *self.bright_reads, self.static_dq, self.masks, *self.flat, *self.curve):
            array.setflags(write=False)  # as what comes from the wire and from the cache
        for part in (self.dark, self.sky):
            part.rate.setflags(write=False)
            part.err.setflags(write=False)

    def chain(self, *, linear: bool = True, test: bool = False) -> Chain:
        """Return what reads go through; `linear` ones need no curve."""
        levels = steps.levels_of(CEILING_DN, 0.0, self.read.dtype, self.shape[1])
        curve = steps.straight(self.shape[1]) if linear else self.curve
        return Chain(levels, curve, TEST if test else None)

    def run_ramp(self, work: Work, bands: Bands) -> Timeline:
        """Take in all reads of a ramp."""
        clear(self.state)
        timeline, samples = Timeline(), list[Sample]()
        steps.open_ramp(self.state, bands)
        for index, read in enumerate(work.reads):
            timeline.append(float(self.times_s[index]))
            samples = [self.sample(read, work), *samples[:2]]
            steps.add_read(self.state, work.chain, samples, work.reads[0], timeline, index, bands)
        return timeline

    def sample(self, read: RawImage, work: Work) -> Sample:
        """Return a read, with what its reference pixels say if they are asked."""
        if not work.refpix:
            return steps.sample(read)
        channels = max(1, self.shape[1] // CHANNEL_COLUMNS)
        return steps.sample(read, steps.border_terms(read, work.reads[0], self.masks, BORDER, channels))

    def inputs(self, *, linear: bool = True) -> Inputs:
        """Return what makes a frame of the ramp."""
        estimate = steps.estimate_of(self.state, None, slope_of(self.times_s), READS, GAIN_E_PER_DN, gathered=False)
        curve = steps.straight(self.shape[1]) if linear else self.curve
        noise = Noise(np.float32(GAIN_E_PER_DN), np.float32(READ_NOISE_E**2), self.reads[0], curve)
        return Inputs(estimate, noise, self.static_dq, 0, self.dark, self.sky, *self.flat)

    @cached_property
    def timeline(self) -> Timeline:
        """The times of the ramp."""
        timeline = Timeline()
        for time_s in self.times_s:
            timeline.append(float(time_s))
        return timeline

    def _ramp_reads(self) -> list[RawImage]:
        """Return reads of a faint sky with read noise: what most pixels of a ramp look like."""
        bias = self._rng.integers(4000, 5000, self.shape, dtype=np.uint16)
        noise = self._rng.normal(0, READ_NOISE_E / GAIN_E_PER_DN, self.shape).astype(np.float32)
        light = np.where(steps.border_flags(self.shape, BORDER), np.float32(0), np.float32(26))
        reads: list[RawImage] = []
        for index in range(READS):
            shifted = np.roll(noise, tuple(self._rng.integers(0, self.shape[0], 2)), (0, 1))
            reads.append((bias + light * np.float32(index) + shifted).astype(np.uint16))
        return reads

    @staticmethod
    def _with_bright_pixels(read: RawImage) -> RawImage:
        bright = read.copy()
        bright[:, ::BLOCK] = 60_000
        return bright

    def _curve(self) -> Curve:
        powers = np.empty((self.shape[0], len(POWERS) + 1, self.shape[1]), np.float32)
        powers[:, 0] = 0
        for k, power in enumerate(POWERS, 1):
            powers[:, k] = power
        return Curve(np.full(self.shape, BIAS_DN, np.float32), powers)

    def _around(self, level: float) -> FloatImage:
        image = self._rng.random(self.shape, np.float32)
        image *= np.float32(0.2 * level)
        image += np.float32(0.9 * level)
        return image

    def _bad_pixels(self) -> FlagImage:
        dq = steps.border_flags(self.shape, BORDER)
        dq[self._rng.random(self.shape, np.float32) < BAD_FRACTION] |= DO_NOT_USE
        return dq
