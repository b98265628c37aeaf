"""Frames kept as their reads alone made them, so that better references can finish them anew."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from refcache import Choice, ReferenceSet
from rtcal import steps
from rtcal.bands import Bands
from rtcal.buffers import FlagImage, FloatImage
from rtcal.calibration import Calibration, SkyScale
from rtcal.config import CalibrationSettings, Detector
from rtcal.finishing import UNRELIABLE
from rtcal.kernels import badpix
from rtcal.kernels.finish import Product
from rtcal.kernels.flags import UNRELIABLE_SLOPE
from streams.dq import Dq
from streams.messages import Frame, FrameHeader

MEDIAN = "median of"
Identity = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, eq=False)
class Bare:
    """A frame before dark, sky and flat: rates and errors [e-/s], and the flags of reads and windows."""

    rate: FloatImage
    err: FloatImage
    dq: FlagImage
    persistent: int = 0
    """Pixels that may glow from earlier exposures."""

    @classmethod
    def of(cls, bare: Frame, published: Frame) -> "Bare":
        """Take over the planes of a frame that was made without references of frames, and what glows in another."""
        glow = published.dq & np.uint32(Dq.PERSISTENCE)
        return cls(bare.data, bare.err, (bare.dq & ~np.uint32(UNRELIABLE_SLOPE)) | glow, int(np.count_nonzero(glow)))


@dataclass(frozen=True, eq=False)
class Kept:
    """A published frame that a better reference may finish anew.

    Attributes
    ----------
    header, saturated_from
        Of the latest issue.
    bare
        What it was made of.
    opening
        The references that the exposure began with: its reads were corrected with some of them.
    choice
        What it asks the rules.
    detector, border, noise_e
        Of its reads; the noise of one by channel, as the reference pixels showed [e-].
    identity, loading
        Which references it was issued with, and whether some were still being loaded.
    """

    header: FrameHeader
    saturated_from: np.ndarray
    bare: Bare
    opening: ReferenceSet
    choice: Choice
    detector: Detector
    border: int
    noise_e: tuple[float, ...]
    identity: Identity
    loading: bool

    @property
    def nbytes(self) -> int:
        """Memory of its planes."""
        planes = (self.saturated_from, self.bare.rate, self.bare.err, self.bare.dq)
        return sum(plane.nbytes for plane in planes)

    @property
    def middle_ns(self) -> int:
        """Middle of the exposure, TAI [ns]."""
        return (self.header.first_read_ns + self.header.time_ns) // 2


class KeptFrames:
    """The frames of one detector that may be issued again; the oldest leave when they take too much memory.

    Parameters
    ----------
    memory_mb
        Bound [MiB]; 0 keeps none.
    """

    def __init__(self, memory_mb: int) -> None:
        self._limit = memory_mb << 20
        self._held: OrderedDict[str, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, kept: Kept) -> None:
        """Keep a frame, in the place of an earlier issue of it."""
        self._held[kept.header.exposure_id] = kept
        while self._held and sum(one.nbytes for one in self._held.values()) > self._limit:
            self._held.popitem(last=False)

    def drop(self, kept: Kept) -> None:
        """Forget a frame that cannot become better any more."""
        self._held.pop(kept.header.exposure_id, None)

    def all(self) -> list[Kept]:
        """Return them, the oldest first."""
        return list(self._held.values())


def identity_of(references: ReferenceSet) -> Identity:
    """Return what tells whether a frame would be made of other references: name, hash and status of each applied.

    One median of science exposures is as good as another.
    """
    applied = (one for one in references.chosen() if one.reference is not None and min(one.reference.shape))
    return tuple(("", "", one.reftype) if MEDIAN in one.name else (one.name, one.sha256, one.status) for one in applied)


def finish(
    bare: Bare, calibration: Calibration, settings: CalibrationSettings, bands: Bands, *, spectral: bool = False
) -> tuple[FloatImage, FloatImage, FlagImage, SkyScale | None]:
    """Calibrate a bare frame: minus dark, minus scaled sky, over flat; error and flags; as `Exposure.frame` does.

    Parameters
    ----------
    bare
        Left as it is.
    calibration
        The references.
    settings
        The `[calibration]` table.
    bands
        The pool.
    spectral
        Whether the frame holds spectra.

    Returns
    -------
    tuple
        Rate and its error [e-/s], flags, and the sky that was taken out.
    """
    shape = (bare.rate.shape[0], bare.rate.shape[1])
    rate, err, dq = bare.rate.copy(), bare.err**2, bare.dq | calibration.static_dq
    dark, flat = calibration.dark(), calibration.flat()

    def take_dark(rows: slice) -> None:
        _subtract(rate, err, dark, rows)

    bands.run(take_dark, shape, 24)
    some = slice(None, None, steps.sample_step(shape))
    sky = calibration.sky(rate[some], some, settings, spectral=spectral)

    def take_rest(rows: slice) -> None:
        if sky is not None:
            _subtract(rate, err, sky.part, rows)
        response, response_err = (plane if plane.shape[0] == 1 else plane[rows] for plane in flat)
        rate[rows] /= response
        err[rows] = np.sqrt((err[rows] + (rate[rows] * response_err) ** 2) / response**2)

    bands.run(take_rest, shape, 48)
    typical = steps.median_error(err[some], dq[some])
    limit = UNRELIABLE * typical if np.isfinite(typical) else np.inf

    def judge(rows: slice) -> None:
        with np.errstate(invalid="ignore"):
            dq[rows][err[rows] > limit] |= np.uint32(UNRELIABLE_SLOPE)
        if settings.bad_pixels == "nan":
            badpix.blank(rate[rows], err[rows], dq[rows])

    bands.run(judge, shape, 12)
    if settings.bad_pixels == "repair":  # from good pixels alone, which no band changes
        bands.run(lambda rows: badpix.repair(rate, err, dq, rows.start, rows.stop), shape, 12)
    return rate, err, dq, sky


def _subtract(rate: FloatImage, variance: FloatImage, part: Product, rows: slice) -> None:
    """Subtract a scaled rate: `A - s B`, variances added, with that of the scale."""
    value, err = (plane if plane.shape[0] == 1 else plane[rows] for plane in (part.rate, part.err))
    rate[rows] -= part.scale * value
    variance[rows] += (part.scale * err) ** 2 + (value * part.scale_err) ** 2
