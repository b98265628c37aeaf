"""The lay-out of single detectors and of the mosaic."""

from dashboards.feed import Feed, Snapshot
from dashboards.scene import MOSAIC, Layout, build, ordered
from dashboards.settings import Budget
from streams.clock import SystemClock
from tests.quicklook import make_frame, make_preview, make_status

LAYOUT = Layout((("IMG1", "IMG2"), ("IMG3", "IMG4")), 0.25)


def heard(*messages) -> Snapshot:
    feed = Feed(SystemClock(), Budget(100 << 20, 10, 10), 64)
    for message in messages:
        feed.take(message)
    return feed.latest()


def test_nothing_heard_is_no_scene():
    assert build(Snapshot(), LAYOUT, "", "reduced") is None
    assert build(Snapshot(), LAYOUT, MOSAIC, "reduced") is None
    assert build(heard(make_status(detectors=("IMG1",))), LAYOUT, "IMG1", "reduced") is None


def test_detectors_come_in_the_order_of_the_mosaic_then_by_name():
    snapshot = heard(*(make_frame(name, side=64) for name in ("ZZ", "IMG3", "IFS", "IMG1")))
    assert ordered(snapshot, LAYOUT) == ["IMG1", "IMG3", "IFS", "ZZ"]


def test_the_mosaic_is_seen_as_soon_as_it_has_two_detectors():
    one = heard(make_frame("IMG2", side=64), make_frame("IFS", side=64))
    assert build(one, LAYOUT, "", "reduced").name == "IMG2"
    two = heard(make_frame("IMG2", side=64), make_frame("IMG4", side=64))
    assert build(two, LAYOUT, "", "reduced").name == MOSAIC


def test_the_top_row_lies_on_top_with_a_gap_between():
    scene = build(heard(make_frame("IMG1", side=64), make_frame("IMG4", side=64)), LAYOUT, MOSAIC, "reduced")
    origins = {tile.detector: (tile.x0, tile.y0) for tile in scene.tiles}
    assert origins == {"IMG1": (0, 80), "IMG2": (80, 80), "IMG3": (0, 0), "IMG4": (80, 0)}
    assert (scene.width, scene.height) == (144, 144)
    assert [tile.detector for tile in scene.tiles if tile.picture] == ["IMG4", "IMG1"]


def test_a_point_finds_its_detector_and_pixel():
    scene = build(heard(make_frame("IMG1", side=64), make_frame("IMG4", side=64)), LAYOUT, MOSAIC, "reduced")
    tile = scene.tile_at(79.6, 80.4)
    assert (tile.detector, tile.pixel_at(79.6, 80.4)) == ("IMG2", (0, 0))
    assert scene.tile_at(70, 10) is None
    assert scene.tile_at(-0.4, 79.6).pixel_at(-0.4, 79.6) == (0, 0)


def test_the_size_does_not_depend_on_the_view():
    snapshot = heard(make_preview("IMG1", side=256, binning=4))
    views = [build(snapshot, LAYOUT, "IMG1", view) for view in ("raw", "ramp", "reduced")]
    assert {(scene.width, scene.height) for scene in views} == {(256, 256)}
    assert [scene.tiles[0].picture is None for scene in views] == [False, False, True]
