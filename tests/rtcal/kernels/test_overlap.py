"""What neighbours leak, against the formula in numpy."""

import numpy as np
import pytest

from rtcal.kernels import overlap


def test_the_leak_is_the_share_of_a_neighbour_s_profile():
    rng = np.random.default_rng(7)
    column, rows = np.array([3, 5]), 20
    first = np.array([[4, 4, 5, 5, -1], [6, 6, 7, 7, 7]], np.int32)
    share = rng.uniform(0.05, 0.4, (2, 5, 4)).astype(np.float32)
    image = np.zeros((2, rows, 12))
    for i in range(2):
        for t in range(5):
            if first[i, t] >= 0:
                image[i, first[i, t] : first[i, t] + 4, column[i] + t] = share[i, t]
    taker, giver, part = np.array([0, 1]), np.array([1, 0]), np.empty(2)
    overlap.leak(column, first, share, taker, giver, 0, 2, part)
    for pair in range(2):
        i, j = taker[pair], giver[pair]
        own = (image[i] ** 2).sum(axis=0)
        lit = own > 0
        expected = ((image[i] * image[j]).sum(axis=0)[lit] / own[lit]).mean()
        assert part[pair] == pytest.approx(expected, rel=1e-6)
        assert expected > 0.05
