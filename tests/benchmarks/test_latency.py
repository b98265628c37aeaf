"""From a ramp's last read to its frame, and from any other read to its preview, inside the process."""

import numpy as np
import pytest

from rtcal.bands import Bands
from rtcal.config import Settings
from rtcal.pipeline import Pipeline
from rtcal.reduce import pipeline_settings
from streams import settings as settings_file
from streams.messages import Frame, Preview
from tests.fakes import FakeClock, FixedReferences, dark_reference, ramp_reads, sky_reference

SIZE = 2048
READS = 10


@pytest.fixture(scope="module")
def reads():
    rng = np.random.default_rng(1)
    first = rng.integers(4000, 5000, (SIZE, SIZE))
    noise = rng.normal(0, 4, (SIZE, SIZE))
    cube = [first + 25 * index + np.roll(noise, 31 * index, 1) for index in range(READS)]
    return ramp_reads(np.array(cube).astype("<u2"), setup={"SUBARRAY": "FULL"})


@pytest.fixture
def pipeline():
    level, err = np.ones((SIZE, SIZE), "f4"), np.full((SIZE, SIZE), 0.01, "f4")
    references = FixedReferences(dark=dark_reference(level, err), sky=sky_reference(100 * level, err))
    settings = settings_file.load(None, Settings)
    with Bands(settings.daemon.threads) as bands:
        yield Pipeline(pipeline_settings(settings), references, bands, FakeClock())


def begin(pipeline, reads):
    """Take all reads but the last, as a new exposure each time."""
    pipeline.forget()
    for read in reads:
        for _ in pipeline.process(read):
            pass


def test_last_read_to_frame(benchmark, pipeline, reads):
    def last():
        return list(pipeline.process(reads[-1]))

    results = benchmark.pedantic(last, setup=lambda: begin(pipeline, reads[:-1]), rounds=9, warmup_rounds=1)
    assert [type(result) for result in results] == [Frame, Preview]


def test_read_to_preview(benchmark, pipeline, reads):
    def middle():
        return list(pipeline.process(reads[5]))

    results = benchmark.pedantic(middle, setup=lambda: begin(pipeline, reads[:5]), rounds=9, warmup_rounds=1)
    assert [type(result) for result in results] == [Preview]
