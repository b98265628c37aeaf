"""Arc spectra with known wavelengths, for tests."""

import numpy as np
from scipy.special import erf

from rtcal.spectrograph.detection import Spectra
from rtcal.spectrograph.linelists import LineList, lamp_lines


def line_flux(x, centre, area, sigma):
    scale = np.sqrt(2) * sigma
    return area / 2 * (erf((x + 0.5 - centre) / scale) - erf((x - 0.5 - centre) / scale))


class Arc:
    """Spectra of the same lamp along curved, staggered dispersion relations, faint lines left out."""

    def __init__(
        self, count=1, size=1600, lamps=("Ar", "Ne"), start=1.4740, step=2.04e-4, snr=50.0, seed=1, stagger=0.0
    ):
        rng = np.random.default_rng(seed)
        self.x = np.arange(size, dtype=float)
        self.lines = lamp_lines(lamps)
        self.start = start + step * rng.uniform(-stagger, stagger, count)
        self.step = step * (1 + 2e-4 * np.linspace(-1, 1, count))
        self.bend = 6.0 * step / size**2 * 4  # 6 px of sag at the ends
        self.noise, self._snr, self._random = 1.0, snr, rng
        self._draw()

    def _draw(self):
        self.flux = np.zeros((self.start.size, self.x.size))
        strong = self.lines.intensity > 0.005
        for row, flux in enumerate(self.flux):
            where = np.interp(self.lines.wavelength_um[strong], self.wavelengths(row), self.x, left=-99, right=-99)
            for centre, strength in zip(where, self.lines.intensity[strong], strict=True):
                if centre > 0:
                    # peak / noise from `snr` up; a pixel holds 0.44 of a line of sigma 0.85
                    flux += line_flux(self.x, centre, self._snr * (1 + 20 * strength) / 0.44, 0.85)
        self.flux += self._random.normal(0, self.noise, self.flux.shape)

    def shift(self, pixels):
        """Move each trace's wavelengths."""
        self.start = self.start + self.step * pixels
        self._draw()

    def wavelengths(self, row):
        centred = self.x - self.x[-1] / 2
        return self.start[row] + self.step[row] * self.x + self.bend * centred**2

    @property
    def span(self):
        return self.wavelengths(0)[0], self.wavelengths(0)[-1]

    def off(self, shift_px=20.0, stretch=0.02):
        """The range that is off by so many pixels and per cent."""
        low, high = self.span
        middle, half = (low + high) / 2 + shift_px * self.step[0], (high - low) / 2 * (1 + stretch)
        return middle - half, middle + half

    def spectra(self):
        count, size = self.flux.shape
        return Spectra(
            flux=self.flux,
            noise=np.full(self.flux.shape, self.noise),
            saturated=np.zeros(self.flux.shape, bool),
            length=np.full(count, size),
            place=np.column_stack([np.zeros(count), np.arange(count) * 6.0]),
        )

    def errors_px(self, solution):
        """Wavelength error of each pixel of each solved trace [px]."""
        return np.array(
            [
                (solution.traces[row].matched.wavelengths(self.x) - self.wavelengths(row)) / self.step[row]
                for row in solution.solved
            ]
        )


def only(listed: LineList, element: str) -> LineList:
    chosen = np.array([name == element for name in listed.element])
    return LineList(listed.wavelength_um[chosen], listed.intensity[chosen], (element,) * int(chosen.sum()))
