"""How good a frame is: width, light and sharpness of its stars, sky, saturation, noise, jumps.

Measured before the frame is published, so that its header, its FITS file and the display say the same. At
4096 x 4096 that takes some tens of milliseconds; what each number means is in `docs/quality.md`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal.config import QualitySettings
from rtcal.kernels import survey
from rtcal.kernels.survey import Blocks
from rtcal.survey import NO_STAR, Survey
from streams import photometry
from streams.dq import Dq
from streams.messages import Frame, FrameHeader, Quality
from streams.optics import Optics, strehl_proxy
from streams.photometry import NoSource, Star, measure_star
from streams.robust import MAD_TO_SIGMA, Clipped, clipped_median

UNUSABLE = int(Dq.DO_NOT_USE | Dq.REFERENCE_PIXEL)
SAMPLE_SIDE = 256
SEARCHED = 8
"""Bands of rows that are searched for each star that is wanted."""
BAND_ROWS = 16
MOST_SUMMITS = 20_000
SUMMIT_REACH = 3
APART_PX = 24.0
"""Stars nearer to a brighter one than this are not measured: each would have the other's light."""
EE_MAS = 50.0
ANNULUS_PX = 12.0


@dataclass(frozen=True)
class Meter:
    """Measures frames by the tables of the configuration."""

    settings: QualitySettings
    optics: Optics

    def measure(self, frame: Frame, blocks: Blocks, read_noise_e: Sequence[float], persistent: int = 0) -> Quality:
        """Measure a frame.

        Parameters
        ----------
        frame
            The frame, calibrated; its arrays are not changed.
        blocks
            What its rows hold (`survey`).
        read_noise_e
            Of one read by channel, as the reference pixels showed [e-].
        persistent
            Pixels that may glow, for the record.
        """
        header = frame.header
        sky, noise, _ = _sky(frame)
        saturated, jumps = (int(count) for count in blocks.counts.sum(axis=0))
        stars = self._stars(frame, sky + self.settings.significance * noise, blocks)
        area_cm2 = frame.data.size * (self.optics.settings.pixel_um * 1e-4) ** 2
        zero_point = self.optics.zero_point(header.setup)
        return Quality(
            **self._shapes(frame, stars),
            sky=_finite(sky),
            sky_noise=_finite(noise),
            sky_mag_arcsec2=self._sky_magnitude(sky, zero_point),
            zero_point=zero_point,
            background_limited_s=background_limited_s(header, sky, frame),
            saturated_fraction=saturated / frame.data.size,
            **_filling(header, float(blocks.highest_good.max(initial=sky if math.isfinite(sky) else -math.inf))),
            read_noise_e=list(read_noise_e),
            jumps=jumps,
            jumps_per_s_cm2=jumps / header.effective_s / area_cm2 if header.effective_s > 0 else None,
            persistent=persistent,
        )

    def _sky_magnitude(self, sky: float, zero_point: float | None) -> float | None:
        if zero_point is None or not sky > 0:
            return None
        return zero_point - 2.5 * math.log10(sky / (self.optics.pixel_mas / 1000) ** 2)

    def _stars(self, frame: Frame, faintest: float, blocks: Blocks) -> list[Star]:
        """Measure the brightest stars that are neither saturated nor beside a brighter one.

        Only bands with one of the brightest pixels are searched: a crowded frame has far more stars than are needed.
        """
        if not (math.isfinite(faintest) and self.settings.sources):
            return []
        enough = SEARCHED * self.settings.sources
        of_rows = blocks.highest_good.max(axis=1)
        maxima = np.maximum.reduceat(of_rows, np.arange(0, of_rows.size, BAND_ROWS))
        level = np.float32(max(faintest, np.sort(maxima)[-enough - 1] if maxima.size > enough else -np.inf))
        found = np.empty((MOST_SUMMITS, 2), np.int64)
        number = survey.find_summits(frame.data, frame.dq, np.uint32(NO_STAR), level, blocks, SUMMIT_REACH, found)
        summits = found[: min(number, MOST_SUMMITS)]
        order = np.argsort(-frame.data[summits[:, 0], summits[:, 1]], kind="stable")
        stars: list[Star] = []
        for place in _apart(summits[order], 4 * self.settings.sources):
            star = self._star(frame, int(place[0]), int(place[1]))
            if star is not None:
                stars.append(star)
            if len(stars) == self.settings.sources:
                break
        return stars

    def _star(self, frame: Frame, row: int, column: int) -> Star | None:
        radius = self.settings.radius_mas / self.optics.pixel_mas
        reach = math.ceil(radius + ANNULUS_PX) + 2
        rows = slice(max(0, row - reach), row + reach + 1)
        columns = slice(max(0, column - reach), column + reach + 1)
        data, err, dq = frame.data[rows, columns], frame.err[rows, columns], frame.dq[rows, columns]
        good = np.isfinite(data) & (dq & np.uint32(UNUSABLE) == 0)
        at = (column - columns.start, row - rows.start)
        core = np.uint32(Dq.SATURATED | Dq.DO_NOT_USE)
        if (dq[at[1] - 1 : at[1] + 2, at[0] - 1 : at[0] + 2] & core).any():
            return None
        try:
            return measure_star(data, err, good, *at, reach=1.5, radius=radius, annulus=ANNULUS_PX)
        except NoSource:
            return None

    def _shapes(self, frame: Frame, stars: Sequence[Star]) -> dict[str, Any]:
        """Return the medians over stars, in angles."""
        if not stars:
            return {}
        mas = self.optics.pixel_mas
        diffraction = self.optics.diffraction_px(frame.header.setup)
        strehl = None
        if diffraction is not None:
            strehl = _median([strehl_proxy(star.peak, star.flux, star.x, star.y, diffraction) for star in stars])
        return {
            "sources": len(stars),
            "fwhm_mas": _median([star.fwhm * mas for star in stars]),
            "ellipticity": _median([star.ellipticity for star in stars]),
            "ee50_mas": _median([star.radius_of(0.5) * mas for star in stars]),
            "ee_50mas": _median([star.encircled_at(EE_MAS / mas) for star in stars]),
            "strehl": strehl,
        }


def channel_noise_e(first: NDArray[Any], last: NDArray[Any], border: int, channels: int, gain: float) -> list[float]:
    """Return the noise of one read in each channel, from the reference rows of two reads.

    Parameters
    ----------
    first, last
        Raw reads of one ramp, (y, x) [DN].
    border
        Rows of reference pixels at the bottom and at the top; 0 gives no numbers.
    channels
        Outputs side by side.
    gain
        [e-/DN].

    Notes
    -----
    1.4826 times the median deviation of the differences, over root 2: what drifts with all pixels of a channel drops
    out.
    """
    if border < 1 or channels < 1 or first.shape[1] % channels or first.shape[0] <= 2 * border:
        return []
    rows = np.r_[0:border, first.shape[0] - border : first.shape[0]]
    steps = last[rows].astype(np.float64) - first[rows]
    by_channel = steps.reshape(rows.size, channels, -1).swapaxes(0, 1).reshape(channels, -1)
    by_channel = by_channel - np.median(by_channel, axis=1, keepdims=True)
    sigma = MAD_TO_SIGMA * np.median(np.abs(by_channel), axis=1) / math.sqrt(2) * gain
    return [float(value) for value in sigma]


def background_limited_s(header: FrameHeader, sky: float, frame: Frame) -> float | None:
    """Return the exposure at which the background's noise equals the read noise; None without a background.

    The sky that was subtracted is part of the background: it is counted by the errors, where those show it.
    """
    background = max(sky, _background(header, frame))
    if not background > 0:
        return None
    variance = header.read_noise_e**2
    if header.mode == "utr" and header.reads_used > header.ramps and header.effective_s > 0:
        spacing = header.effective_s / (header.reads_used - header.ramps)
        return math.sqrt(10 * variance * spacing / background)
    return 2 * variance / max(1, header.reads_per_end) / background


def _background(header: FrameHeader, frame: Frame) -> float:
    """Return the background that the typical error speaks of [e-/s], for sky and dark may have been subtracted."""
    part = _sampled(frame)
    errors = frame.err[part][frame.dq[part] & np.uint32(UNUSABLE) == 0]
    errors = errors[np.isfinite(errors)]
    if not errors.size or not header.effective_s > 0:
        return 0.0
    variance = float(np.median(errors)) ** 2
    reads = max(2, header.reads_used // max(1, header.ramps))
    length = header.effective_s / max(1, header.ramps)
    if header.mode == "utr":
        spacing = length / (reads - 1)
        read = 12 * header.read_noise_e**2 / (spacing**2 * reads * (reads**2 - 1))
        photon = 6 * (reads**2 + 1) / (5 * spacing * reads * (reads**2 - 1))
    else:
        read = 2 * header.read_noise_e**2 / max(1, header.reads_per_end) / length**2
        photon = 1 / length
    return max(0.0, (variance * header.ramps - read) / photon)


def compile_quality() -> None:
    """Compile what measures frames, before the first one waits for it."""
    rate, dq = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.uint32)
    level, none = np.float32(0), np.uint32(0)
    blocks = Survey((8, 8), 8).blocks
    for plane in blocks:
        plane.fill(0)
    survey.find_summits(rate, dq, none, level, blocks, 1, np.empty((2, 2), np.int64))
    survey.find_full(rate, dq, none, level, blocks, np.empty(2, np.int64))
    photometry.compile_kernels()


def _sampled(frame: Frame) -> tuple[slice, slice]:
    steps = tuple(max(1, side // SAMPLE_SIDE) for side in frame.data.shape)
    return slice(steps[0] // 2, None, steps[0]), slice(steps[1] // 2, None, steps[1])


def _sky(frame: Frame) -> Clipped:
    """Return level and scatter of the good pixels without sources, on a grid of them."""
    part = _sampled(frame)
    data, dq = frame.data[part], frame.dq[part]
    return clipped_median(data[dq & np.uint32(UNUSABLE) == 0])


def _filling(header: FrameHeader, peak: float) -> dict[str, Any]:
    """Say how full the fullest pixel was, and when it would be full.

    A ramp lasts from its reset: one spacing of its reads longer than from the first read to the last.
    """
    well = header.saturation_dn * header.gain_e_per_dn
    if not (0 < peak < math.inf and well > 0 and header.ramps):
        return {}
    length = header.effective_s / header.ramps
    reads = header.reads_used / header.ramps
    length += length / (reads - 1) if reads > 1 else 0.0
    return {"peak_fraction": peak * length / well, "saturation_s": well / peak}


def _apart(places: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """Return the first `most` places, brightest first, that lie apart from all brighter ones."""
    kept: list[NDArray[np.int64]] = []
    brighter: list[NDArray[np.int64]] = []
    for place in places[:4000]:
        if all(max(abs(place - other)) > APART_PX for other in brighter):
            kept.append(place)
            if len(kept) == most:
                break
        brighter.append(place)
    return kept


def _median(values: Sequence[float]) -> float | None:
    return _finite(float(np.nanmedian(values))) if any(math.isfinite(value) for value in values) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
