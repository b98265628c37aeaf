"""Measuring with the keyboard and the mouse: what the page writes is what the frame holds."""

import numpy as np
import pytest
from playwright.sync_api import expect

from streams.dq import Dq
from streams.messages import Frame
from tests.browser.conftest import hover
from tests.quicklook import make_frame, make_status

pytestmark = pytest.mark.browser

STAR = (140.4, 90.7)


def star_frame(sequence, flux=3e4):
    data = np.random.default_rng(sequence).normal(30, 1, (256, 256))
    y, x = np.mgrid[:256, :256]
    data += flux / (4 * np.pi) * np.exp(-((x - STAR[0]) ** 2 + (y - STAR[1]) ** 2) / 4.0)
    frame = make_frame("IMG1", sequence, data=data)
    frame.dq[40:60, 60:80] |= np.uint32(Dq.HOT)
    return Frame(frame.header, frame.data, np.ones(data.shape, "f4"), frame.dq, frame.saturated_from)


@pytest.fixture(scope="module")
def tab(publisher, module_tab):
    for sequence in (11, 12, 13):
        publisher.send(star_frame(sequence))
    publisher.send(make_status(1, period_s=1000.0, detectors=("IMG1",)))
    module_tab.wait_for(sequence=13)
    return module_tab


@pytest.fixture(autouse=True)
def plain(tab):
    yield
    for key in ("Escape", "f", "z", "Backspace"):
        tab.page.keyboard.press(key)


def facts(tab, box):
    names, values = (tab.page.locator(f"#{box} {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def test_the_source_under_the_cursor_is_centred_measured_and_ringed(tab):
    tab.look_at(*STAR, 60)
    hover(tab, STAR[0] + 2, STAR[1] - 2)
    tab.page.keyboard.press("s")
    expect(tab.page.locator("#star-box[data-found=yes]")).to_be_visible()
    found = facts(tab, "star-box")
    _, x, _, y = found["centroid"].split()
    assert (float(x), float(y)) == pytest.approx(STAR, abs=0.05)
    assert float(found["FWHM"].split()[3]) == pytest.approx(2.355 * np.sqrt(2 - 1 / 12), rel=0.03)
    assert float(found["flux"].split()[0]) == pytest.approx(3e4, rel=0.02)
    past = tab.page.evaluate("Bokeh.documents[0].get_model_by_name('snrPlot').renderers[0].data_source.data.snr")
    assert len(past) == 3


def test_a_cut_shows_the_frames_values_and_follows_the_next_frame(tab, publisher):
    tab.look_at(*STAR, 60)
    hover(tab, *STAR)
    tab.page.keyboard.press("h")
    expect(tab.page.locator("#cut-box")).to_be_visible()
    values = "Bokeh.documents[0].get_model_by_name('cutPlot').renderers[1].data_source.data.values"
    frame = star_frame(13)
    tab.page.wait_for_function(f"Math.max(...{values}) > 1000")
    row = frame.data[round(STAR[1])]
    assert max(tab.page.evaluate(values)) == pytest.approx(row.max(), rel=1e-5)
    publisher.send(star_frame(14, flux=9e4))
    tab.page.wait_for_function(f"Math.max(...{values}) > 5000")


def test_a_box_dragged_over_pixels_tells_their_statistics(tab):
    tab.look_at(100, 150, 100)
    tab.page.keyboard.press("b")
    hover(tab, 80.2, 140.3)
    tab.page.mouse.down()
    hover(tab, 100.1, 160.2)
    tab.page.mouse.up()
    expect(tab.page.locator("#region-box")).to_be_visible()
    expect(tab.page.locator("#region-box dd").nth(1)).to_contain_text("good, 0 left out")
    found = facts(tab, "region-box")
    assert int(found["pixels"].split()[0]) == pytest.approx(21 * 21, abs=45)
    assert float(found["mean · median"].split()[0]) == pytest.approx(30, abs=0.3)
    assert tab.page.locator("#image").get_attribute("data-mode") == "rectangle"


def test_flags_are_painted_by_kind_and_named(tab):
    tab.page.click("#tab-look")
    tab.page.click("#kinds input[name=hot]")
    expect(tab.page.locator("#legend li")).to_have_text(["hot or warm"])
    marks = "Bokeh.documents[0].get_model_by_name('figure').renderers[2]"
    tab.page.wait_for_function(f"{marks}.visible && {marks}.data_source.data.image[0].includes(6)")
    painted = tab.page.evaluate(f"Array.from({marks}.data_source.data.image[0])")
    image = np.array(painted).reshape(256, 256)
    assert np.array_equal(image == 6, star_frame(13).dq & np.uint32(Dq.HOT | Dq.WARM) != 0)
    tab.page.click("#kinds input[name=hot]")


def test_brightness_and_contrast_answer_at_once_and_come_back(tab):
    palette = "Bokeh.documents[0].get_model_by_name('figure').renderers[0].glyph.color_mapper.palette"
    before = tab.page.evaluate(palette)
    took_ms = tab.page.evaluate(
        """() => { const start = performance.now();
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "]" })); return performance.now() - start; }"""
    )
    assert tab.page.evaluate(palette) != before
    assert took_ms < 1000  # only that it is done in the browser, without asking the server
    tab.page.keyboard.press("0")
    assert tab.page.evaluate(palette) == before
    tab.page.keyboard.press("i")
    assert tab.page.evaluate(palette)[1:] == before[:0:-1]
    tab.page.keyboard.press("i")


def test_histogram_contours_smoothing_and_surface(tab):
    tab.page.click("#tab-look")
    counts = "Bokeh.documents[0].get_model_by_name('histogramPlot').renderers[0].data_source.data.top"
    tab.page.wait_for_function(f"{counts}.length === 120 && Math.max(...{counts}) > 2")
    tab.page.keyboard.press("k")
    contours = "Bokeh.documents[0].get_model_by_name('figure').renderers.at(-7).data_source.data.xs"
    tab.page.wait_for_function(f"{contours}.length > 3")
    tab.page.keyboard.press("k")
    tab.page.wait_for_function(f"{contours}.length === 0")
    shown = "Bokeh.documents[0].get_model_by_name('figure').renderers[0].data_source.data.image[0]"
    rough = tab.page.evaluate(f"Array.from({shown})")
    tab.page.keyboard.press("u")
    tab.page.wait_for_function(f"(before) => Array.from({shown}).some((value, at) => value !== before[at])", arg=rough)
    assert np.std(tab.page.evaluate(f"Array.from({shown})")) < np.std(rough)
    for _ in range(2):
        tab.page.keyboard.press("u")
    tab.page.keyboard.press("j")
    expect(tab.page.locator("#surface")).to_be_visible()
    pixels = "document.getElementById('surface').getContext('2d').getImageData(0, 0, 600, 400).data"
    tab.page.wait_for_function(f"{pixels}.some((value) => value > 40)")


def test_the_help_names_every_key_and_a_field_keeps_its_own(tab):
    tab.page.keyboard.press("?")
    expect(tab.page.locator("#help")).to_be_visible()
    assert len(tab.page.locator("#help kbd").all()) > 35
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("#help")).to_be_hidden()
    tab.page.click("#tab-look")
    tab.page.locator("#panel-look input[type=text]").first.fill("3")
    tab.page.locator("#panel-look input[type=text]").first.press("?")
    expect(tab.page.locator("#help")).to_be_hidden()
    tab.page.locator("#panel-look input[type=text]").first.blur()
