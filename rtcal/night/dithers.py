"""A sky where none was taken: the median of science exposures at different places of the sky."""

from pathlib import Path

import numpy as np

from refcache import Chosen, Sky
from rtcal.config import NightSettings
from rtcal.night.groups import Group, Setup, as_sky, setup_of
from rtcal.night.kept import MEDIAN
from rtcal.refmake.combine import level
from rtcal.refmake.sky import make_sky
from rtcal.steps import sample_step
from streams.clock import NS
from streams.dq import Dq
from streams.messages import Frame

BRIGHT_SIGMA = 10.0
STILL_BRIGHT = 0.3
"""More than this share of a frame's bright pixels still bright in the median: the exposures were not dithered."""
FEW_BRIGHT = 2e-5
"""A field with a smaller share of bright pixels cannot tell whether it moved."""


class Dithers:
    """Science exposures of one setup without a sky, and their median.

    Parameters
    ----------
    settings
        The `[night]` table.
    directory
        Where frames wait; None for the system's own place.
    """

    def __init__(self, settings: NightSettings, directory: Path | None) -> None:
        self._least = settings.dithers_least
        self._most = settings.group_most
        self._directory = directory
        self._group: Group | None = None
        self._sky: tuple[Sky, int] | None = None

    def add(self, frame: Frame) -> bool:
        """Add an exposure; tell whether there is a median now that is made of it too."""
        if not self._least:
            return False
        setup = setup_of("sky", frame.header.setup, (frame.data.shape[0], frame.data.shape[1]))
        if self._group is None or self._group.setup != setup or len(self._group.frames) >= self._most:
            self._group, self._sky = Group.begin("sky", setup, self._directory), None
        group = self._group
        group.frames.append(frame)
        group.middles_ns.append((frame.header.first_read_ns + frame.header.time_ns) // 2)
        if len(group.frames) < self._least:
            return False
        combined, _ = make_sky(group.frames)
        self._sky = None
        if self._dithered(group, combined.rate):
            middle_ns = sum(group.middles_ns) // len(group.middles_ns)
            name = f"{MEDIAN} {len(group.frames)} science exposures"
            self._sky = as_sky(combined, name, middle_ns, group.frames.headers), middle_ns
        return self._sky is not None

    def chosen(self, setup: Setup, middle_ns: int) -> Chosen | None:
        """Return the median as the sky of an exposure: applied, but STALE, for it holds what sources left in it."""
        if self._sky is None or self._group is None or self._group.setup != setup:
            return None
        sky, sky_ns = self._sky
        note = f"{sky.name}: no sky was taken"
        return Chosen("sky", "STALE", sky, (middle_ns - sky_ns) / NS, note, sky.name, sky.sha256)

    def _dithered(self, group: Group, median: np.ndarray) -> bool:
        """Tell whether sources moved: what is bright in each frame is not bright in their median."""
        shape = group.frames.shape
        step = sample_step(shape)
        shares, still = [], 0.0
        rows = slice(0, shape[0])
        rates, _, flags = group.frames.band(rows)
        for rate, dq in zip(rates, flags, strict=True):
            good = (dq[::step] & np.uint32(Dq.DO_NOT_USE) == 0) & np.isfinite(rate[::step])
            typical, sigma = level(rate[::step][good])
            bright = good & (rate[::step] > typical + BRIGHT_SIGMA * sigma)
            shares.append(bright.sum() / max(good.sum(), 1))
            middle, _ = level(median[::step][good])
            both = bright & (median[::step] > middle + BRIGHT_SIGMA * sigma)
            still = max(still, both.sum() / max(bright.sum(), 1))
        return max(shares) >= FEW_BRIGHT and still <= STILL_BRIGHT
