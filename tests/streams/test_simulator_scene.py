import numpy as np
import pytest

from streams.dq import Dq
from streams.lamps import oh_table
from streams.simulator.instrument import REFERENCE_BORDER, band_um
from streams.simulator.psf import FINE, Psf, make_psf, moffat
from streams.simulator.scene import Scene
from streams.simulator.spectra import MODES, lay_traces, point_sources, spectra_light
from streams.simulator.stars import Stars, detector_origin, draw_field, star_light
from tests.simulated import simulated


@pytest.fixture(scope="module")
def psf():
    return make_psf(band_um("H"), 193, 0.15)


def one_star(x_px, y_px, flux=1e5):
    return Stars(np.array([x_px]), np.array([y_px]), np.array([flux]))


def test_a_star_brings_its_flux(psf):
    light = star_light(one_star(512 + 1 / FINE, 500.0), psf, 1024)
    x = np.arange(1024)
    # What is missing is the halo beyond the edge.
    assert 0.99e5 < light.sum(dtype=np.float64) < 1.0001e5
    assert (light * x).sum(dtype=np.float64) / light.sum(dtype=np.float64) == pytest.approx(512.3, abs=2)
    peak = light[500, 511:515].astype(np.float64)
    assert peak[1] > peak[2] > peak[0] > peak[3]


def test_the_halo_is_a_moffat():
    seeing_only = Psf(0.0, np.zeros((FINE, FINE, 255, 255), np.float32), 133.0)
    light = star_light(one_star(250.0, 300.0), seeing_only, 512)
    y, x = np.indices(light.shape)
    expected = 1e5 * moffat(np.hypot(y - 300, x - 250), 133.0)
    np.testing.assert_allclose(light, expected, atol=0.01 * expected.max())


def test_stars_beyond_the_edge_shine_in(psf):
    inside = star_light(one_star(10.0, 128.0), psf, 512)
    outside = star_light(one_star(10.0 - 256, 128.0), psf, 512)
    np.testing.assert_allclose(outside[:, :200], inside[:, 256:456], rtol=0.02, atol=1e-3)


def test_stars_sit_on_the_fine_grid_between_the_limits():
    settings = simulated(size=1024, stars_per_mpx=2000.0)
    stars = draw_field(settings)
    np.testing.assert_allclose(np.round(stars.x_px * FINE), stars.x_px * FINE, atol=1e-6)
    assert stars.flux_e_per_s.max() <= settings.brightest_e_per_s
    assert stars.flux_e_per_s.min() >= settings.faintest_e_per_s * (1 - 1e-9)
    # Counts grow as 10^(0.3 m): by 10^0.3 for each magnitude fainter, away from the bright end.
    fainter_mag = 2.5 * np.log10(settings.brightest_e_per_s / stars.flux_e_per_s)
    counts = [np.count_nonzero((fainter_mag > m) & (fainter_mag <= m + 1)) for m in (6, 7)]
    assert counts[1] / counts[0] == pytest.approx(10**0.3, rel=0.1)


def test_the_mosaic_shows_four_parts_of_one_field():
    places = {name: detector_origin(name, 4096) for name in ("IMG1", "IMG2", "IMG3", "IMG4")}
    assert places == {"IMG1": (0, 4396), "IMG2": (4396, 4396), "IMG3": (0, 0), "IMG4": (4396, 0)}
    scene = Scene(simulated(detectors=["IMG1", "IMG2"]))
    shift = detector_origin("IMG2", 256)[0] - detector_origin("IMG1", 256)[0]
    np.testing.assert_allclose(scene.stars["IMG2"].x_px + shift, scene.stars["IMG1"].x_px, atol=1e-9)


def test_rate_is_light_by_response_and_dark_current():
    scene = Scene(simulated(sky_e_per_s=50.0, sequence=["sky"]))
    chip = scene.chips["IMG1"]
    np.testing.assert_allclose(scene.rate("IMG1", "sky"), 50 * chip.flat + chip.dark_e_per_s, rtol=1e-6)
    np.testing.assert_array_equal(scene.rate("IMG1", "dark"), chip.dark_e_per_s)
    border = (chip.dq & Dq.REFERENCE_PIXEL) != 0
    assert np.count_nonzero(border) == 256**2 - (256 - 2 * REFERENCE_BORDER) ** 2
    assert not scene.rate("IMG1", "sky")[border].any()


def test_bad_pixels_are_as_many_as_asked_and_do_what_they_say():
    chip = Scene(simulated(size=1024, hot_fraction=0.01, dead_fraction=0.02)).chips["IMG1"]
    dead, hot = ((chip.dq & bit) != 0 for bit in (Dq.DEAD, Dq.HOT))
    assert dead.mean() == pytest.approx(0.02, rel=0.05)
    assert hot.mean() == pytest.approx(0.01, rel=0.05)
    assert not chip.flat[dead].any()
    assert chip.dark_e_per_s[hot].min() > 30
    good = chip.dq == 0
    assert np.median(chip.dark_e_per_s[good]) == pytest.approx(0.025, rel=0.02)
    assert np.median(chip.flat[good]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("kind", ["sky", "arc"])
def test_lines_lie_where_the_wavelengths_say(kind):
    settings = simulated(size=2048, detectors=["IFS"])
    traces = lay_traces(settings.size, band_um("H"), "slicer")
    light = spectra_light(traces, settings, kind)
    alone_um = {"sky": 1.70087, "arc": 1.6945211}[kind]  # no other line within 12 pixels
    for index in (0, 100, 400, traces.x0_px.size - 1):
        offset_px = np.interp(alone_um, traces.wavelengths(index), np.arange(traces.length_px))
        y = round(traces.y0_px[index] + traces.tilt * offset_px)
        x0 = round(traces.x0_px[index] + offset_px)
        box = light[y - 1 : y + 2, x0 - 6 : x0 + 7].sum(axis=0).astype(np.float64)
        box -= box.min()
        found_px = (box * np.arange(x0 - 6, x0 + 7)).sum() / box.sum()
        assert found_px == pytest.approx(traces.x0_px[index] + offset_px, abs=0.05)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["Z", "H", "Ks", "Kbb", "Hbb"])
@pytest.mark.parametrize("size", [512, 4096])
def test_spectra_of_every_band_fit_on_the_detector(name, size, mode):
    traces = lay_traces(size, band_um(name), mode)
    end_px = traces.x0_px + traces.length_px
    assert traces.x0_px.min() >= REFERENCE_BORDER
    assert end_px.max() <= size - REFERENCE_BORDER
    assert traces.y0_px.min() - traces.rows_px / 2 >= REFERENCE_BORDER - 0.5
    assert traces.y0_px.max() + traces.tilt * traces.length_px + traces.rows_px / 2 < size - REFERENCE_BORDER
    # No two spectra share their rows and columns.
    columns, place = np.unique(traces.x0_px, return_inverse=True)
    for bank in range(columns.size):
        assert np.diff(np.sort(traces.y0_px[place == bank])).min() >= traces.rows_px - 1e-9
    assert columns.size <= MODES[mode].banks
    assert (np.diff(np.sort(columns)) >= traces.length_px).all()
    assert len({*zip(traces.ix, traces.iy, strict=True)}) == traces.ix.size == traces.field[0] * traces.field[1]


def test_full_size_fields_are_those_of_the_instrument():
    fields = {mode: lay_traces(4096, band_um("H"), mode).field for mode in MODES}
    assert fields == {
        "slicer": (88, 45), "slicer_half": (44, 45), "lenslet": (128, 128), "lenslet_112": (112, 128),
        "lenslet_16": (128, 16),
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["slicer", "lenslet"])
def test_all_light_of_the_spectra_is_on_the_detector_and_the_source_is_absent_from_the_sky(mode):
    settings = simulated(size=512, detectors=["IFS"], ifs_mode=mode)
    traces = lay_traces(settings.size, band_um("H"), mode)
    science, sky = (spectra_light(traces, settings, kind) for kind in ("science", "sky"))
    assert (science >= sky).all()
    stars = sum(star.flux_e_per_s for star in point_sources(traces, settings)) * traces.length_px
    galaxy = science.sum(dtype=np.float64) - sky.sum(dtype=np.float64) - stars
    assert 0 < galaxy < 3 * stars
    continuum = 0.02 * settings.sky_e_per_s * traces.length_px * traces.ix.size
    assert sky.sum(dtype=np.float64) > continuum


def test_line_lists_are_in_order_and_strengths_relative():
    wavelengths = [wavelength for wavelength, _ in oh_table()]
    assert wavelengths == sorted(wavelengths)
    assert max(strength for _, strength in oh_table()) == 1.0
