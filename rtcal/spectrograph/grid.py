"""The even grid of wavelength that all spectra of a cube are put on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcal.spectrograph.linelists import Floats


@dataclass(frozen=True)
class Grid:
    """An even grid of wavelength: centre of the first bin, width of the bins [um], their number."""

    first_um: float
    step_um: float
    bins: int

    @property
    def centres_um(self) -> Floats:
        """Return the centres of the bins."""
        return np.asarray(self.first_um + self.step_um * np.arange(self.bins))

    def coarser(self, times: int) -> "Grid":
        """Return the grid whose bins are so many of this one; what is left over at the red end is left out."""
        times = min(times, self.bins)
        return Grid(self.first_um + self.step_um * (times - 1) / 2, self.step_um * times, self.bins // times)


def grid_of(edges: Floats, length: NDArray[np.int64]) -> Grid:
    """Return the grid of spectra: from the bluest to the reddest wavelength that half of them reach, in their step.

    Parameters
    ----------
    edges
        Wavelengths of the pixels' edges [um], (spectrum, t + 1).
    length
        Pixels of each.
    """
    index = np.arange(len(edges))
    first, last = edges[:, 0], edges[index, length]
    low, high = float(np.median(np.minimum(first, last))), float(np.median(np.maximum(first, last)))
    step = float(np.median(np.abs(last - first) / length))
    return Grid(low + step / 2, step, max(1, int((high - low) / step)))
