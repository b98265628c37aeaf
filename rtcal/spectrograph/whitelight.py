"""White light from spectra as they are extracted: neighbours' light taken out of the means, nothing resampled."""

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels import cubes
from rtcal.spectrograph.grid import Grid
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.profiles import Image, Profiles, share_out
from rtcal.spectrograph.traces import Traces

STEPS = 30
"""Of the separation of means: each lessens what is left by the overlap of neighbours, a third at most."""

Indices = NDArray[np.int64]


class WhiteLight:
    """Makes the white light of one mode.

    Parameters
    ----------
    traces
        Where spectra lie, and whose spaxels they are.
    profiles
        Their profiles; `profiles.flux` is what is averaged.
    edges
        Wavelengths of their pixels' edges [um], (trace, t + 1).
    grid
        That of the cube.
    field
        Spaxels, (y, x).

    Notes
    -----
    The mean over the pixels within the grid is that of `cube.white_light`, but for bins that a spectrum covers in part.
    Where spectra overlap, the mean m of each holds its neighbours' light: m_i = w_i + sum_j L_ij w_j, with L the mean
    over columns of what they leak. Solved for w this is what separating the spectra themselves comes to as long as
    neighbours' spectra are alike in shape; a star's are.
    """

    def __init__(self, traces: Traces, profiles: Profiles, edges: Floats, grid: Grid, field: tuple[int, int]) -> None:
        self._profiles = profiles
        self._edges = edges
        half = grid.step_um / 2
        self._range_um = grid.first_um - half, float(grid.centres_um[-1]) + half, grid.step_um
        self._field = field
        self._spaxel = traces.iy * field[1] + traces.ix
        self._taker, self._giver, self._part = profiles.leaks()

    def image(self) -> tuple[Image, Image]:
        """Return mean and sigma of the spectra last extracted, (y, x) [e-/s a bin]; NaN where there is nothing."""
        flux, variance = self._profiles.flux, self._profiles.variance
        count = flux.shape[0]
        mean, noise = np.empty(count), np.empty(count)
        given = flux, variance, self._edges, *self._range_um
        share_out(self._profiles.threads, count, lambda a, b: cubes.average_spectra(*given, a, b, mean, noise))
        return self._placed(self._separated(mean)), np.sqrt(self._placed(noise))

    def _separated(self, mean: Floats) -> Floats:
        """Take neighbours' light out of the means; those without a value give none."""
        if not self._part.size:
            return mean
        own = mean
        for _ in range(STEPS):
            given = np.nan_to_num(own)[self._giver] * self._part
            own = mean - np.bincount(self._taker, given, mean.size)
        return own

    def _placed(self, values: Floats) -> Image:
        """Put values of traces into their spaxels; a spaxel of several traces is their sum."""
        known = np.isfinite(values)
        size = self._field[0] * self._field[1]
        total = np.bincount(self._spaxel[known], values[known], size)
        seen = np.bincount(self._spaxel[known], minlength=size)
        return np.where(seen > 0, total, np.nan).astype(np.float32).reshape(self._field)
