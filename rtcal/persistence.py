"""Pixels that were nearly full in an earlier exposure may glow in later ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcal.config import QualitySettings
from rtcal.kernels import survey
from rtcal.kernels.survey import Rows
from streams.clock import NS
from streams.dq import Dq
from streams.messages import Frame

SIGNIFICANCE = 3.0
MOST_PIXELS = 400_000


@dataclass(frozen=True)
class _Glow:
    """Pixels of one exposure, by flat index, and the charge that each held [e-]."""

    exposure_id: str
    time_ns: int
    pixels: NDArray[np.int64]
    charge_e: NDArray[np.float32]


class Persistence:
    """Remembers the bright pixels of one detector's exposures; what it flags depends on the frames alone.

    Parameters
    ----------
    settings
        Table `[quality]`.
    """

    def __init__(self, settings: QualitySettings) -> None:
        self._settings = settings
        self._past: list[_Glow] = []
        self._shape: tuple[int, ...] = ()

    def flag(self, frame: Frame) -> NDArray[np.int64]:
        """Set PERSISTENCE where an earlier exposure's charge would still show by 3 sigma; return these pixels.

        The charge decays as one over time. The frame's `dq` is changed in place. Pixels are counted row by row.
        """
        header = frame.header
        self._fit_to(frame.data.shape)
        oldest = header.time_ns - int(self._settings.persistence_s * NS)
        self._past = [glow for glow in self._past if glow.time_ns >= oldest]
        err, dq = frame.err.reshape(-1), frame.dq.reshape(-1)
        flagged = [np.empty(0, np.int64)]
        for glow in self._past:
            if glow.exposure_id == header.exposure_id or glow.time_ns >= header.time_ns:
                continue
            after_s = max(1.0, ((header.first_read_ns + header.time_ns) // 2 - glow.time_ns) / NS)
            rate = glow.charge_e * np.float32(self._settings.persistence_at_1s / after_s)
            shows = glow.pixels[rate > SIGNIFICANCE * err[glow.pixels]]
            fresh = shows[dq[shows] & np.uint32(Dq.PERSISTENCE) == 0]
            dq[fresh] |= np.uint32(Dq.PERSISTENCE)
            flagged.append(fresh)
        return np.concatenate(flagged)

    def _fit_to(self, shape: tuple[int, ...]) -> None:
        """Forget everything where frames have another shape than before."""
        if shape != self._shape:
            self._past, self._shape = [], shape

    def remember(self, frame: Frame, rows: Rows) -> None:
        """Keep the pixels that were nearly full, the latest frame of an exposure in place of its earlier ones.

        `rows` are what `quality.survey_frame` found.
        """
        header = frame.header
        self._fit_to(frame.data.shape)
        if not header.ramps or self._settings.persistence_s == 0:
            return
        length_s = header.effective_s / header.ramps
        well = header.saturation_dn * header.gain_e_per_dn
        level = np.float32(self._settings.persistence_fraction * well / length_s if length_s > 0 else np.inf)
        found = np.empty(MOST_PIXELS, np.int64)
        number = survey.find_full(frame.data, frame.dq, np.uint32(Dq.SATURATED), level, rows, found)
        pixels = found[: min(number, MOST_PIXELS)].copy()
        charge = frame.data.reshape(-1)[pixels] * np.float32(length_s)
        saturated = frame.dq.reshape(-1)[pixels] & np.uint32(Dq.SATURATED) != 0
        charge = np.where(saturated | ~np.isfinite(charge), well, np.minimum(charge, well)).astype(np.float32)
        glow = _Glow(header.exposure_id, header.time_ns, pixels, charge)
        self._past = [one for one in self._past if one.exposure_id != header.exposure_id]
        if pixels.size:
            self._past.append(glow)
