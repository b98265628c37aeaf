"""Where each lenslet's light falls: the LENSLETSCAN reference, made of a scan and read for extraction.

A scan is a few exposures of an even lamp, in each of which a mask leaves a part of the lenslets open, far enough
apart for their spectra not to touch. So each spectrum's profile across the dispersion is seen by itself, wings and
all, where in science spectra overlap.

PRIMARY, FIRST (int16, (trace, t): first row, -1 for not measured), SHARE (float32, (trace, t, row): part of the light
in row FIRST + k), TRACES (where the spectra lie).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from rtcal.errors import RtcalError, UsageError
from rtcal.spectrograph.arcfile import read_traces
from rtcal.spectrograph.arctables import trace_table
from rtcal.spectrograph.profiles import UNUSABLE, Flags, Image, Measured, Profiles
from rtcal.spectrograph.traces import Traces
from streams.fits_files import guarded, open_fits

REACH_PX = 4.5
"""Rows on each side of a spectrum that are measured."""
WINDOW = 31
"""Columns that a profile is the mean of; spectra are so little tilted that it hardly changes over them."""
LIT_SHARE = 0.4
"""A spectrum with more than this share of its own brightest light is lit; a lit one's light leaks less than that."""
SNR = 20.0
"""Of a spectrum's light in WINDOW columns, from which its profile is measured."""
MOVED_PX = 0.3
"""A scan is of no use where spectra have moved further than this since."""

Plane = tuple[Image, Image, Flags]
"""Rate, its sigma and flags of a frame, (y, x)."""


@dataclass(frozen=True, eq=False)
class LensletScan:
    """Measured profiles and the traces that they belong to."""

    name: str
    traces: Traces
    measured: Measured

    def of(self, traces: Traces) -> tuple[Measured | None, str]:
        """Return the profiles of the traces of an arc, in their order; None, and why, where they do not fit."""
        row = {int(number): index for index, number in enumerate(self.traces.ident)}
        index = np.array([row.get(int(number), -1) for number in traces.ident])
        same = index >= 0
        same[same] &= self.traces.column[index[same]] == traces.column[same]
        same[same] &= self.traces.length[index[same]] == traces.length[same]
        if not same.any():
            return None, f"{self.name}: none of its traces is one of the arc's"
        moved = float(np.median(traces.middle_y[same] - self.traces.middle_y[index[same]]))
        if abs(moved) > MOVED_PX:
            return None, f"{self.name}: the arc's spectra lie {moved:+.2f} px from where they were in the scan"
        length = min(int(traces.length.max()), self.measured.first.shape[1])
        shape = len(traces), int(traces.length.max())
        first = np.full(shape, -1, np.int32)
        share = np.zeros((*shape, self.measured.share.shape[2]), np.float32)
        first[same, :length] = self.measured.first[index[same], :length]
        share[same, :length] = self.measured.share[index[same], :length]
        lost = int(np.count_nonzero(~(first >= 0).any(axis=1)))
        note = f"{self.name}: {lost} of {len(traces)} spectra were not measured" if lost else ""
        return Measured(first, share), note


def measure(
    frames: Sequence[Plane], traces: Traces, progress: Callable[[int], None] = lambda _done: None
) -> tuple[Measured, NDArray[np.int64]]:
    """Measure the profiles of all spectra in the exposures of a scan.

    Parameters
    ----------
    frames
        Rate, its sigma and flags of each exposure, (y, x).
    traces
        Where the spectra lie, Gaussian of width `sigma`.
    progress
        Called with the number of spectra done.

    Returns
    -------
    Measured, int64 (trace,)
        The profiles, and the exposure that each was seen in, -1 for none.

    Raises
    ------
    UsageError
        If no spectrum stands alone in any exposure.

    Notes
    -----
    A spectrum is taken from the exposure in which it is brightest, if its neighbours are dark there. A share is the
    row's light over all rows', both summed over WINDOW columns around; columns with a bad pixel are left out.
    """
    light = np.array([_light(frame, traces) for frame in frames])
    source = _sources(light, traces)
    if (source < 0).all():
        raise UsageError(
            f"no spectrum stands alone in any of the {len(frames)} exposures: a scan lights some lenslets and leaves "
            "their neighbours dark"
        )
    shape = len(traces), int(traces.length.max())
    rows = int(2 * REACH_PX) + 1
    first, share = np.full(shape, -1, np.int32), np.zeros((*shape, rows), np.float32)
    for index in range(len(traces)):
        if source[index] >= 0:
            _measure_one(frames[source[index]], traces, index, first, share)
        progress(index + 1)
    source[(first < 0).all(axis=1)] = -1
    return Measured(first, share), source


def _light(frame: Plane, traces: Traces) -> NDArray[np.float64]:
    """Return the median light of each spectrum."""
    profiles = Profiles(traces, 2.0 * traces.sigma, frame[0].shape[0])
    profiles.extract(*frame)
    out = np.zeros(len(traces))
    for index in range(len(traces)):
        good = profiles.flux[index][np.isfinite(profiles.flux[index])]
        out[index] = np.median(good) if good.size else 0.0
    return out


def _sources(light: NDArray[np.float64], traces: Traces) -> NDArray[np.int64]:
    """Return in which exposure each spectrum is lit and those around it are not; -1 for none."""
    brightest = light.max(axis=0)
    source = np.where(brightest > 0, light.argmax(axis=0), -1)
    lit = light > LIT_SHARE * brightest
    middle, out = traces.middle_y, source.copy()
    for column in np.unique(traces.column):
        bank = np.flatnonzero(traces.column == column)
        order = bank[np.argsort(middle[bank], kind="stable")]
        for step in range(1, order.size):
            low, high = order[:-step], order[step:]
            near = middle[high] - middle[low] < 2 * REACH_PX
            if not near.any():
                break
            for one, other in ((low[near], high[near]), (high[near], low[near])):
                out[one[lit[source[one], other]]] = -1
    return out.astype(np.int64)


def _measure_one(frame: Plane, traces: Traces, index: int, first: NDArray[np.int32], share: Image) -> None:
    data, err, dq = frame
    length, column, reach = int(traces.length[index]), int(traces.column[index]), share.shape[2]
    t = np.arange(length)
    centre = traces.y[index, 0] + t * (traces.y[index, 1] + t * traces.y[index, 2])
    start = np.floor(centre - REACH_PX + 0.5).astype(np.int64)
    low, high = int(start.min()), int(start.max()) + reach
    if low < 0 or high > data.shape[0]:
        return
    part = np.s_[low:high, column : column + length]
    good = ((dq[part] & UNUSABLE) == 0) & np.isfinite(data[part])
    whole = (good | ~good.any(axis=1, keepdims=True)).all(
        axis=0
    )  # rows of the border never are good, and hold no light
    light = np.where(whole & good, data[part], 0.0).astype(np.float64)
    noise2 = np.where(whole & good, err[part], 0.0).astype(np.float64) ** 2
    total, noise = _running(light.sum(axis=0)), np.sqrt(_running(noise2.sum(axis=0)))
    rows = np.stack([_running(row) for row in light])
    own = np.clip(rows[(start - low)[:, None] + np.arange(reach), t[:, None]], 0, None)
    norm = own.sum(axis=1)
    known = (total > SNR * noise) & (norm > 0)
    share[index, :length] = np.where(known[:, None], own / np.where(known, norm, 1.0)[:, None], 0.0)
    first[index, :length] = np.where(known, start, -1)


def _running(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over WINDOW columns around each; at the ends over those that there are on both sides."""
    count = values.size
    sums = np.concatenate([[0.0], np.cumsum(values)])
    half = np.minimum(WINDOW // 2, np.minimum(np.arange(count), count - 1 - np.arange(count)))
    at = np.arange(count)
    return np.asarray(sums[at + half + 1] - sums[at - half])


def extensions(traces: Traces, measured: Measured) -> list[fits.ImageHDU | fits.BinTableHDU]:
    """Return what the file holds besides PRIMARY and DQ."""
    first = fits.ImageHDU(measured.first.astype(">i2"), name="FIRST")
    share = fits.ImageHDU(measured.share.astype(">f4"), name="SHARE")
    return [first, share, trace_table(traces)]


def read_scan(path: Path) -> LensletScan:
    """Read a LENSLETSCAN reference.

    Raises
    ------
    RtcalError
        If it is none; says what it lacks.
    StreamsError
        If the file cannot be read.
    """
    with open_fits(path) as hdus, guarded(path):
        missing = [name for name in ("FIRST", "SHARE", "TRACES") if name not in hdus]
        if missing:
            lacks = ", ".join(missing)
            raise RtcalError(
                f"{path}: no LENSLETSCAN reference: it lacks {lacks}; make one with rtcal refs make lensletscan"
            )
        first = np.array(hdus["FIRST"].data, np.int32)
        share = np.array(hdus["SHARE"].data, np.float32)
    traces = read_traces(path)
    if first.shape[0] != len(traces) or share.shape[:2] != first.shape or not np.isfinite(share).all():
        raise RtcalError(
            f"{path}: FIRST {first.shape}, SHARE {share.shape} and {len(traces)} traces do not fit each other"
        )
    return LensletScan(path.name, traces, Measured(first, share))
