"""What the optics would give at best, and the numbers that turn pixels into angles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from streams.bandpass import band_of, tidy

MAS_PER_RADIAN = float(np.degrees(3.6e6))
_NODES = 48
_SUBPIXELS = 5


class OpticsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[optics]` of `config.toml`."""

    pixel_mas: Annotated[float, Meta(gt=0, le=1e5)]
    pixel_um: Annotated[float, Meta(gt=0, le=1e3)]
    telescope_m: Annotated[float, Meta(gt=0, le=1e3)]
    zero_point: dict[str, float]


@dataclass(frozen=True)
class Optics:
    """The optics and the bands of their filters."""

    settings: OpticsSettings
    filters: Mapping[str, tuple[float, float]]
    """Edges [um]."""

    @property
    def pixel_mas(self) -> float:
        """Side of a pixel on the sky."""
        return self.settings.pixel_mas

    def diffraction_px(self, setup: Mapping[str, object]) -> float | None:
        """Return lambda / D [px] for the FILTER of a setup; None for one that is not known."""
        band = band_of(str(setup.get("FILTER", "")), self.filters)
        if band is None:
            return None
        return sum(band) / 2 * 1e-6 / self.settings.telescope_m * MAS_PER_RADIAN / self.pixel_mas

    def zero_point(self, setup: Mapping[str, object]) -> float | None:
        """Return the magnitude of 1 e-/s in the FILTER of a setup, where a flux standard gave it."""
        wanted = tidy(setup.get("FILTER", ""))
        return next((value for name, value in self.settings.zero_point.items() if tidy(name) == wanted), None)


def ideal_pixel_share(diffraction_px: float, dx: float, dy: float) -> float:
    """Return the part of a point source's light that its own pixel holds, by diffraction at a full circular pupil.

    Parameters
    ----------
    diffraction_px
        lambda / D [px].
    dx, dy
        From the middle of the pixel to the source [px].
    """
    steps = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    radius = np.hypot((steps - dy)[:, None], (steps - dx)[None, :])
    amplitude = _jinc(np.pi * radius / diffraction_px)
    return float((amplitude**2).mean() * np.pi / 4 / diffraction_px**2)


def _jinc(x: np.ndarray) -> np.ndarray:
    """Return 2 J1(x) / x by its integral over the pupil, exact to rounding for x below the number of nodes."""
    angle = np.pi * np.arange(1, _NODES + 1) / (_NODES + 1)
    weights = 2 / (_NODES + 1) * np.sin(angle) ** 2
    return np.asarray(np.cos(x[..., None] * np.cos(angle)) @ weights)


def strehl_proxy(peak: float, flux: float, x: float, y: float, diffraction_px: float) -> float:
    """Return how sharp a source is: its peak pixel's share of the light over that of an ideal image.

    Notes
    -----
    A proxy: the true Strehl ratio needs the true total flux, and that of a frame is counted to a finite radius.
    """
    ideal = ideal_pixel_share(diffraction_px, x - round(x), y - round(y))
    return peak / flux / ideal
