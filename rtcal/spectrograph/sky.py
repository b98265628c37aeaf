"""The night sky in spectra: OH lines as a check of the wavelengths, and as what is to be subtracted.

After Davies 2007 (MNRAS 375, 1099): the continuum is taken off first, then the sky's lines are scaled group by group,
since the strengths of vibrational bands change within minutes and not together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcal.kernels import lines as kernel
from rtcal.spectrograph.cube import Cube
from rtcal.spectrograph.grid import Grid
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.profiles import Image
from streams.dq import Dq
from streams.lamps import oh_table

GROUP_EDGES_UM = (
    0.83, 0.88, 0.93, 0.98, 1.02, 1.075, 1.125, 1.20, 1.26, 1.34, 1.42, 1.50, 1.565, 1.632, 1.705, 1.80, 1.92,
    2.00, 2.065, 2.15, 2.25, 2.45,
)  # fmt: skip
"""Between these lie lines that change together: about one vibrational band each."""
FAINT_SHARE = 0.25
OH_SNR = 8.0
OH_STRONG = 0.25
ALONE_PX = 6.0
SEARCH_PX = 4.0
FEWEST_OH = 3
SCALE_LIMITS = (0.5, 2.0)
_CONTINUUM_PX = 61
_FWHM_PX = 2.0


@dataclass(frozen=True, eq=False)
class SkySpectrum:
    """A sky: rate and its sigma by wavelength bin [e-/s a spaxel]."""

    data: Floats
    err: Floats


def faint_spaxels(white: Image) -> NDArray[np.bool_]:
    """Return the faintest quarter of the spaxels that have a value, (y, x)."""
    seen = np.isfinite(white)
    if not seen.any():
        return seen
    return np.asarray(seen & (white <= np.nanquantile(white, FAINT_SHARE)))


def sky_of(cube: Cube, where: NDArray[np.bool_]) -> SkySpectrum:
    """Return the median spectrum of some spaxels; NaN where none has a value."""
    part = cube.data[:, where].astype(np.float64)
    seen = np.isfinite(part)
    count = seen.sum(axis=1)
    full = count > 0
    data, err = np.full(part.shape[0], np.nan), np.full(part.shape[0], np.nan)
    if full.any():
        data[full] = np.nanmedian(part[full], axis=1)
        spread = 1.4826 * np.nanmedian(np.abs(part[full] - data[full, None]), axis=1)
        err[full] = 1.2533 * spread / np.sqrt(count[full])
    return SkySpectrum(data, err)


def oh_offset_px(sky: SkySpectrum, grid: Grid) -> tuple[float | None, int]:
    """Return the median place of the sky's OH lines less where they belong [grid steps], and how many were seen.

    Strong lines without a neighbour nearer than 6 steps count; None for fewer than three.
    """
    places = _line_places(grid)
    noise = _noise(sky.data)
    level = np.full(sky.data.size, noise)
    row = np.zeros(8)
    offsets = []
    for place in places:
        first, last = round(place - SEARCH_PX - 2), round(place + SEARCH_PX + 2)
        if first < 0 or last >= sky.data.size or not np.isfinite(sky.data[first : last + 1]).all():
            continue
        peak = first + 2 + int(np.argmax(sky.data[first + 2 : last - 1]))
        low, high = max(0, peak - 4), min(sky.data.size - 1, peak + 4)
        kernel.fit_line(sky.data, level, low, high, peak, row)
        good = row[kernel.STATE] == kernel.FITTED and 0.4 < row[kernel.SIGMA] < 2.0
        if good and sky.data[peak] - row[kernel.BASE] > OH_SNR * noise and abs(row[kernel.CENTRE] - place) < SEARCH_PX:
            offsets.append(row[kernel.CENTRE] - place)
    if len(offsets) < FEWEST_OH:
        return None, len(offsets)
    return float(np.median(offsets)), len(offsets)


def flag_oh(cube: Cube) -> None:
    """Flag the bins within a FWHM of a strong OH line."""
    near = np.zeros(cube.grid.bins, bool)
    bins = np.arange(cube.grid.bins)
    for wavelength, strength in oh_table():
        if strength >= OH_STRONG:
            near |= np.abs(bins - (wavelength - cube.grid.first_um) / cube.grid.step_um) <= _FWHM_PX
    cube.dq[near] |= np.uint32(Dq.OH_LINE)


def continuum(spectrum: Floats, width: int = _CONTINUUM_PX) -> Floats:
    """Return a smooth lower envelope: the running 30 % quantile, itself smoothed; lines do not lift it."""
    half = min(width, spectrum.size - 1 - (spectrum.size + 1) % 2) // 2
    if half < 2:
        return np.full(spectrum.size, float(np.nanmedian(spectrum)))
    padded = np.pad(spectrum, half, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    with np.errstate(invalid="ignore"):
        empty = ~np.asarray(np.isfinite(windows).any(axis=1), bool)
        low = np.nanquantile(np.where(empty[:, None], 0.0, windows), 0.3, axis=1)
    kernel_ = np.ones(half) / half
    return np.asarray(np.convolve(np.pad(low, half, mode="edge"), kernel_, "same")[half:-half])


def group_scales(target: Floats, sky: Floats, grid: Grid) -> tuple[Floats, list[float]]:
    """Return by how much the sky's lines must be scaled to be those of a target, by bin, and by group.

    Each group's scale is the least-squares ratio of continuum-free spectra where the sky has lines; groups without
    lines, and scales outside 0.5 to 2, take the median of the others, or 1.
    """
    lines, aim = sky - continuum(sky), target - continuum(target)
    strong = np.isfinite(lines) & np.isfinite(aim) & (lines > 5 * _noise(sky))
    group = np.searchsorted(GROUP_EDGES_UM, grid.centres_um)
    scales: dict[int, float] = {}
    for number in np.unique(group):
        here = strong & (group == number)
        if here.sum() >= 3:
            scale = float((aim[here] * lines[here]).sum() / (lines[here] ** 2).sum())
            if SCALE_LIMITS[0] <= scale <= SCALE_LIMITS[1]:
                scales[int(number)] = scale
    usual = float(np.median(list(scales.values()))) if scales else 1.0
    return np.array([scales.get(int(number), usual) for number in group]), [
        round(scales[number], 4) for number in sorted(scales)
    ]


def subtract(cube: Cube, sky: SkySpectrum, scale: Floats | None = None) -> None:
    """Subtract a sky from every spaxel, its lines scaled; bins without a sky have no value."""
    data, err = sky.data, sky.err
    if scale is not None:
        base = continuum(sky.data)
        data, err = base + scale * (sky.data - base), scale * sky.err
    np.subtract(cube.data, data.astype(np.float32)[:, None, None], out=cube.data)
    np.sqrt(cube.err**2 + (err.astype(np.float32) ** 2)[:, None, None], out=cube.err)
    cube.dq[~np.isfinite(data)] |= np.uint32(Dq.DO_NOT_USE)


def _line_places(grid: Grid) -> Floats:
    """Return where strong lines that stand alone should be on a grid."""
    table = np.array(oh_table())
    places = (table[:, 0] - grid.first_um) / grid.step_um
    alone = []
    for index, place in enumerate(places):
        others = np.delete(np.abs(places - place), index)
        rivals = np.delete(table[:, 1], index) > 0.1 * table[index, 1]
        if table[index, 1] >= OH_STRONG and (others[rivals] > ALONE_PX).all():
            alone.append(place)
    return np.array([place for place in alone if 0 < place < grid.bins])


def _noise(spectrum: Floats) -> float:
    """Return the noise of a spectrum from its quiet half of steps."""
    step = np.abs(np.diff(spectrum[np.isfinite(spectrum)]))
    return max(float(np.median(step)) * 1.4826 / np.sqrt(2.0), 1e-12) if step.size else 1e-12
