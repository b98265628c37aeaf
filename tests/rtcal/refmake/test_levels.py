"""Levels: the bias after a reset, and where pixels saturate."""

import numpy as np
import pytest

from rtcal.errors import UsageError
from rtcal.refmake.bias import make_bias
from rtcal.refmake.ramps import RampBand
from rtcal.refmake.saturation import make_saturation, saturated_level
from streams.dq import Dq
from tests.lamp import BEND_PER_E, FULL_WELL_E, GAIN, active_pixels, lamp, read


def band(*pixels):
    raw = np.array(pixels, float).T[:, None, :]
    return RampBand(None, np.arange(1.0, len(raw) + 1), raw, raw)


def test_the_simulators_bias_comes_out_of_its_darks_with_an_honest_error(held):
    made = make_bias(held.lamp("dark0", "dark1", "dark2"))
    good = active_pixels()
    off = made.rate - lamp().chip.bias_dn
    # All pixels drift together from read to read: the border tells the reduction by how much.
    off -= np.median(off)
    chi = off[good] / made.err[good]
    assert 1.4826 * np.median(np.abs(chi)) == pytest.approx(1.0, abs=0.15)
    assert np.median(made.err[good]) == pytest.approx(np.hypot(40, 9) / GAIN / np.sqrt(3), rel=0.2)
    assert (made.dq[good] == 0).mean() > 0.999


def test_drift_between_resets_is_taken_out_and_an_unsteady_pixel_flagged(held):
    random = np.random.default_rng(2)
    planes = 5000 + random.normal(0, 4, (6, 64, 128)) + 100 * np.arange(6)[:, None, None]
    planes[:, 20, 20] += random.normal(0, 300, 6)
    planes[4, 30, 30] += 900
    made = make_bias(held.ramps({f"dark{n}": [plane.round().astype("u2")] for n, plane in enumerate(planes)}))
    assert made.rate.mean() == pytest.approx(5000, abs=2)  # the level of the first
    assert np.median(made.err) == pytest.approx(4 / np.sqrt(6), rel=0.25)
    assert made.dq[20, 20] == Dq.UNRELIABLE_BIAS
    assert made.rate[30, 30] == pytest.approx(5000, abs=8)
    assert np.count_nonzero(made.dq[4:-4, 4:-4]) == 1


def test_a_ceiling_is_the_level_and_a_bend_the_last_read_before_it():
    clipped = [5, 15, 25, 35, 40, 40, 40, 40]
    turning = [5, 15, 25, 35, 38, 36, 34, 32]
    straight = [5, 15, 25, 35, 45, 55, 65, 75]
    struck = [5, 15, 95, 105, 115, 125, 135, 145]
    dark = [5, 5, 6, 5, 4, 5, 6, 5]
    level = saturated_level(band(clipped, turning, straight, struck, dark), 3.0)[0]
    np.testing.assert_array_equal(level, [40, 35, np.nan, np.nan, np.nan])


def test_the_simulators_full_well_is_where_its_pixels_saturate(held):
    made = make_saturation(held.lamp("bright0", "bright1"), 1.0)
    good = active_pixels()
    full_dn = lamp().chip.bias_dn + FULL_WELL_E * (1 - BEND_PER_E * FULL_WELL_E) / GAIN
    assert made.measured[good].all()
    off = (made.level_dn - full_dn)[good]
    assert np.abs(off - np.median(off)).max() < 20
    assert abs(np.median(off)) < 20  # what drifts in common
    assert np.median(made.err_dn[good]) < 5
    dead = lamp().chip.dq & Dq.DEAD != 0
    header_dn = read("one", 0, lamp().ramps["dark0"][0]).header.saturation_dn
    assert not made.measured[dead].any()
    assert (made.level_dn[dead] == np.float32(header_dn)).all()
    np.testing.assert_allclose(make_saturation(held.lamp("bright0", "bright1"), 0.9).level_dn, 0.9 * made.level_dn)


def test_ramps_that_do_not_saturate_or_are_too_short_are_refused(held):
    with pytest.raises(UsageError, match="no pixel saturates"):
        make_saturation(held.ramps({"flat": [np.full((64, 128), 5000 + 900 * n, "u2") for n in range(8)]}), 1.0)
    with pytest.raises(UsageError, match="at least 1 ramps of 4 or more reads; found flat ramp 0: 3"):
        make_saturation(held.ramps({"flat": lamp().ramps["flat0"][:3]}), 1.0)
    with pytest.raises(UsageError, match="bias needs"):
        make_bias(held.ramps({}))


def test_reads_of_another_shape_or_detector_are_refused_and_incomplete_ones_left_out(held):
    data = np.full((64, 128), 5000, "u2")
    stack = held.ramps({"one": [data, data]})
    stack.append(read("one", 2, data, complete=False))
    assert len(stack.ramps[0].times_s) == 2
    assert stack.ramps[0].times_s == pytest.approx([0.72, 1.44])
    with pytest.raises(UsageError, match=r"one shape: \(64, 128\), then \(64, 64\)"):
        stack.append(read("one", 2, data[:, :64]))
    with pytest.raises(UsageError, match="one detector, found IMG1 and IMG2"):
        stack.append(read("one", 2, data, detector="IMG2"))
