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
_BAND_ROWS = 64


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


def make_chip(settings: SimulatorSettings, detector: str, tile: NDArray[np.float32]) -> Chip:
    """Make a detector's fixed pattern, bad pixels included; `tile` is that of `make_tile`."""
    random = random_for(settings.seed, detector, "chip")
    dq = _dq(random, settings)
    blind = (dq & (Dq.REFERENCE_PIXEL | Dq.DEAD)) != 0
    flat, dark, bias = _flat(random, settings, tile), _dark(random, settings, tile), _bias(random, settings, tile)
    flat[blind] = 0
    dark[blind] = 0
    hot = (dq & Dq.HOT) != 0
    dark[hot] = 10 ** random.uniform(1.5, 4.3, np.count_nonzero(hot))
    return Chip(dark, flat, bias, dq)


def _dq(random: np.random.Generator, settings: SimulatorSettings) -> NDArray[np.uint32]:
    """Strew dead and hot pixels over the light-sensitive part."""
    dq = np.full((settings.size, settings.size), Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE, np.uint32)
    active = dq[REFERENCE_BORDER:-REFERENCE_BORDER, REFERENCE_BORDER:-REFERENCE_BORDER]
    active[:] = 0
    for bit, fraction in ((Dq.HOT, settings.hot_fraction), (Dq.DEAD, settings.dead_fraction)):
        y, x = random.integers(0, active.shape[0], (2, random.poisson(fraction * active.size)))
        active[y, x] = bit | Dq.DO_NOT_USE
    return dq


def _pixel_pattern(
    random: np.random.Generator, settings: SimulatorSettings, tile: NDArray[np.float32], sigma: float
) -> NDArray[np.float32]:
    """Return normal deviates that differ from pixel to pixel, (y, x)."""
    pattern = np.empty((settings.size, settings.size), np.float32)
    kernels.reset(pattern, tile, random.integers(0, TILE, settings.size), np.float32(sigma))
    return pattern


def _flat(random: np.random.Generator, settings: SimulatorSettings, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels that differ by a per cent, on a field a few per cent darker towards its corners."""
    flat = _pixel_pattern(random, settings, tile, 0.01)
    flat += 1
    axis = np.linspace(-1, 1, settings.size, dtype=np.float32)
    flat *= np.float32(1.02) - np.float32(0.03) * (axis[:, None] ** 2 + axis[None, :] ** 2)
    return flat


def _dark(random: np.random.Generator, settings: SimulatorSettings, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dark current that differs by a third from pixel to pixel."""
    dark = _pixel_pattern(random, settings, tile, 0.3)
    np.exp(dark, out=dark)
    dark *= np.float32(settings.dark_e_per_s)
    return dark


def _bias(random: np.random.Generator, settings: SimulatorSettings, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Levels after reset: outputs that differ, their odd and even columns, and each pixel's own."""
    bias = _pixel_pattern(random, settings, tile, 30)
    outputs = random.normal(0, 120, (settings.channels, 1)) + random.normal(0, 25, (settings.channels, 2))
    columns = np.tile(outputs, (1, settings.size // settings.channels // 2)).reshape(-1)
    bias += (settings.reset_level_dn + columns).astype(np.float32)
    return bias


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
        self._converter = (
            np.float32(1 / settings.gain_e_per_dn),
            np.float32(settings.bend_per_e),
            np.float32(settings.read_noise_e / settings.gain_e_per_dn),
        )

    def reset(self) -> None:
        """Empty all pixels; what is left differs from reset to reset (kTC noise)."""
        kernels.reset(self._charge_e, self._tile, self._offsets(), np.float32(self._settings.ktc_noise_e))

    def read(self, rate_e_per_s: NDArray[np.float32], seconds: float) -> tuple[NDArray[np.uint16], Hits]:
        """Let light, dark current and cosmic rays act, then read all pixels; the charge stays.

        Parameters
        ----------
        rate_e_per_s
            Rate of each pixel, light and dark together [e-/s], (y, x).
        seconds
            Since the reset or the read before [s].

        Returns
        -------
        tuple
            The read [DN], uint16, (y, x), a new array; and the cosmic rays that it is the first to show.
        """
        hits = self._draw_hits(seconds)
        np.add.at(self._charge_e, (hits.y, hits.x), hits.charge_e)
        column_dn, row_dn = self._drift()
        raw_dn = np.empty((self._settings.size, self._settings.size), np.uint16)
        shot, noise = self._offsets(), self._offsets()
        full_well_e = np.float32(self._settings.full_well_e)
        # Both kernels go over a band of rows while it is in the cache: memory is what limits them.
        for first in range(0, self._settings.size, _BAND_ROWS):
            rows = slice(first, first + _BAND_ROWS)
            charge_e = self._charge_e[rows]
            kernels.integrate(charge_e, rate_e_per_s[rows], self._tile, shot[rows], np.float32(seconds), full_well_e)
            bias_dn = self._chip.bias_dn[rows]
            kernels.digitise(
                raw_dn[rows], charge_e, bias_dn, column_dn, row_dn[rows], self._tile, noise[rows], *self._converter
            )
        return raw_dn, hits

    def _offsets(self) -> NDArray[np.int64]:
        return self._random.integers(0, TILE, self._settings.size)

    def _drift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Take a step of a slow random walk drawn back to zero; return the levels by column and by row."""
        settings, before_dn = self._settings, self._drift_dn
        step_dn = settings.drift_dn * np.sqrt(1 - _DRIFT_MEMORY**2)
        self._drift_dn = _DRIFT_MEMORY * before_dn + step_dn * self._random.standard_normal()
        steps = self._random.standard_normal(self._channel_drift_dn.shape)
        self._channel_drift_dn = _DRIFT_MEMORY * self._channel_drift_dn + _CHANNEL_SHARE * step_dn * steps
        column_dn = np.tile(self._channel_drift_dn, (1, settings.size // settings.channels // 2)).reshape(-1)
        # The rows are read one after another while the level drifts on.
        row_dn = np.linspace(before_dn, self._drift_dn, settings.size, endpoint=False, dtype=np.float32)
        return column_dn.astype(np.float32), row_dn

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
