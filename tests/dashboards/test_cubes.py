"""Cubes: collapses and spectra against numpy, and a cube shown as a detector of its own."""

import json

import numpy as np
import pytest
from msgspec.structs import replace

from dashboards.analysis import Box, Tools, measure
from dashboards.cubes import Collapse, collapsed, spectrum
from dashboards.feed import Feed
from dashboards.hub import Hub
from dashboards.settings import Budget, Settings
from streams.clock import SystemClock
from streams.dq import Dq
from streams.messages import Cube
from streams.settings import load
from tests.dashboards.analysis.test_measure import OPTICS, WISH
from tests.desks import made_desk
from tests.quicklook import make_cube, make_white

BAD = np.uint32(Dq.DO_NOT_USE)


@pytest.fixture
def cube():
    made = make_cube("IFS", 1, bins=50, field=(12, 10))
    rng = np.random.default_rng(4)
    made.dq[rng.random(made.dq.shape) < 0.1] |= BAD
    made.dq[:, 3, 4] |= BAD
    made.data[5, 6, 7] = np.nan
    return made


def masked(cube, part=slice(None)):
    good = np.isfinite(cube.data[part]) & (cube.dq[part] & BAD == 0)
    return np.where(good, cube.data[part], np.nan).astype(float), np.where(good, cube.err[part], np.nan).astype(float)


@pytest.mark.parametrize(
    ("collapse", "part", "how"),
    [
        (None, slice(None), np.nanmean),
        (Collapse("mean", 10, 20), slice(10, 21), np.nanmean),
        (Collapse("median", 3, 30), slice(3, 31), np.nanmedian),
        (Collapse("sum", 30, 3), slice(3, 31), np.nansum),
        (Collapse("mean", 7, 7), slice(7, 8), np.nanmean),
        (Collapse("mean", 900, 901), slice(49, 50), np.nanmean),
    ],
)
@pytest.mark.filterwarnings("ignore:.*(empty slice|All-NaN).*:RuntimeWarning")
def test_a_collapse_is_that_of_the_good_voxels(cube, collapse, part, how):
    image, err, dq = collapsed(cube, collapse)
    values, errors = masked(cube, part)
    some = np.isfinite(values).any(axis=0)
    np.testing.assert_allclose(image[some], how(values, axis=0)[some], rtol=1e-5)
    assert np.isnan(image[~some]).all()
    assert (dq[~some] & BAD != 0).all()
    assert (dq[some] & BAD == 0).all()
    noise = np.sqrt(np.nansum(errors**2, axis=0))
    count = np.isfinite(values).sum(axis=0)
    scale = {np.nansum: 1.0, np.nanmean: 1 / np.maximum(count, 1)}.get(how, np.sqrt(np.pi / 2) / np.maximum(count, 1))
    np.testing.assert_allclose(err[some], (noise * scale)[some], rtol=1e-5)


def test_a_spectrum_is_the_sum_over_good_spaxels(cube):
    mask = np.zeros((12, 10), bool)
    mask[2:5, 3:6] = True
    rate, noise, spaxels = spectrum(cube, mask)
    values, errors = masked(cube)
    np.testing.assert_allclose(rate, np.nansum(values[:, mask], axis=1), rtol=1e-6)
    np.testing.assert_allclose(noise, np.sqrt(np.nansum(errors[:, mask] ** 2, axis=1)), rtol=1e-6)
    assert spaxels == 9


def hub_of(*messages):
    settings = load(None, Settings)
    feed = Feed(SystemClock(), Budget(100 << 20, 5, 5), 128)
    hub = Hub(feed, settings.dashboard, OPTICS, made_desk(settings, SystemClock()), "test")
    for message in messages:
        feed.take(message)
    return hub


def test_a_cube_stands_beside_its_detector_and_is_collapsed_as_wished(cube):
    hub = hub_of(cube)
    snapshot = hub.feed.latest()
    assert snapshot.detectors() == {"IFS-cube"}
    wish = replace(WISH, detector="IFS-cube", collapse=Collapse("sum", 4, 9))
    scene = hub.scene(snapshot, wish)
    np.testing.assert_array_equal(scene.tiles[0].picture.levels[0].data, collapsed(cube, wish.collapse)[0])
    tools = Tools(spectrum=Box(shape="rectangle", x0=4.0, x1=4.0, y0=6.0, y1=6.0))
    found = json.loads(measure(scene, None, wish, tools, OPTICS, 0.25))["spectrum"]
    values, _ = masked(cube)
    assert found["spaxels"] == 1
    assert [value for value in found["values"] if value is not None] == pytest.approx(
        [value for value in values[:, 6, 4].tolist() if np.isfinite(value)], rel=1e-5
    )
    assert found["wave_um"][0] == pytest.approx(cube.header.wave_first_um)
    region = Tools(region=Box(shape="rectangle", x0=4.0, x1=5.0, y0=6.0, y1=6.0))
    area = json.loads(measure(scene, None, wish, region, OPTICS, 0.25))["region"]["area_arcsec2"]
    assert area == pytest.approx(2 * 0.025**2)
    hub.close()


def test_white_light_is_shown_until_its_cube_has_come(cube):
    white = make_white(cube)
    hub = hub_of(white)
    first = hub.feed.latest().pictures["IFS-cube", "reduced"]
    assert (first.expected, first.pixel_mas, first.cube) == (True, 25.0, None)
    np.testing.assert_array_equal(first.coarse.data, white.data)
    hub.feed.take(cube)
    (whole,) = hub.feed.latest().history.shelves["IFS-cube", "reduced"]
    assert (whole.number, whole.expected, whole.cube) == (first.number, False, cube)
    assert whole.held != first.held  # what was rendered and measured of the one is not that of the other
    hub.feed.take(white)  # late: changes nothing
    assert hub.feed.latest().history.shelves["IFS-cube", "reduced"] == (whole,)
    assert hub.feed.latest().counters["whites"] == 1
    hub.close()


def test_white_light_of_another_issue_stands_beside_a_cube(cube):
    better = replace(cube.header, revision=1)
    hub = hub_of(cube, make_white(Cube(better, cube.data, cube.err, cube.dq)))
    assert [one.header.kind for one in hub.feed.latest().history.shelves["IFS-cube", "reduced"]] == ["cube", "white"]
    hub.close()


def test_a_page_that_looks_at_some_wavelengths_stays_with_the_last_cube(cube):
    later = make_cube("IFS", 2, bins=50, field=(12, 10))
    hub = hub_of(cube, make_white(later))
    snapshot = hub.feed.latest()
    wish = replace(WISH, detector="IFS-cube")
    assert hub.scene(snapshot, wish).tiles[0].picture.header.exposure_id == later.header.exposure_id
    chosen = replace(wish, collapse=Collapse("sum", 4, 9))
    assert hub.scene(snapshot, chosen).tiles[0].picture.cube is cube
    tools = Tools(spectrum=Box(shape="rectangle", x0=4.0, x1=4.0, y0=6.0, y1=6.0))
    found = json.loads(measure(hub.scene(snapshot, wish), None, wish, tools, OPTICS, 0.25))["spectrum"]
    assert found == {"why": "the cube is on its way"}
    hub.close()


def test_past_cubes_lose_their_voxels_when_memory_is_short():
    cubes = [make_cube("IFS", number, bins=200, field=(40, 40)) for number in range(4)]  # 3.7 MiB each
    feed = Feed(SystemClock(), Budget(13 << 20, 5, 5), 128)  # one may be arriving
    for made in cubes:
        feed.take(made)
    shelf = feed.latest().history.shelves["IFS-cube", "reduced"]
    assert [picture.cube is not None for picture in shelf] == [False, False, True, True]
    assert isinstance(shelf[-1].cube, Cube)
