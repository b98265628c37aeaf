"""The sky: blank fields, or science fields at different places, combined where they fell on the detector."""

import numpy as np

from rtcal.refmake.combine import Combined, check_frames, combine
from rtcal.refmake.stacks import Advance, Frames, nobody
from rtcal.steps import sample_step
from streams.dq import Dq
from streams.robust import clipped_median

LOWEST_SCALE, HIGHEST_SCALE = 0.5, 2.0


def make_sky(frames: Frames, advance: Advance = nobody) -> tuple[Combined, list[float]]:
    """Combine sky frames without registering them: sources at different places drop out.

    From three frames on each pixel takes their median, else the mean without outliers. Frames are first
    brought to one level, the mean of their own: the sky's brightness changes within minutes.

    Returns
    -------
    tuple
        The sky, and what each frame was multiplied by; 1 for all where a level is not positive or more than
        twice another.

    Raises
    ------
    UsageError
        If there is no frame.
    """
    check_frames(frames, "sky")
    scales = _scales(frames)
    return combine(frames, advance, median=True, scales=scales), scales


def _scales(frames: Frames) -> list[float]:
    """Return the ratio of the mean level to each frame's."""
    if len(frames) == 1:
        return [1.0]
    levels = _levels(frames)
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = levels.mean() / levels
    if not np.all((levels > 0) & (scales >= LOWEST_SCALE) & (scales <= HIGHEST_SCALE)):
        return [1.0] * len(frames)
    return [float(scale) for scale in scales]


def _levels(frames: Frames) -> np.ndarray:
    """Return the clipped median of a sample of each frame's good pixels [e-/s]."""
    samples: list[list[np.ndarray]] = [[] for _ in range(len(frames))]
    for row in range(0, frames.shape[0], sample_step(frames.shape)):
        rates, _, flags = frames.band(slice(row, row + 1))
        for sample, rate, dq in zip(samples, rates, flags, strict=True):
            sample.append(rate[dq & np.uint32(Dq.DO_NOT_USE) == 0])
    return np.array([clipped_median(np.concatenate(sample)).median for sample in samples])
