"""OH lines as a check of wavelengths, and the sky taken out of cubes."""

import numpy as np
import pytest
from scipy.special import erf

from rtcal.spectrograph import sky
from rtcal.spectrograph.cube import Cube
from rtcal.spectrograph.grid import Grid
from streams.dq import Dq
from streams.lamps import oh_table

GRID = Grid(1.485, 2.04e-4, 1450)


def oh_spectrum(offset_px=0.0, level=2.0, scale=lambda _: 1.0, noise=0.0, seed=1):
    """Lines of the sky's own strengths on a continuum, moved by some pixels."""
    x = np.arange(GRID.bins)
    out = np.full(GRID.bins, level)
    for wavelength, strength in oh_table():
        place = (wavelength - GRID.first_um) / GRID.step_um + offset_px
        if -10 < place < GRID.bins + 10:
            s = np.sqrt(2) * 0.85
            area = 500 * strength * scale(wavelength)
            out += area / 2 * (erf((x + 0.5 - place) / s) - erf((x - 0.5 - place) / s))
    return out + np.random.default_rng(seed).normal(0, noise, GRID.bins)


def cube_of(spectrum, ny=6, nx=5, source=0.0, noise=0.3, seed=2):
    rng = np.random.default_rng(seed)
    data = spectrum[:, None, None] + rng.normal(0, noise, (GRID.bins, ny, nx))
    data[:, :2, :2] += source
    shape = data.shape
    return Cube(GRID, data.astype(np.float32), np.full(shape, noise, np.float32), np.zeros(shape, np.uint32))


@pytest.mark.parametrize("offset", [-1.3, -0.25, 0.0, 0.4, 2.0])
def test_the_offset_of_the_wavelengths_is_measured(offset):
    found, count = sky.oh_offset_px(sky.SkySpectrum(oh_spectrum(offset, noise=0.5), np.ones(GRID.bins)), GRID)
    assert found == pytest.approx(offset, abs=0.05)
    assert count >= 5


def test_without_lines_there_is_no_offset():
    flat = sky.SkySpectrum(np.random.default_rng(0).normal(2, 1, GRID.bins), np.ones(GRID.bins))
    assert sky.oh_offset_px(flat, GRID)[0] is None
    empty = sky.SkySpectrum(np.full(GRID.bins, np.nan), np.full(GRID.bins, np.nan))
    assert sky.oh_offset_px(empty, GRID) == (None, 0)


def test_the_faintest_spaxels_give_the_sky_and_the_source_stays():
    spectrum = oh_spectrum()
    cube = cube_of(spectrum, source=50.0)
    white = np.nanmean(cube.data, axis=0)
    faint = sky.faint_spaxels(white)
    assert not faint[:2, :2].any()
    assert 5 <= faint.sum() <= 9
    found = sky.sky_of(cube, faint)
    np.testing.assert_allclose(found.data, spectrum, atol=0.6)
    before = cube.err.copy()
    sky.subtract(cube, found)
    assert np.nanmean(cube.data[:, :2, :2]) == pytest.approx(50.0, abs=0.1)
    assert abs(np.nanmean(cube.data[:, 3:, 3:])) < 0.1
    assert np.abs(cube.data[:, 3:, 3:]).max() < 3.0
    assert (cube.err > before).all()


def test_groups_of_lines_are_scaled_each_by_their_own():
    middle = 1.632
    target = oh_spectrum(scale=lambda wavelength: 1.2 if wavelength < middle else 0.8, level=5.0, noise=0.2)
    reference = oh_spectrum(level=2.0, noise=0.2, seed=9)
    scale, by_group = sky.group_scales(target, reference, GRID)
    assert scale[200] == pytest.approx(1.2, abs=0.02)
    assert scale[1300] == pytest.approx(0.8, abs=0.02)
    assert len(by_group) >= 3
    cube = cube_of(target)
    plain, scaled = cube_of(target), cube
    sky.subtract(plain, sky.SkySpectrum(reference, np.full(GRID.bins, 0.2)))
    sky.subtract(scaled, sky.SkySpectrum(reference, np.full(GRID.bins, 0.2)), scale)
    bright = reference > 50
    assert np.std(scaled.data[bright]) < 0.2 * np.std(plain.data[bright])


def test_scales_beyond_belief_are_one():
    scale, by_group = sky.group_scales(oh_spectrum(scale=lambda _: 5.0), oh_spectrum(), GRID)
    np.testing.assert_array_equal(scale, 1.0)
    assert by_group == []


def test_the_continuum_lies_below_the_lines():
    slope = np.linspace(5, 15, GRID.bins)
    found = sky.continuum(oh_spectrum(level=0.0, noise=0.1) + slope)
    assert np.median(np.abs(found - slope)) < 0.5
    assert (found[50:-50] - slope[50:-50]).max() < 6.0
    assert sky.continuum(np.array([1.0, 2.0, 3.0])).tolist() == [2.0, 2.0, 2.0]


def test_strong_lines_are_flagged():
    cube = cube_of(oh_spectrum())
    sky.flag_oh(cube)
    at = round((1.61286 - GRID.first_um) / GRID.step_um)
    assert (cube.dq[at - 1 : at + 2] & int(Dq.OH_LINE)).all()
    assert 0.02 < np.mean(cube.dq[:, 0, 0] != 0) < 0.2


def test_nan_in_the_sky_is_no_value():
    spectrum = oh_spectrum()
    cube = cube_of(spectrum)
    spectrum[100] = np.nan
    sky.subtract(cube, sky.SkySpectrum(spectrum, np.ones(GRID.bins)))
    assert np.isnan(cube.data[100]).all()
    assert (cube.dq[100] & 1 == 1).all()
    assert np.isfinite(np.delete(cube.data, 100, axis=0)).all()
