"""The binary messages of the image pane, taken apart as the browser does."""

import json
import struct
from typing import Any

import numpy as np
import pytest

from dashboards.compose import Wish, base_cut, detail_cut, key, message
from dashboards.feed import Feed
from dashboards.render import to_bytes
from dashboards.scene import MOSAIC, Layout, build
from dashboards.settings import Budget
from streams.clock import SystemClock
from tests.quicklook import make_frame, make_preview

LAYOUT = Layout((("IMG1", "IMG2"), ("IMG3", "IMG4")), 0.25)
DISPLAY_PIXELS = 128


def wish(detector: str = "IMG1", view: str = "reduced", **changes: Any) -> Wish:
    fields = {"limits": "manual", "percentile": 99.0, "low": 0.0, "high": 254.0, "stretch": "linear", "mark_bad": True}
    return Wish(detector=detector, view=view, **(fields | changes))


def feed(*messages) -> Feed:
    made = Feed(SystemClock(), Budget(200 << 20, 10, 10), DISPLAY_PIXELS)
    for one in messages:
        made.take(one)
    return made


def unpack(content: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    (length,) = struct.unpack_from("<I", content)
    header = json.loads(content[4 : 4 + length])
    images, offset = [], 4 + length
    for image in header["images"]:
        size = image["rows"] * image["columns"]
        images.append(np.frombuffer(content, np.uint8, size, offset).reshape(image["rows"], image["columns"]))
        offset += size
    assert offset == len(content)
    return header, images


def layer(made: Feed, wanted: Wish, name: str = "base"):
    scene = build(made.latest(), LAYOUT, wanted.detector, wanted.view)
    base = base_cut(scene, DISPLAY_PIXELS)
    cut = base if name == "base" else detail_cut(scene, wanted, base)
    return unpack(message(scene, wanted, cut, name, 0.25))


def test_a_small_frame_is_sent_pixel_by_pixel():
    data = np.arange(120 * 100).reshape(100, 120) % 255
    header, (image,) = layer(feed(make_frame(data=data, sequence=7)), wish())
    np.testing.assert_array_equal(image, to_bytes(data.astype(np.float32), 0, 254, "linear"))
    assert header["images"][0] == {
        "detector": "IMG1", "x": -0.5, "y": -0.5, "dw": 120, "dh": 100, "rows": 100, "columns": 120,
        "marks": False,
    }  # fmt: skip
    assert header["tiles"][0]["shown"]["sequence"] == 7
    assert header["units"] == "e-/s"
    assert header["ticks"][0] == 0.0
    assert header["ticks"][-1] == 254.0


def test_a_large_frame_is_binned_and_its_bad_pixels_left_out():
    frame = make_frame(data=np.full((512, 512), 100.0))
    frame.data[10:12, 8:10] = 1e6
    frame.dq[10:12, 8:10] = 1
    header, (image,) = layer(feed(frame), wish())
    assert image.shape == (128, 128)
    assert set(np.unique(image)) == {101}
    assert header["images"][0]["dw"] == 512


def test_zooming_in_shows_real_pixels_at_their_places():
    data = np.arange(512 * 512).reshape(512, 512) % 255
    wanted = wish(region=(100.0, 200.0, 300.0, 400.0), screen_pixels=400)
    header, (image,) = layer(feed(make_frame(data=data)), wanted, "detail")
    place = header["images"][0]
    assert place["dw"] == place["columns"]
    x0, y0 = int(place["x"] + 0.5), int(place["y"] + 0.5)
    assert x0 <= 100
    assert y0 <= 300
    assert x0 + place["columns"] >= 200
    assert y0 + place["rows"] >= 400
    cut = data[y0 : y0 + place["rows"], x0 : x0 + place["columns"]].astype(np.float32)
    np.testing.assert_array_equal(image, to_bytes(cut, 0, 254, "linear"))


def test_bad_pixels_are_marked_among_real_pixels_on_request():
    frame = make_frame(data=np.full((512, 512), 100.0))
    frame.dq[150, 120] = 1
    frame.data[151, 120] = np.nan
    for mark, expected in ((True, 0), (False, 101)):
        wanted = wish(region=(100.0, 200.0, 100.0, 200.0), screen_pixels=400, mark_bad=mark)
        header, (image,) = layer(feed(frame), wanted, "detail")
        row, column = 150 - int(header["images"][0]["y"] + 0.5), 120 - int(header["images"][0]["x"] + 0.5)
        assert image[row, column] == expected
        assert image[row + 1, column] == 0


@pytest.mark.parametrize("region", [None, (0.0, 512.0, 0.0, 512.0), (200.0, 100.0, 0.0, 512.0), (-900, -800, 0, 90)])
def test_no_detail_is_sent_where_the_base_is_as_fine(region):
    header, images = layer(feed(make_frame(side=512)), wish(region=region, screen_pixels=128), "detail")
    assert (header["images"], images) == ([], [])


def test_a_detail_never_grows_beyond_its_limit():
    wanted = wish(region=(0.0, 8192.0, 0.0, 8192.0), screen_pixels=8192)
    made = feed(make_preview(rate=np.zeros((512, 512)), binning=16, full_shape=(8192, 8192)))
    scene = build(made.latest(), LAYOUT, "IMG1", "ramp")
    cut = detail_cut(scene, wanted, base_cut(scene, DISPLAY_PIXELS))
    assert (cut.x1 - cut.x0) * (cut.y1 - cut.y0) / cut.pitch**2 <= 4 << 20


def test_the_mosaic_has_one_image_for_each_detector_heard_and_common_limits():
    made = feed(*(make_frame(name, data=np.full((64, 64), level)) for name, level in (("IMG1", 10), ("IMG4", 20))))
    header, images = layer(made, wish(MOSAIC, limits="percentile", percentile=100.0))
    levels = {image["detector"]: set(np.unique(pixels)) for image, pixels in zip(header["images"], images, strict=True)}
    assert levels == {"IMG1": {1}, "IMG4": {255}}
    assert {tile["detector"]: tile["shown"] is not None for tile in header["tiles"]} == {
        "IMG1": True, "IMG2": False, "IMG3": False, "IMG4": True
    }  # fmt: skip


@pytest.mark.parametrize(("view", "units"), [("raw", "DN"), ("ramp", "e-/s")])
def test_previews_keep_their_binning(view, units):
    header, (image,) = layer(feed(make_preview(rate=np.full((40, 50), 9.0), binning=3)), wish(view=view, high=10000.0))
    assert image.shape == (40, 50)
    assert (header["images"][0]["dw"], header["images"][0]["dh"]) == (150, 120)
    assert header["units"] == units


def test_the_key_tells_what_must_be_rendered_anew():
    made = feed(make_frame(side=512))
    scene = build(made.latest(), LAYOUT, "IMG1", "reduced")
    base = base_cut(scene, DISPLAY_PIXELS)
    first = key(scene, wish(), base, "base")
    assert first == key(scene, wish(region=(0.0, 9.0, 0.0, 9.0)), base, "base")
    assert first != key(scene, wish(stretch="log"), base, "base")
    assert first != key(scene, wish(high=10.0), base, "base")
    made.take(make_frame(side=512))
    assert first != key(build(made.latest(), LAYOUT, "IMG1", "reduced"), wish(), base, "base")
