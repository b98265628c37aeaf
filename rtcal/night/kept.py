"""Exposures whose rates wait on disk: for a better reference, or to become one."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from refcache import Choice, ReferenceSet
from refcache.chosen import not_applicable
from rtcal import finishing
from rtcal.bands import Bands
from rtcal.buffers import FlagImage, FloatImage
from rtcal.calibration import Calibration, SkyScale
from rtcal.config import CalibrationSettings, Detector
from rtcal.kernels.finish import Output
from rtcal.night.bare import BareSums
from rtcal.night.kinds import Kind
from rtcal.snapshots import is_spectral
from rtcal.steps import Inputs
from rtcal.survey import Survey
from streams.messages import FrameHeader
from streams.windows import Window

MEDIAN = "median of"
Identity = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, eq=False)
class Kept:
    """An exposure as its reads alone made it, and all that a frame of it needs besides.

    Attributes
    ----------
    kind
        What it is of.
    header
        Of its latest frame.
    sums
        Its rates.
    opening
        The references that it began with: its reads were corrected with some of them.
    references
        Those of its latest frame.
    choice
        What it asks the rules.
    detector, border, windows, noise_e
        Of its reads; the noise of one by channel, as the reference pixels showed [e-].
    always, glow
        Flags of every pixel; pixels that may glow from earlier exposures, counted row by row.
    """

    kind: Kind
    header: FrameHeader
    sums: BareSums
    opening: ReferenceSet
    references: ReferenceSet
    choice: Choice
    detector: Detector
    border: int
    windows: frozenset[Window]
    noise_e: tuple[float, ...]
    always: int
    glow: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.sums.shape

    @property
    def middle_ns(self) -> int:
        """Middle of the exposure, TAI [ns]."""
        return (self.header.first_read_ns + self.header.time_ns) // 2

    def calibration(self, references: ReferenceSet, old: Calibration | None = None) -> Calibration:
        """Return references made ready for it; planes of `old` serve again if they are the same."""
        return Calibration.build(references, self.shape, self.border, old)

    def finish(
        self, calibration: Calibration, settings: CalibrationSettings, bands: Bands, survey: Survey
    ) -> tuple[Output, SkyScale | None]:
        """Finish its frame anew; return the planes, and the sky that was taken out. `survey` sees its rows go by.

        Raises
        ------
        RtcalError
            If its rates cannot be read any more.
        """
        spectral = is_spectral(self.header.setup)
        calibration = calibration.masked(self.windows)
        always = self.always
        return finishing.finish(self.sums, calibration, settings, bands, survey, always=always, spectral=spectral)


class Rates:
    """The rates of exposures of one kind that a reference is made of, finished as they are read (`stacks.Frames`).

    The dark is taken out, but for darks; nothing else.

    Parameters
    ----------
    exposures
        One or more.
    """

    def __init__(self, exposures: list[Kept]) -> None:
        self.headers = [one.header for one in exposures]
        self.shape = exposures[0].shape
        self._exposures = exposures
        self._inputs: list[Inputs] = []
        calibration: Calibration | None = None
        for one in exposures:
            left_out = ("dark", "sky", "flat") if one.kind == "dark" else ("sky", "flat")
            references = one.references.changed({name: not_applicable(name, "") for name in left_out})
            calibration = one.calibration(references, calibration)
            bare = finishing.bare_inputs(one.sums, calibration.masked(one.windows), one.always)
            self._inputs.append(replace(bare, dark=calibration.dark()))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._exposures)

    def band(self, rows: slice) -> tuple[FloatImage, FloatImage, FlagImage]:
        """Return rows of all of them: rate, error, flags, each (exposure, y, x)."""
        shape = (len(self), rows.stop - rows.start, self.shape[1])
        rates, errors = np.empty(shape, np.float32), np.empty(shape, np.float32)
        flags, saturated_from = np.empty(shape, np.uint32), np.empty(shape[1:], np.uint16)
        for number, (one, inputs) in enumerate(zip(self._exposures, self._inputs, strict=True)):
            out = Output(rates[number], errors[number], flags[number], saturated_from)
            one.sums.piece(inputs, rows.start, rows.stop, np.inf, out)
        return rates, errors, flags


def identity_of(references: ReferenceSet) -> Identity:
    """Return what tells whether a frame would be made of other references: name, hash and status of each applied.

    One median of science exposures is as good as another.
    """
    applied = (one for one in references.chosen() if one.reference is not None and min(one.reference.shape))
    return tuple(("", "", one.reftype) if MEDIAN in one.name else (one.name, one.sha256, one.status) for one in applied)
