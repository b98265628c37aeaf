"""What is known of an arc's wavelengths, trace by trace."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtcal.errors import RtcalError
from rtcal.spectrograph.linelists import Floats, LineList
from rtcal.spectrograph.matching import Detected, Matched

MASKED: Final = 1
"""A line that no fit may use, by a person's word; 0 is the program's own judgement."""
NAMED: Final = 2
"""A line that the fit uses as the person said, whatever it does to the fit."""
UNNAMED: Final = 3
"""A line that has no name, though the program would give it one."""
LIGHT_KM_S: Final = 299_792.458


class ArcError(RtcalError):
    """An arc that cannot be solved; says what was found and what was expected."""


@dataclass(frozen=True, eq=False)
class TraceSolution:
    """What is known of one trace's wavelengths.

    Attributes
    ----------
    status
        OK; SHIFTED: too few lines, its shape is its neighbours'; FAILED.
    reason
        Why it is not OK.
    found
        Its lines.
    matched
        None where FAILED.
    marks
        What a person said of each line (`MASKED`, `NAMED`, `UNNAMED`), int64; None: nothing.
    """

    status: str
    reason: str
    found: Detected
    matched: Matched | None
    marks: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class ArcSolution:
    """All traces, and the lines they were matched to."""

    traces: tuple[TraceSolution, ...]
    listed: LineList
    order: int

    @property
    def solved(self) -> list[int]:
        """Indices of the traces with wavelengths."""
        return [index for index, trace in enumerate(self.traces) if trace.matched is not None]

    def residuals(self) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
        """Return trace, position [px], wavelength [um] and residual [px] of each line used."""
        parts = [_residuals(index, trace) for index, trace in enumerate(self.traces)]
        joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
        return joined[0].astype(np.int64), joined[1], joined[2], joined[3]

    @property
    def rms_px(self) -> float:
        """Of all lines used."""
        residual = self.residuals()[3]
        return float(np.sqrt(np.mean(residual**2))) if residual.size else float("nan")

    @property
    def rms_km_s(self) -> float:
        """The same as a velocity."""
        traces, x, wavelength, residual = self.residuals()
        if residual.size == 0:
            return float("nan")
        per_px = np.empty(residual.size)
        for index in np.unique(traces):
            here = traces == index
            matched = self.traces[index].matched
            assert matched is not None
            per_px[here] = np.abs(matched.dispersion(x[here]))
        return float(np.sqrt(np.mean((LIGHT_KM_S * residual * per_px / wavelength) ** 2)))


def _residuals(index: int, trace: TraceSolution) -> tuple[Floats, Floats, Floats, Floats]:
    one = trace.matched
    if one is None:
        empty = np.empty(0)
        return empty, empty, empty, empty
    x = trace.found.x[one.lines][one.used]
    wavelength = one.wavelength_um[one.used]
    residual = (one.wavelengths(x) - wavelength) / np.abs(one.dispersion(x))
    return np.full(x.size, float(index)), x, wavelength, residual
