"""A sky where none was taken: the median of science exposures at different places of the sky."""

import numpy as np

from refcache import Chosen, Sky
from rtcal.buffers import FloatImage
from rtcal.config import NightSettings
from rtcal.night.groups import Group, Setup, as_sky, setup_of
from rtcal.night.kept import MEDIAN, Kept, Rates
from rtcal.refmake.combine import level
from rtcal.refmake.sky import make_sky
from rtcal.refmake.stacks import Advance
from rtcal.steps import sample_step
from streams.clock import NS
from streams.dq import Dq

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
    """

    def __init__(self, settings: NightSettings) -> None:
        self._least = settings.dithers_least
        self._most = settings.group_most
        self._group: Group | None = None
        self._sky: tuple[Sky, Setup, int] | None = None

    def add(self, exposure: Kept) -> None:
        """Add an exposure that has no sky."""
        if not self._least:
            return
        setup = setup_of("sky", exposure.header.setup, exposure.shape)
        if self._group is None or self._group.setup != setup or len(self._group.exposures) >= self._most:
            self._group, self._sky = Group("sky", setup), None
        self._group.exposures.append(exposure)

    def make(self, advance: Advance) -> bool:
        """Make the median anew, if there are exposures enough and further ones; tell whether there is one now.

        Raises
        ------
        RtcalError
            If the exposures cannot be read.
        """
        group = self._group
        if group is None or not self._least <= len(group.exposures) != group.made_of:
            return False
        rates = Rates(group.exposures)
        group.made_of = len(rates)
        combined, _ = make_sky(rates, advance)
        if not _dithered(rates, combined.rate):
            self._sky = None
            return False
        middle_ns = group.middle_ns
        sky = as_sky(combined, f"{MEDIAN} {len(rates)} science exposures", middle_ns, rates.headers)
        self._sky = sky, group.setup, middle_ns
        return True

    def chosen(self, setup: Setup, middle_ns: int) -> Chosen | None:
        """Return the median as the sky of an exposure: applied, but STALE, for it holds what sources left in it."""
        found = self._sky
        if found is None or found[1] != setup:
            return None
        sky, _, sky_ns = found
        note = f"{sky.name}: no sky was taken"
        return Chosen("sky", "STALE", sky, (middle_ns - sky_ns) / NS, note, sky.name, sky.sha256)


def _dithered(rates: Rates, median: FloatImage) -> bool:
    """Tell whether sources moved: what is bright in each frame is not bright in their median."""
    step = sample_step(rates.shape)
    sampled = [rates.band(slice(row, row + 1)) for row in range(0, rates.shape[0], step)]
    planes = (np.concatenate([band[kind] for band in sampled], axis=1) for kind in (0, 2))
    shares, still = [], 0.0
    for rate, dq in zip(*planes, strict=True):
        good = (dq & np.uint32(Dq.DO_NOT_USE) == 0) & np.isfinite(rate)
        typical, sigma = level(rate[good])
        bright = good & (rate > typical + BRIGHT_SIGMA * sigma)
        shares.append(bright.sum() / max(good.sum(), 1))
        middle, _ = level(median[::step][good])
        both = bright & (median[::step] > middle + BRIGHT_SIGMA * sigma)
        still = max(still, both.sum() / max(bright.sum(), 1))
    return max(shares) >= FEW_BRIGHT and still <= STILL_BRIGHT
