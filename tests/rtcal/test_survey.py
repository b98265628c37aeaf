"""The binned image that goes before a frame: its pixels against a slow oracle, its header, when there is none."""

import numpy as np
import pytest

from rtcal.survey import screen_binning, survey_of
from streams.dq import Dq
from tests.quicklook import make_frame


def binned_frame(frame, pixels):
    return survey_of(frame, pixels).binned(frame)


def mean_oracle(data, good, binning):
    out = np.full((data.shape[0] // binning, data.shape[1] // binning), np.nan)
    for y, x in np.ndindex(out.shape):
        box = (slice(y * binning, (y + 1) * binning), slice(x * binning, (x + 1) * binning))
        if good[box].any():
            out[y, x] = data[box][good[box]].astype(float).mean()
    return out


def damaged(shape, seed):
    rng = np.random.default_rng(seed)
    frame = make_frame("IMG1", 4, data=rng.normal(100, 20, shape))
    frame.data[rng.random(shape) < 0.05] = np.nan
    frame.data[0, 0] = np.inf
    frame.dq[rng.random(shape) < 0.2] |= np.uint32(Dq.DO_NOT_USE)
    frame.dq[rng.random(shape) < 0.2] |= np.uint32(Dq.JUMP_DET)
    frame.dq[4:8, 4:8] |= np.uint32(Dq.DO_NOT_USE)
    return frame


@pytest.mark.parametrize(("shape", "pixels", "binning"), [((64, 48), 16, 4), ((67, 33), 32, 3), ((20, 41), 21, 2)])
def test_bins_hold_the_mean_of_the_pixels_that_may_be_used(shape, pixels, binning):
    frame = damaged(shape, sum(shape))
    binned = binned_frame(frame, pixels)
    good = np.isfinite(frame.data) & (frame.dq & np.uint32(Dq.DO_NOT_USE) == 0)
    assert binned.header.binning == binning == screen_binning(shape, pixels)
    np.testing.assert_allclose(binned.data, mean_oracle(frame.data, good, binning), rtol=1e-5, equal_nan=True)
    assert np.isnan(binned.data).any() == np.isnan(mean_oracle(frame.data, good, binning)).any()


def test_it_says_which_frame_it_is():
    frame = damaged((64, 64), 1)
    header = binned_frame(frame, 16).header
    assert (header.frame, header.sequence, header.full_shape) == (frame.header, frame.header.sequence, (64, 64))
    assert header.source == "IRIS/IMG1/binned"


def test_a_frame_that_fits_a_screen_needs_none():
    assert binned_frame(make_frame("IMG1", side=64), 64) is None


def test_a_strip_that_is_thinner_than_a_bin_has_none():
    assert binned_frame(make_frame("IMG1", data=np.ones((2, 64))), 16) is None
