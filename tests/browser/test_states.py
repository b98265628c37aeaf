"""What the page says when there is nothing to see, or nothing that can be seen; and on a phone."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Tab
from tests.quicklook import make_frame, make_preview, make_status

pytestmark = pytest.mark.browser

ODD = {
    "no value": np.full((64, 64), np.nan),
    "infinite": np.full((64, 64), np.inf),
    "one value": np.full((64, 64), 7.0),
    "one pixel": np.array([[3.0]]),
    "one row": np.arange(300.0)[None, :],
}


def box(tab, selector):
    found = tab.page.locator(selector).first.bounding_box()
    assert found is not None
    return found


def test_before_anything_came_the_page_waits_and_shows_no_empty_lists(open_tab):
    tab = open_tab()
    expect(tab.page.locator("#banner")).to_contain_text("no status has been heard")
    for selector in ("#ramps", "#references", "#quality", "#controls > div:first-child"):
        expect(tab.page.locator(selector)).to_be_hidden()
    banner, tools = box(tab, "#banner"), box(tab, "#tools button")
    assert banner["y"] > tools["y"] + tools["height"]


def test_a_stream_of_another_version_is_named_and_forgiven(publisher, open_tab):
    tab = open_tab()
    for message in (make_frame("IMG1", 1, side=32), make_status(1)):
        publisher.send(replace(message, header=msgspec.structs.replace(message.header, version=99)))
    expect(tab.page.locator("#health-text")).to_have_text("other version")
    expect(tab.page.locator("#banner")).to_contain_text("update the older of the two")
    expect(tab.page.locator("#problems")).to_contain_text("another version")
    publisher.send(make_frame("IMG1", 2, side=32))
    publisher.send(make_status(2, period_s=100.0, detectors=("IMG1",)))
    tab.wait_for(sequence=2, health="ok")
    expect(tab.page.locator("#banner")).to_be_hidden()


@pytest.mark.parametrize("name", ODD)
def test_odd_frames_are_shown_and_the_next_one_too(publisher, open_tab, name):
    tab = open_tab()
    number = 10 * (1 + list(ODD).index(name))
    publisher.send(make_frame("IMG1", number, data=ODD[name]))
    tab.wait_for(sequence=number)
    tab.page.wait_for_timeout(300)
    seen = tab.colour(0.45, 0.5).astype(int)[:3]
    if name in ("no value", "infinite"):
        assert seen[0] > seen[1] + 30  # the colour of bad pixels
    elif name in ("one value", "one pixel"):
        assert 90 < seen.min() <= seen.max() < 166
    publisher.send(make_frame("IMG1", number + 1, side=64))
    tab.wait_for(sequence=number + 1)


def test_the_panel_speaks_of_the_detector_that_was_chosen_at_once(publisher, open_tab):
    tab = open_tab()
    for name in ("IMG1", "IMG2"):
        publisher.send(make_frame(name, 90, side=64))
        publisher.send(make_preview(name, 90, side=64))
    publisher.send(make_status(9, period_s=100.0, detectors=("IMG1", "IMG2")))
    tab.wait_for(scene="MOSAIC/reduced", sequence=90)
    tab.page.keyboard.press("2")
    tab.wait_for(scene="IMG2/reduced")
    expect(tab.page.locator("#frame h2 em")).to_have_text("IMG2")


def test_a_phone_shows_health_and_age_first_and_scrolls_only_down(publisher, browser, display):
    publisher.send(make_status(10, period_s=100.0, detectors=("IMG1", "IMG2")))
    tab = Tab(browser, display.url)
    tab.page.set_viewport_size({"width": 390, "height": 844})
    tab.page.wait_for_selector("#app[data-health]")
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    health, age, title = box(tab, "#health"), box(tab, "#age"), box(tab, "#what")
    assert health["y"] < 40
    assert abs(age["y"] - health["y"]) < 30
    assert title["y"] > age["y"]
    tab.context.close()
    assert tab.complaints == []
