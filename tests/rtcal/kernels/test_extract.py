"""Extraction and resampling against slow float64 versions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from rtcal.kernels import extract as kernel


def scene(ny=24, nx=18, seed=2):
    rng = np.random.default_rng(seed)
    data = rng.normal(10, 3, (ny, nx)).astype(np.float32)
    err = rng.uniform(1, 2, (ny, nx)).astype(np.float32)
    dq = np.where(rng.uniform(size=(ny, nx)) < 0.1, 1, 0).astype(np.uint32)
    dq[5, 5] |= 2
    return data, err, dq


CENTRES = ((8.2, 0.03, 0.001), (15.6, -0.02, 0.0))
COLUMN, LENGTH = np.array([2, 0]), np.array([12, 18])


def profiles(sigma, half, y=CENTRES, rows=24):
    count = len(y)
    first = np.empty((count, 18), np.int32)
    share = np.empty((count, 18, int(np.ceil(2 * half)) + 1), np.float32)
    full = np.full(count, sigma), np.full(count, half)
    kernel.fill_profiles(LENGTH[:count], np.array(y), *full, rows, 0, count, first, share)
    return first, share


def run(data, err, dq, sigma, half, y=CENTRES):
    first, share = profiles(sigma, half, y)
    out = [np.empty(first.shape, t) for t in (np.float32, np.float32, np.uint32)]
    kernel.extract(
        data, err, dq, np.uint32(1), COLUMN, first, share, np.full(len(y), 2 * half), sigma > 0, 0, len(y), *out
    )
    return out


def shares(i, t, sigma, half):
    """Part of the light in each row, by scipy."""
    centre = np.array(CENTRES[i]) @ (1, t, t * t)
    rows = np.arange(24)
    inside = np.clip(np.minimum(rows + 0.5, centre + half) - np.maximum(rows - 0.5, centre - half), 0, 1)
    if sigma:
        return np.where(inside > 0, norm.cdf(rows + 0.5, centre, sigma) - norm.cdf(rows - 0.5, centre, sigma), 0)
    return inside / (2 * half)


@pytest.mark.parametrize(("sigma", "half"), [(1.1, 3.0), (0.0, 1.5), (0.0, 1.0)])
def test_extraction_is_the_formula(sigma, half):
    data, err, dq = scene()
    flux, flux_var, flux_dq = run(data, err, dq, sigma, half)
    for i in range(2):
        for t in range(18):
            if t >= LENGTH[i]:
                assert np.isnan(flux[i, t])
                assert flux_dq[i, t] == 1
                continue
            x, share = COLUMN[i] + t, shares(i, t, sigma, half)
            use = (share > 0) & (dq[:, x] & 1 == 0)
            d, v, p = data[use, x].astype(float), err[use, x].astype(float) ** 2, share[use]
            if sigma:
                total = (p**2 / v).sum()
                expected, noise = (p * d / v).sum() / total, 1 / total
            else:
                scale = 2 * half * share.sum() / p.sum()
                expected, noise = scale * (p * d).sum(), scale**2 * (p**2 * v).sum()
            assert flux[i, t] == pytest.approx(expected, rel=1e-4)
            assert flux_var[i, t] == pytest.approx(noise, rel=1e-4)
            assert flux_dq[i, t] == np.bitwise_or.reduce(dq[use, x])


def test_light_of_the_profile_comes_out_whole_also_past_a_bad_pixel():
    centre = 11.3
    rows = np.arange(24)
    for sigma, half in ((1.0, 5.0), (0.0, 1.0)):
        if sigma:
            profile = norm.cdf(rows + 0.5, centre, sigma) - norm.cdf(rows - 0.5, centre, sigma)
        else:
            profile = np.clip(np.minimum(rows + 0.5, centre + 1) - np.maximum(rows - 0.5, centre - 1), 0, 1) / 2
        data = np.repeat((500 * profile)[:, None], 18, axis=1).astype(np.float32)
        dq = np.zeros(data.shape, np.uint32)
        dq[12, 7] = 1
        data[12, 7] = np.nan
        flux = run(data, np.ones_like(data), dq, sigma, half, y=((centre, 0.0, 0.0),))[0]
        # Summed rows hold the part of the light that lies in them: 0.2, 1 and 0.8 of three rows are the trace's.
        expected = 500.0 if sigma else 500 * (0.2**2 + 1 + 0.8**2) / 2
        np.testing.assert_allclose(np.delete(flux[0, :12], 5), expected, rtol=1e-4)
        assert flux[0, 5] == pytest.approx(expected, rel=1e-4 if sigma else 0.2)


def test_where_no_row_is_usable_or_the_trace_leaves_the_detector_there_is_no_value():
    data, err, dq = scene()
    flux = run(data, err, dq, 1.0, 2.0, y=((0.4, 0.0, 0.0), (22.9, 0.0, 0.0)))[0]
    assert np.isnan(flux).all()
    dq[:] = 1
    for sigma in (1.0, 0.0):
        flux, _, flux_dq = run(data, err, dq, sigma, 2.0)
        assert np.isnan(flux).all()
        assert (flux_dq == 1).all()


def test_overlapping_spectra_are_separated_to_the_least_squares_solution():
    y = ((9.3, 0.01, 0.0), (11.7, 0.01, 0.0))
    sigma, half = 0.8, 2.4
    first, share = profiles(sigma, half, y)
    rng = np.random.default_rng(3)
    data = rng.normal(5, 2, (24, 18)).astype(np.float32)
    err = rng.uniform(1, 1.4, (24, 18)).astype(np.float32)
    dq = np.zeros(data.shape, np.uint32)
    args = (data, err, dq, np.uint32(1), COLUMN, first, share)
    flux, model = np.empty(first.shape, np.float32), np.empty(data.shape, np.float32)
    before = np.zeros_like(flux)
    flux_var = np.empty_like(flux)
    kernel.extract(*args, np.full(2, 2 * half), True, 0, 2, flux, flux_var, np.empty(first.shape, np.uint32))
    for _ in range(12):
        for low, high in ((0, 7), (7, 18)):
            kernel.render(flux, COLUMN, first, share, low, high, model)
        kernel.weigh_rest(*args[:4], 0, 24, model)
        kernel.correct(COLUMN, first, share, model, flux_var, 1.0, 1.0, 0, 2, flux, before)
    for x in range(2, 14):
        t = x - COLUMN
        columns = np.zeros((24, 2))
        for j in range(2):
            rows = first[j, t[j]] + np.arange(share.shape[2])
            columns[rows, j] = share[j, t[j]]
        # Each trace's equation holds in its own rows: its weights times what is left of the data is zero.
        model = columns @ [flux[0, t[0]], flux[1, t[1]]]
        for j in range(2):
            left = (columns[:, j] / err[:, x] ** 2 * (data[:, x] - model)).sum()
            assert abs(left) < 1e-3


def resample(flux, edges, origin, step, bins, variance=None, dq=None):
    flux = np.atleast_2d(np.asarray(flux, np.float32))
    edges = np.atleast_2d(edges)
    variance = np.ones_like(flux) if variance is None else np.atleast_2d(variance).astype(np.float32)
    dq = np.zeros(flux.shape, np.uint32) if dq is None else np.atleast_2d(dq).astype(np.uint32)
    out = [np.empty((flux.shape[0], bins), t) for t in (np.float32, np.float32, np.uint32)]
    rising = edges[:, 1] > edges[:, 0]
    kernel.resample(flux, variance, dq, edges, rising, origin, step, 0, flux.shape[0], *out, np.empty(bins))
    return [array[0] if array.shape[0] == 1 else array for array in out]


def oracle(flux, edges, origin, step, bins):
    out, covered = np.zeros(bins), np.zeros(bins)
    for i, value in enumerate(flux):
        low, high = sorted(edges[i : i + 2])
        for j in range(bins):
            overlap = max(0.0, min(high, origin + (j + 0.5) * step) - max(low, origin + (j - 0.5) * step))
            out[j] += value * overlap / (high - low)
            covered[j] += overlap / step
    return np.where(covered < 0.5, np.nan, out / np.where(covered < 0.999999, np.maximum(covered, 1e-9), 1))


@pytest.mark.parametrize("direction", [1, -1])
def test_resampling_is_the_overlap(direction):
    rng = np.random.default_rng(5)
    edges = 1.5 + np.cumsum(rng.uniform(0.8e-3, 1.2e-3, 41))[::direction]
    flux = rng.uniform(0, 100, 40)
    out, _, dq = resample(flux, edges, 1.495, 1.1e-3, 50)
    np.testing.assert_allclose(out, oracle(flux, edges, 1.495, 1.1e-3, 50), rtol=2e-6)
    assert ((dq == 1) == np.isnan(out)).all()


@given(
    st.lists(st.floats(0, 1000), min_size=20, max_size=40),
    st.floats(0.3, 3.0),
    st.floats(-0.5, 0.5),
    st.booleans(),
)
def test_all_light_arrives_and_nothing_else(values, ratio, phase, falling):
    n = len(values)
    edges = np.arange(n + 1.0)[:: -1 if falling else 1].copy()
    bins = int(n / ratio) + 6
    out, *_ = resample(values, edges, -2 * ratio + phase, ratio, bins)
    covered = np.nan_to_num(out.astype(float))
    # The ends' bins are covered in part and scaled to the whole; what lies between holds all light.
    centre = -2 * ratio + phase + ratio * np.arange(bins)
    low, high = centre - ratio / 2, centre + ratio / 2
    part = np.clip(np.minimum(high, n) - np.maximum(low, 0), 0, None) / ratio
    kept = np.isfinite(out)
    in_order = np.asarray(values, np.float32)[:: -1 if falling else 1]
    lost = sum(
        in_order[i] * max(0, min(i + 1, high[j]) - max(i, low[j]))
        for j in np.flatnonzero(~kept & (part > 0))
        for i in range(n)
    )
    assert (covered * part).sum() + lost == pytest.approx(np.sum(values, dtype=float), rel=1e-5, abs=1e-3)


def test_a_line_keeps_its_place():
    x = np.arange(64)
    centre, sigma = 30.37, 0.9
    flux = 1000 * (norm.cdf(x + 0.5, centre, sigma) - norm.cdf(x - 0.5, centre, sigma))
    out, *_ = resample(flux, np.arange(65) - 0.5, 0.31, 1.0, 64)
    kept = np.isfinite(out)
    moment = (out[kept] * (0.31 + x[kept])).sum() / out[kept].sum()
    assert moment == pytest.approx(centre, abs=0.02)


def test_flags_follow_where_a_pixel_covers_more_than_a_tenth_and_variance_goes_with_the_square():
    edges = np.arange(11.0) - 0.5
    dq = np.zeros(10, np.uint32)
    dq[4], dq[7] = 2, 1
    out, variance, flags = resample(np.ones(10), edges, 0.05, 1.0, 9, dq=dq)
    assert [int(flag) for flag in flags] == [0, 0, 0, 0, 2, 0, 0, 1, 0]
    assert variance[1] == pytest.approx(0.95**2 + 0.05**2, rel=1e-5)
    assert np.isnan(out[7])
    out, _, flags = resample(np.ones(10), edges, 0.3, 1.0, 9, dq=dq)
    assert flags[3] == 2
    assert flags[4] == 2
    assert out[6] == pytest.approx(1.0)  # the part that is missing is made up for


def test_pixels_that_stand_alone_are_found_and_lines_are_not():
    y, x = np.mgrid[0:20, 0:20]
    data = (200 * np.exp(-((x - 10.4) ** 2 + (y - 9.7) ** 2) / 2 / 0.8**2)).astype(np.float32)
    data[3, 4] = 90.0
    isolated = np.zeros(data.shape, bool)
    kernel.find_isolated(data, np.ones_like(data), 3.0, 5.0, 0, 20, isolated)
    assert isolated.sum() == 1
    assert isolated[3, 4]
