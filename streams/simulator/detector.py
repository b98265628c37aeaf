"""A detector: its pixels' faults, and the charge that becomes reads."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.dq import Dq
from streams.simulator import kernels
from streams.simulator.instrument import PIXEL_CM, REFERENCE_BORDER, random_for
from streams.simulator.settings import SimulatorSettings

TILE = 1 << 20
"""Deviates in the noise tile: 4 MiB, so that two rows of a read rarely share a stretch of it."""
_DRIFT_MEMORY = 0.98
"""Part of the drift's departure from its mean that a frame time leaves."""
_CHANNEL_SHARE = 0.2
"""Drift of one channel's odd or even columns, on its own, over the common drift."""
_TRACK_PIXEL_E = 1200.0
"""Mean charge that a cosmic ray leaves on a pixel [e-]."""
_TRACK_LEAST_E = 100.0
_TRACK_MEAN_PX = 2.5


@dataclass(frozen=True)
class Chip:
    """What is fixed in a detector; images (y, x), the border of reference pixels included."""

    dark_e_per_s: NDArray[np.float32]
    flat: NDArray[np.float32]
    """Response to light, median 1; 0 for dead and reference pixels."""
    bias_dn: NDArray[np.float32]
    dq: NDArray[np.uint32]
    """What a perfect bad-pixel map would say."""


@dataclass(frozen=True)
class Hits:
    """Pixels that cosmic rays reached before a read: one entry for each pixel of each track."""

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    charge_e: NDArray[np.float32]


def make_tile(seed: int, size: int) -> NDArray[np.float32]:
    """Draw the noise tile: mean 0 and variance 1, its first `size` values repeated at its end."""
    tile = random_for(seed, "tile").standard_normal(TILE, dtype=np.float32)
    tile = ((tile - tile.mean(dtype=np.float64)) / tile.std(dtype=np.float64)).astype(np.float32)
    return np.concatenate([tile, tile[:size]])


def make_chip(settings: SimulatorSettings, detector: str) -> Chip:
    """Make a detector's fixed pattern, bad pixels included."""
    random = random_for(settings.seed, detector, "chip")
    shape = (settings.size, settings.size)
    edge = REFERENCE_BORDER
    active = np.zeros(shape, bool)
    active[edge:-edge, edge:-edge] = True
    lot = random.random(shape, dtype=np.float32)
    dead = active & (lot < settings.dead_fraction)
    hot = active & ~dead & (lot < settings.dead_fraction + settings.hot_fraction)
    flat = np.where(active & ~dead, _flat(random, settings.size), np.float32(0))
    return Chip(_dark(random, settings, active & ~dead, hot), flat, _bias(random, settings), _dq(active, dead, hot))


def _flat(random: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Pixels that differ by a per cent, on a field a few per cent darker towards its corners."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    vignetting = 1.02 - 0.03 * (axis[:, None] ** 2 + axis[None, :] ** 2)
    pixels = random.standard_normal((size, size), dtype=np.float32)
    return np.asarray(vignetting * (1 + np.float32(0.01) * np.clip(pixels, -4, 4)), np.float32)


def _dark(
    random: np.random.Generator, settings: SimulatorSettings, live: NDArray[np.bool_], hot: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Dark current: it differs by a third from pixel to pixel; hot ones go up to the full well in a ramp."""
    spread = random.standard_normal(live.shape, dtype=np.float32)
    dark = np.where(live, np.float32(settings.dark_e_per_s) * np.exp(np.float32(0.3) * spread), np.float32(0))
    dark[hot] = 10 ** random.uniform(1.5, 4.3, np.count_nonzero(hot))
    return np.asarray(dark, np.float32)


def _bias(random: np.random.Generator, settings: SimulatorSettings) -> NDArray[np.float32]:
    """Levels after reset: outputs that differ, their odd and even columns, and each pixel's own."""
    outputs = random.normal(0, 120, (settings.channels, 1)) + random.normal(0, 25, (settings.channels, 2))
    columns = np.tile(outputs, (1, settings.size // settings.channels // 2)).reshape(-1)
    pixels = random.standard_normal((settings.size, settings.size), dtype=np.float32)
    return np.asarray(np.float32(settings.reset_level_dn) + columns.astype(np.float32) + np.float32(30) * pixels)


def _dq(active: NDArray[np.bool_], dead: NDArray[np.bool_], hot: NDArray[np.bool_]) -> NDArray[np.uint32]:
    dq = np.zeros(active.shape, np.uint32)
    dq[~active] = Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE
    dq[dead] = Dq.DEAD | Dq.DO_NOT_USE
    dq[hot] = Dq.HOT | Dq.DO_NOT_USE
    return dq


class Detector:
    """The charge on a detector, reset and read in turn.

    Parameters
    ----------
    settings
        The table `[simulator]`.
    detector
        Its name; chooses the random numbers.
    chip
        Its fixed pattern.
    tile
        Noise from `make_tile`, shared by all detectors.
    """

    def __init__(self, settings: SimulatorSettings, detector: str, chip: Chip, tile: NDArray[np.float32]) -> None:
        self._settings = settings
        self._chip = chip
        self._tile = tile
        self._random = random_for(settings.seed, detector, "reads")
        self._charge_e = np.zeros((settings.size, settings.size), np.float32)
        self._drift_dn = settings.drift_dn * self._random.standard_normal()
        self._channel_drift_dn = np.zeros((settings.channels, 2))

    def reset(self) -> None:
        """Empty all pixels; what is left differs from reset to reset (kTC noise)."""
        kernels.reset(self._charge_e, self._tile, self._offsets(), np.float32(self._settings.ktc_noise_e))

    def expose(self, rate_e_per_s: NDArray[np.float32], seconds: float) -> Hits:
        """Let light, dark current and cosmic rays act for some time, and tell the cosmic rays."""
        hits = self._draw_hits(seconds)
        np.add.at(self._charge_e, (hits.y, hits.x), hits.charge_e)
        full_well_e = np.float32(self._settings.full_well_e)
        kernels.integrate(self._charge_e, rate_e_per_s, self._tile, self._offsets(), np.float32(seconds), full_well_e)
        return hits

    def read(self) -> NDArray[np.uint16]:
        """Read all pixels [DN], uint16, (y, x), a new array; the charge stays."""
        settings = self._settings
        before_dn = self._drift_dn
        self._drift()
        # The rows are read one after another while the level drifts on.
        row_dn = np.linspace(before_dn, self._drift_dn, settings.size, endpoint=False, dtype=np.float32)
        column_dn = np.tile(self._channel_drift_dn, (1, settings.size // settings.channels // 2)).reshape(-1)
        raw_dn = np.empty((settings.size, settings.size), np.uint16)
        kernels.digitise(
            raw_dn,
            self._charge_e,
            self._chip.bias_dn,
            column_dn.astype(np.float32),
            row_dn,
            self._tile,
            self._offsets(),
            np.float32(1 / settings.gain_e_per_dn),
            np.float32(settings.bend_per_e),
            np.float32(settings.read_noise_e / settings.gain_e_per_dn),
        )
        return raw_dn

    def _offsets(self) -> NDArray[np.int64]:
        return self._random.integers(0, TILE, self._settings.size)

    def _drift(self) -> None:
        """Take a step of a slow random walk that is drawn back to zero."""
        step_dn = self._settings.drift_dn * np.sqrt(1 - _DRIFT_MEMORY**2)
        self._drift_dn = _DRIFT_MEMORY * self._drift_dn + step_dn * self._random.standard_normal()
        steps = self._random.standard_normal(self._channel_drift_dn.shape)
        self._channel_drift_dn = _DRIFT_MEMORY * self._channel_drift_dn + _CHANNEL_SHARE * step_dn * steps

    def _draw_hits(self, seconds: float) -> Hits:
        """Draw straight tracks that begin anywhere on the light-sensitive pixels."""
        side = self._settings.size - 2 * REFERENCE_BORDER
        expected = self._settings.cosmic_rays_per_s_per_cm2 * (side * PIXEL_CM) ** 2 * seconds
        count = self._random.poisson(expected)
        lengths = self._random.geometric(1 / _TRACK_MEAN_PX, count)
        start = np.repeat(self._random.uniform(0, side, (count, 2)), lengths, axis=0)
        angle = np.repeat(self._random.uniform(0, 2 * np.pi, count), lengths)
        step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        y, x = np.floor(start + step[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)).astype(int).T
        charge_e = self._random.exponential(_TRACK_PIXEL_E, step.size) + _TRACK_LEAST_E
        on = (y >= 0) & (y < side) & (x >= 0) & (x < side)
        return Hits(y[on] + REFERENCE_BORDER, x[on] + REFERENCE_BORDER, charge_e[on].astype(np.float32))
