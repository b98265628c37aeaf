"""Where spectra lie on the detector: given by a table, or found in an arc or a flat.

Spectra run along x. A trace covers `length` columns from `column` on; its centre is at
y = y0 + y1 t + y2 t^2 with t = x - column, 0-based pixel centres.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal.errors import RtcalError
from rtcal.kernels import lines as kernel
from rtcal.spectrograph.linelists import Floats

Ints = NDArray[np.int64]

BLOCKS = 16
_TILT_PX = 12.0
_STEP_PX = 0.25
_SNR = 8.0
_BLOCK_SNR = 10.0
_LIT = 0.2
SHORTEST = 32
_RANKS = (1, 6)


class TraceError(RtcalError):
    """No traces, or traces that do not fit the image."""


@dataclass(frozen=True, eq=False)
class Traces:
    """The spectra of one detector; one element or row for a trace.

    Attributes
    ----------
    ident
        Number of each trace.
    ix, iy
        Spaxel, -1 where it is not known.
    column, length
        First column, number of columns.
    y
        Float64, (trace, 3): centre, see the module.
    sigma
        Float64: width of the cross-dispersion profile [px]; 0 where light is spread evenly over `height`.
    height
        Float64: rows that belong to the trace.
    """

    ident: Ints
    ix: Ints
    iy: Ints
    column: Ints
    length: Ints
    y: Floats
    sigma: Floats
    height: Floats

    def __len__(self) -> int:
        return self.ident.size

    @property
    def middle_y(self) -> Floats:
        """Centre in the middle column."""
        t = (self.length - 1) / 2
        return np.asarray(self.y[:, 0] + t * (self.y[:, 1] + t * self.y[:, 2]))

    def select(self, chosen: NDArray[np.bool_]) -> "Traces":
        """Return some of the traces."""
        return Traces(**{name: values[chosen] for name, values in vars(self).items()})

    def shifted(self, dy: float) -> "Traces":
        """Return the traces moved along y."""
        return replace(self, y=self.y + np.array([dy, 0.0, 0.0]))

    def check(self, shape: tuple[int, int]) -> None:
        """Refuse traces that leave the image.

        Raises
        ------
        TraceError
            Names the traces.
        """
        ends = self.y[:, :1] + np.array([0.0, 1.0]) * (
            (self.length - 1) * (self.y[:, 1] + (self.length - 1) * self.y[:, 2])
        ).reshape(-1, 1)
        outside = (
            (self.column < 0)
            | (self.column + self.length > shape[1])
            | (ends.min(axis=1) < 0)
            | (ends.max(axis=1) > shape[0] - 1)
        )
        if outside.any():
            names = ", ".join(str(number) for number in self.ident[outside][:8])
            raise TraceError(
                f"{int(outside.sum())} of {len(self)} traces run off the detector of {shape[0]} rows and {shape[1]} "
                f"columns: {names}{' ...' if outside.sum() > 8 else ''}; is the table of traces that of this mode?"
            )


def from_columns(columns: Mapping[str, NDArray[np.generic]]) -> Traces:
    """Build traces from the columns of a table: id, ix, iy, x0, x1, y0, y1, y2, sigma, height.

    Raises
    ------
    TraceError
        If a column is missing.
    """
    names = {name.lower(): np.asarray(values) for name, values in columns.items()}
    wanted = ("id", "ix", "iy", "x0", "x1", "y0", "y1", "y2", "sigma", "height")
    missing = [name for name in wanted if name not in names]
    if missing:
        raise TraceError(f"the table of traces lacks {', '.join(missing)}; it needs {', '.join(wanted)}")
    whole = {name: names[name].astype(np.int64) for name in ("id", "ix", "iy", "x0", "x1")}
    real = {name: names[name].astype(np.float64) for name in wanted[5:]}
    return Traces(
        ident=whole["id"],
        ix=whole["ix"],
        iy=whole["iy"],
        column=whole["x0"],
        length=whole["x1"] - whole["x0"] + 1,
        y=np.stack([real["y0"], real["y1"], real["y2"]], axis=1),
        sigma=real["sigma"],
        height=real["height"],
    )


def find_traces(image: Floats, good: NDArray[np.bool_]) -> Traces:
    """Find spectra that run along the whole width and are apart by more than their own width.

    The light of blocks of columns is added up along the tilt that makes the sum sharpest; each spectrum's centre
    in each block then gives its own line, the curvature is that of all together.

    Parameters
    ----------
    image
        An arc or a flat, (y, x).
    good
        Bool, (y, x): pixels to use.

    Raises
    ------
    TraceError
        If no spectrum stands out of the noise.
    """
    profiles, centres = _block_profiles(image, good)
    tilt = _tilt(profiles, centres, image.shape[1])
    offsets = tilt * (centres / (image.shape[1] - 1) - 0.5)
    rows = np.arange(image.shape[0])
    blocks = [np.interp(rows + offset, rows, one) for offset, one in zip(offsets, profiles, strict=True)]
    # The highest block of a row may hold a hot pixel; the lowest may hold no line.
    straight = np.sort(blocks, axis=0)[-_RANKS[1] : -_RANKS[0]].mean(axis=0)
    noise = np.full_like(straight, max(_noise(straight), 1e-12))
    peaks = np.empty(image.shape[0], np.int64)
    peaks = peaks[: kernel.find_peaks(straight, noise, _SNR, 4, peaks)]
    if peaks.size == 0:
        raise TraceError(
            "no spectrum stands out of the noise along x; is the lamp on, and does the light run along the rows?"
        )
    pitch = float(np.median(np.diff(peaks))) if peaks.size > 1 else 12.0
    fits = _fit_profiles(straight, noise, peaks, pitch)
    kept = (fits[:, kernel.STATE] == kernel.FITTED) & (fits[:, kernel.SIGMA] < pitch)
    if not kept.any():
        raise TraceError(f"{peaks.size} peaks across the rows, none of the width of a spectrum")
    middle, sigma = fits[kept, kernel.CENTRE], fits[kept, kernel.SIGMA]
    y = _lines_of(profiles, centres, middle, offsets, sigma, image.shape[1])
    count = middle.size
    zeros = np.zeros(count, np.int64)
    # A width that a faint spectrum's noise gives is less true than its neighbours'.
    return Traces(
        ident=np.arange(count),
        ix=zeros - 1,
        iy=zeros - 1,
        column=zeros,
        length=zeros + image.shape[1],
        y=y,
        sigma=np.full(count, float(np.median(sigma))),
        height=np.full(count, min(pitch, 6 * float(np.median(sigma)))),
    )


def cut_to_light(traces: Traces, spectra: Floats) -> Traces:
    """Cut traces found in a flat to where they are lit; a row with several spectra in it gives as many traces.

    Parameters
    ----------
    traces
        Found by `find_traces`.
    spectra
        The flat along them, (trace, x).

    Raises
    ------
    TraceError
        If no trace is lit over `SHORTEST` pixels.
    """
    pieces: list[tuple[int, int, int]] = []
    for index, flux in enumerate(spectra):
        level = np.nanpercentile(flux, 90) * _LIT
        lit = np.concatenate([[False], np.nan_to_num(flux, nan=np.inf) > level, [False]])
        edges = np.flatnonzero(np.diff(lit.astype(np.int8)))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            if last - first >= SHORTEST:
                pieces.append((index, int(first), int(last - first)))
    if not pieces:
        raise TraceError(f"no trace of the flat is lit over {SHORTEST} pixels")
    source = np.array([piece[0] for piece in pieces])
    first = np.array([piece[1] for piece in pieces], np.int64)
    chosen = {name: values[source] for name, values in vars(traces).items()}
    y = chosen["y"].copy()
    y[:, 0] += first * (y[:, 1] + first * y[:, 2])
    y[:, 1] += 2 * first * y[:, 2]
    length = np.array([piece[2] for piece in pieces], np.int64)
    chosen |= {"ident": np.arange(len(pieces)), "y": y, "column": chosen["column"] + first, "length": length}
    return Traces(**chosen)


def _block_profiles(image: Floats, good: NDArray[np.bool_]) -> tuple[list[Floats], Floats]:
    """Return each block's mean over its columns, less the floor between spectra, and the blocks' middles."""
    edges = np.linspace(0, image.shape[1], BLOCKS + 1).astype(int)
    profiles = []
    for first, last in pairwise(edges):
        part = good[:, first:last] & np.isfinite(image[:, first:last])
        total = np.where(part, image[:, first:last], 0.0).sum(axis=1)
        profile = total / np.maximum(part.sum(axis=1), 1)
        profiles.append(profile - np.percentile(profile, 20))
    return profiles, (edges[:-1] + edges[1:] - 1) / 2


def _tilt(profiles: list[Floats], centres: Floats, width: int) -> float:
    """Return the rows that spectra climb over the detector: where the blocks' sum is sharpest."""
    rows = np.arange(profiles[0].size)
    tilts = np.arange(-_TILT_PX, _TILT_PX + _STEP_PX, _STEP_PX)
    scaled = [np.sqrt(np.maximum(one, 0)) for one in profiles]  # bright lines do not decide alone
    sharpness = []
    for tilt in tilts:
        offsets = tilt * (centres / (width - 1) - 0.5)
        total = np.sum([np.interp(rows + o, rows, one) for o, one in zip(offsets, scaled, strict=True)], axis=0)
        sharpness.append(float(np.sum(total**2)))
    best = int(np.argmax(sharpness))
    if 0 < best < len(tilts) - 1:
        left, here, right = sharpness[best - 1 : best + 2]
        curve = left - 2 * here + right
        return float(tilts[best] + (0.5 * _STEP_PX * (left - right) / curve if curve < 0 else 0.0))
    return float(tilts[best])


def _fit_profiles(straight: Floats, noise: Floats, peaks: Ints, pitch: float) -> Floats:
    half = int(np.clip(pitch / 2, 2, 8))
    fits = np.zeros((peaks.size, 8))
    for row, peak in zip(fits, peaks, strict=True):
        kernel.fit_line(straight, noise, max(0, peak - half), min(straight.size - 1, peak + half), peak, row)
    return fits


def _lines_of(
    profiles: list[Floats], centres: Floats, middle: Floats, offsets: Floats, sigma: Floats, width: int
) -> Floats:
    """Fit each spectrum's centres in the blocks: its own height and slope, the curvature of all."""
    y = np.full((middle.size, centres.size), np.nan)
    row = np.zeros(8)
    for block, (profile, offset) in enumerate(zip(profiles, offsets, strict=True)):
        noise = np.full_like(profile, max(_noise(profile), 1e-12))
        for i, centre in enumerate(middle + offset):
            reach = max(2, round(2.5 * sigma[i]))
            peak = round(centre)
            if peak - reach < 0 or peak + reach >= profile.size or profile[peak] < _BLOCK_SNR * noise[peak]:
                continue
            kernel.fit_line(profile, noise, peak - reach, peak + reach, peak, row)
            if row[kernel.STATE] == kernel.FITTED and abs(row[kernel.CENTRE] - centre) < 1.5:
                y[i, block] = row[kernel.CENTRE]
    t = centres / (width - 1) - 0.5
    away = y - middle[:, None] - offsets
    common: NDArray[np.floating[Any]] = np.zeros(3)
    seen = np.isfinite(away)
    if np.any(seen, axis=0).sum() >= 4:
        columns = np.flatnonzero(np.any(seen, axis=0))
        common = np.polynomial.polynomial.polyfit(t[columns], np.nanmedian(away[:, columns], axis=0), 2)
    out = np.empty((middle.size, 3))
    slope = (offsets[-1] - offsets[0]) / (t[-1] - t[0])
    for i in range(middle.size):
        own: NDArray[np.floating[Any]] = np.zeros(2)
        rest = away[i] - np.polynomial.polynomial.polyval(t, common)
        use = np.isfinite(rest)
        if use.sum() >= 4 and np.ptp(t[use]) > 0.4:
            own = np.polynomial.polynomial.polyfit(t[use], rest[use], 1)
        elif use.any():
            own[0] = float(np.median(rest[use]))
        terms = common + np.array([middle[i] + own[0], slope + own[1], 0.0])
        # From t in -0.5 ... 0.5 to columns.
        scale = 1 / (width - 1)
        out[i] = (
            terms[0] - terms[1] / 2 + terms[2] / 4,
            (terms[1] - terms[2]) * scale,
            terms[2] * scale**2,
        )
    return out


def _noise(profile: Floats) -> float:
    """Return the noise of a profile that is mostly floor or mostly smooth, from its lower half."""
    low = profile[profile <= np.median(profile)]
    return float(1.4826 * np.median(np.abs(low - np.median(low))))
