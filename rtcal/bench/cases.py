"""The kernels as cases to time, each as the steps call it: over bands of rows, on the pool."""

from collections.abc import Callable
from functools import partial

import numpy as np

from rtcal import steps
from rtcal.bands import Bands
from rtcal.bench import numpy_chain
from rtcal.bench.scene import BAD_FRACTION, GAIN_E_PER_DN, READ_NOISE_E, READS, TEST, Picture, Scene
from rtcal.bench.timing import Case
from rtcal.estimator import Ends
from rtcal.kernels import badpix, bins, calibrate
from rtcal.steps import JumpTest, RampPlanes, RawImage, Scaled

SUMS_BYTES = 22
"""For each read and pixel: the read twice (levels, sums), zero level, two sums in and out."""
CHAIN_BYTES = SUMS_BYTES + 12
"""The same, the two signals before it, and its own, kept for the next two."""
LIMIT_E_PER_S = 1e9
REPAIR_BYTES = 4 + BAD_FRACTION * (8 * 12 + 8)
"""Flags of every pixel; rate, error and flags of the neighbours of the bad ones, and what is written."""
END_BYTES = (8 + 8 + 24) + (12 + 3 + 4) + 3 * 8 + 12 + 4 + REPAIR_BYTES
"""Last two signals, the ramp's sums and the exposure's; these, marks and flags; dark, sky, flat; the frame; errors."""


def make_cases(scene: Scene, bands: Bands) -> list[Case]:
    """Return all cases, in the order of a ramp."""
    return [*_ramp_cases(scene, bands), *_frame_cases(scene, bands), *_display_cases(scene, bands)]


def _ramp_cases(scene: Scene, bands: Bands) -> list[Case]:
    planes, bright = scene.planes, scene.bright_planes
    fit = partial(numpy_chain.fit, scene)

    def reads(into: RampPlanes, taken: list[RawImage], *, whole_chain: bool) -> Callable[[], object]:
        return lambda: scene.run_ramp(into, taken, bands, whole_chain=whole_chain)

    sums_only = partial(numpy_chain.ramp, scene, scene.reads)
    start = 12 / READS
    return [
        # The chain comes last: what follows works on a ramp in which some pixels jumped.
        Case("read: sums", SUMS_BYTES + start, reads(planes, scene.reads, whole_chain=False), sums_only, READS),
        Case(
            "read: sums, bright",
            SUMS_BYTES + 6 + start,
            reads(bright, scene.bright_reads, whole_chain=False),
            None,
            READS,
        ),
        Case("read: chain", CHAIN_BYTES + start, reads(planes, scene.reads, whole_chain=True), None, READS),
        Case(
            "read: chain, bright",
            CHAIN_BYTES + 6 + start,
            reads(bright, scene.bright_reads, whole_chain=True),
            None,
            READS,
        ),
        Case("fit", 32, _closing(scene, planes, bands), partial(fit, planes)),
        Case("fit, bright", 36, _closing(scene, bright, bands), None),
        Case("fit_ends", 32, _closing(scene, planes, bands, scene.ends), partial(fit, planes, scene.ends)),
    ]


def _closing(
    scene: Scene, planes: RampPlanes, bands: Bands, ends: Ends | None = None, test: JumpTest | None = None
) -> Callable[[], None]:
    return partial(steps.close_ramp, planes, scene.sums, scene.timeline, ends, GAIN_E_PER_DN, test, bands)


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
        Case("finish_rate", 31, each(_finishing(scene, bare), 31), partial(numpy_chain.finish_rate, scene, bare)),
        Case("subtract", 24, each(_subtracting(bare, scene.sky), 24), partial(numpy_chain.subtract, bare, scene.sky)),
        Case("divide", 24, each(_dividing(bare, scene), 24), partial(numpy_chain.divide, bare, *scene.flat)),
        Case("root", 8, each(lambda rows: calibrate.root(bare.err[rows]), 8), partial(numpy_chain.root, bare)),
        Case("flag_unreliable", 4, each(flag, 12), partial(numpy_chain.flag_unreliable, picture, LIMIT_E_PER_S)),
        Case("repair, 1 % bad", REPAIR_BYTES, each(repair, 12), partial(numpy_chain.repair, picture)),
        Case(
            "whole end of a ramp",
            END_BYTES,
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
            sums.marks[rows],
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
    """Do what follows a ramp's last read: the test of that read, fit, dark, sky, flat, errors, flags, repair."""
    _closing(scene, scene.planes, bands, test=TEST)()
    parts = [scene.dark, scene.sky]
    frame = steps.calibrate_frame(scene.sums, scene.static_dq, 0, READ_NOISE_E, parts, scene.flat, bands)
    steps.finish_pixels(*frame, "repair", bands)
    return Picture(*frame)


def finish_ramp_numpy(scene: Scene) -> Picture:
    """Do the same with numpy, all but the test of the last read."""
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
        bins.bin_mean(scene.read[rows.start * n : rows.stop * n], n, binned[rows])

    def preview_numpy() -> None:
        numpy_chain.bin_mean(scene.read, n, binned)
        numpy_chain.preview_rate(scene, scene.planes, scene.static_dq, np.empty_like(binned))

    def preview() -> None:
        steps.preview(scene.planes, scene.timeline, GAIN_E_PER_DN, scene.read, scene.static_dq, n, bands)

    return [
        Case(
            f"bin_mean {n} x {n}",
            2 + share,
            lambda: bands.run(mean, binned.shape, 2 * n * n),
            partial(numpy_chain.bin_mean, scene.read, n, binned),
        ),
        Case(f"preview {n} x {n}, raw and rate", 14 + 2 * share, preview, preview_numpy),
    ]
