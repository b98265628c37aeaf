"""The one way from sums to a frame, for an exposure that has just ended and for one that is finished anew."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rtcal import steps
from rtcal.bands import Bands
from rtcal.calibration import Calibration, SkyScale
from rtcal.config import CalibrationSettings
from rtcal.kernels.finish import Estimate, Noise, Output
from rtcal.kernels.planes import State
from rtcal.steps import Inputs
from rtcal.survey import Survey

UNRELIABLE = 10
"""A slope whose error is so many times the median error is not to be relied on."""


class Sums(Protocol):
    """What the rates of a frame follow from."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def estimate(self) -> Estimate:
        """How a rate follows from the sums."""
        ...

    @property
    def noise(self) -> Noise:
        """What its read noise follows from."""
        ...

    def rows(self, inputs: Inputs, start: int, stop: int, step: int, limit: float, out: Output, first: int = 0) -> None:
        """Finish each `step`-th row from one to before another, into `out` from its row `first` on.

        The inputs hold for the whole frame.
        """
        ...


@dataclass(frozen=True, eq=False)
class ExposureSums:
    """The sums of an exposure in memory, its last ramp closed."""

    state: State
    estimate: Estimate
    noise: Noise

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.state.marks.shape[0], self.state.marks.shape[1]

    def rows(self, inputs: Inputs, start: int, stop: int, step: int, limit: float, out: Output, first: int = 0) -> None:
        """Finish rows (`Inputs.rows`)."""
        inputs.rows(self.state, start, stop, step, limit, out, first)


def bare_inputs(sums: Sums, calibration: Calibration, always: int = 0) -> Inputs:
    """Return what finishes rows without dark, sky and flat."""
    nothing = steps.nothing(calibration.width)
    one = steps.flat_row(1, calibration.width)
    return Inputs(sums.estimate, sums.noise, calibration.static_dq, always, nothing, nothing, one, nothing.rate)


def finish(
    sums: Sums,
    calibration: Calibration,
    settings: CalibrationSettings,
    bands: Bands,
    survey: Survey,
    *,
    always: int = 0,
    spectral: bool = False,
) -> tuple[Output, SkyScale | None]:
    """Calibrate sums: some rows first, by which the sky is scaled and errors are judged, then all of them.

    Parameters
    ----------
    sums
        What the rates follow from.
    calibration
        The references.
    settings
        The `[calibration]` table.
    bands
        The pool.
    survey
        Sees all rows go by, and flags those that glow.
    always
        Flags that every pixel gets.
    spectral
        Whether the frame holds spectra.

    Returns
    -------
    tuple
        The planes of the frame, and the sky that was taken out.

    Raises
    ------
    ShapeError
        If a reference does not have the shape of the sums.
    """
    (height, width), out = sums.shape, steps.output(sums.shape)
    step = steps.sample_step(sums.shape)
    some = steps.output((-(-height // step), width))
    flat, flat_err = calibration.flat()
    without_sky = replace(bare_inputs(sums, calibration, always), dark=calibration.dark())
    without_sky.check(sums.shape)
    sums.rows(without_sky, 0, height, step, np.inf, some)
    sky = calibration.sky(some.rate, slice(None, None, step), settings, spectral=spectral)
    inputs = replace(without_sky, sky=sky.part if sky else without_sky.sky, flat=flat, flat_err=flat_err)
    inputs.check(sums.shape)
    sums.rows(inputs, 0, height, step, np.inf, some)
    typical = steps.median_error(some.err, some.dq)
    limit = UNRELIABLE * typical if np.isfinite(typical) else np.inf

    def rows_of(start: int, stop: int, part: Output, first: int) -> None:
        sums.rows(inputs, start, stop, 1, limit, part, first)

    steps.fill_frame(rows_of, settings.bad_pixels, out, bands, survey)
    return out, sky
