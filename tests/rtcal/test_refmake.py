"""References made from ramps, on images whose truth is known."""

import numpy as np
import pytest

from rtcal import refmake
from rtcal.errors import UsageError
from streams.clock import NS
from streams.dq import Dq
from streams.messages import Frame, FrameHeader

SHAPE = (60, 64)


def frame(data, err=0.1, dq=None, detector="IMG1"):
    header = FrameHeader(
        instrument="IRIS",
        detector=detector,
        sequence=0,
        time_ns=20 * NS,
        exposure_id="E-1",
        ramps=1,
        mode="utr",
        effective_s=9.0,
        first_read_ns=10 * NS,
        published_ns=21 * NS,
        reads_used=10,
        reads_lost=0,
        reads_rejected=0,
        complete=True,
        final=True,
        gain_e_per_dn=2.0,
        read_noise_e=9.0,
        saturation_dn=6e4,
    )
    data = np.asarray(data, "f4")
    dq = np.zeros(data.shape, "u4") if dq is None else dq.astype("u4")
    return Frame(header, data, np.full(data.shape, err, "f4"), dq, np.full(data.shape, 65535, "u2"))


def noise(seed, level=0.0, sigma=0.1):
    return np.random.default_rng(seed).normal(level, sigma, SHAPE)


def test_two_darks_average_and_a_cosmic_ray_in_one_of_them_is_left_out():
    first, second = noise(1, 0.02), noise(2, 0.02)
    first[10, 10] += 500
    made = refmake.make_dark([frame(first), frame(second)])
    assert made.rate[10, 10] == pytest.approx(second[10, 10], abs=1e-5)
    assert made.err[10, 10] == pytest.approx(0.1, rel=1e-5)
    assert made.rate[20, 20] == pytest.approx((first[20, 20] + second[20, 20]) / 2, abs=1e-5)
    assert made.err[20, 20] == pytest.approx(0.1 / np.sqrt(2), rel=1e-5)


def test_many_darks_lose_outliers_on_both_sides():
    darks = [noise(seed, 1.0) for seed in range(7)]
    darks[2][5, 5] += 100
    darks[3][6, 6] -= 100
    made = refmake.combine([frame(dark) for dark in darks])
    for y in (5, 6):
        kept = [dark[y, y] for index, dark in enumerate(darks) if index != y - 3]
        assert made.rate[y, y] == pytest.approx(np.mean(kept), abs=1e-5)
    sigma = (made.rate - 1.0).std() * np.sqrt(7) / 0.1
    assert sigma == pytest.approx(1.0, abs=0.05)


def test_a_pixel_without_a_value_in_any_dark_is_not_a_number():
    dq = np.zeros(SHAPE, "u4")
    dq[3, 3] = Dq.DO_NOT_USE | Dq.SATURATED
    made = refmake.combine([frame(noise(1), dq=dq), frame(noise(2), dq=dq)])
    assert np.isnan(made.rate[3, 3])
    assert made.dq[3, 3] == Dq.DO_NOT_USE  # saturation is a matter of those ramps, not of the detector
    assert made.saturated[3, 3]
    one = refmake.combine([frame(noise(1), dq=dq), frame(noise(2))])
    assert np.isfinite(one.rate[3, 3])
    assert one.dq[3, 3] == 0


def test_hot_pixels_are_hot_and_their_coupled_neighbours_only_warm():
    dark = noise(3, 0.02)
    dark[30, 30] += 1000
    dark[30, 31] += 8
    dark[10, 10] += 3
    made = refmake.make_dark([frame(dark), frame(dark + noise(4))])
    assert made.dq[30, 30] & Dq.HOT
    assert made.dq[30, 31] & Dq.WARM
    assert not made.dq[30, 31] & Dq.HOT
    assert made.dq[10, 10] & Dq.HOT
    assert np.count_nonzero(made.dq) < 8


def test_a_bad_pixel_map_holds_hot_dead_noisy_and_border():
    border = np.full(SHAPE, int(Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE), "u4")
    border[4:-4, 4:-4] = 0
    darks = [noise(seed, 0.02) for seed in range(4)]
    for index, dark in enumerate(darks):
        dark[20, 20] += 50
        dark[25, 25] += (-1) ** index * 30
    lit = noise(9, 100.0, 1.0)
    lit[40, 40] = lit[41, 40] = 3.0
    lit[45, 45] = 70.0
    dq = refmake.make_badpix([frame(dark, dq=border) for dark in darks], [frame(lit, err=1.0, dq=border)])
    assert dq[20, 20] == Dq.HOT | Dq.DO_NOT_USE
    assert dq[25, 25] & Dq.TELEGRAPH
    assert dq[40, 40] == dq[41, 40] == Dq.DEAD | Dq.DO_NOT_USE
    assert dq[45, 45] == 0
    assert dq[0, 0] == Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE
    assert np.count_nonzero(dq[4:-4, 4:-4]) < 10


def test_a_map_from_illuminated_frames_alone_finds_the_dead_ones():
    lit = noise(9, 100.0, 1.0)
    lit[40, 40] = 0.0
    dq = refmake.make_badpix([], [frame(lit, err=1.0)])
    assert dq[40, 40] == Dq.DEAD | Dq.DO_NOT_USE
    assert np.count_nonzero(dq) == 1


def test_a_source_that_moves_between_sky_frames_drops_out():
    skies = [noise(seed, 100.0, 1.0) for seed in range(5)]
    for index, sky in enumerate(skies):
        sky[10 + 5 * index, 30] += 1000
    made = refmake.make_sky([frame(sky, err=1.0) for sky in skies])
    assert np.abs(made.rate - 100).max() < 4


def test_frames_that_do_not_belong_together_are_refused():
    with pytest.raises(UsageError, match="no frame came out"):
        refmake.make_dark([])
    with pytest.raises(UsageError, match=r"IMG1.*IMG2"):
        refmake.make_dark([frame(noise(1)), frame(noise(2), detector="IMG2")])
    with pytest.raises(UsageError, match="one detector and shape"):
        refmake.make_sky([frame(noise(1)), frame(noise(1)[:30])])
