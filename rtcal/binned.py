"""What a display shows of a frame until its two hundred megabytes have come: the rate, binned for the screen."""

import numpy as np

from rtcal.bands import Bands
from rtcal.kernels import bins
from streams.dq import Dq
from streams.messages import Binned, BinnedHeader, Frame

PIXEL_BYTES = 8
"""Of a pixel that are looked at: rate and flags."""


def screen_binning(shape: tuple[int, ...], pixels: int) -> int:
    """Return the least whole factor by which neither side is longer than `pixels`."""
    return max(1, -(-max(shape) // pixels))


def binned_frame(frame: Frame, pixels: int, bands: Bands) -> Binned | None:
    """Average the pixels of a frame that may be used; None for one that fits a screen of `pixels` a side as it is."""
    height, width = frame.data.shape
    binning = screen_binning((height, width), pixels)
    if binning == 1:
        return None
    data = np.empty((height // binning, width // binning), np.float32)
    if not data.size:
        return None

    def work(rows: slice) -> None:
        part = slice(rows.start * binning, rows.stop * binning)
        bins.bin_good(frame.data[part], frame.dq[part], np.uint32(Dq.DO_NOT_USE), binning, data[rows])

    bands.run(work, (data.shape[0], data.shape[1]), PIXEL_BYTES * binning**2)
    header = BinnedHeader(
        instrument=frame.header.instrument,
        detector=frame.header.detector,
        sequence=frame.header.sequence,
        time_ns=frame.header.time_ns,
        binning=binning,
        full_shape=(height, width),
        frame=frame.header,
    )
    return Binned(header, data)
