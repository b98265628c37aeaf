"""From sums to a calibrated frame, against the formulas of the specification, float64."""

import numpy as np
import pytest

from rtcal import steps
from rtcal.bands import Bands
from rtcal.buffers import allocate_state
from rtcal.errors import ShapeError
from rtcal.kernels.finish import Estimate, Noise
from rtcal.kernels.planes import BLOCK, FLOOR, JUMP, NEVER, SPILLED, Curve
from rtcal.steps import Inputs
from rtcal.survey import Survey, certain_glow
from streams.dq import Dq

SHAPE = (6, 300)
F32 = np.float32
GAIN, READ_NOISE_E = 2.0, 9.0


def locked(array, dtype="f4"):
    array = np.ascontiguousarray(array, dtype)
    array.setflags(write=False)
    return array


def zero():
    return locked(np.full(SHAPE, 1000), "<u2")


def gathered_state(seed=1):
    """An exposure whose ramps are gathered: a rate, weight and photon term for each pixel."""
    rng = np.random.default_rng(seed)
    state = allocate_state(SHAPE)
    state.slow[:] = 0
    weight, rate, photon = (rng.uniform(low, low + 5, SHAPE) for low in (1.0, -3.0, 0.1))
    state.closed[:, 0], state.closed[:, 1], state.closed[:, 2] = weight * rate / GAIN, weight, weight**2 * photon
    return state, rate, READ_NOISE_E**2 / weight + np.maximum(rate, 0) * photon


def inputs(state, *, gathered=True, always=0, dark=None, sky=None, flat=None, curve=None, estimate=None, static=None):
    width = SHAPE[1]
    nothing, one = steps.nothing(width), (steps.flat_row(1, width), steps.flat_row(0, width))
    if estimate is None:
        estimate = Estimate(state.moments, np.zeros(2, "f4"), 5, F32(0), F32(0), gathered)
    noise = Noise(F32(GAIN), F32(READ_NOISE_E**2), zero(), curve or steps.straight(width))
    static = locked(np.zeros(SHAPE) if static is None else static, "u4")
    return Inputs(estimate, noise, static, always, dark or nothing, sky or nothing, *(flat or one))


def finish(state, made, bad_pixels="keep", limit=np.inf, threads=1, survey=None):
    out = steps.output(SHAPE)
    with Bands(threads) as bands:
        steps.finish_frame(state, made, limit, bad_pixels, out, bands, survey or Survey(SHAPE, max(SHAPE)))
    return out


def test_rate_error_and_flags_follow_from_the_sums():
    state, rate, variance = gathered_state()
    state.closed[0, 1, 0] = 0
    state.closed[5, 0, 5] = np.nan
    state.saturated_from[1, 1] = 3
    state.marks[4, :3] = JUMP, FLOOR, SPILLED
    static = np.zeros(SHAPE)
    static[2, 2] = Dq.HOT
    out = finish(state, inputs(state, always=int(Dq.MISSING_READ), static=static))
    good = np.ones(SHAPE, bool)
    good[0, 0] = good[5, 5] = False
    np.testing.assert_allclose(out.rate[good], rate[good], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out.err[good], np.sqrt(variance[good]), rtol=1e-5)
    for y, x in ((0, 0), (5, 5)):
        assert np.isnan(out.rate[y, x])
        assert np.isnan(out.err[y, x])
        assert out.dq[y, x] == Dq.DO_NOT_USE | Dq.MISSING_READ
    assert out.dq[1, 1] == Dq.SATURATED | Dq.MISSING_READ
    assert out.dq[2, 2] == Dq.HOT | Dq.MISSING_READ
    assert out.dq[3, 3] == Dq.MISSING_READ
    assert [int(value) ^ Dq.MISSING_READ for value in out.dq[4, :3]] == [Dq.JUMP_DET, Dq.AD_FLOOR, Dq.SATURATED]
    assert out.saturated_from[1, 1] == 3
    assert (out.saturated_from == NEVER).sum() == out.saturated_from.size - 1


def test_a_single_ramp_takes_its_moments_but_where_something_has_happened():
    rng = np.random.default_rng(2)
    state = allocate_state(SHAPE)
    state.slow[:] = 0
    state.moments[:] = rng.uniform(-5, 50, state.moments.shape)
    weight, spread, factors = 4.0, 3.0, (-0.25, 1.5)
    state.slow[2, 1] = 1  # the second block of the row: columns 256 and up
    state.first_bad[2, BLOCK:], state.start[2, BLOCK:] = NEVER, 0
    state.first_bad[2, 270] = 2
    state.start[2, 280] = 3
    state.closed[2, :, 270] = 6.0, 2.0, 0.5
    state.closed[2, :, 280] = 0.0
    estimate = Estimate(state.moments, np.array(factors, "f4"), 5, F32(weight), F32(spread), False)
    out = finish(state, inputs(state, estimate=estimate))
    rate = factors[0] * state.moments[:, 0].astype(float) + factors[1] * state.moments[:, 1]
    variance = READ_NOISE_E**2 / weight + np.maximum(rate, 0) * spread / weight**2
    rate[2, 270], variance[2, 270] = 3 * GAIN, READ_NOISE_E**2 / 2 + 3 * GAIN * 0.5 / 4
    rate[2, 280] = variance[2, 280] = np.nan
    np.testing.assert_allclose(out.rate, rate, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(out.err, np.sqrt(variance), rtol=1e-5)
    np.testing.assert_array_equal(out.dq & Dq.DO_NOT_USE != 0, np.isnan(rate))


def test_a_constant_dark_is_subtracted_exactly_and_its_error_added():
    state, _, _ = gathered_state()
    state.closed[:, 0], state.closed[:, 1], state.closed[:, 2] = 12.5 / GAIN * 4, 4.0, 0.0
    dark = steps.product(locked(np.full(SHAPE, 2.25)), locked(np.full(SHAPE, 3.0)))
    out = finish(state, inputs(state, dark=dark))
    assert (out.rate == 10.25).all()
    np.testing.assert_allclose(out.err, np.sqrt(READ_NOISE_E**2 / 4 + 9.0), rtol=1e-6)


def test_dark_scaled_sky_and_flat_with_their_errors():
    state, rate, variance = gathered_state()
    rng = np.random.default_rng(3)
    dark, dark_err, sky, sky_err, flat, flat_err = (
        locked(rng.uniform(low, 2 * low, SHAPE)) for low in (0.1, 0.02, 50.0, 0.5, 0.7, 0.01)
    )
    parts = {
        "dark": steps.product(dark, dark_err),
        "sky": steps.product(sky, sky_err, 1.07, 0.01),
        "flat": (flat, flat_err),
    }
    out = finish(state, inputs(state, **parts))
    f = flat.astype(float)
    rate = (rate - dark.astype(float) - 1.07 * sky.astype(float)) / f
    variance = variance + dark_err.astype(float) ** 2 + (1.07 * sky_err.astype(float)) ** 2 + (sky * 0.01) ** 2
    variance = (variance + (rate * flat_err.astype(float)) ** 2) / f**2
    np.testing.assert_allclose(out.rate, rate, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(out.err, np.sqrt(variance), rtol=1e-5)


def test_linearity_stretches_the_read_noise_by_the_slope_of_its_curve():
    rng = np.random.default_rng(4)
    state = allocate_state(SHAPE)
    state.slow[:] = 0
    n, weight = 5, 4.0
    state.moments[:, 0] = rng.uniform(0, 20_000 * n, SHAPE)
    coefficients = np.zeros((SHAPE[0], 4, SHAPE[1]), "f4")
    coefficients[:, 1], coefficients[:, 2], coefficients[:, 3] = 1.0, 2e-6, 3e-11
    curve = Curve(locked(np.full(SHAPE, 900)), locked(coefficients))
    estimate = Estimate(state.moments, np.zeros(2, "f4"), n, F32(weight), F32(0), False)
    out = finish(state, inputs(state, estimate=estimate, curve=curve))
    level = 100 + state.moments[:, 0].astype(float) / n
    stretch = 1 + 2 * 2e-6 * level + 3 * 3e-11 * level**2
    np.testing.assert_allclose(out.err, READ_NOISE_E / np.sqrt(weight) * stretch, rtol=1e-5)


def test_an_error_beyond_the_limit_makes_a_slope_unreliable():
    state, _, variance = gathered_state()
    limit = float(np.sqrt(np.median(variance)))
    out = finish(state, inputs(state), limit=limit)
    np.testing.assert_array_equal(out.dq & Dq.UNRELIABLE_SLOPE != 0, out.err > F32(limit))


@pytest.mark.parametrize("how", ["repair", "nan", "keep"])
def test_bad_pixels_are_treated_as_asked_in_every_band(how, monkeypatch):
    """Small bands and chunks, so that the rows of most repairs lie in several; one thread or two, all the same."""
    state, _, _ = gathered_state()
    static = np.where(np.random.default_rng(5).random(SHAPE) < 0.2, np.uint32(Dq.DO_NOT_USE), np.uint32(0))
    whole = finish(state, inputs(state, static=static), how)
    monkeypatch.setattr("rtcal.bands.LEAST_ROWS", 1)
    monkeypatch.setattr("rtcal.bands.BAND_BYTES", 1)
    monkeypatch.setattr(steps, "CHUNK_ROWS", 1)
    for threads in (1, 2):
        parts = finish(state, inputs(state, static=static), how, threads=threads)
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one, other)
    bad = static != 0
    assert np.isnan(whole.rate[bad]).all() == (how == "nan")
    assert np.isfinite(whole.rate[~bad]).all()
    assert (whole.dq[bad] & Dq.DO_NOT_USE != 0).all()


@pytest.mark.parametrize("pixels", [300, 150, 75])
def test_rows_are_seen_as_they_are_put_down(pixels, monkeypatch):
    """In bins of one row, of two and of four, which six rows do not fill."""
    state, _, _ = gathered_state()
    static = np.where(np.random.default_rng(5).random(SHAPE) < 0.2, np.uint32(Dq.DO_NOT_USE), np.uint32(0))
    glow = certain_glow(np.array([7, 350, 1400]))
    monkeypatch.setattr("rtcal.bands.LEAST_ROWS", 1)
    monkeypatch.setattr("rtcal.bands.BAND_BYTES", 1)
    monkeypatch.setattr(steps, "CHUNK_ROWS", 1)
    seen, later = Survey(SHAPE, pixels, glow), Survey(SHAPE, pixels)
    out = finish(state, inputs(state, static=static), "repair", threads=2, survey=seen)
    later.rows(0, SHAPE[0], out, 0)
    assert np.flatnonzero(out.dq & Dq.PERSISTENCE).tolist() == seen.glowing.tolist() == [7, 350, 1400]
    for one, other in zip(seen.blocks, later.blocks, strict=True):
        np.testing.assert_array_equal(one, other)
    if pixels < max(SHAPE):
        np.testing.assert_array_equal(seen.image, later.image)


def test_rows_are_put_down_in_whole_bins_however_many_fit_the_room(monkeypatch):
    """Six rows and two around them make chunks of four, so that a bin never lies in two."""
    height, width = 43, 64
    monkeypatch.setattr(steps, "CHUNK_ROWS", 6)
    survey, out = Survey((height, width), 16), steps.output((height, width))
    assert survey.binning == 4
    values = np.random.default_rng(8).normal(0, 1, (height, width)).astype("f4")

    def rows_of(start, stop, part, first):
        rows = slice(first, first + stop - start)
        part.rate[rows], part.err[rows], part.dq[rows], part.saturated_from[rows] = values[start:stop], 1, 0, NEVER

    with Bands(1) as bands:
        steps.fill_frame(rows_of, "repair", out, bands, survey)
    np.testing.assert_array_equal(out.rate, values)
    means = values[:40].astype(float).reshape(10, 4, 16, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(survey.image, means, atol=1e-6)
    np.testing.assert_array_equal(survey.blocks.highest[:, 0], values.max(axis=1))


def test_a_reference_of_another_shape_is_refused_by_name():
    state, _, _ = gathered_state()
    other = locked(np.zeros((5, 300)))
    with pytest.raises(ShapeError, match="the sky is"):
        finish(state, inputs(state, sky=steps.product(other, other)))
