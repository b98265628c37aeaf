"""Many fits at once against one fit at a time, and neighbours against a slow loop."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from rtcal.spectrograph.fitting import Lines, fit_clipped
from rtcal.spectrograph.neighbours import nearest

UM_PER_PX = 2e-4


def padded(rng, counts, order, outliers=0):
    """Lines along known polynomials, every trace with its own number of them."""
    most = max(counts)
    arrays = {name: np.zeros((len(counts), most)) for name in ("u", "value", "weight")}
    free = np.zeros((len(counts), most), bool)
    truth = rng.normal(0, 1, (len(counts), order + 1)) * UM_PER_PX * np.array([5000, 400, *[3.0] * (order - 1)])
    for row, count in enumerate(counts):
        u = np.sort(rng.uniform(-1, 1, count))
        u[0], u[-1] = -0.98, 0.98
        arrays["u"][row, :count] = u
        noise = rng.normal(0, 0.01, count)
        noise[rng.choice(np.arange(2, count - 2), outliers, replace=False)] += 0.9
        arrays["value"][row, :count] = chebyshev.chebval(u, truth[row]) + noise * UM_PER_PX
        arrays["weight"][row, :count] = rng.uniform(20, 100, count)
        free[row, :count] = True
    return Lines(**arrays, free=free, held=np.zeros_like(free), um_per_px=np.full(len(counts), UM_PER_PX)), truth


def one_by_one(lines, row, order):
    """The same rule, written for one trace with numpy's own fit."""
    own = lines.free[row]
    u, value, weight = (array[row][own] for array in (lines.u, lines.value, lines.weight))
    used = np.ones(u.size, bool)
    for _ in range(6):
        series = chebyshev.chebfit(u[used], value[used], order, w=weight[used])
        away = np.abs(chebyshev.chebval(u, series) - value) / UM_PER_PX
        without = np.array(away)
        for k in np.flatnonzero(used):
            rest = used & (np.arange(u.size) != k)
            others = chebyshev.chebfit(u[rest], value[rest], order, w=weight[rest])
            without[k] = abs(chebyshev.chebval(u[k], others) - value[k]) / UM_PER_PX
        limit = max(3 * 1.4826 * np.median(away[used]), 0.05)
        kept = (away <= limit) & (without <= 1.5)
        if kept.sum() < order + 2 or (kept == used).all():
            break
        used = kept
    return series, used


@pytest.mark.parametrize("order", [1, 2, 3])
def test_many_fits_are_those_of_one_at_a_time(order):
    rng = np.random.default_rng(order)
    lines, _ = padded(rng, [9, 14, 30, 11], order, outliers=2)
    series, used, residual = fit_clipped(lines, order)
    for row in range(4):
        expected, kept = one_by_one(lines, row, order)
        own = lines.free[row]
        np.testing.assert_allclose(series[row], expected, rtol=0, atol=1e-9 * UM_PER_PX * 5000)
        np.testing.assert_array_equal(used[row][own], kept)
        assert not used[row][~own].any()
        away = (chebyshev.chebval(lines.u[row], series[row]) - lines.value[row]) / UM_PER_PX
        np.testing.assert_allclose(residual[row][own], away[own], atol=1e-6)


def test_a_high_order_finds_the_truth_and_is_calm_where_there_are_no_lines():
    rng = np.random.default_rng(7)
    lines, truth = padded(rng, [40, 25], 5)
    series, _, _ = fit_clipped(lines, 5)
    u = np.linspace(-1, 1, 50)
    for row in range(2):
        error = chebyshev.chebval(u, series[row]) - chebyshev.chebval(u, truth[row])
        assert np.abs(error).max() < 0.05 * UM_PER_PX


def test_held_lines_stay_and_a_share_is_never_left_out():
    rng = np.random.default_rng(3)
    lines, _ = padded(rng, [12], 2, outliers=1)
    _, used, residual = fit_clipped(lines, 2)
    (odd,) = np.flatnonzero(~used[0])
    held = np.zeros_like(lines.held)
    held[0, odd] = True
    _, kept, moved = fit_clipped(Lines(**{**vars(lines), "held": held}), 2)
    assert kept[0, odd]
    assert abs(moved[0, odd]) < abs(residual[0, odd])
    wild = Lines(**{**vars(lines), "value": lines.value + UM_PER_PX * rng.normal(0, 0.3, lines.value.shape) ** 3 * 30})
    assert fit_clipped(wild, 2, 0.9)[1].sum() >= 11


def test_the_nearest_are_those_of_a_slow_search():
    place = np.random.default_rng(1).uniform(0, 100, (300, 2))
    near = nearest(place, 5)
    for index in (0, 17, 255, 256, 299):
        distance = np.hypot(*(place - place[index]).T)
        assert near[index].tolist() == np.argsort(distance)[1:6].tolist()
    assert nearest(place[:3], 5).shape == (3, 2)
    assert nearest(place[:1], 5).shape == (1, 0)
