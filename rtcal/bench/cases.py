"""The kernels as cases to time, each as the steps call it: over bands of rows, on the pool."""

from collections.abc import Callable
from functools import partial

import numpy as np

from rtcal import steps
from rtcal.bands import Bands
from rtcal.bench import numpy_chain
from rtcal.bench.scene import BAD_FRACTION, CEILING_DN, READ_NOISE_E, READS, Picture, Scene
from rtcal.bench.timing import Case
from rtcal.kernels import badpix, calibrate, ramp
from rtcal.steps import RampPlanes, RawImage, Scaled

TIME_S = 0.7
LIMIT_E_PER_S = 1e9
REPAIR_BYTES = 4 + BAD_FRACTION * (8 * 12 + 8)
"""Flags of every pixel; rate, error and flags of the neighbours of the bad ones, and what is written."""


def make_cases(scene: Scene, bands: Bands) -> list[Case]:
    """Return all cases, in the order of a ramp."""
    return [*_ramp_cases(scene, bands), *_frame_cases(scene, bands), *_display_cases(scene, bands)]


def _ramp_cases(scene: Scene, bands: Bands) -> list[Case]:
    planes, bright = scene.planes, scene.bright_planes
    begun = steps.RampPlanes.allocate(scene.shape, np.uint16)
    begun.first_bad.fill(ramp.NEVER)
    add, fit = numpy_chain.accumulate, partial(numpy_chain.fit, scene)
    return [
        Case("start", 12, partial(_start, begun, scene.read, bands), partial(numpy_chain.start, begun, scene.read)),
        Case("accumulate", 20, _adding(planes, scene.read, bands), partial(add, planes, scene.read, TIME_S, 3)),
        Case(
            "accumulate, all blocks saturated",
            24,
            _adding(bright, scene.bright_read, bands),
            partial(add, bright, scene.bright_read, TIME_S, 3),
        ),
        Case("fit", 32, _closing(scene, planes, bands), partial(fit, planes)),
        Case("fit, all blocks saturated", 34, _closing(scene, bright, bands), partial(fit, bright)),
        Case("fit_ends", 32, _closing_ends(scene, bands), partial(fit, planes, scene.ends)),
    ]


def _start(planes: RampPlanes, read: RawImage, bands: Bands) -> None:
    steps.start_ramp(planes, read, bands, ends=False)


def _adding(planes: RampPlanes, read: RawImage, bands: Bands) -> Callable[[], None]:
    return partial(steps.add_read, planes, read, TIME_S, CEILING_DN, 3, bands)


def _closing(scene: Scene, planes: RampPlanes, bands: Bands) -> Callable[[], None]:
    return partial(steps.close_ramp, planes, scene.tables, None, scene.sums, bands)


def _closing_ends(scene: Scene, bands: Bands) -> Callable[[], None]:
    return partial(steps.close_ramp, scene.planes, scene.tables, scene.ends, scene.sums, bands)


def _frame_cases(scene: Scene, bands: Bands) -> list[Case]:
    picture, bare = scene.picture, scene.bare
    limit = np.float32(LIMIT_E_PER_S)

    def each(work: Callable[[slice], None], bytes_per_pixel: int) -> Callable[[], None]:
        return lambda: bands.run(work, scene.shape, bytes_per_pixel)

    def flag(rows: slice) -> None:
        badpix.flag_unreliable(picture.err[rows], picture.dq[rows], limit)

    def repair(rows: slice) -> None:
        badpix.repair(picture.rate, picture.err, picture.dq, rows.start, rows.stop)

    return [
        Case("finish_rate", 30, each(_finishing(scene, bare), 30), partial(numpy_chain.finish_rate, scene, bare)),
        Case("subtract", 24, each(_subtracting(bare, scene.sky), 24), partial(numpy_chain.subtract, bare, scene.sky)),
        Case("divide", 24, each(_dividing(bare, scene), 24), partial(numpy_chain.divide, bare, *scene.flat)),
        Case("root", 8, each(lambda rows: calibrate.root(bare.err[rows]), 8), partial(numpy_chain.root, bare)),
        Case("flag_unreliable", 4, each(flag, 12), partial(numpy_chain.flag_unreliable, picture, LIMIT_E_PER_S)),
        Case("repair, 1 % bad", REPAIR_BYTES, each(repair, 12), partial(numpy_chain.repair, picture)),
        Case(
            "whole end of a ramp",
            32 + 18 + 3 * 8 + 12 + 4 + REPAIR_BYTES,
            partial(finish_ramp, scene, bands),
            partial(finish_ramp_numpy, scene),
        ),
    ]


def _finishing(scene: Scene, into: Picture) -> Callable[[slice], None]:
    sums, nothing, noise = scene.sums, np.uint32(0), np.float32(READ_NOISE_E**2)

    def work(rows: slice) -> None:
        calibrate.finish_rate(
            sums.w_sum[rows],
            sums.w_rate[rows],
            sums.w_photon[rows],
            sums.saturated_from[rows],
            scene.static_dq[rows],
            nothing,
            noise,
            into.rate[rows],
            into.err[rows],
            into.dq[rows],
        )

    return work


def _subtracting(picture: Picture, part: Scaled) -> Callable[[slice], None]:
    scale, scale_err = np.float32(part.scale), np.float32(part.scale_err)

    def work(rows: slice) -> None:
        calibrate.subtract(picture.rate[rows], picture.err[rows], part.rate[rows], part.err[rows], scale, scale_err)

    return work


def _dividing(picture: Picture, scene: Scene) -> Callable[[slice], None]:
    flat, flat_err = scene.flat
    return lambda rows: calibrate.divide(picture.rate[rows], picture.err[rows], flat[rows], flat_err[rows])


def finish_ramp(scene: Scene, bands: Bands) -> Picture:
    """Do what follows a ramp's last read: fit, dark, sky, flat, errors, flags, repair."""
    steps.close_ramp(scene.planes, scene.tables, None, scene.sums, bands)
    parts = [scene.dark, scene.sky]
    frame = steps.calibrate_frame(scene.sums, scene.static_dq, 0, READ_NOISE_E, parts, scene.flat, bands)
    steps.finish_pixels(*frame, "repair", bands)
    return Picture(*frame)


def finish_ramp_numpy(scene: Scene) -> Picture:
    """Do the same with numpy."""
    numpy_chain.fit(scene, scene.planes)
    rate, err = np.empty(scene.shape, np.float32), np.empty(scene.shape, np.float32)
    picture = Picture(rate, err, np.empty(scene.shape, np.uint32))
    numpy_chain.finish_rate(scene, picture)
    for part in (scene.dark, scene.sky):
        numpy_chain.subtract(picture, part)
    numpy_chain.divide(picture, *scene.flat)
    numpy_chain.root(picture)
    numpy_chain.flag_unreliable(picture, 10 * steps.sample_median(picture.err, picture.dq))
    numpy_chain.repair(picture)
    return picture


def _display_cases(scene: Scene, bands: Bands) -> list[Case]:
    n, binned = scene.binning, scene.binned
    share = 4 / n**2

    def mean(rows: slice) -> None:
        ramp.bin_mean(scene.read[rows.start * n : rows.stop * n], n, binned[rows])

    def preview_numpy() -> None:
        numpy_chain.bin_mean(scene.read, n, binned)
        numpy_chain.preview_rate(scene, scene.planes, scene.static_dq, np.empty_like(binned))

    def preview() -> None:
        steps.preview(scene.planes, scene.tables, scene.read, scene.static_dq, n, bands)

    assert len(scene.tables.weight) == READS + 1
    return [
        Case(
            f"bin_mean {n} x {n}",
            2 + share,
            lambda: bands.run(mean, binned.shape, 2 * n * n),
            partial(numpy_chain.bin_mean, scene.read, n, binned),
        ),
        Case(f"preview {n} x {n}, raw and rate", 14 + 2 * share, preview, preview_numpy),
    ]
