"""What each detector sees in each kind of exposure."""

import numpy as np
from numpy.typing import NDArray

from streams.simulator.detector import Chip, make_chip, make_tile
from streams.simulator.faults import Faults, Optics
from streams.simulator.instrument import band_um
from streams.simulator.psf import make_psf
from streams.simulator.settings import Kind, SimulatorSettings
from streams.simulator.spectra import Traces, lay_traces, spectra_light
from streams.simulator.stars import Stars, detector_origin, draw_field, star_light

MAX_RATES = 32
"""Images of the rate that are kept."""


class Scene:
    """The truth behind the reads: chips, stars, spectra and the rates that follow.

    Parameters
    ----------
    settings
        The table `[simulator]`; the rates of all kinds of its sequence are worked out at once.

    Notes
    -----
    `tile` holds the noise that all detectors share. `chips` and `stars` have an entry for each detector
    (for `IFS`, no stars); `traces` holds for `IFS`.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._band_um = band_um(settings.filter)
        self._faults = Faults(settings.faults, settings.r0_m, settings.wavefront_error_nm)
        self._psf = make_psf(self._band_um, settings.wavefront_error_nm, settings.r0_m)
        field = draw_field(settings)
        self.tile = make_tile(settings.seed, settings.size)
        self.chips: dict[str, Chip] = {name: make_chip(settings, name, self.tile) for name in settings.detectors}
        self.stars: dict[str, Stars] = {
            name: field.moved(*detector_origin(name, settings.size)) for name in settings.detectors if name != "IFS"
        }
        self.traces: Traces = lay_traces(settings.size, self._band_um, settings.ifs_mode)
        self._rates: dict[tuple[str, Kind, Optics | None], NDArray[np.float32]] = {}
        for name in settings.detectors:
            for kind in set(settings.sequence):
                self._rates[name, kind, None] = self._make_rate(name, kind, None)

    def light(self, detector: str, kind: Kind, optics: Optics | None = None, step: int = 0) -> NDArray[np.float32]:
        """Return the light that falls on a detector [e-/s], before its response, float32, (y, x).

        `step` is the mask's place in a scan; `optics` is what makes stars where it is not as the settings say.
        """
        settings = self._settings
        if kind == "dark" or (kind in ("arc", "scan") and detector != "IFS"):
            return np.zeros((settings.size, settings.size), np.float32)
        if kind == "flat":
            return np.full((settings.size, settings.size), settings.flat_e_per_s, np.float32)
        if detector == "IFS":
            return spectra_light(self.traces, settings, kind, step)
        if kind == "sky":
            return np.full((settings.size, settings.size), settings.sky_e_per_s, np.float32)
        psf = self._psf
        if optics is not None:
            psf = make_psf(self._band_um, optics.wavefront_error_nm, optics.r0_m, optics.jitter_mas)
        return star_light(self.stars[detector], psf, settings.size) + np.float32(settings.sky_e_per_s)

    def rate(self, detector: str, kind: Kind, optics: Optics | None = None, step: int = 0) -> NDArray[np.float32]:
        """Return the rate of each pixel, response and dark current included [e-/s], read-only; as `light`."""
        if step:
            return self._make_rate(detector, kind, optics, step)
        known = self._rates.get((detector, kind, optics))
        if known is None:
            known = self._make_rate(detector, kind, optics)
            if optics is not None and len(self._rates) < MAX_RATES:
                self._rates[detector, kind, optics] = known
        return known

    def seen(self, detector: str, kind: Kind, time_s: float, usual: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the rate at a time from the start: the `usual` one, unless seeing or adaptive optics are bad."""
        optics = self._faults.optics(time_s)
        if kind != "science" or detector == "IFS" or optics == self._faults.usual:
            return usual
        return self.rate(detector, kind, optics)

    def _make_rate(self, detector: str, kind: Kind, optics: Optics | None, step: int = 0) -> NDArray[np.float32]:
        chip = self.chips[detector]
        rate = self.light(detector, kind, optics, step) * chip.flat + chip.dark_e_per_s
        rate.setflags(write=False)
        return rate
