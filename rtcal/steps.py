"""Validated calls of kernels: a step checks shapes once, shares the rows out to bands, and calls.

Planes are `(y, x)`; everything here works in place on what the caller owns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal.bands import Bands
from rtcal.errors import ShapeError
from rtcal.estimator import Ends, Tables
from rtcal.kernels import badpix, calibrate, ramp
from rtcal.kernels.flags import DO_NOT_USE, REFERENCE_PIXEL

FloatImage = NDArray[np.float32]
FlagImage = NDArray[np.uint32]
RawImage = NDArray[Any]

STAGGER_BYTES = 320


def plane(shape: tuple[int, int], dtype: Any, order: int = 0) -> NDArray[Any]:
    """Allocate a plane with arbitrary contents; planes of different `order` do not share their offset from a page.

    Big arrays all begin at the same offset, so the same pixel of several planes falls on the same lines
    of the cache; moving each by some hundred bytes is worth about 15 % in a kernel that walks many.
    """
    count = shape[0] * shape[1]
    shift = order * STAGGER_BYTES // np.dtype(dtype).itemsize
    return np.empty(count + shift, dtype)[shift:].reshape(shape)


@dataclass(frozen=True, eq=False)
class RampPlanes:
    """What one ramp needs per pixel (see `kernels.ramp`)."""

    first: RawImage
    s_sum: FloatImage
    t_sum: FloatImage
    first_bad: NDArray[np.uint16]
    gone: NDArray[np.uint8]
    head: FloatImage
    tail: FloatImage

    @classmethod
    def allocate(cls, shape: tuple[int, int], dtype: Any) -> "RampPlanes":
        """Allocate the planes for reads of a shape and dtype."""
        return cls(
            first=plane(shape, dtype, 1),
            s_sum=plane(shape, np.float32, 2),
            t_sum=plane(shape, np.float32, 3),
            first_bad=plane(shape, np.uint16, 4),
            gone=np.zeros((shape[0], -(-shape[1] // ramp.BLOCK)), np.uint8),
            head=plane(shape, np.float32, 5),
            tail=plane(shape, np.float32, 6),
        )


@dataclass(frozen=True, eq=False)
class ExposureSums:
    """Sums over the ramps of an exposure (see `kernels.ramp.fit`)."""

    w_sum: FloatImage
    w_rate: FloatImage
    w_photon: FloatImage
    saturated_from: NDArray[np.uint16]

    @classmethod
    def allocate(cls, shape: tuple[int, int]) -> "ExposureSums":
        """Allocate the sums, empty."""
        w_sum, w_rate, w_photon = (plane(shape, np.float32, order) for order in (7, 8, 9))
        sums = cls(w_sum, w_rate, w_photon, plane(shape, np.uint16, 10))
        sums.clear()
        return sums

    def clear(self) -> None:
        """Start a new exposure."""
        for array in (self.w_sum, self.w_rate, self.w_photon):
            array.fill(0)
        self.saturated_from.fill(ramp.NEVER)


def _require(what: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ShapeError(f"{what} is {array.shape}, needs {shape}")


def start_ramp(planes: RampPlanes, read: RawImage, bands: Bands, *, ends: bool) -> None:
    """Take a ramp's first read; with `ends` the sums of the two ends start at 0 too."""
    _require("read", read, planes.first.shape)

    def work(rows: slice) -> None:
        ramp.start(read[rows], planes.first[rows], planes.s_sum[rows], planes.t_sum[rows])
        planes.gone[rows] = 0
        if ends:
            planes.head[rows] = 0
            planes.tail[rows] = 0

    bands.run(work, planes.first.shape, 12)


def add_read(planes: RampPlanes, read: RawImage, time_s: float, ceiling_dn: float, index: int, bands: Bands) -> None:
    """Add a read to the sums of the pixels that are not saturated (`kernels.ramp.accumulate`)."""
    _require("read", read, planes.first.shape)

    def work(rows: slice) -> None:
        ramp.accumulate(
            read[rows],
            planes.first[rows],
            planes.s_sum[rows],
            planes.t_sum[rows],
            planes.first_bad[rows],
            planes.gone[rows],
            np.float32(time_s),
            np.float32(ceiling_dn),
            np.uint16(index),
        )

    bands.run(work, planes.first.shape, 20)


def add_end(end: FloatImage, first: RawImage, read: RawImage, bands: Bands) -> None:
    """Add a read's signal to the sum of one end."""
    _require("read", read, end.shape)
    bands.run(lambda rows: ramp.add_difference(read[rows], first[rows], end[rows]), end.shape, 10)


def close_ramp(planes: RampPlanes, tables: Tables, ends: Ends | None, sums: ExposureSums, bands: Bands) -> None:
    """Fit the ramp and add it to the exposure's sums."""
    _require("sums", sums.w_sum, planes.s_sum.shape)
    n_used = len(tables.weight) - 1
    weight, photon = tables.weight.copy(), tables.photon.copy()
    if ends is not None:
        weight[n_used], photon[n_used] = ends.weight, ends.photon
    common = (tables.mean_s, tables.inverse)

    def work(rows: slice) -> None:
        into = (sums.w_sum[rows], sums.w_rate[rows], sums.w_photon[rows])
        state = (planes.first_bad[rows], planes.gone[rows])
        moments = (planes.s_sum[rows], planes.t_sum[rows])
        if ends is None:
            ramp.fit(*moments, *state, *common, weight, photon, n_used, *into)
        else:
            span = (planes.head[rows], planes.tail[rows])
            ramp.fit_ends(*moments, *span, *state, *common, ends.factors, weight, photon, n_used, *into)

    bands.run(work, planes.s_sum.shape, 32)


def note_saturation(planes: RampPlanes, read_index: NDArray[np.uint16], sums: ExposureSums) -> None:
    """Keep the earliest read at which each pixel saturated, over the ramps."""
    ramp.note_saturation(planes.first_bad, planes.gone, read_index, sums.saturated_from)


def border_flags(shape: tuple[int, int], border: int) -> FlagImage:
    """Return flags with the frame of reference pixels marked (REFERENCE_PIXEL and DO_NOT_USE)."""
    dq = np.full(shape, REFERENCE_PIXEL | DO_NOT_USE, np.uint32)
    if min(shape) > 2 * border:
        dq[border : shape[0] - border, border : shape[1] - border] = 0
    else:
        dq[:] = 0
    return dq


def preview(
    planes: RampPlanes, tables: Tables, read: RawImage, static_dq: FlagImage, binning: int, bands: Bands
) -> tuple[FloatImage, FloatImage]:
    """Bin the latest read and the provisional slope: `(raw [DN], rate [e-/s])`, float32.

    The rate is NaN before the second read and in bins without a good pixel.
    """
    shape = (read.shape[0] // binning, read.shape[1] // binning)
    raw, rate = np.empty(shape, np.float32), np.full(shape, np.nan, np.float32)
    n_used = len(tables.weight) - 1

    def work(rows: slice) -> None:
        full = slice(rows.start * binning, rows.stop * binning)
        ramp.bin_mean(read[full], binning, raw[rows])
        if n_used >= 2:
            ramp.preview_rate(
                planes.s_sum[full],
                planes.t_sum[full],
                planes.first_bad[full],
                planes.gone[full],
                tables.mean_s,
                tables.inverse,
                n_used,
                static_dq[full],
                DO_NOT_USE,
                binning,
                rate[rows],
            )

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
