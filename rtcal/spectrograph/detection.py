"""The lines of arc spectra: found in each trace, and told apart from what is none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels import lines as kernel
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.matching import Detected
from rtcal.spectrograph.neighbours import FEWEST
from rtcal.spectrograph.settings import ArcSettings

MOST_LINES: Final = 400
FWHM_OF_SIGMA: Final = 2.354820045
_SAME_LINE_PX: Final = 1.0
_ODD_WIDTH: Final = 0.1
"""Widths differ by this part over the detector, and by noise."""


@dataclass(frozen=True, eq=False)
class Spectra:
    """One-dimensional arc spectra, one row for a trace.

    Attributes
    ----------
    flux, noise
        Float64, (trace, t); NaN where there is no value.
    saturated
        Bool, (trace, t).
    length
        Int64, (trace,): pixels of each spectrum; beyond is NaN.
    place
        Float64, (trace, 2): where each lies, to tell who is whose neighbour.
    """

    flux: Floats
    noise: Floats
    saturated: NDArray[np.bool_]
    length: NDArray[np.int64]
    place: Floats


def detect(arcs: Sequence[Spectra], settings: ArcSettings) -> list[Detected]:
    """Find the lines of every trace in all arcs; of two that are one the better stays."""
    found = [_detect_one(spectra, settings) for spectra in arcs]
    merged = found[0] if len(found) == 1 else [_merge(lines) for lines in zip(*found, strict=True)]
    return _doubted(merged) if len(merged) >= FEWEST else merged


def _doubted(found: list[Detected]) -> list[Detected]:
    """Raise the errors of lines that are wider or narrower than all traces' lines: blended or hit, off by as much."""
    every = np.concatenate([one.sigma_px[one.usable] for one in found])
    if every.size == 0:
        return found
    usual = float(np.median(every))

    def doubt(one: Detected) -> Floats:
        return np.nan_to_num(np.abs(one.sigma_px - usual) - _ODD_WIDTH * usual).clip(min=0)

    return [replace(one, err_px=np.hypot(one.err_px, doubt(one))) for one in found]


def _merge(several: Sequence[Detected]) -> Detected:
    joined = {name: np.concatenate([vars(one)[name] for one in several]) for name in vars(several[0])}
    best_first = np.lexsort((-joined["snr"], ~joined["usable"]))
    kept: list[int] = []
    for index in best_first:
        if all(abs(joined["x"][index] - joined["x"][other]) > _SAME_LINE_PX for other in kept):
            kept.append(int(index))
    order = sorted(kept, key=lambda index: float(joined["x"][index]))
    return Detected(**{name: values[order] for name, values in joined.items()})


def _detect_one(spectra: Spectra, settings: ArcSettings) -> list[Detected]:
    count = spectra.flux.shape[0]
    peaks = np.empty(MOST_LINES, np.int64)
    rows = np.zeros((1, MOST_LINES, 8))
    found = []
    for index in range(count):
        part = slice(index, index + 1)
        counts = np.zeros(1, np.int64)
        kernel.detect_lines(
            spectra.flux[part],
            spectra.noise[part],
            spectra.saturated[part],
            settings.snr_min,
            settings.fit_half_px,
            settings.fwhm_min_px / FWHM_OF_SIGMA,
            settings.fwhm_max_px / FWHM_OF_SIGMA,
            0,
            1,
            peaks,
            rows,
            counts,
        )
        found.append(_detected(rows[0, : counts[0]]))
    return found


def _detected(rows: Floats) -> Detected:
    return Detected(
        x=rows[:, kernel.CENTRE].copy(),
        flux=rows[:, kernel.AREA].copy(),
        err_px=rows[:, kernel.CENTRE_ERR].copy(),
        sigma_px=rows[:, kernel.SIGMA].copy(),
        snr=rows[:, kernel.SNR].copy(),
        usable=(rows[:, kernel.STATE] == kernel.FITTED) & (rows[:, kernel.AREA] > 0),
        state=rows[:, kernel.STATE].astype(np.int64),
    )
