"""Validated calls of kernels: a step checks shapes once, shares the rows out to bands, and calls.

Planes are `(y, x)`; everything here works in place on what the caller owns.
"""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal.bands import Bands
from rtcal.errors import ShapeError
from rtcal.estimator import Ends, Timeline, slope_of
from rtcal.kernels import badpix, bins, calibrate, fit, refpix, segments
from rtcal.kernels import signal as kernels_signal
from rtcal.kernels.flags import DO_NOT_USE, REFERENCE_PIXEL

FloatImage = NDArray[np.float32]
FlagImage = NDArray[np.uint32]
RawImage = NDArray[Any]

STAGGER_BYTES = 320


def plane(shape: tuple[int, ...], dtype: Any, order: int = 0) -> NDArray[Any]:
    """Allocate a plane with arbitrary contents; planes of different `order` do not share their offset from a page.

    Big arrays all begin at the same offset, so the same pixel of several planes falls on the same lines
    of the cache; moving each by some hundred bytes is worth about 15 % in a kernel that walks many.
    """
    count = int(np.prod(shape))
    shift = order * STAGGER_BYTES // np.dtype(dtype).itemsize
    return np.empty(count + shift, dtype)[shift:].reshape(shape)


def take_pages(shape: tuple[int, int]) -> None:
    """Write once to as much memory as a frame takes, and give it back to the heap, which keeps it (`streams.heap`).

    The system finds a page when it is first written to, which for a frame of 235 MB takes from 0.1 s to
    seconds: better while the first read is waiting than between a ramp's last read and its frame.
    """
    for array in [plane(shape, dtype, order) for order, dtype in enumerate((np.float32, np.float32, np.uint32, "u2"))]:
        array.fill(0)


@dataclass(frozen=True, eq=False)
class RampPlanes:
    """What one ramp needs per pixel (see `kernels.segments`)."""

    zero: RawImage
    """Zero level of the signals: the ramp's first read."""
    held: tuple[FloatImage, FloatImage, FloatImage]
    """Signals of the latest reads, see `held_signal`."""
    moments: FloatImage
    first_bad: NDArray[np.uint16]
    start: NDArray[np.uint16]
    closed: FloatImage
    slow: NDArray[np.uint8]
    head: FloatImage
    tail: FloatImage

    @classmethod
    def allocate(cls, shape: tuple[int, int], dtype: Any) -> "RampPlanes":
        """Allocate the planes for reads of a shape and dtype."""
        ny, nx = shape
        return cls(
            zero=plane(shape, dtype, 1),
            held=(plane(shape, np.float32, 2), plane(shape, np.float32, 3), plane(shape, np.float32, 4)),
            moments=plane((ny, 2, nx), np.float32, 5),
            first_bad=plane(shape, np.uint16, 6),
            start=plane(shape, np.uint16, 7),
            closed=plane((ny, 3, nx), np.float32, 8),
            slow=np.zeros((ny, -(-nx // segments.BLOCK)), np.uint8),
            head=plane(shape, np.float32, 9),
            tail=plane(shape, np.float32, 10),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.zero.shape[0], self.zero.shape[1]

    def held_signal(self, index: int) -> FloatImage:
        """Return the plane of a read's signal: the first three have their own, then two take turns.

        So a read takes the place of the last but one, which has just been looked at and is in the cache.
        """
        return self.held[index if index < 3 else 2 - 2 * (index % 2)]

    def state(self, rows: slice) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return the bookkeeping of a band: moments, first_bad, start, closed."""
        return self.moments[rows], self.first_bad[rows], self.start[rows], self.closed[rows]


@dataclass(frozen=True, eq=False)
class ExposureSums:
    """Sums over the ramps of an exposure (see `kernels.fit`)."""

    w_sum: FloatImage
    w_rate: FloatImage
    w_photon: FloatImage
    saturated_from: NDArray[np.uint16]
    marks: NDArray[np.uint8]

    @classmethod
    def allocate(cls, shape: tuple[int, int]) -> "ExposureSums":
        """Allocate the sums, empty."""
        w_sum, w_rate, w_photon = (plane(shape, np.float32, order) for order in (11, 12, 13))
        sums = cls(w_sum, w_rate, w_photon, plane(shape, np.uint16, 14), plane(shape, np.uint8, 15))
        sums.clear()
        return sums

    def clear(self) -> None:
        """Start a new exposure."""
        for array in (self.w_sum, self.w_rate, self.w_photon, self.marks):
            array.fill(0)
        self.saturated_from.fill(segments.NEVER)


_scratch = threading.local()


def scratch_band(shape: tuple[int, int]) -> FloatImage:
    """Return this thread's own float32 band of a shape, contents undefined; the same one each time."""
    bands: dict[tuple[int, int], FloatImage] = _scratch.__dict__.setdefault("bands", {})
    if shape not in bands:
        if len(bands) > 8:
            bands.clear()
        bands[shape] = np.empty(shape, np.float32)
    return bands[shape]


def _require(what: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ShapeError(f"{what} is {array.shape}, needs {shape}")


@dataclass(frozen=True)
class Limits:
    """Raw levels between which a pixel's value is its own [DN]."""

    ceiling_dn: float
    floor_dn: float = float("-inf")
    """The floor of the converter; reads that do not come from one have none."""


BEYOND = 1e15
"""Noise beyond any signal: what a header says must not overflow."""


@dataclass(frozen=True)
class JumpTest:
    """When a step between reads is no noise."""

    read_noise_dn: float
    gain_e_per_dn: float
    threshold_sigma: float

    def as_array(self) -> NDArray[np.float64]:
        """Return it as the kernels take it (`kernels.segments.advance`, `settings`)."""
        noise_dn, photon_dn = min(self.read_noise_dn, BEYOND), min(1 / self.gain_e_per_dn, BEYOND)
        return np.array([2 * noise_dn**2, photon_dn, self.threshold_sigma**2])


@dataclass(frozen=True)
class BorderTerms:
    """What the reference pixels say about one read [DN]: for each column and for each row."""

    column_dn: FloatImage
    row_dn: FloatImage

    @classmethod
    def none(cls, shape: tuple[int, int]) -> "BorderTerms":
        """Return terms that change nothing."""
        return cls(np.zeros(shape[1], np.float32), np.zeros(shape[0], np.float32))


ROWS_AROUND = 5
"""A row's term is the mean of the side pixels of this many rows on each side and its own."""


def border_terms(read: RawImage, zero: RawImage, bad: NDArray[np.uint8], border: int, channels: int) -> BorderTerms:
    """Measure a read's reference pixels against its zero level (`kernels.refpix`).

    Raises
    ------
    ShapeError
        If the width cannot be divided into channels of whole pairs of columns.
    """
    _require("read", read, zero.shape)
    if channels < 1 or read.shape[1] % (2 * channels):
        raise ShapeError(f"{read.shape[1]} columns are no {channels} channels of whole pairs of columns")
    terms = BorderTerms.none((read.shape[0], read.shape[1]))
    refpix.column_terms(read, zero, bad, border, channels, terms.column_dn)
    scratch = np.empty((2, read.shape[0]), np.float32)
    refpix.row_terms(read, zero, bad, border, terms.column_dn, ROWS_AROUND, scratch, terms.row_dn)
    return terms


def start_ramp(planes: RampPlanes, read: RawImage, bands: Bands, *, ends: bool) -> None:
    """Take a ramp's first read as the zero level; with `ends` the sums of the two ends start at 0 too."""
    _require("read", read, planes.shape)

    def work(rows: slice) -> None:
        planes.zero[rows] = read[rows]
        planes.moments[rows] = 0
        if ends:
            planes.head[rows] = 0
            planes.tail[rows] = 0

    planes.slow.fill(0)
    bands.run(work, planes.shape, 12)


def mark_limits(
    planes: RampPlanes, sums: ExposureSums, read: RawImage, limits: Limits, index: int, number: int, bands: Bands
) -> None:
    """Note the pixels that saturate with this read, and their neighbours, and those at the converter's floor."""
    _require("read", read, planes.shape)

    def work(rows: slice) -> None:
        segments.mark_limits(
            read[rows],
            np.float32(limits.ceiling_dn),
            np.float32(limits.floor_dn),
            np.uint16(index),
            np.uint16(number),
            sums.saturated_from[rows],
            planes.first_bad[rows],
            planes.start[rows],
            planes.closed[rows],
            sums.marks[rows],
            planes.slow[rows],
        )

    bands.run(work, planes.shape, 8)
    if planes.slow.max(initial=0) > 1:  # charge spills across bands: in one go, after all of them
        ceiling_dn, state = np.float32(limits.ceiling_dn), planes.state(slice(None))
        segments.grow(read, ceiling_dn, np.uint16(index), *state[1:], sums.marks, planes.slow)


def add_read(
    planes: RampPlanes,
    sums: ExposureSums,
    read: RawImage,
    terms: BorderTerms,
    timeline: Timeline,
    test: JumpTest | None,
    bands: Bands,
    *,
    keep: bool = True,
) -> None:
    """Add the latest read of the timeline to the sums; with a test, judge the one before it.

    `mark_limits` comes first. Without a test every step is believed, and unless `add_end` follows the
    signal need not be kept.
    """
    _require("read", read, planes.shape)
    index = len(timeline) - 1
    times = (timeline.times_s, timeline.first_sums, timeline.second_sums)
    settings = test.as_array() if test is not None else np.zeros(3)

    def work(rows: slice) -> None:
        signal = scratch_band((rows.stop - rows.start, planes.shape[1]))
        kernels_signal.subtract_zero(read[rows], planes.zero[rows], terms.column_dn, terms.row_dn[rows], signal)
        store = planes.held_signal(index)[rows]
        state, slow = planes.state(rows), planes.slow[rows]
        moments, first_bad = state[0], state[1]
        if test is None or index < 3:
            kept = keep or test is not None
            segments.add(signal, np.float32(timeline.times_s[index]), store, kept, moments, first_bad, slow)
        elif index == 3:
            first, second, third = (plane[rows] for plane in planes.held)
            segments.begin(signal, first, second, third, *times, settings, *state, sums.marks[rows], slow)
        else:
            last = [planes.held_signal(index - back)[rows] for back in (2, 1)]
            segments.advance(signal, *last, store, index, *times, settings, *state, sums.marks[rows], slow)

    bands.run(work, planes.shape, 34)


def add_end(planes: RampPlanes, end: FloatImage, index: int, bands: Bands) -> None:
    """Add the signal of the read with this index, one of the last two, to the sum of one end."""
    held = planes.held_signal(index)

    def work(rows: slice) -> None:
        end[rows] += held[rows]

    bands.run(work, planes.shape, 12)


def close_ramp(
    planes: RampPlanes,
    sums: ExposureSums,
    timeline: Timeline,
    ends: Ends | None,
    gain_e_per_dn: float,
    test: JumpTest | None,
    bands: Bands,
) -> None:
    """Judge the last read, fit the ramp and add it to the exposure's sums."""
    _require("sums", sums.w_sum, planes.shape)
    n_used = len(timeline)
    times = (timeline.times_s, timeline.first_sums, timeline.second_sums)
    slope, gain = slope_of(timeline.times_s), np.float32(gain_e_per_dn)
    whole = (slope.mean_s, gain_e_per_dn / slope.weight if slope.weight else 0.0, slope.weight, slope.spread)

    def work(rows: slice) -> None:
        state, slow = planes.state(rows), planes.slow[rows]
        if test is not None and n_used > 3:
            last = [planes.held_signal(n_used - back)[rows] for back in (2, 1)]
            segments.settle_last(*last, n_used, *times, test.as_array(), *state, sums.marks[rows], slow)
        segments.close_segments(n_used, *times, *state, slow)
        into = (sums.w_sum[rows], sums.w_rate[rows], sums.w_photon[rows])
        moments, first_bad, start, closed = state
        if ends is None:
            fit.fit(moments, first_bad, start, closed, slow, n_used, *map(np.float32, whole), gain, *into)
        else:
            factors = np.array([ends.near, ends.far], np.float32) * gain
            weights = (np.float32(ends.weight), np.float32(ends.spread))
            span = (planes.head[rows], planes.tail[rows])
            fit.fit_ends(*span, closed, slow, first_bad, start, n_used, factors, *weights, gain, *into)

    bands.run(work, planes.shape, 40)


def border_flags(shape: tuple[int, int], border: int) -> FlagImage:
    """Return flags with the frame of reference pixels marked (REFERENCE_PIXEL and DO_NOT_USE)."""
    dq = np.full(shape, REFERENCE_PIXEL | DO_NOT_USE, np.uint32)
    if min(shape) > 2 * border:
        dq[border : shape[0] - border, border : shape[1] - border] = 0
    else:
        dq[:] = 0
    return dq


def preview(
    planes: RampPlanes,
    timeline: Timeline,
    gain_e_per_dn: float,
    read: RawImage,
    static_dq: FlagImage,
    binning: int,
    bands: Bands,
) -> tuple[FloatImage, FloatImage]:
    """Bin the latest read and the provisional slope: `(raw [DN], rate [e-/s])`, float32.

    The rate is NaN before the second read and in bins without a good pixel.
    """
    shape = (read.shape[0] // binning, read.shape[1] // binning)
    raw, rate = np.empty(shape, np.float32), np.full(shape, np.nan, np.float32)
    sums = (timeline.first_sums, timeline.second_sums)

    def work(rows: slice) -> None:
        full = slice(rows.start * binning, rows.stop * binning)
        bins.bin_mean(read[full], binning, raw[rows])
        if len(timeline) >= 2:
            state, slow, dq = planes.state(full), planes.slow[full], static_dq[full]
            gain = np.float32(gain_e_per_dn)
            segments.preview_rate(*state, slow, len(timeline), *sums, gain, dq, DO_NOT_USE, binning, rate[rows])

    bands.run(work, shape, 14 * binning * binning)
    return raw, rate


@dataclass(frozen=True)
class Scaled:
    """A rate to subtract: `scale` times it, with the scale's own error."""

    rate: FloatImage
    err: FloatImage
    scale: float = 1.0
    scale_err: float = 0.0


def calibrate_frame(
    sums: ExposureSums,
    static_dq: FlagImage,
    always: int,
    read_noise_e: float,
    subtrahends: list[Scaled],
    flat: tuple[FloatImage, FloatImage] | None,
    bands: Bands,
) -> tuple[FloatImage, FloatImage, FlagImage]:
    """Turn an exposure's sums into a rate, its error [e-/s] and flags: minus dark and sky, over the flat.

    Parameters
    ----------
    sums, static_dq, always
        See `kernels.calibrate.finish_rate`.
    read_noise_e
        Noise of one single read [e-].
    subtrahends
        What to subtract, in order (dark, sky); `(y, x)` like the sums.
    flat
        Flat field and its error, or None.
    bands
        The pool.

    Raises
    ------
    ShapeError
        If a reference does not have the shape of the sums.
    """
    shape = sums.w_sum.shape
    for part in subtrahends:
        _require("a reference to subtract", part.rate, shape)
    if flat is not None:
        _require("the flat", flat[0], shape)
    rate, err = plane(shape, np.float32, 11), plane(shape, np.float32, 12)
    dq = plane(shape, np.uint32, 13)

    def work(rows: slice) -> None:
        calibrate.finish_rate(
            sums.w_sum[rows],
            sums.w_rate[rows],
            sums.w_photon[rows],
            sums.saturated_from[rows],
            sums.marks[rows],
            static_dq[rows],
            np.uint32(always),
            np.float32(read_noise_e**2),
            rate[rows],
            err[rows],
            dq[rows],
        )
        for part in subtrahends:
            scale, scale_err = np.float32(part.scale), np.float32(part.scale_err)
            calibrate.subtract(rate[rows], err[rows], part.rate[rows], part.err[rows], scale, scale_err)
        if flat is not None:
            calibrate.divide(rate[rows], err[rows], flat[0][rows], flat[1][rows])
        calibrate.root(err[rows])

    bands.run(work, shape, 44)
    return rate, err, dq


def finish_pixels(rate: FloatImage, err: FloatImage, dq: FlagImage, bad_pixels: str, bands: Bands) -> None:
    """Flag errors far above the rest (UNRELIABLE_SLOPE), then repair, blank or keep bad pixels."""
    typical = sample_median(err, dq)
    limit = np.float32(10 * typical if np.isfinite(typical) else np.inf)

    def work(rows: slice) -> None:
        badpix.flag_unreliable(err[rows], dq[rows], limit)
        if bad_pixels == "repair":
            badpix.repair(rate, err, dq, rows.start, rows.stop)
        elif bad_pixels == "nan":
            badpix.blank(rate[rows], err[rows], dq[rows])

    bands.run(work, err.shape, 12)


def sample_steps(shape: tuple[int, int], most: int = 300_000) -> slice:
    """Return the step that takes at most about `most` pixels of an image, the same in rows and columns.

    It is odd, so that both column parities and all channels of a detector are seen.
    """
    return slice(None, None, int(np.ceil(np.sqrt(shape[0] * shape[1] / most))) | 1)


def sample_median(image: FloatImage, dq: FlagImage) -> float:
    """Return the median of a sample of the good pixels; NaN if there are none."""
    step = sample_steps((image.shape[0], image.shape[1]))
    values = image[step, step][(dq[step, step] & DO_NOT_USE) == 0]
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")
