"""A set of references made ready for one setup: merged flags, what to subtract, and where it all came from."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from refcache import Chosen, Dark, Flat, Reference, ReferenceSet, Sky
from rtcal.config import CalibrationSettings
from rtcal.kernels.flags import BAD_REF_PIXEL, DO_NOT_USE, WINDOW
from rtcal.steps import ExposureSums, FlagImage, Scaled, border_flags, sample_steps
from streams.messages import Provenance
from streams.windows import Window

CLIP_SIGMA = 3.0
CLIP_ROUNDS = 5


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a frame of one setup is calibrated with; built once for each exposure's setup.

    `static_dq` holds the flags of every reference that is applied and of the border, merged.
    """

    references: ReferenceSet
    static_dq: FlagImage
    border: int
    bad_reference: NDArray[np.uint8]
    """1 where a reference pixel is not to be used."""

    @classmethod
    def build(
        cls, references: ReferenceSet, shape: tuple[int, int], border: int, old: "Calibration | None" = None
    ) -> "Calibration":
        """Merge the flags of the references that are applied; those of `old` serve again if they are the same."""
        applied = _applied(references)
        if old is not None and old.static_dq.shape == shape and old.border == border:
            before = _applied(old.references)
            if len(before) == len(applied) and all(a is b for a, b in zip(before, applied, strict=True)):
                return cls(references, old.static_dq, border, old.bad_reference)
        dq = border_flags(shape, border)
        for reference in applied:
            dq |= reference.dq
        dq.setflags(write=False)
        return cls(references, dq, border, (dq & BAD_REF_PIXEL != 0).astype(np.uint8))

    def masked(self, windows: Collection[Window]) -> "Calibration":
        """Return the same with the pixels of windows left out: WINDOW and DO_NOT_USE."""
        if not windows:
            return self
        dq = self.static_dq.copy()
        for window in windows:
            dq[window.slices] |= WINDOW | DO_NOT_USE
        dq.setflags(write=False)
        return replace(self, static_dq=dq)

    def provenance(self, sky: "SkyScale | None" = None) -> list[Provenance]:
        """Say for each type what was used, or why nothing was; a refused sky scale shows on the sky."""
        refused = sky.problem if sky is not None else ""
        return [
            _provenance(replace(one, status="MISMATCH", note=refused) if refused and one.reftype == "sky" else one)
            for one in self.references.chosen()
        ]

    def dark(self) -> Scaled | None:
        """Return the dark rate to subtract, if there is one."""
        dark = self.references.applied(Dark)
        return Scaled(dark.rate, dark.err) if dark is not None else None

    def flat(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the flat field and its error, if there is one."""
        flat = self.references.applied(Flat)
        return (flat.flat, flat.err) if flat is not None else None

    def sky(self, sums: ExposureSums, settings: CalibrationSettings, *, spectral: bool = False) -> "SkyScale | None":
        """Return the sky to subtract and its scale; None without a sky, or if it is switched off.

        On spectra there is no level of the sky that all pixels share: scale 1.
        """
        sky = self.references.applied(Sky)
        if sky is None or settings.sky == "off":
            return None
        unscaled = SkyScale(Scaled(sky.rate, sky.err))
        if settings.sky == "fixed" or spectral:
            return unscaled
        return self._scaled_sky(unscaled, sums, settings)

    def _scaled_sky(self, unscaled: "SkyScale", sums: ExposureSums, settings: CalibrationSettings) -> "SkyScale":
        """Scale by the ratio of the clipped medians, on pixels that are good in both."""
        step = sample_steps((sums.w_sum.shape[0], sums.w_sum.shape[1]))
        weight = sums.w_sum[step, step]
        good = (self.static_dq[step, step] & DO_NOT_USE == 0) & (weight > 0)
        rate = sums.w_rate[step, step][good] / weight[good]
        dark = self.dark()
        if dark is not None:
            rate -= dark.rate[step, step][good]
        level, level_err = clipped_median(rate)
        sky_level, sky_err = clipped_median(unscaled.part.rate[step, step][good])
        if not (np.isfinite(level) and sky_level > 0):
            return replace(unscaled, problem="no sky level to scale by; scale 1 was used")
        scale = level / sky_level
        if not settings.sky_scale_min <= scale <= settings.sky_scale_max:
            limits = f"{settings.sky_scale_min:g} to {settings.sky_scale_max:g}"
            return replace(unscaled, problem=f"scale {scale:.3g} is outside {limits}; scale 1 was used")
        error = scale * float(np.hypot(level_err / level, sky_err / sky_level))
        return SkyScale(replace(unscaled.part, scale=scale, scale_err=error))


@dataclass(frozen=True)
class SkyScale:
    """A sky with its scale, or the reason why it is not scaled."""

    part: Scaled
    problem: str = ""


def clipped_median(values: np.ndarray) -> tuple[float, float]:
    """Return the median after clipping at 3 sigma, and its standard error; NaN for no values.

    Sigma is 1.4826 times the median absolute deviation, so stars do not widen it.
    """
    values = values[np.isfinite(values)].astype(np.float64)
    if not values.size:
        return float("nan"), float("nan")
    for _ in range(CLIP_ROUNDS):
        centre = np.median(values)
        sigma = 1.4826 * np.median(np.abs(values - centre))
        kept = values[np.abs(values - centre) <= CLIP_SIGMA * sigma]
        if kept.size == values.size or not kept.size:
            break
        values = kept
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return float(np.median(values)), 1.2533 * spread / float(np.sqrt(values.size))


def _applied(references: ReferenceSet) -> list[Reference]:
    """Return the references with pixels; of others only the cards are known here."""
    return [one.reference for one in references.chosen() if one.reference is not None and one.reference.dq.size]


def _provenance(chosen: Chosen) -> Provenance:
    return Provenance(
        reftype=chosen.reftype,
        status=chosen.status,
        name=chosen.name,
        sha256=chosen.sha256,
        age_s=chosen.age_s,
        note=chosen.note,
    )
