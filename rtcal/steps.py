"""Validated calls of kernels: a step checks shapes once, shares the rows out to bands, and calls.

Planes are `(y, x)`; everything here works in place on what the caller owns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rtcal.bands import Bands
from rtcal.buffers import FlagImage, FloatImage, RawImage, plane
from rtcal.errors import ShapeError
from rtcal.estimator import Ends, Slope, Timeline
from rtcal.kernels import badpix, bins, close, finish, preview, read, refpix, weighted
from rtcal.kernels.finish import Applied, Output, Product
from rtcal.kernels.flags import DO_NOT_USE, REFERENCE_PIXEL
from rtcal.kernels.planes import BLOCK, Curve, Levels, Sample, State
from rtcal.survey import Survey

Scalar = TypeVar("Scalar", bound=np.generic)

UNUSABLE = np.uint8(1)
"""Bit of a pixel with DO_NOT_USE in a plane of masks; `refpix.BAD_REFERENCE` is the other bit."""
BEYOND = 1e15
"""Noise beyond any signal: what a header says must not overflow."""
CHUNK_ROWS = 24
"""Rows that are finished, repaired and put down before the next: as many as stay in the cache."""
BYTES_BY_HALVES = 4
"""Bands of so few bytes a pixel are large: the rows around a band are made twice."""


def _require(what: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ShapeError(f"{what} is {array.shape}, needs {shape}")


@dataclass(frozen=True)
class JumpTest:
    """When a step between reads is no noise."""

    read_noise_dn: float
    gain_e_per_dn: float
    threshold_sigma: float

    def as_array(self) -> NDArray[np.float64]:
        """Return it as the kernels take it (`kernels.jumps`, `settings`)."""
        noise_dn, photon_dn = min(self.read_noise_dn, BEYOND), min(1 / self.gain_e_per_dn, BEYOND)
        return np.array([noise_dn**2, photon_dn, self.threshold_sigma**2])


def flat_row(value: float, width: int) -> FloatImage:
    """Return one row that serves for all of an image, (1, x), read-only as references are."""
    return _locked(np.full((1, width), value, np.float32))


def straight(width: int) -> Curve:
    """Return the curve of a detector whose levels are linear as they are."""
    return Curve(flat_row(0, width), _locked(np.empty((1, 0, width), np.float32)))


def levels_of(ceiling_dn: float | FloatImage, floor_dn: float, dtype: np.dtype[Any], width: int) -> Levels:
    """Prepare the levels beyond which pixels are not their own.

    Parameters
    ----------
    ceiling_dn
        Highest raw level that is not saturated [DN]: one for all, or (y, x); NaN or infinite for no limit.
    floor_dn
        Highest level that is the converter's floor [DN]; minus infinity for none.
    dtype
        Of the reads.
    width
        Their columns.
    """
    ceiling = np.atleast_2d(np.asarray(ceiling_dn, np.float32))
    if ceiling.shape[1] == 1:
        ceiling = np.full((1, width), ceiling[0, 0], np.float32)
    if dtype.kind == "u":  # whole numbers: above 100.7 is above 100
        top = np.iinfo(dtype).max
        ceiling = np.floor(np.nan_to_num(ceiling, nan=top, posinf=top, neginf=0)).clip(0, top)
    else:
        ceiling = np.nan_to_num(ceiling, nan=np.inf, posinf=np.inf)
    ceiling = np.ascontiguousarray(ceiling, dtype)
    least = np.minimum.reduceat(ceiling, np.arange(0, width, BLOCK), axis=1)
    return Levels(_locked(ceiling), _locked(least), np.float32(floor_dn))


def _locked(array: NDArray[Scalar]) -> NDArray[Scalar]:
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class Chain:
    """What every read of an exposure goes through."""

    levels: Levels
    curve: Curve
    test: JumpTest | None = None

    @property
    def settings(self) -> NDArray[np.float64]:
        """The settings of the test for jumps as the kernels take them."""
        return np.zeros(3) if self.test is None else self.test.as_array()


ROWS_AROUND = 5
"""A row's term is the mean of the side pixels of this many rows on each side and its own."""


@dataclass(frozen=True)
class BorderTerms:
    """What the reference pixels say about one read [DN]: for each column and for each row."""

    column_dn: FloatImage
    row_dn: FloatImage

    @classmethod
    def none(cls, shape: tuple[int, int]) -> "BorderTerms":
        """Return terms that change nothing."""
        return cls(np.zeros(shape[1], np.float32), np.zeros(shape[0], np.float32))


def border_terms(raw: RawImage, zero: RawImage, masks: NDArray[np.uint8], border: int, channels: int) -> BorderTerms:
    """Measure a read's reference pixels against its zero level (`kernels.refpix`).

    The innermost line of the border takes no part where it has others: a pixel shares some of its charge with its
    neighbours by capacitance, so that those beside the light see nearly a hundredth of it.

    Raises
    ------
    ShapeError
        If the width cannot be divided into channels of whole pairs of columns.
    """
    _require("read", raw, zero.shape)
    _require("masks", masks, zero.shape)
    if channels < 1 or raw.shape[1] % (2 * channels):
        raise ShapeError(f"{raw.shape[1]} columns are no {channels} channels of whole pairs of columns")
    terms, lines = BorderTerms.none(_shape_of(raw)), max(border - 1, 1)
    refpix.column_terms(raw, zero, masks, lines, channels, terms.column_dn)
    scratch = np.empty((2, raw.shape[0]), np.float32)
    refpix.row_terms(raw, zero, masks, lines, terms.column_dn, ROWS_AROUND, scratch, terms.row_dn)
    return terms


def sample(raw: RawImage, terms: BorderTerms | None = None) -> Sample:
    """Return a read with what its reference pixels say; None: nothing."""
    terms = terms or BorderTerms.none(_shape_of(raw))
    return Sample(raw, terms.column_dn, terms.row_dn)


def open_ramp(state: State, bands: Bands) -> None:
    """Begin a ramp: nothing summed, nothing happened."""
    bands.run(lambda rows: read.open_ramp(rows.start, rows.stop, state), _shape(state), 8)


def add_read(
    state: State,
    chain: Chain,
    samples: Sequence[Sample],
    zero: RawImage,
    timeline: Timeline,
    number: int,
    bands: Bands,
    *,
    closes: bool = False,
) -> None:
    """Add the latest read of the timeline to the sums; with a test, judge the one before it.

    Parameters
    ----------
    state
        In place.
    chain
        What the read goes through.
    samples
        The latest reads, up to three, the latest first.
    zero
        Raw pixels of the ramp's first read.
    timeline
        Times of the reads used, this one included.
    number
        The read's number in its ramp.
    bands
        The pool.
    closes
        Whether the ramp ends with it: then `close_ramp` is done with.
    """
    now, pending, previous = (samples[min(back, len(samples) - 1)] for back in range(3))
    _require("read", now.raw, zero.shape)
    _require("state", state.marks, zero.shape)
    index, judge, settings, times = len(timeline) - 1, chain.test is not None, chain.settings, timeline.as_times()

    def work(rows: slice) -> None:
        read.add_read(
            rows.start,
            rows.stop,
            index,
            number,
            now,
            pending,
            previous,
            zero,
            chain.curve,
            chain.levels,
            judge,
            closes,
            settings,
            times,
            state,
        )

    bands.run(work, _shape(state), 40)


def add_end(ends: FloatImage, far: bool, sample: Sample, zero: RawImage, chain: Chain, bands: Bands) -> None:
    """Add a read's signal to the sum over one end of its ramp."""
    _require("read", sample.raw, zero.shape)
    end = int(far)
    bands.run(
        lambda rows: read.add_end(rows.start, rows.stop, end, sample, zero, chain.curve, ends), _shape_of(zero), 12
    )


def close_ramp(
    state: State, chain: Chain, samples: Sequence[Sample], zero: RawImage, timeline: Timeline, bands: Bands
) -> None:
    """Judge the last read and close the segments of every pixel that something has happened to."""
    pending, previous = samples[0], samples[min(1, len(samples) - 1)]
    n_used, judge, settings, times = len(timeline), chain.test is not None, chain.settings, timeline.as_times()

    def work(rows: slice) -> None:
        close.close_ramp(
            rows.start, rows.stop, n_used, pending, previous, zero, chain.curve, judge, settings, times, state
        )

    bands.run(work, _shape(state), 24)


def estimate_of(
    state: State, ends: FloatImage | None, fitted: Slope | Ends, n_used: int, gain_e_per_dn: float, gathered: bool
) -> finish.Estimate:
    """Return how the rate of a pixel follows from the sums: those over `ends` for CDS and MCDS, else the moments."""
    if isinstance(fitted, Ends) and ends is not None:
        values, factors = ends, (fitted.near, fitted.far)
    else:
        inverse = 1 / fitted.weight if fitted.weight else 0.0
        values, factors = state.moments, (-getattr(fitted, "mean_s", 0.0) * inverse, inverse)
    return finish.Estimate(
        values,
        np.array(factors, np.float32) * np.float32(gain_e_per_dn),
        n_used,
        np.float32(fitted.weight),
        np.float32(fitted.spread),
        gathered,
    )


def gather_ramp(state: State, estimate: finish.Estimate, gain_e_per_dn: float, bands: Bands) -> None:
    """Add a closed ramp to those before it; `closed` then holds the exposure so far, of every pixel."""
    factors = estimate.factors / np.float32(gain_e_per_dn)

    def work(rows: slice) -> None:
        close.add_ramp(
            rows.start,
            rows.stop,
            estimate.n_used,
            estimate.values,
            factors,
            estimate.weight,
            estimate.spread,
            state,
        )

    bands.run(work, _shape(state), 32)


def gather_weighted_ramp(
    state: State, chain: Chain, last: Sample, zero: RawImage, weighting: weighted.Weighting, n_used: int, bands: Bands
) -> None:
    """Do as `gather_ramp`, with weights by the light of each pixel."""

    def work(rows: slice) -> None:
        weighted.add_weighted_ramp(rows.start, rows.stop, n_used, last, zero, chain.curve, weighting, state)

    bands.run(work, _shape(state), 36)


def border_flags(shape: tuple[int, int], border: int) -> FlagImage:
    """Return flags with the frame of reference pixels marked (REFERENCE_PIXEL and DO_NOT_USE)."""
    dq = np.full(shape, REFERENCE_PIXEL | DO_NOT_USE, np.uint32)
    if min(shape) > 2 * border:
        dq[border : shape[0] - border, border : shape[1] - border] = 0
    else:
        dq[:] = 0
    return dq


def make_preview(
    state: State,
    timeline: Timeline,
    gain_e_per_dn: float,
    raw: RawImage,
    masks: NDArray[np.uint8],
    binning: int,
    bands: Bands,
    *,
    is_open: bool = True,
) -> tuple[FloatImage, FloatImage]:
    """Bin the latest read and the provisional slope: `(raw [DN], rate [e-/s])`, float32.

    The rate is NaN before the second read and in bins without a good pixel.
    """
    shape = (raw.shape[0] // binning, raw.shape[1] // binning)
    binned, rate = np.empty(shape, np.float32), np.full(shape, np.nan, np.float32)
    times, n_used, gain = timeline.as_times(), len(timeline), np.float32(gain_e_per_dn)

    def work(rows: slice) -> None:
        bins.bin_mean(raw[rows.start * binning : rows.stop * binning], binning, binned[rows])
        if n_used >= 2:
            preview.preview_rate(rows.start, rows.stop, state, n_used, is_open, times, gain, masks, binning, rate)

    bands.run(work, shape, 14 * binning * binning)
    return binned, rate


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a frame is finished with, besides the sums."""

    estimate: finish.Estimate
    noise: finish.Noise
    static_dq: FlagImage
    always: int
    """Flags that every pixel gets."""
    dark: Product
    sky: Product
    flat: FloatImage
    flat_err: FloatImage

    def rows(self, state: State, start: int, stop: int, step: int, limit: float, out: Output, first: int = 0) -> None:
        """Finish each `step`-th row from one to before another, into `out` from its row `first` on."""
        applied = Applied(self.static_dq, np.uint32(self.always), self.dark, self.sky, self.flat, self.flat_err)
        finish.finish_rows(start, stop, step, first, state, self.estimate, self.noise, applied, np.float32(limit), out)

    def cut(self, start: int, stop: int) -> "Inputs":
        """Return the same for some rows alone, which are then counted from 0."""

        def some(plane: NDArray[Scalar]) -> NDArray[Scalar]:
            return plane if plane.shape[0] == 1 else plane[start:stop]

        def part(product: Product) -> Product:
            return product._replace(rate=some(product.rate), err=some(product.err))

        curve = self.noise.curve
        return Inputs(
            self.estimate._replace(values=some(self.estimate.values)),
            self.noise._replace(zero=some(self.noise.zero), curve=Curve(*map(some, curve))),
            some(self.static_dq),
            self.always,
            part(self.dark),
            part(self.sky),
            some(self.flat),
            some(self.flat_err),
        )

    def check(self, shape: tuple[int, int]) -> None:
        """Refuse references that do not have the shape of the frame.

        Raises
        ------
        ShapeError
            Names the one that does not fit.
        """
        for name, image in (("dark", self.dark.rate), ("sky", self.sky.rate), ("flat", self.flat)):
            if image.shape[0] > 1 or image.shape[1] != shape[1]:
                _require(f"the {name}", image, shape)
        _require("the flags of the references", self.static_dq, shape)


def product(rate: FloatImage, err: FloatImage, scale: float = 1.0, scale_err: float = 0.0) -> Product:
    """Return a rate to subtract, with a scale and the scale's own error."""
    return Product(rate, err, np.float32(scale), np.float32(scale_err))


def nothing(width: int) -> Product:
    """Return a rate that changes nothing."""
    zeros = flat_row(0, width)
    return product(zeros, zeros)


def output(shape: tuple[int, int]) -> Output:
    """Allocate the planes of a frame."""
    rate, err = plane(shape, np.float32, 11), plane(shape, np.float32, 12)
    return Output(rate, err, plane(shape, np.uint32, 13), plane(shape, np.uint16, 14))


def finish_frame(
    state: State, inputs: Inputs, limit: float, bad_pixels: str, out: Output, bands: Bands, survey: Survey
) -> None:
    """Finish every row of a frame, and repair, blank or keep its bad pixels.

    Parameters
    ----------
    state, inputs
        The sums, and what makes a frame of them.
    limit
        Error above which a slope is unreliable [e-/s].
    bad_pixels
        `repair`, `nan` or `keep`.
    out
        Overwritten.
    bands
        The pool.
    survey
        Sees all rows go by.

    Raises
    ------
    ShapeError
        If a reference does not have the shape of the frame.
    """
    inputs.check(_shape(state))

    def rows_of(start: int, stop: int, part: Output, first: int) -> None:
        inputs.rows(state, start, stop, 1, limit, part, first)

    fill_frame(rows_of, bad_pixels, out, bands, survey)


def fill_frame(
    rows_of: Callable[[int, int, Output, int], None], bad_pixels: str, out: Output, bands: Bands, survey: Survey
) -> None:
    """Have the rows of a frame made, a few at a time, their bad pixels seen to and looked at while in the cache.

    Parameters
    ----------
    rows_of
        Makes the rows from one to before another, into the planes of some rows from one of these rows on.
    bad_pixels
        `repair`, `nan` or `keep`.
    out
        Overwritten.
    bands
        The pool.
    survey
        Sees all rows go by, in whole bins.
    """
    height, width = _shape_of(out.rate)
    reach = badpix.REACH if bad_pixels == "repair" else 0
    unit = survey.binning

    def work(bins: slice) -> None:
        rows = slice(bins.start * unit, min(bins.stop * unit, height))
        room = output((max(CHUNK_ROWS, unit) + 2 * badpix.REACH, width))
        top, held, done = max(rows.start - reach, 0), 0, rows.start
        last = min(rows.stop + reach, height)
        while done < rows.stop:
            stop = min(top + room.dq.shape[0], last)
            rows_of(top + held, stop, room, held)
            part = Output._make(plane[: stop - top] for plane in room)
            ready = rows.stop if stop == last else done + (stop - reach - done) // unit * unit
            if bad_pixels == "repair":
                badpix.repair(part.rate, part.err, part.dq, done - top, ready - top)
            elif bad_pixels == "nan":
                badpix.blank(part.rate, part.err, part.dq)
            survey.rows(done - top, ready - top, part, done)
            finish.put_rows(done - top, ready - top, part, done, out)
            first = max(ready - reach, top)
            held, done = stop - first, ready
            finish.move_up(first - top, held, room)  # what the repair of the rows that follow looks at
            top = first

    bands.run(work, (-(-height // unit), width), BYTES_BY_HALVES * unit)


def sample_step(shape: tuple[int, int], most: int = 100_000) -> int:
    """Return the step that takes at most about `most` pixels of an image as whole rows; odd, so that parities mix."""
    return -(-shape[0] * shape[1] // most) | 1


def median_error(err: FloatImage, dq: FlagImage) -> float:
    """Return the median error of the good pixels; NaN if there are none."""
    values = err[(dq & DO_NOT_USE) == 0]
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")


def _shape(state: State) -> tuple[int, int]:
    return _shape_of(state.marks)


def _shape_of(image: NDArray[np.generic]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
