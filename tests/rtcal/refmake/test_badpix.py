"""The bad-pixel map, on images into which faults were put."""

import numpy as np
import pytest

from rtcal.errors import UsageError
from rtcal.refmake.badpix import make_badpix, noise_flags
from streams.dq import Dq
from tests.lamp import frame

SHAPE = (60, 64)


def noise(seed, level=0.0, sigma=0.1):
    return np.random.default_rng(seed).normal(level, sigma, SHAPE)


def map_of_light(held, lit, err=1.0):
    return make_badpix(held.frames(), held.frames(frame(lit, err=err)))


def test_a_map_holds_hot_dead_noisy_and_border(held):
    border = np.full(SHAPE, int(Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE), "u4")
    border[4:-4, 4:-4] = 0
    darks = [noise(seed, 0.02) for seed in range(4)]
    for index, dark in enumerate(darks):
        dark[20, 20] += 50
        dark[25, 25] += (-1) ** index * 30
    lit = noise(9, 100.0, 1.0)
    lit[40, 40] = lit[41, 40] = 3.0
    lit[45, 45] = 70.0
    lit[50, 50] = 30.0
    dq = make_badpix(
        held.frames(*(frame(dark, dq=border) for dark in darks)),
        held.frames(frame(lit, err=1.0, dq=border)),
    )
    assert dq[20, 20] == Dq.HOT | Dq.DO_NOT_USE
    assert dq[25, 25] & Dq.TELEGRAPH
    assert dq[40, 40] == dq[41, 40] == Dq.DEAD | Dq.DO_NOT_USE
    assert dq[45, 45] == 0
    assert dq[50, 50] == Dq.LOW_QE | Dq.DO_NOT_USE
    assert dq[0, 0] == Dq.REFERENCE_PIXEL | Dq.DO_NOT_USE
    assert np.count_nonzero(dq[4:-4, 4:-4]) < 10


def test_a_map_from_illuminated_frames_alone_finds_the_dead_ones(held):
    lit = noise(9, 100.0, 1.0)
    lit[40, 40] = 0.0
    dq = map_of_light(held, lit)
    assert dq[40, 40] == Dq.DEAD | Dq.DO_NOT_USE
    assert np.count_nonzero(dq) == 1


def test_an_open_pixel_is_told_from_a_dead_one_by_its_neighbours(held):
    lit = noise(9, 100.0, 1.0)
    neighbours = [(19, 30), (21, 30), (20, 29), (20, 31)]
    lit[20, 30] = 8.0  # its charge went to the four beside it
    for place in neighbours:
        lit[place] += 23.0
    lit[40, 30] = 2.0  # dead, beside one star
    lit[40, 31] += 90.0
    lit[0, 0] = 1.0  # in the corner nobody can tell
    dq = map_of_light(held, lit)
    assert dq[20, 30] == Dq.CROSS_BAD | Dq.DO_NOT_USE
    assert {int(dq[place]) for place in neighbours} == {int(Dq.CROSS_BAD_NEIGH | Dq.DO_NOT_USE)}
    assert dq[40, 30] == dq[0, 0] == Dq.DEAD | Dq.DO_NOT_USE
    assert dq[40, 31] == dq[21, 31] == 0
    assert np.count_nonzero(dq) == 7


def test_faint_light_makes_no_pixel_dead(held):
    assert not map_of_light(held, noise(5, 3.0, 2.0), err=2.0).any()


def test_noise_within_darks_tells_telegraph_from_plain_noise_and_both_from_cosmic_rays(held):
    random, reads = np.random.default_rng(8), 12
    darks = {}
    for number in range(3):
        cube = 5000 + random.normal(0, 3, (reads, 64, 128))
        cube[:, 20, 20] += random.normal(0, 25, reads)
        cube[[2, 3, 6, 7, 8], 30, 30] += 200  # between two levels
        cube[5:, 40, 40] += 3000 if number == 1 else 0
        darks[f"dark{number}"] = cube.round().astype("u2")
    dq = noise_flags(held.ramps(darks, setup={"SUBARRAY": "FULL", "CHANNELS": 2}))
    assert dq[20, 20] == Dq.OTHER_BAD_PIXEL
    assert dq[30, 30] & Dq.TELEGRAPH
    assert dq[40, 40] == 0
    assert np.count_nonzero(dq[4:-4, 4:-4]) == 2


def test_darks_and_light_of_different_shapes_are_refused(held):
    with pytest.raises(UsageError, match="one detector and shape"):
        make_badpix(held.frames(frame(noise(1))), held.frames(frame(noise(1)[:30])))
