"""A set of references made ready for one setup: merged flags, what to subtract, and where it all came from."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from refcache import Bias, Chosen, Dark, Flat, Gain, Linearity, ReadNoise, Reference, ReferenceSet, Saturation, Sky
from rtcal import steps
from rtcal.buffers import FlagImage, FloatImage
from rtcal.config import CalibrationSettings, Detector
from rtcal.kernels.finish import Product
from rtcal.kernels.flags import BAD_REF_PIXEL, DO_NOT_USE, WINDOW
from rtcal.kernels.planes import Curve, Levels
from rtcal.kernels.refpix import BAD_REFERENCE
from rtcal.kernels.signal import MOST_POWERS
from streams.messages import Provenance
from streams.robust import clipped_median
from streams.windows import Window

MASK_ROWS = 256
TOO_MANY_POWERS = f"powers above {MOST_POWERS} are not known here; not applied"
NO_BIAS = "neither a bias nor reset_level_dn says from where levels count; not applied"


@dataclass(frozen=True)
class Limits:
    """Raw levels between which a pixel's value is its own [DN], where no reference says better."""

    ceiling_dn: float
    floor_dn: float = float("-inf")
    """The floor of the converter; reads that do not come from one have none."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a frame of one setup is calibrated with; built once for each exposure's setup.

    `static_dq` holds the flags of every reference that is applied and of the border, merged.
    """

    references: ReferenceSet
    static_dq: FlagImage
    border: int
    masks: NDArray[np.uint8]
    """`steps.UNUSABLE` where a pixel has DO_NOT_USE, `refpix.BAD_REFERENCE` where a reference pixel is bad."""
    _levels: dict[tuple[Limits, str], Levels] = field(default_factory=dict)

    @classmethod
    def build(
        cls, references: ReferenceSet, shape: tuple[int, int], border: int, old: "Calibration | None" = None
    ) -> "Calibration":
        """Merge the flags of the references that are applied; those of `old` serve again if they are the same."""
        applied = _applied(references)
        if old is not None and old.shape == shape and old.border == border:
            before = _applied(old.references)
            if len(before) == len(applied) and all(a is b for a, b in zip(before, applied, strict=True)):
                return replace(old, references=references)
        dq = steps.border_flags(shape, border)
        for reference in applied:
            reference.dq.merge_into(dq)
        masks = np.empty(shape, np.uint8)
        for start in range(0, shape[0], MASK_ROWS):  # by bands: nothing as large as a frame is made on the way
            rows = slice(start, start + MASK_ROWS)
            masks[rows] = np.where(dq[rows] & DO_NOT_USE, steps.UNUSABLE, np.uint8(0))
            masks[rows] |= np.where(dq[rows] & BAD_REF_PIXEL, BAD_REFERENCE, np.uint8(0))
        for plane in (dq, masks):
            plane.setflags(write=False)
        return cls(references, dq, border, masks)

    def masked(self, windows: Collection[Window]) -> "Calibration":
        """Return the same with the pixels of windows left out: WINDOW and DO_NOT_USE."""
        if not windows:
            return self
        dq, masks = self.static_dq.copy(), self.masks.copy()
        for window in windows:
            dq[window.slices] |= WINDOW | DO_NOT_USE
            masks[window.slices] |= steps.UNUSABLE
        for plane in (dq, masks):
            plane.setflags(write=False)
        return replace(self, static_dq=dq, masks=masks)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.static_dq.shape[0], self.static_dq.shape[1]

    @property
    def width(self) -> int:
        """Columns."""
        return self.shape[1]

    def measured(self, detector: Detector) -> Detector:
        """Return the detector with the gain and the read noise of the references, which win over all else."""
        gain, noise = self.references.applied(Gain), self.references.applied(ReadNoise)
        gain_e_per_dn = detector.gain_e_per_dn if gain is None else gain.gain_e_per_dn
        noise_e = detector.read_noise_e if noise is None else noise.with_gain(gain_e_per_dn)
        return structs.replace(detector, gain_e_per_dn=gain_e_per_dn, read_noise_e=noise_e)

    def provenance(self, detector: Detector | None = None, sky: "SkyScale | None" = None) -> list[Provenance]:
        """Say for each type what was used, or why nothing was.

        A refused sky scale shows on the sky; linearity that cannot be applied shows on itself.
        """
        refused = {"sky": sky.problem if sky is not None else ""}
        linearity = self.references.applied(Linearity)
        if detector is not None and linearity is not None:
            refused["linearity"] = self._refusal(linearity, detector)
        return [
            _provenance(replace(one, status="MISMATCH", note=why) if (why := refused.get(one.reftype)) else one)
            for one in self.references.chosen()
        ]

    def _bias(self, detector: Detector) -> FloatImage | None:
        """Return the level without charge [DN]: of the bias, else the configured one; None where none is known."""
        bias = self.references.applied(Bias)
        if bias is not None:
            return bias.level
        level_dn = detector.reset_level_dn
        return None if level_dn is None else steps.flat_row(level_dn, self.width)

    def _refusal(self, linearity: Linearity, detector: Detector) -> str:
        """Say what speaks against linearity; "" for nothing."""
        if linearity.coefficients.shape[1] > MOST_POWERS + 1:
            return TOO_MANY_POWERS
        return NO_BIAS if self._bias(detector) is None else ""

    def _linear(self, detector: Detector) -> tuple[Linearity, FloatImage] | None:
        """Return the linearity that is applied and the level that it counts from."""
        linearity, bias = self.references.applied(Linearity), self._bias(detector)
        if linearity is None or bias is None or self._refusal(linearity, detector):
            return None
        return linearity, bias

    def curve(self, detector: Detector) -> Curve:
        """Return how levels become linear; as they are without a reference that can be applied."""
        linear = self._linear(detector)
        return steps.straight(self.width) if linear is None else Curve(linear[1], linear[0].coefficients)

    def levels(self, limits: Limits, detector: Detector, dtype: np.dtype[Any]) -> Levels:
        """Return the levels beyond which pixels are not their own: a pixel's own where a reference knows them.

        Nor is a level beyond which linearity is not known. They are made once for a setup.
        """
        key = (limits, dtype.str)
        if key not in self._levels:
            saturation = self.references.applied(Saturation)
            ceiling: float | FloatImage = limits.ceiling_dn if saturation is None else saturation.level
            linear = self._linear(detector)
            if linear is not None and np.isfinite(linear[0].valid_dn):
                ceiling = np.minimum(ceiling, linear[1] + np.float32(linear[0].valid_dn))
            self._levels.clear()  # another setup's limits are not asked for again
            self._levels[key] = steps.levels_of(ceiling, limits.floor_dn, dtype, self.width)
        return self._levels[key]

    def dark(self) -> Product:
        """Return the dark rate to subtract; nothing where there is none."""
        dark = self.references.applied(Dark)
        return steps.nothing(self.width) if dark is None else steps.product(dark.rate, dark.err)

    def flat(self) -> tuple[FloatImage, FloatImage]:
        """Return the flat field and its error; one without error where there is none."""
        flat = self.references.applied(Flat)
        return (steps.flat_row(1, self.width), steps.flat_row(0, self.width)) if flat is None else (flat.flat, flat.err)

    def sky(
        self, rate: FloatImage, rows: slice, settings: CalibrationSettings, *, spectral: bool = False
    ) -> "SkyScale | None":
        """Return the sky to subtract and its scale; None without a sky, or if it is switched off.

        On spectra there is no level of the sky that all pixels share: scale 1.

        Parameters
        ----------
        rate
            Some rows of the frame, the dark taken out [e-/s], (y, x).
        rows
            Which ones.
        settings
            The `[calibration]` table.
        spectral
            Whether the frame holds spectra.
        """
        sky = self.references.applied(Sky)
        if sky is None or settings.sky == "off":
            return None
        unscaled = SkyScale(steps.product(sky.rate, sky.err))
        if settings.sky == "fixed" or spectral:
            return unscaled
        good = (self.static_dq[rows] & DO_NOT_USE == 0) & np.isfinite(rate)
        return _scaled(unscaled, rate[good], sky.rate[rows][good], settings)


def _scaled(
    unscaled: "SkyScale", rate: NDArray[np.float32], sky: NDArray[np.float32], settings: CalibrationSettings
) -> "SkyScale":
    """Scale by the ratio of the clipped medians of a frame and of the sky."""
    level, sky_level = clipped_median(rate), clipped_median(sky)
    if not (level.number and sky_level.median > 0):
        return replace(unscaled, problem="no sky level to scale by; scale 1 was used")
    scale = level.median / sky_level.median
    if not settings.sky_scale_min <= scale <= settings.sky_scale_max:
        limits = f"{settings.sky_scale_min:g} to {settings.sky_scale_max:g}"
        return replace(unscaled, problem=f"scale {scale:.3g} is outside {limits}; scale 1 was used")
    error = scale * float(np.hypot(level.error / level.median, sky_level.error / sky_level.median))
    return SkyScale(steps.product(unscaled.part.rate, unscaled.part.err, scale, error))


@dataclass(frozen=True)
class SkyScale:
    """A sky with its scale, or the reason why it is not scaled."""

    part: Product
    problem: str = ""


def _applied(references: ReferenceSet) -> list[Reference]:
    """Return the references with pixels; of others only the cards are known here."""
    return [one.reference for one in references.chosen() if one.reference is not None and min(one.reference.shape)]


def _provenance(chosen: Chosen) -> Provenance:
    return Provenance(
        reftype=chosen.reftype,
        status=chosen.status,
        name=chosen.name,
        sha256=chosen.sha256,
        age_s=chosen.age_s,
        note=chosen.note,
    )
