"""Detector images to cubes: extract every trace, put it on one grid of wavelength, place it in the field.

Cubes are (wavelength, y, x), rates in e-/s a spaxel and wavelength bin.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal.errors import RtcalError, ShapeError
from rtcal.kernels import cubes
from rtcal.kernels import extract as kernel
from rtcal.spectrograph.arcfile import Arc
from rtcal.spectrograph.grid import Grid, grid_of
from rtcal.spectrograph.lensletscan import LensletScan
from rtcal.spectrograph.profiles import UNUSABLE, Flags, Image, Profiles, share_out
from rtcal.spectrograph.whitelight import WhiteLight

GAUSS_REACH = 3.0
"""A lenslet's light is looked at within so many sigmas of its profile."""


@dataclass(frozen=True, eq=False)
class Cube:
    """A cube: rate and its sigma [e-/s], flags; (wavelength, y, x); NaN with DO_NOT_USE where there is nothing."""

    grid: Grid
    data: Image
    err: Image
    dq: Flags


class CubeMaker:
    """Makes the cubes of one mode.

    Parameters
    ----------
    arc
        Traces and wavelengths.
    threads
        Threads that share the traces.
    steps
        How often the light of neighbours is taken out of spectra that overlap.
    scan
        Measured profiles; None: the arc's own.

    Attributes
    ----------
    measured
        Whether the profiles are those of a scan.
    notes
        Why they are not, or not all.

    Raises
    ------
    RtcalError
        If the arc has no solved trace, or does not say which spaxel a trace is.

    Notes
    -----
    The grid runs from the bluest to the reddest wavelength that half of the traces reach, in steps of the median
    dispersion. Traces without wavelengths leave their spaxel empty.
    """

    def __init__(self, arc: Arc, threads: int = 1, steps: int = 4, scan: LensletScan | None = None) -> None:
        solved = arc.solved
        if not solved.any():
            raise RtcalError(f"{arc.name}: none of its {len(arc.traces)} traces has wavelengths")
        if (arc.traces.ix < 0).any() or (arc.traces.iy < 0).any():
            raise RtcalError(f"{arc.name}: its table TRACES does not say which spaxel (IX, IY) each trace is")
        arc.traces.check(arc.shape)
        self.arc = arc
        self.shape = arc.shape
        self.traces = arc.traces.select(solved)
        self.field = int(arc.traces.iy.max()) + 1, int(arc.traces.ix.max()) + 1
        self._edges = arc.edges()[solved]
        self._rising = self._edges[:, 1] > self._edges[:, 0]
        self.grid = grid_of(self._edges, self.traces.length)
        gaussian = bool((self.traces.sigma > 0).all())
        half = GAUSS_REACH * self.traces.sigma if gaussian else self.traces.height / 2
        measured, note = scan.of(self.traces) if scan is not None and gaussian else (None, "")
        self.measured = measured is not None
        self.notes = [note] if note else []
        self.profiles = Profiles(self.traces, half, self.shape[0], threads, measured)
        self._steps = steps
        shape = len(self.traces), self.grid.bins
        self._out, self._out_variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self._out_flags = np.empty(shape, np.uint32)
        self._white = WhiteLight(self.traces, self.profiles, self._edges, self.grid, self.field)
        self._spaxel = self.traces.iy * self.field[1] + self.traces.ix
        self._alone = np.unique(self._spaxel).size == self._spaxel.size
        self._frame: tuple[Image, Image, Flags] = (self._out[:0], self._out[:0], self._out_flags[:0])

    def extract(self, data: Image, err: Image, dq: Flags) -> None:
        """Extract a frame's spectra as they lie on the detector: what `white` and `spectrum` need.

        Raises
        ------
        ShapeError
            If the frame is not of the arc's shape.
        """
        if data.shape != self.shape:
            raise ShapeError(f"frame of {data.shape} with {self.arc.name}, which is of {self.shape}")
        self._frame = data, err, dq
        self.profiles.extract(*self._frame)

    def white(self) -> tuple[Image, Image]:
        """Return mean and sigma of the extracted spectra, (y, x) [e-/s a bin] (`WhiteLight`)."""
        return self._white.image()

    def spectrum(self, y: float, x: float, radius: float) -> tuple[Image, Image, Flags]:
        """Return the extracted light of an aperture on the grid: rate, sigma and flags by bin (`aperture_spectrum`)."""
        # The part of the field around the aperture is all that is looked at.
        (low_y, high_y), (low_x, high_x) = (
            (int(np.clip(at - radius, 1, side)) - 1, int(np.clip(at + radius, 0, side - 1)) + 1)
            for at, side in ((y, self.field[0]), (x, self.field[1]))
        )
        inside = (self.traces.iy >= low_y) & (self.traces.iy < high_y)
        inside &= (self.traces.ix >= low_x) & (self.traces.ix < high_x)
        index = np.flatnonzero(inside)
        field = high_y - low_y, high_x - low_x
        spaxel = (self.traces.iy[index] - low_y) * field[1] + self.traces.ix[index] - low_x
        cube = self._placed(self._resample(index), spaxel, field, self.grid)
        return aperture_spectrum(cube, y - low_y, x - low_x, radius)

    def finish(self) -> Cube:
        """Separate the extracted spectra, put them on the grid and into their spaxels."""
        self.profiles.separate(*self._frame, self._steps)
        every = np.arange(len(self.traces))
        return self._placed(self._resample(every), self._spaxel, self.field, self.grid)

    def make(self, data: Image, err: Image, dq: Flags) -> Cube:
        """Return the cube of a frame: rate, sigma, flags, all (y, x)."""
        self.extract(data, err, dq)
        return self.finish()

    def make_coarse(self, data: Image, err: Image, dq: Flags, bins: int) -> Cube:
        """Return a cube of at most so many bins, means of the full grid's, with little work: one step of separation."""
        self.extract(data, err, dq)
        self.profiles.separate(*self._frame, min(self._steps, 1))
        grid = self.grid.coarser(max(1, -(-self.grid.bins // bins)))
        every = np.arange(len(self.traces))
        flux, variance, flags = self._resample(every, grid)
        share = np.float32(self.grid.step_um / grid.step_um)
        spectra = flux * share, variance * share**2, flags & UNUSABLE
        return self._placed(spectra, self._spaxel, self.field, grid)

    def _resample(self, index: NDArray[np.int64], grid: Grid | None = None) -> tuple[Image, Image, Flags]:
        """Return flux, variance and flags of some traces on the grid, or another, (trace, bin)."""
        found, whole, grid = self.profiles, grid is None and index.size == len(self.traces), grid or self.grid
        inputs: list[NDArray[Any]] = [found.flux, found.variance, found.dq, self._edges, self._rising]
        out: list[NDArray[Any]] = [self._out, self._out_variance, self._out_flags]
        if not whole:
            inputs = inputs if index.size == len(self.traces) else [array[index] for array in inputs]
            out = [np.empty((index.size, grid.bins), array.dtype) for array in out]

        def part(first: int, last: int) -> None:
            kernel.resample(*inputs, grid.first_um, grid.step_um, first, last, *out, np.empty(grid.bins))

        share_out(found.threads, index.size, part)
        return out[0], out[1], out[2]

    def _placed(
        self,
        spectra: tuple[Image, Image, Flags],
        spaxel: NDArray[np.int64],
        field: tuple[int, int],
        grid: Grid,
    ) -> Cube:
        """Put spectra into the spaxels of a field, or of a part of it; the arrays are new."""
        flux, variance, flags = spectra
        ny, nx = field
        data = np.full((grid.bins, ny * nx), np.nan, np.float32)
        err = np.full((grid.bins, ny * nx), np.nan, np.float32)
        dq = np.full((grid.bins, ny * nx), UNUSABLE, np.uint32)
        if self._alone:

            def part(first: int, last: int) -> None:
                cubes.place(flux, variance, flags, spaxel, first, last, data, err, dq)

            share_out(self.profiles.threads, grid.bins, part)
        else:  # a spaxel of several traces is their sum
            for one in np.unique(spaxel):
                here = spaxel == one
                data[:, one] = flux[here].sum(axis=0)
                err[:, one] = np.sqrt(variance[here].sum(axis=0))
                dq[:, one] = np.bitwise_or.reduce(flags[here], axis=0)
        shape = grid.bins, ny, nx
        return Cube(grid, data.reshape(shape), err.reshape(shape), dq.reshape(shape))


def white_light(cube: Cube, low_um: float = -np.inf, high_um: float = np.inf, threads: int = 1) -> tuple[Image, Image]:
    """Return mean and its sigma over wavelength, (y, x) [e-/s a bin]; NaN where no bin has a value."""
    first, last = np.searchsorted(cube.grid.centres_um, (low_um, np.nextafter(high_um, np.inf)))
    bins, ny, nx = cube.data.shape
    flat = cube.data.reshape(bins, -1), cube.err.reshape(bins, -1)
    mean, sigma = np.empty(ny * nx, np.float32), np.empty(ny * nx, np.float32)
    share_out(threads, ny * nx, lambda a, b: cubes.average(*flat, int(first), int(last), a, b, mean, sigma))
    return mean.reshape(ny, nx), sigma.reshape(ny, nx)


def aperture_spectrum(cube: Cube, y: float, x: float, radius: float) -> tuple[Image, Image, Flags]:
    """Sum the spaxels whose centres lie within a radius of a place; return rate, sigma and flags by bin.

    Spaxels without a value in a bin are made up for by the aperture's mean in that bin; a bin without any is NaN.
    """
    ny, nx = cube.data.shape[1:]
    rows, columns = np.mgrid[0:ny, 0:nx]
    inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    if not inside.any():
        inside[int(np.clip(round(y), 0, ny - 1)), int(np.clip(round(x), 0, nx - 1))] = True
    data, err, dq = cube.data[:, inside], cube.err[:, inside], cube.dq[:, inside]
    good = np.isfinite(data)
    count = good.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(count > 0, inside.sum() / count, np.nan)
    rate = np.where(good, data, 0).sum(axis=1, dtype=np.float64) * scale
    sigma = np.sqrt((np.where(good, err, 0).astype(np.float64) ** 2).sum(axis=1)) * scale
    flags = np.bitwise_or.reduce(np.where(good, dq, 0), axis=1).astype(np.uint32)
    flags[count == 0] |= UNUSABLE
    return rate.astype(np.float32), sigma.astype(np.float32), flags


def brightest_place(white: Image) -> tuple[float, float]:
    """Return where a white-light image is brightest, by the centroid of the light around its highest 3 x 3 mean."""
    image = np.nan_to_num(white - np.nanmedian(white))
    padded = np.pad(image, 1)
    ny, nx = image.shape
    smooth = sum(padded[dy : dy + ny, dx : dx + nx] for dy in range(3) for dx in range(3))
    y, x = np.unravel_index(int(np.argmax(smooth)), image.shape)
    low_y, low_x = max(0, int(y) - 2), max(0, int(x) - 2)
    box = np.clip(image[low_y : int(y) + 3, low_x : int(x) + 3], 0, None)
    total = float(box.sum())
    if total <= 0:
        return float(y), float(x)
    rows, columns = np.mgrid[low_y : low_y + box.shape[0], low_x : low_x + box.shape[1]]
    return float((rows * box).sum() / total), float((columns * box).sum() / total)
