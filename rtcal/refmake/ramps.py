"""Raw ramps of one detector: reads on disk, their times and what their reference pixels say in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtcal import steps
from rtcal.buffers import FlagImage, FloatImage, RawImage
from rtcal.config import Detector, DetectorSettings, detector_of
from rtcal.errors import UsageError
from rtcal.refmake.stacks import Advance, PlaneStack, nobody, row_bands
from rtcal.steps import BorderTerms
from streams.clock import NS
from streams.closing import Closing
from streams.messages import Read, ReadHeader

Signals = NDArray[np.float64]


@dataclass
class Ramp:
    """One ramp: its first header, where its reads are, and when they were."""

    opening: ReadHeader
    first: int
    times_s: list[float] = field(default_factory=list)
    """From the reset to each read; the reset takes one frame time where the reads do not tell its end."""
    terms: list[BorderTerms] = field(default_factory=list)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.opening.exposure_id} ramp {self.opening.ramp}"


@dataclass(frozen=True)
class RampBand:
    """Some rows of one ramp."""

    ramp: Ramp
    times_s: NDArray[np.float64]
    raw_dn: Signals
    """As read, (read, y, x)."""
    signal_dn: Signals
    """Without what the reference pixels show to drift, (read, y, x)."""


class RampStack(Closing):
    """All ramps of the inputs, in a file without a name.

    Parameters
    ----------
    directory
        Where there is space.
    detectors
        The tables `[detectors.NAME]`.
    bias
        Level after a reset [DN], (y, x), against which reference pixels are measured; None: the first read.
    """

    def __init__(self, directory: Path, detectors: dict[str, DetectorSettings], bias: FloatImage | None = None) -> None:
        self.ramps: list[Ramp] = []
        self._detectors = detectors
        self._zero: RawImage | None = bias
        self._reads = PlaneStack(directory)

    def __len__(self) -> int:
        return len(self.ramps)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._reads.shape

    @property
    def detector(self) -> Detector:
        """What is known of the detector."""
        return detector_of(self.ramps[0].opening, self._detectors)

    def append(self, read: Read) -> None:
        """Add a read; reads of which not all pixels were read are left out.

        Raises
        ------
        UsageError
            If it is of another detector or shape than those before.
        """
        header = read.header
        if not header.complete:
            return
        self._check(read)
        self._reads.append(read.data)
        if not self.ramps or _ramp_of(self.ramps[-1].opening) != _ramp_of(header):
            self.ramps.append(Ramp(header, len(self._reads) - 1))
        ramp = self.ramps[-1]
        reset_ns = ramp.opening.time_ns - header.frame_time_ns if header.reset_ns is None else header.reset_ns
        ramp.times_s.append((header.time_ns - reset_ns) / NS)
        ramp.terms.append(self._terms(read.data))

    def check(self, what: str, *, ramps: int = 1, reads: int = 2) -> None:
        """Refuse too few ramps; those with too few reads do not count.

        Raises
        ------
        UsageError
            Says how many are there and how many are needed.
        """
        fitting = [ramp for ramp in self.ramps if len(ramp.times_s) >= reads]
        if len(fitting) < ramps:
            found = ", ".join(f"{ramp.name}: {len(ramp.times_s)} reads" for ramp in self.ramps[:4]) or "no ramp"
            more = ", ..." if len(self.ramps) > 4 else ""
            raise UsageError(f"{what} needs at least {ramps} ramps of {reads} or more reads; found {found}{more}")
        self.ramps = fitting

    def bands(
        self, advance: Advance = nobody, *, reads: int | None = None, margin: int = 0
    ) -> Iterator[tuple[slice, list[RampBand]]]:
        """Yield the detector in bands of rows: of each ramp its reads, or the first `reads` of them."""
        planes = sum(len(ramp.times_s[:reads]) for ramp in self.ramps)
        for rows in row_bands(self.shape, planes, advance, margin):
            yield rows, [self._band(ramp, rows, reads) for ramp in self.ramps]

    def _band(self, ramp: Ramp, rows: slice, reads: int | None) -> RampBand:
        times_s = np.array(ramp.times_s[:reads])
        raw = self._reads.band(rows, slice(ramp.first, ramp.first + len(times_s))).astype(np.float64)
        signal = raw.copy()
        for plane, terms in zip(signal, ramp.terms[:reads], strict=True):
            plane -= terms.column_dn + terms.row_dn[rows, None]
        return RampBand(ramp, times_s, raw, signal)

    def border_flags(self) -> FlagImage:
        """Return flags in which the border is marked."""
        return steps.border_flags(self.shape, self.detector.reference_border)

    def close(self) -> None:
        """Give the space back."""
        self._reads.close()

    def _check(self, read: Read) -> None:
        if self._zero is None:
            self._zero = read.data.copy()
        if read.data.shape != self._zero.shape:
            first = "all inputs must have one shape" if self.ramps else "the bias must have the reads' shape"
            raise UsageError(f"{first}: {self._zero.shape}, then {read.data.shape}")
        if self.ramps and self.ramps[0].opening.detector != read.header.detector:
            names = f"{self.ramps[0].opening.detector} and {read.header.detector}"
            raise UsageError(f"inputs for one reference must be of one detector, found {names}; name one")

    def _terms(self, data: RawImage) -> BorderTerms:
        """Measure the reference pixels as the reduction does; nothing where there are none."""
        assert self._zero is not None
        detector, shape = self.detector, self._zero.shape
        border, channels = detector.reference_border, detector.channels
        if not border or channels < 1 or shape[1] % (2 * channels) or min(shape) <= 2 * border:
            return BorderTerms.none((shape[0], shape[1]))
        return steps.border_terms(data, self._zero, np.zeros(shape, np.uint8), border, channels)


def usable(raw_dn: Signals, ceiling_dn: float | NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which reads a pixel can use: those before the first at its ceiling, and none at the converter's floor."""
    return np.asarray(np.logical_and.accumulate(raw_dn < ceiling_dn, axis=0) & (raw_dn > 0))


def _ramp_of(header: ReadHeader) -> tuple[str, int]:
    return header.exposure_id, header.ramp
