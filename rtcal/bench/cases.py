"""The kernels as cases to time, each as the steps call it: over bands of rows, on the pool."""

from collections.abc import Callable
from functools import partial

import numpy as np

from rtcal import steps
from rtcal.bands import Bands
from rtcal.bench import numpy_chain
from rtcal.bench.scene import BAD_FRACTION, GAIN_E_PER_DN, LIMIT_E_PER_S, READS, Scene, Work
from rtcal.bench.timing import Case
from rtcal.kernels import badpix, bins
from rtcal.kernels.finish import Output
from rtcal.survey import Survey

SUMS_BYTES = 20
"""For each read and pixel: the read, the zero level, two sums in and out."""
CURVE_BYTES = 4 + 4 * 4
"""The bias and four coefficients."""
TEST_BYTES = 4
"""The two reads before."""
SLOW_BYTES = 4
"""Where something has happened: first saturated read, start of the segment."""
OPEN_BYTES = 8 / READS
"""The sums of a new ramp, shared by its reads."""
LAST_BYTES = 6 + 8
"""The last two reads, the zero level, the sums."""
FINISH_BYTES = (8 + 3 + 4) + 3 * 8 + (12 + 2)
"""Sums, marks and flags; dark, sky, flat; the frame."""
REPAIR_BYTES = 4 + BAD_FRACTION * (8 * 12 + 8)
"""Flags of every pixel; rate, error and flags of the neighbours of the bad ones, and what is written."""


def make_cases(scene: Scene, bands: Bands) -> list[Case]:
    """Return all cases, in the order of a ramp."""
    return [*_ramp_cases(scene, bands), *_frame_cases(scene, bands), *_display_cases(scene, bands)]


def _ramp_cases(scene: Scene, bands: Bands) -> list[Case]:
    calm, bright = scene.reads, scene.bright_reads
    sums, curved = scene.chain(), scene.chain(linear=False)
    jumps, whole = scene.chain(test=True), scene.chain(linear=False, test=True)
    chain_bytes = SUMS_BYTES + TEST_BYTES + OPEN_BYTES

    def case(name: str, bytes_per_pixel: float, work: Work, numpy: Callable[[], object] | None = None) -> Case:
        return Case(name, bytes_per_pixel, lambda: scene.run_ramp(work, bands), numpy, READS)

    in_numpy = partial(numpy_chain.ramp, scene, calm)
    return [
        case("read: sums", SUMS_BYTES + OPEN_BYTES, Work(calm, sums, refpix=False), in_numpy),
        case("read: sums, bright", SUMS_BYTES + SLOW_BYTES + OPEN_BYTES, Work(bright, sums, refpix=False)),
        case("read: sums, linearity", SUMS_BYTES + CURVE_BYTES + OPEN_BYTES, Work(calm, curved, refpix=False)),
        case("read: refpix, jumps", chain_bytes, Work(calm, jumps, refpix=True)),
        case("read: refpix, jumps, bright", chain_bytes + SLOW_BYTES, Work(bright, jumps, refpix=True)),
        # The whole chain comes last: what follows works on a ramp in which some pixels jumped.
        case("read: whole chain", chain_bytes + CURVE_BYTES, Work(calm, whole, refpix=True)),
    ]


def _frame_cases(scene: Scene, bands: Bands) -> list[Case]:
    out = scene.out

    def repair(rows: slice) -> None:
        badpix.repair(out.rate, out.err, out.dq, rows.start, rows.stop)

    return [
        Case("closing, apart from the last read", LAST_BYTES, partial(judge_last, scene, bands), None),
        Case(
            "finalise, 1 % repaired",
            FINISH_BYTES,
            partial(finalise, scene, bands),
            partial(numpy_chain.finalise, scene, out),
        ),
        Case(
            "finalise, linearity", FINISH_BYTES + CURVE_BYTES + 2, partial(finalise, scene, bands, linear=False), None
        ),
        Case(
            "repair alone, 1 % bad",
            REPAIR_BYTES,
            lambda: bands.run(repair, scene.shape, 12),
            partial(numpy_chain.repair, out),
        ),
    ]


def judge_last(scene: Scene, bands: Bands) -> None:
    """Do what closes a ramp whose last read has not come: the test of the latest one, and the segments."""
    work = Work(scene.reads, scene.chain(test=True), refpix=False)
    samples = [scene.sample(read, work) for read in (scene.reads[-1], scene.reads[-2])]
    steps.close_ramp(scene.state, work.chain, samples, scene.reads[0], scene.timeline, bands)


def finalise(scene: Scene, bands: Bands, *, linear: bool = True) -> Output:
    """Make a frame of a ramp's sums: slope, dark, scaled sky, flat, error, flags, repair."""
    survey = Survey(scene.shape, max(scene.shape))
    steps.finish_frame(scene.state, scene.inputs(linear=linear), LIMIT_E_PER_S, "repair", scene.out, bands, survey)
    return scene.out


def _display_cases(scene: Scene, bands: Bands) -> list[Case]:
    n, binned = scene.binning, scene.binned
    share = 4 / n**2

    def mean(rows: slice) -> None:
        bins.bin_mean(scene.read[rows.start * n : rows.stop * n], n, binned[rows])

    def preview_numpy() -> None:
        numpy_chain.bin_mean(scene.read, n, binned)
        numpy_chain.preview_rate(scene, np.empty_like(binned))

    def preview() -> None:
        steps.make_preview(scene.state, scene.timeline, GAIN_E_PER_DN, scene.read, scene.masks, n, bands)

    return [
        Case(
            f"bin_mean {n} x {n}",
            2 + share,
            lambda: bands.run(mean, binned.shape, 2 * n * n),
            partial(numpy_chain.bin_mean, scene.read, n, binned),
        ),
        Case(f"preview {n} x {n}, raw and rate", 11 + 2 * share, preview, preview_numpy),
    ]
