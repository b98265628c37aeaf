"""Cuts, regions, stars, histograms, contours, surfaces: against numpy on the frame itself."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.analysis import Box, Line, Place, Tools, measure, regions
from dashboards.compose import Wish
from dashboards.feed import Feed
from dashboards.scene import MOSAIC, Layout, Moment, build
from dashboards.settings import Budget, Settings
from streams.clock import SystemClock
from streams.dq import Dq
from streams.messages import Frame
from streams.settings import load
from tests.quicklook import make_frame, make_preview

OPTICS = load(None, Settings).instrument_optics
NOW = Moment()
LAYOUT = Layout((("IMG1", "IMG2"),), 0.1)
WISH = Wish(
    detector="", view="reduced", limits="zscale", percentile=99.0, low=0.0, high=1.0, stretch="linear", mark_bad=True
)  # fmt: skip


def feed_of(*frames):
    feed = Feed(SystemClock(), Budget(200 << 20, 10, 10), 128)
    for frame in frames:
        feed.take(frame)
    return feed


def ask(feed, tools, detector="IMG1", view="reduced", moment=NOW, other=None, past=(), wish=WISH):
    scene = build(feed.latest(), LAYOUT, detector, view, moment)
    return json.loads(measure(scene, other, wish, tools, OPTICS, 0.25, past))


def noisy(side=200, seed=3, bad=0.01):
    rng = np.random.default_rng(seed)
    data = rng.normal(20, 4, (side, side)).astype("f4")
    frame = make_frame("IMG1", 1, data=data)
    frame.dq[rng.random(data.shape) < bad] |= np.uint32(Dq.DO_NOT_USE)
    frame.data[5, 7] = np.nan
    return frame


def test_a_horizontal_and_a_vertical_cut_are_the_frames_pixels():
    frame = noisy(bad=0)
    feed = feed_of(frame)
    across = ask(feed, Tools(cut=Line(x0=10.0, y0=50.2, x1=150.0, y1=50.2)))["cut"]
    assert across["values"] == pytest.approx(frame.data[50, 10:151].tolist(), rel=1e-6)
    assert (across["x"][0], across["at"][-1], across["averaged"]) == (10.0, 140.0, 1)
    up = ask(feed, Tools(cut=Line(x0=30.0, y0=199.0, x1=30.0, y1=0.0)))["cut"]
    assert up["values"] == pytest.approx(frame.data[::-1, 30].tolist(), rel=1e-6)


def test_a_diagonal_cut_takes_one_pixel_at_each_step_and_counts_true_distances():
    frame = noisy(bad=0)
    cut = ask(feed_of(frame), Tools(cut=Line(x0=20.0, y0=20.0, x1=120.0, y1=120.0)))["cut"]
    assert cut["values"] == pytest.approx(np.diagonal(frame.data)[20:121].tolist(), rel=1e-6)
    assert cut["at"][-1] == pytest.approx(100 * np.sqrt(2), abs=0.01)


def test_a_cut_leaves_out_bad_pixels_and_what_is_off_the_detector():
    frame = noisy()
    cut = ask(feed_of(frame), Tools(cut=Line(x0=-10.0, y0=5.0, x1=210.0, y1=5.0)))["cut"]
    usable = np.isfinite(frame.data[5]) & (frame.dq[5] & Dq.DO_NOT_USE == 0)
    assert [value is not None for value in cut["values"]] == [False] * 10 + usable.tolist() + [False] * 11


def test_a_cut_runs_through_the_mosaic_and_a_long_one_is_averaged():
    feed = feed_of(make_frame("IMG1", data=np.full((600, 600), 1.0)), make_frame("IMG2", data=np.full((600, 600), 2.0)))
    cut = ask(feed, Tools(cut=Line(x0=0.0, y0=300.0, x1=1259.0, y1=300.0)), MOSAIC)["cut"]
    found = [value for value in cut["values"] if value is not None]
    assert (found[0], found[-1], cut["averaged"]) == (1.0, 2.0, 2)
    assert None in cut["values"]  # the gap


@given(
    st.floats(-20, 220), st.floats(-20, 220), st.floats(-20, 220), st.floats(-20, 220),
    st.sampled_from(["rectangle", "circle"]),
)  # fmt: skip
def test_region_statistics_are_those_of_the_good_pixels_inside(x0, x1, y0, y1, shape):
    found = ask(FEED, Tools(region=Box(shape=shape, x0=x0, x1=x1, y0=y0, y1=y1)))["region"]
    y, x = np.mgrid[:200, :200]
    if shape == "rectangle":
        left, low = int(np.floor(min(x0, x1) + 0.5)), int(np.floor(min(y0, y1) + 0.5))
        right, high = np.ceil(max(x0, x1) + 0.5), np.ceil(max(y0, y1) + 0.5)
        inside = (x >= left) & (x < max(right, left + 1)) & (y >= low) & (y < max(high, low + 1))
    else:
        half_x, half_y = max(abs(x1 - x0) / 2, 0.5), max(abs(y1 - y0) / 2, 0.5)
        inside = ((x - (x0 + x1) / 2) / half_x) ** 2 + ((y - (y0 + y1) / 2) / half_y) ** 2 <= 1
    good = inside & np.isfinite(FRAME.data) & (FRAME.dq & np.uint32(Dq.DO_NOT_USE) == 0)
    values = FRAME.data[good].astype(float)
    if "why" in found:
        middle = np.round((x0 + x1) / 2), np.round((y0 + y1) / 2)
        assert not values.size or not all(0 <= part < 200 for part in middle)
        return
    if shape == "circle" and found["pixels"] != values.size:  # a pixel's middle on the very rim
        assert abs(found["pixels"] - values.size) <= 4
        return
    assert found["sum"] == pytest.approx(values.sum(), rel=1e-6)
    assert found["error"] == pytest.approx(np.sqrt((FRAME.err[good].astype(float) ** 2).sum()), rel=1e-6)
    assert found["area_arcsec2"] == pytest.approx(values.size * 0.004**2)
    assert found["surface_brightness"] == pytest.approx(values.sum() / (values.size * 0.004**2), rel=1e-6)
    assert found["median"] == pytest.approx(np.median(values))
    assert (found["min"], found["max"]) == pytest.approx((values.min(), values.max()))
    assert found["excluded"] == inside.sum() - values.size
    if values.size > 1:
        assert found["std"] == pytest.approx(values.std(ddof=1), rel=1e-6)
        assert found["variance"] == pytest.approx(values.var(ddof=1), rel=1e-6)


FRAME = noisy()
FEED = feed_of(FRAME)


def star_frame(sequence=1, flux=2e4, x=90.3, y=110.6, err=0.5):
    data = np.random.default_rng(sequence).normal(30, 0.5, (220, 220))
    up, across = np.mgrid[:220, :220]
    data += flux / (2 * np.pi * 2.0) * np.exp(-((across - x) ** 2 + (up - y) ** 2) / 4.0)
    frame = make_frame("IMG1", sequence, data=data, setup={"FILTER": "H"})
    return Frame(frame.header, frame.data, np.full(data.shape, err, "f4"), frame.dq, frame.saturated_from)


def test_a_source_is_measured_in_pixels_and_angles():
    found = ask(feed_of(star_frame()), Tools(star=Place(x=92.0, y=108.0)))["star"]
    assert (found["x"], found["y"]) == pytest.approx((90.3, 110.6), abs=0.02)
    assert found["fwhm_mas"] == pytest.approx(found["fwhm_px"] * 4.0)
    assert found["flux"] == pytest.approx(2e4, rel=0.02)
    assert found["snr"] == pytest.approx(found["flux"] / found["error"])
    assert found["frames_to_snr"] == int(np.ceil((100 / found["snr"]) ** 2))
    assert found["seconds_to_snr"] > 0
    assert 0.2 < found["strehl"] < 1.1
    assert found["encircled"][-1] == pytest.approx(1.0)


def test_a_source_in_the_mosaic_is_marked_in_the_scene_and_told_in_the_detector():
    second = star_frame()
    frame = make_frame("IMG2", 2, data=second.data)
    feed = feed_of(make_frame("IMG1", side=220), frame)
    scene = build(feed.latest(), LAYOUT, MOSAIC, "reduced")
    shift = next(tile.x0 for tile in scene.tiles if tile.detector == "IMG2")
    found = ask(feed, Tools(star=Place(x=90.0 + shift, y=110.0)), MOSAIC)["star"]
    assert found["detector"] == "IMG2"
    assert found["scene_x"] - found["x"] == shift


def test_signal_to_noise_is_followed_through_the_frames_of_the_past():
    feed = feed_of(*(star_frame(number, err=1.0 / number) for number in (1, 2, 3)))
    past = feed.latest().history.shelves["IMG1", "reduced"]
    found = ask(feed, Tools(star=Place(x=90.0, y=110.0)), past=past)["star"]
    assert [one["number"] for one in found["past"]] == [picture.number for picture in past]
    ratios = np.array([one["snr"] for one in found["past"]]) / found["past"][0]["snr"]
    assert ratios == pytest.approx([1.0, 2.0, 3.0], rel=0.02)


def test_what_cannot_be_measured_says_why():
    feed = feed_of(noisy(bad=0))
    assert "nothing stands out" in ask(feed, Tools(star=Place(x=50.0, y=50.0)))["star"]["why"]
    assert ask(feed, Tools(star=Place(x=-50.0, y=50.0)))["star"]["why"] == "no image there"
    assert "why" in ask(feed, Tools(region=Box(shape="circle", x0=900.0, x1=910.0, y0=0.0, y1=9.0)))["region"]
    empty = feed_of(make_frame("IMG1", data=np.full((90, 90), np.nan)))
    everything = Tools(
        cut=Line(x0=0, y0=0, x1=80, y1=80), region=Box(shape="rectangle", x0=0, x1=9, y0=0, y1=9),
        star=Place(x=40, y=40), histogram=True, contours=5, surface=Box(shape="rectangle", x0=0, x1=80, y0=0, y1=80),
    )  # fmt: skip
    answer = ask(empty, everything)
    assert {answer[name]["why"] for name in ("region", "star", "histogram")}
    assert answer["contours"]["xs"] == []


def test_a_binned_preview_is_measured_in_detector_pixels():
    feed = feed_of(make_preview("IMG1", rate=np.full((50, 50), 7.0), binning=4))
    found = ask(feed, Tools(region=Box(shape="rectangle", x0=8.0, x1=15.0, y0=8.0, y1=15.0)), view="ramp")["region"]
    assert (found["binning"], found["pixels"], found["sum"]) == (4, 4, 7.0 * 64)


def test_the_histogram_counts_the_pixels_in_view():
    frame = noisy(bad=0)
    found = ask(feed_of(frame), Tools(histogram=True))["histogram"]
    values = frame.data[np.isfinite(frame.data)]
    assert found["pixels"] == values.size
    assert sum(found["counts"]) + found["below"] + found["above"] == values.size
    assert found["median"] == pytest.approx(np.median(values))


def test_contours_ring_a_star_at_its_level():
    up, across = np.mgrid[:200, :200]
    data = 1000 * np.exp(-((across - 80.0) ** 2 + (up - 120.0) ** 2) / 2 / 100.0)
    found = ask(feed_of(make_frame(data=data + np.random.default_rng(1).normal(0, 1, data.shape))), Tools(contours=3))
    contours = found["contours"]
    for level in contours["levels"][1:]:
        radius = np.sqrt(-200 * np.log(level / 1000))
        lines = zip(contours["xs"], contours["ys"], strict=True)
        reached = [np.hypot(np.array(x) - 80, np.array(y) - 120) for x, y in lines]
        assert any(np.allclose(ring, radius, atol=1.0) for ring in reached)


def test_a_region_of_more_pixels_than_are_taken_at_once_is_measured_binned_and_says_so(monkeypatch):
    frame = noisy(bad=0)
    feed = feed_of(frame)
    box = Tools(region=Box(shape="rectangle", x0=-0.4, x1=198.9, y0=-0.4, y1=198.9))
    assert ask(feed, box)["region"]["binning"] == 1
    monkeypatch.setattr(regions, "MOST_PIXELS", 10_000)
    found = ask(feed, box)["region"]
    assert found["binning"] == 2
    assert found["sum"] == pytest.approx(float(np.nansum(frame.data, dtype=float)), rel=1e-3)


def test_a_surface_is_the_region_made_coarse():
    frame = noisy(bad=0)
    frame.data[5, 7] = 20
    found = ask(feed_of(frame), Tools(surface=Box(shape="rectangle", x0=0, x1=199, y0=0, y1=199)))["surface"]
    assert (found["rows"], found["columns"], found["pixels"]) == (50, 50, 4)
    expected = frame.data.reshape(50, 4, 50, 4).mean(axis=(1, 3)).ravel()
    assert found["values"] == pytest.approx(expected.tolist(), rel=1e-5)


def test_differences_are_measured_as_differences_and_other_frames_are_overplotted():
    first, second = noisy(seed=1, bad=0), noisy(seed=2, bad=0)
    feed = feed_of(first, second)
    numbers = [picture.number for picture in feed.latest().history.shelves["IMG1", "reduced"]]
    line = Tools(cut=Line(x0=0.0, y0=60.0, x1=199.0, y1=60.0))
    minus = ask(feed, line, moment=Moment(None, numbers[0]))["cut"]["values"]
    assert minus == pytest.approx((second.data[60] - first.data[60]).tolist(), rel=1e-5, abs=1e-5)
    other = build(feed.latest(), LAYOUT, "IMG1", "reduced", Moment(numbers[0]))
    both = ask(feed, line, other=other)["cut"]
    assert both["other"] == pytest.approx(first.data[60].tolist(), rel=1e-6)
    region = Tools(region=Box(shape="rectangle", x0=20.0, x1=29.0, y0=20.0, y1=29.0))
    found = ask(feed, region, moment=Moment(None, numbers[0]))["region"]
    errors = np.hypot(first.err, second.err)[20:30, 20:30].astype(float)
    assert found["error"] == pytest.approx(np.sqrt((errors**2).sum()), rel=1e-6)
