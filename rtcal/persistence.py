"""Pixels that were nearly full in an earlier exposure may glow in later ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcal.config import QualitySettings
from rtcal.kernels.survey import Blocks, Glow, find_full
from rtcal.survey import glow_of
from streams.clock import NS
from streams.dq import Dq
from streams.messages import Frame

MOST_PIXELS = 400_000


@dataclass(frozen=True)
class _Bright:
    """Pixels of one exposure, by flat index, and the charge that each held [e-]."""

    exposure_id: str
    time_ns: int
    pixels: NDArray[np.int64]
    charge_e: NDArray[np.float32]


class Persistence:
    """Remembers the bright pixels of one detector's exposures; what glows depends on the frames alone.

    Parameters
    ----------
    settings
        Table `[quality]`.
    """

    def __init__(self, settings: QualitySettings) -> None:
        self._settings = settings
        self._past: list[_Bright] = []
        self._shape: tuple[int, ...] = ()

    def glow(self, exposure_id: str, first_ns: int, last_ns: int, shape: tuple[int, int]) -> Glow:
        """Return the pixels of earlier exposures, and how strongly they glow: their charge decays as one over time.

        Parameters
        ----------
        exposure_id
            The exposure; it does not glow in itself.
        first_ns, last_ns
            Its first and its last read, TAI [ns].
        shape
            Of its frame.
        """
        self._fit_to(shape)
        oldest = last_ns - int(self._settings.persistence_s * NS)
        self._past = [past for past in self._past if past.time_ns >= oldest]
        glowing = []
        for past in self._past:
            if past.exposure_id != exposure_id and past.time_ns < last_ns:
                after_s = max(1.0, ((first_ns + last_ns) // 2 - past.time_ns) / NS)
                factor = np.float32(self._settings.persistence_at_1s / after_s)
                glowing.append((past.pixels, past.charge_e * factor))
        return glow_of(glowing)

    def _fit_to(self, shape: tuple[int, ...]) -> None:
        """Forget everything where frames have another shape than before."""
        if shape != self._shape:
            self._past, self._shape = [], shape

    def remember(self, frame: Frame, blocks: Blocks) -> None:
        """Keep the pixels that were nearly full, the latest frame of an exposure in place of its earlier ones.

        `blocks` are what its rows hold (`survey`).
        """
        header = frame.header
        self._fit_to(frame.data.shape)
        if not header.ramps or self._settings.persistence_s == 0:
            return
        length_s = header.effective_s / header.ramps
        well = header.saturation_dn * header.gain_e_per_dn
        level = np.float32(self._settings.persistence_fraction * well / length_s if length_s > 0 else np.inf)
        found = np.empty(MOST_PIXELS, np.int64)
        number = find_full(frame.data, frame.dq, np.uint32(Dq.SATURATED), level, blocks, found)
        pixels = found[: min(number, MOST_PIXELS)].copy()
        charge = frame.data.reshape(-1)[pixels] * np.float32(length_s)
        saturated = frame.dq.reshape(-1)[pixels] & np.uint32(Dq.SATURATED) != 0
        charge = np.where(saturated | ~np.isfinite(charge), well, np.minimum(charge, well)).astype(np.float32)
        bright = _Bright(header.exposure_id, header.time_ns, pixels, charge)
        self._past = [one for one in self._past if one.exposure_id != header.exposure_id]
        if pixels.size:
            self._past.append(bright)
