"""What was put into the reads: the record that results can be held against."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.simulator.detector import Hits
from streams.simulator.settings import Kind, SimulatorSettings

NEVER = 65535
"""In a plane of read indices: it did not happen."""
_CLOSE = 0.85
"""Pixels whose expected charge stays below this part of saturation are not watched."""


@dataclass(frozen=True)
class ExposureTruth:
    """What happened in one exposure of one detector; reads and ramps count from 0."""

    exposure_id: str
    detector: str
    kind: Kind
    start_ns: int
    rate_e_per_s: NDArray[np.float32]
    """Rate of each pixel, light and dark together [e-/s], (y, x); read-only."""
    saturated_from: NDArray[np.uint16]
    """First read at or above the headers' saturation level, the earliest over ramps; 65535: never."""
    cosmics: NDArray[np.void]
    """A row for each pixel hit: ramp, read (the first that shows it), y, x, charge_e."""


TruthSink = Callable[[ExposureTruth], None]

COSMIC = np.dtype([("ramp", "i4"), ("read", "i4"), ("y", "i4"), ("x", "i4"), ("charge_e", "f4")])


class TruthRecorder:
    """Gathers the truth of one exposure while its reads are made.

    Parameters
    ----------
    settings
        The table `[simulator]`.
    rate_e_per_s
        Rate of each pixel in this exposure [e-/s], float32, (y, x).
    """

    def __init__(self, settings: SimulatorSettings, rate_e_per_s: NDArray[np.float32]) -> None:
        self._saturation_dn = settings.saturation_dn
        self._rate_e_per_s = rate_e_per_s
        longest_s = (settings.reads_per_ramp + 1) * settings.frame_time_s
        # Only few pixels come near saturation: to look at all of them would double the cost of a read.
        self._bright = np.flatnonzero(rate_e_per_s * np.float32(longest_s) > _CLOSE * settings.saturation_e)
        self._watched = self._bright
        self._saturated_from = np.full(rate_e_per_s.shape, NEVER, np.uint16)
        self._cosmics: list[NDArray[np.void]] = []

    def add(self, ramp: int, read: int, hits: Hits, raw_dn: NDArray[np.uint16]) -> None:
        """Note a read: the hits since the one before, and which pixels it shows saturated."""
        rows = np.zeros(hits.y.size, COSMIC)
        for name, values in (("ramp", ramp), ("read", read), ("y", hits.y), ("x", hits.x), ("charge_e", hits.charge_e)):
            rows[name] = values
        self._cosmics.append(rows)
        struck = hits.y * raw_dn.shape[1] + hits.x
        self._watched = np.concatenate([self._bright if read == 0 else self._watched, struck])
        first = self._saturated_from.reshape(-1)
        full = self._watched[raw_dn.reshape(-1)[self._watched] >= self._saturation_dn]
        first[full] = np.minimum(first[full], read)

    def finish(self, exposure_id: str, detector: str, kind: Kind, start_ns: int) -> ExposureTruth:
        """Return the record; nothing may be added after."""
        cosmics = np.concatenate(self._cosmics)
        return ExposureTruth(exposure_id, detector, kind, start_ns, self._rate_e_per_s, self._saturated_from, cosmics)
