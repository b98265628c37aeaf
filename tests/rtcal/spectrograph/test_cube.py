"""Cubes of simulated detector images whose content is known."""

from dataclasses import replace

import numpy as np
import pytest

from rtcal.errors import RtcalError, ShapeError
from rtcal.spectrograph.cube import Cube, CubeMaker, aperture_spectrum, brightest_place, white_light
from rtcal.spectrograph.grid import Grid
from streams.dq import Dq
from streams.simulator import kernels as drawing
from tests.rtcal.spectrograph.fields import field, light, planes, table_of, true_arc


def star_image(traces, size, y, x, flux, sigma=1.3, wings=0.0):
    """A point source of even spectrum, alone on the detector; spaxels hold its light at their centres."""
    image = np.zeros((size, size), np.float32)
    for i in range(traces.ix.size):
        share = np.exp(-((traces.ix[i] - x) ** 2 + (traces.iy[i] - y) ** 2) / 2 / sigma**2) / (2 * np.pi * sigma**2)
        if share > 1e-6:
            spectrum = np.full(traces.length_px, flux * share)
            drawing.draw_trace(
                image,
                int(traces.x0_px[i]),
                traces.y0_px[i],
                traces.tilt,
                traces.sigma_px,
                traces.rows_px,
                wings,
                spectrum,
            )
    return image


@pytest.mark.parametrize(
    ("mode", "size", "flux_tolerance"), [("slicer", 1024, 0.01), ("slicer_half", 1024, 0.01), ("lenslet", 512, 0.01)]
)
def test_a_point_source_keeps_flux_and_place(mode, size, flux_tolerance):
    _, traces = field(mode, size)
    ny, nx = traces.field
    y, x = ny / 2 - 0.3, nx / 2 + 0.2
    maker = CubeMaker(true_arc(traces, size))
    cube = maker.make(*planes(star_image(traces, size, y, x, 1000.0)))
    white, _ = white_light(cube)
    assert np.nansum(white) == pytest.approx(1000, rel=flux_tolerance)
    rate, _, _ = aperture_spectrum(cube, y, x, 6.0)
    assert np.nanmedian(rate) == pytest.approx(1000, rel=flux_tolerance)
    assert brightest_place(white) == pytest.approx((y, x), abs=0.1)


def test_overlapping_lenslet_spectra_leak_unless_they_are_separated():
    _, traces = field("lenslet", 512)
    arc = true_arc(traces, 512)
    image = planes(star_image(traces, 512, 15.0, 14.0, 1000.0))
    leaking = np.nansum(white_light(CubeMaker(arc, steps=0).make(*image))[0])
    apart = np.nansum(white_light(CubeMaker(arc, steps=4).make(*image))[0])
    assert leaking > 1050
    assert apart == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize("mode", ["slicer", "lenslet"])
def test_sky_lines_lie_where_they_should_in_every_spaxel(mode):
    settings, traces = field(mode, 1024)
    maker = CubeMaker(true_arc(traces, 1024))
    cube = maker.make(*planes(light(settings, traces, "sky")))
    grid = cube.grid
    line_um = 1.61286  # strong and alone at this resolution
    near = np.abs(grid.centres_um - line_um) < 4 * grid.step_um
    part = cube.data[near] - np.nanmin(cube.data[near], axis=0)
    centre = (part * grid.centres_um[near, None, None]).sum(axis=0) / part.sum(axis=0)
    off = (centre - line_um) / grid.step_um
    assert np.nanstd(off) < 0.1
    assert abs(np.nanmedian(off)) < 0.1


def test_grid_rates_and_errors_are_those_of_the_pixels():
    _, traces = field("slicer", 512)
    maker = CubeMaker(true_arc(traces, 512), threads=2)
    level = np.full((512, 512), 3.0)
    cube = maker.make(*planes(level, sigma=2.0))
    # Two rows of 3 e-/s in pixels that are some per cent narrower or wider than a bin.
    np.testing.assert_allclose(cube.data[5:-5], 6.0, rtol=0.06)
    assert np.nanmedian(cube.data) == pytest.approx(6.0, rel=2e-3)
    per_spaxel = np.nansum(cube.data, axis=0, dtype=np.float64)
    np.testing.assert_allclose(per_spaxel, 6.0 * traces.length_px, rtol=0.06)  # ends that no bin holds
    assert np.nanmedian(cube.err[5:-5]) == pytest.approx(2.0 * np.sqrt(2.0) * 0.8, rel=0.2)
    assert maker.grid.step_um == pytest.approx(traces.step_um, rel=0.01)
    assert cube.data.shape == (maker.grid.bins, *traces.field)


def test_threads_do_not_change_a_bit():
    settings, traces = field("lenslet", 512)
    image = planes(light(settings, traces), noise=1.0)
    arc = true_arc(traces, 512)
    one, two = (CubeMaker(arc, threads=threads).make(*image) for threads in (1, 3))
    np.testing.assert_array_equal(one.data, two.data)
    np.testing.assert_array_equal(one.dq, two.dq)


def test_bad_pixels_are_flagged_or_gone_and_nan_does_not_spread():
    settings, traces = field("slicer", 512)
    data, err, dq = planes(light(settings, traces, "sky"))
    row, column = int(traces.y0_px[100] + 0.3), int(traces.x0_px[100]) + 60
    whole = CubeMaker(true_arc(traces, 512)).make(data, err, dq)
    data[row - 1 : row + 3, column], dq[row - 1 : row + 3, column] = np.nan, int(Dq.DO_NOT_USE)
    cube = CubeMaker(true_arc(traces, 512)).make(data, err, dq)
    lost = np.isnan(cube.data) & np.isfinite(whole.data)
    assert 1 <= lost.sum() <= 12
    assert (cube.dq[np.isnan(cube.data)] & 1 == 1).all()
    assert (cube.dq[np.isfinite(cube.data)] & 1 == 0).all()


def test_traces_that_failed_leave_their_spaxels_empty():
    _, traces = field("slicer", 512)
    arc = true_arc(traces, 512)
    status = ["OK"] * len(arc.status)
    status[7] = "FAILED"
    cube = CubeMaker(replace(arc, status=tuple(status))).make(*planes(np.full((512, 512), 1.0)))
    empty = np.isnan(cube.data).all(axis=0)
    assert empty.sum() == 1
    assert empty[traces.iy[7], traces.ix[7]]


def test_a_spaxel_of_two_traces_is_their_sum():
    _, traces = field("slicer", 512)
    arc = true_arc(traces, 512)
    where = replace(table_of(traces), ix=traces.ix // 2)
    cube = CubeMaker(replace(arc, traces=where)).make(*planes(np.full((512, 512), 1.0)))
    assert cube.data.shape[2] == 23
    assert np.nanmedian(cube.data[5:-5, :, :22]) == pytest.approx(4.0, rel=0.01)


def test_what_cannot_become_a_cube_is_told():
    _, traces = field("slicer", 512)
    arc = true_arc(traces, 512)
    maker = CubeMaker(arc)
    with pytest.raises(ShapeError, match=r"frame of \(256, 256\) with true_arc.fits, which is of \(512, 512\)"):
        maker.make(*planes(np.zeros((256, 256))))
    with pytest.raises(RtcalError, match="none of its 450 traces has wavelengths"):
        CubeMaker(replace(arc, status=("FAILED",) * len(arc.status)))
    with pytest.raises(RtcalError, match="does not say which spaxel"):
        CubeMaker(replace(arc, traces=replace(arc.traces, ix=arc.traces.ix - 1)))
    with pytest.raises(RtcalError, match="run off the detector"):
        CubeMaker(replace(arc, shape=(400, 512)))


def test_white_light_and_apertures_count_what_is_there():
    grid = Grid(1.5, 0.001, 4)
    data = np.ones((4, 5, 5), np.float32)
    data[1, 2, 2] = np.nan
    data[:, 0, 0] = np.nan
    dq = np.where(np.isnan(data), 1, 0).astype(np.uint32)
    dq[2, 2, 2] = 2
    cube = Cube(grid, data, np.full_like(data, 0.1), dq)
    white, sigma = white_light(cube)
    assert white[2, 2] == 1.0
    assert sigma[2, 2] == pytest.approx(0.1 / np.sqrt(3))
    assert np.isnan(white[0, 0])
    rate, err, flags = aperture_spectrum(cube, 2.0, 2.0, 1.0)
    np.testing.assert_allclose(rate, 5.0)
    assert err[0] == pytest.approx(0.1 * np.sqrt(5))
    assert flags.tolist() == [0, 0, 2, 0]
    assert np.isnan(aperture_spectrum(cube, 0.0, 0.0, 0.5)[0]).all()
    assert white_light(cube, 1.5005, 1.5015)[0][2, 2] != white_light(cube)[0][2, 2]


@pytest.mark.parametrize("mode", ["slicer", "slicer_half", "lenslet", "lenslet_16"])
@pytest.mark.parametrize("kind", ["science", "sky"])
def test_white_light_made_at_once_is_that_of_the_cube(mode, kind):
    """To 0.5 % in nine spaxels of ten and 1 % in all but one of a hundred: spectra of 100 pixels are the worst."""
    settings, traces = field(mode, 1024)
    maker = CubeMaker(true_arc(traces, 1024), threads=2)
    maker.extract(*planes(light(settings, traces, kind), sigma=5.0))
    first, sigma = maker.white()
    whole, whole_sigma = white_light(maker.finish())
    assert (np.isfinite(first) == np.isfinite(whole)).all()
    off = np.abs(first / whole - 1)
    assert np.nanquantile(off, 0.9) < 5e-3
    assert np.nanquantile(off, 0.99) < 0.01
    # The cube's is a quarter too small: it leaves out what neighbouring bins share.
    assert np.nanmedian(sigma / whole_sigma) == pytest.approx(1.23, abs=0.02)


def test_white_light_of_a_star_has_no_light_twice_and_skips_what_has_none():
    _, traces = field("lenslet", 512)
    maker = CubeMaker(true_arc(traces, 512))
    data, err, dq = planes(star_image(traces, 512, 15.0, 14.0, 1000.0))
    maker.extract(data, err, dq)
    assert np.nansum(maker.white()[0]) == pytest.approx(1000, rel=0.01)
    assert np.nansum(np.nanmean(maker.profiles.flux, axis=1)) > 1050  # as extracted
    dark = int(traces.y0_px[100] + 0.5)
    dq[dark - 4 : dark + 5] = int(Dq.DO_NOT_USE)
    maker.extract(data, err, dq)
    white, sigma = maker.white()
    assert np.isnan(white[traces.iy[100], traces.ix[100]])
    assert np.isnan(sigma[traces.iy[100], traces.ix[100]])
    assert np.isfinite(white).sum() > 0.7 * traces.ix.size


def test_white_light_of_a_spaxel_of_two_traces_is_their_sum():
    _, traces = field("slicer", 512)
    arc = true_arc(traces, 512)
    maker = CubeMaker(replace(arc, traces=replace(table_of(traces), ix=traces.ix // 2)))
    maker.extract(*planes(np.full((512, 512), 1.0), sigma=2.0))
    first, sigma = maker.white()
    assert np.nanmedian(first[:, :22]) == pytest.approx(4.0, rel=0.01)
    assert np.nanmedian(sigma[:, 22] / sigma[:, 0]) == pytest.approx(np.sqrt(0.5), rel=0.01)


@pytest.mark.parametrize(("y", "x"), [(5.2, 20.7), (0.0, 0.0), (9.4, 44.0), (-3.0, 50.0)])
def test_the_spectrum_made_at_once_is_that_of_the_slicer_s_cube(y, x):
    settings, traces = field("slicer", 512)
    maker = CubeMaker(true_arc(traces, 512))
    maker.extract(*planes(light(settings, traces), sigma=2.0))
    first = maker.spectrum(y, x, 2.5)
    for one, other in zip(first, aperture_spectrum(maker.finish(), y, x, 2.5), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("mode", ["slicer", "lenslet"])
def test_a_coarse_cube_is_the_mean_of_the_fine_one(mode):
    settings, traces = field(mode, 512)
    maker = CubeMaker(true_arc(traces, 512), steps=1)
    image = planes(light(settings, traces), sigma=2.0)
    fine = maker.make(*image)
    coarse = maker.make_coarse(*image, 20)
    times = -(-fine.grid.bins // 20)
    count = fine.grid.bins // times
    assert coarse.data.shape == (count, *maker.field)
    assert coarse.grid.centres_um[0] == pytest.approx(fine.grid.centres_um[:times].mean())
    parts = fine.data[: count * times].reshape(count, times, *maker.field)
    whole = np.isfinite(parts).all(axis=1)
    whole[[0, -1]] = False  # a fine bin that is covered in part is scaled to the whole by itself
    np.testing.assert_allclose(coarse.data[whole], parts.mean(axis=1)[whole], rtol=2e-3, atol=1e-3)
