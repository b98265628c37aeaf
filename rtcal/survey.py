"""What is seen of a frame while its rows are finished: each is in the cache then, and no other walk is needed."""

import numpy as np
from numpy.typing import NDArray

from rtcal.buffers import FloatImage
from rtcal.kernels import bins, survey
from rtcal.kernels.finish import Output
from rtcal.kernels.planes import BLOCK
from rtcal.kernels.survey import Blocks, Glow
from streams.dq import Dq
from streams.messages import Binned, BinnedHeader, Frame

NO_STAR = int(Dq.DO_NOT_USE | Dq.REFERENCE_PIXEL | Dq.SATURATED | Dq.JUMP_DET | Dq.HOT | Dq.PERSISTENCE)
"""Flags of a pixel that is no star's peak."""
COUNTED = np.array([int(Dq.SATURATED), int(Dq.JUMP_DET)], np.uint32)
"""The flags that `Blocks.counts` counts."""


def screen_binning(shape: tuple[int, ...], pixels: int) -> int:
    """Return the least whole factor by which neither side is longer than `pixels`."""
    return max(1, -(-max(shape) // pixels))


def glow_of(past: list[tuple[NDArray[np.int64], FloatImage]]) -> Glow:
    """Put the pixels of earlier exposures together, each by flat index in ascending order with its rate [e-/s]."""
    begins = np.cumsum([0, *(pixels.size for pixels, _ in past)])
    pixels = np.concatenate([np.empty(0, np.int64), *(pixels for pixels, _ in past)])
    rates = np.concatenate([np.empty(0, np.float32), *(rate for _, rate in past)]).astype(np.float32)
    return Glow(pixels, rates, begins, np.zeros(pixels.size, np.uint8))


def certain_glow(pixels: NDArray[np.int64]) -> Glow:
    """Return pixels that show whatever their error."""
    return glow_of([(pixels, np.full(pixels.size, np.inf, np.float32))])


class Survey:
    """Sees the rows of a frame go by: what they hold, their average for the screen; and flags those that glow.

    Parameters
    ----------
    shape
        Of the frame.
    pixels
        Of a side of the screen: what is larger is binned for it.
    glow
        Pixels that may glow from earlier exposures; those that do get PERSISTENCE. None: there are none.

    Attributes
    ----------
    binning
        Side of a bin; rows come in whole bins, but for the last ones.
    blocks
        What the rows hold (`kernels.survey`).
    image
        The mean of the pixels of each bin that may be used [e-/s], float32, (y, x); NaN where there is none.
    """

    def __init__(self, shape: tuple[int, int], pixels: int, glow: Glow | None = None) -> None:
        # All is made here: threads share it.
        self.binning = screen_binning(shape, pixels)
        self.blocks = _blocks_of(shape)
        self.image = np.empty((shape[0] // self.binning, shape[1] // self.binning), np.float32)
        self._shape = shape
        self._glow = glow_of([]) if glow is None else glow

    @property
    def glowing(self) -> NDArray[np.int64]:
        """The pixels that were flagged because they glow, by flat index."""
        shown: NDArray[np.int64] = self._glow.pixels[self._glow.shown != 0]
        return shown

    def rows(self, begin: int, end: int, part: Output, start: int) -> None:
        """See the rows of `part` from one to before another; the first of them is row `start` of the frame."""
        if self._glow.pixels.size:
            survey.flag_glow(begin, end, start, part.err, part.dq, np.uint32(Dq.PERSISTENCE), self._glow)
        survey.look_at_rows(begin, end, start, part.rate, part.dq, np.uint32(NO_STAR), COUNTED, self.blocks)
        if self.binning > 1:
            binned = self.image[start // self.binning : (start + end - begin) // self.binning]
            rows = slice(begin, begin + len(binned) * self.binning)
            bins.bin_good(part.rate[rows], part.dq[rows], np.uint32(Dq.DO_NOT_USE), self.binning, binned)

    def binned(self, frame: Frame) -> Binned | None:
        """Return what a display shows until the frame has come; None for one that fits the screen as it is."""
        if self.binning == 1 or not self.image.size:
            return None
        header = BinnedHeader(
            instrument=frame.header.instrument,
            detector=frame.header.detector,
            sequence=frame.header.sequence,
            time_ns=frame.header.time_ns,
            binning=self.binning,
            full_shape=self._shape,
            frame=frame.header,
        )
        return Binned(header, self.image)


def survey_of(frame: Frame, pixels: int, glow: Glow | None = None) -> Survey:
    """Look at a frame that is finished; one thread does it."""
    height, width = frame.data.shape
    survey = Survey((height, width), pixels, glow)
    survey.rows(0, height, Output(frame.data, frame.err, frame.dq, frame.saturated_from), 0)
    return survey


def _blocks_of(shape: tuple[int, int]) -> Blocks:
    height, width = shape[0], -(-shape[1] // BLOCK)
    highest = np.empty((2, height, width), np.float32)
    return Blocks(highest[0], highest[1], np.empty((height, width), np.uint32), np.empty((height, COUNTED.size), int))
