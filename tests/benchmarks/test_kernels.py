"""Times of the kernels at 2048 x 2048 on one thread; `rtcal bench kernels` sets them beside copies and numpy."""

import pytest

from rtcal.bands import Bands
from rtcal.bench import Scene, make_cases

SIZE = 2048
NAMES = (
    "read: sums",
    "read: sums, bright",
    "read: sums, linearity",
    "read: refpix, jumps",
    "read: refpix, jumps, bright",
    "read: whole chain",
    "closing, apart from the last read",
    "finalise, 1 % repaired",
    "finalise, linearity",
    "repair alone, 1 % bad",
    "bin_mean 2 x 2",
    "preview 2 x 2, raw and rate",
)


@pytest.fixture(scope="module")
def cases():
    with Bands(1) as bands:
        yield {case.name: case for case in make_cases(Scene(SIZE), bands)}


@pytest.mark.parametrize("name", NAMES)
def test_kernel(benchmark, cases, name):
    case = cases[name]
    case.run()
    benchmark.extra_info["bytes_per_pixel"] = case.bytes_per_pixel
    benchmark(case.run)


def test_none_is_forgotten(benchmark, cases):
    benchmark(lambda: None)
    assert set(cases) == set(NAMES)
