"""Facts of IRIS that the simulator needs: bands, the mosaic, the optics."""

import math
import zlib

import numpy as np

from streams.errors import SettingsError

PIXEL_MAS = 4.0
MAS_PER_RADIAN = math.degrees(3.6e6)
TELESCOPE_M = 30.0
OBSCURATION = 0.12
"""Secondary mirror's diameter over the primary's."""
PIXEL_CM = 1e-3
"""10 um pixels of an H4RG-10."""
REFERENCE_BORDER = 4
MOSAIC = {"IMG1": (1, 0), "IMG2": (1, 1), "IMG3": (0, 0), "IMG4": (0, 1)}
"""Place (row, column) of each imager detector, counted from the lower left."""
GAP_PX = 300
"""Gap between the detectors of a full-size mosaic, 1.2 arcsec."""
BANDS_UM = {
    "Zbb": (0.8107, 0.9967),
    "Ybb": (0.933, 1.151),
    "Jbb": (1.135, 1.389),
    "Hbb": (1.474, 1.800),
    "Kbb": (1.975, 2.412),
    "Z": (0.830, 0.925),
    "Y": (0.970, 1.070),
    "J": (1.166, 1.330),
    "H": (1.485, 1.781),
    "Ks": (1.990, 2.300),
    "K": (2.000, 2.400),
}
"""Edges of the broad-band filters [um, vacuum]."""


def band_um(name: str) -> tuple[float, float]:
    """Return the edges of a filter [um].

    Raises
    ------
    SettingsError
        If the filter is not known; the message lists those that are.
    """
    if name not in BANDS_UM:
        raise SettingsError(f"[simulator] filter {name!r} is not known; known are {', '.join(BANDS_UM)}")
    return BANDS_UM[name]


def random_for(seed: int, *purpose: str) -> np.random.Generator:
    """Return a generator of its own for each purpose, so that adding one never changes another."""
    return np.random.default_rng([seed, *(zlib.crc32(word.encode()) for word in purpose)])
