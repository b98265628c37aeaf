"""The past: filmstrip, pause, step, live, blink, difference."""

import numpy as np
import pytest
from astropy.io import fits
from playwright.sync_api import expect

from tests.browser.conftest import Tab
from tests.quicklook import make_frame

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def tab(publisher, module_tab):
    for sequence in (21, 22, 23):
        send(publisher, sequence)
    module_tab.wait_for(sequence=23)
    expect(module_tab.page.locator("#strip .past")).to_have_count(3)
    return module_tab


def send(publisher, sequence):
    publisher.send(make_frame("IMG1", sequence, data=np.full((64, 64), 10.0 * sequence)))


def test_pause_holds_the_frame_while_new_ones_come_and_live_returns(tab, publisher):
    tab.page.keyboard.press(" ")
    tab.wait_for(past="paused", sequence=23)
    send(publisher, 24)
    expect(tab.page.locator("#past-sign")).to_have_text("PAUSED · 1 newer")
    tab.wait_for(sequence=23)
    tab.page.keyboard.press(",")
    tab.wait_for(sequence=22)
    tab.page.keyboard.press(".")
    tab.wait_for(sequence=23)
    tab.page.keyboard.press("Backspace")
    tab.wait_for(sequence=24, past="live")
    expect(tab.page.locator("#past-sign")).to_be_hidden()


def test_a_click_on_the_strip_shows_that_frame_and_its_picture(tab):
    first = tab.page.locator("#strip .past").first
    first.click()
    tab.wait_for(sequence=21, past="paused")
    assert first.locator("img").evaluate("(image) => image.complete && image.naturalWidth > 0")
    assert first.get_attribute("aria-selected") == "true"
    tab.page.keyboard.press("Backspace")
    tab.wait_for(past="live")


def test_difference_of_two_frames_and_its_pixels(tab):
    tab.page.locator("#strip .past").first.click(modifiers=["Shift"])
    tab.page.keyboard.press("=")
    tab.wait_for(past="difference")
    tab.point_at_middle()
    expect(tab.page.locator("#value")).to_contain_text("30 ±")
    tab.page.keyboard.press("=")
    tab.wait_for(past="live")
    expect(tab.page.locator("#value")).to_contain_text("240 ±")


def test_blink_goes_to_and_fro_and_stops(tab):
    tab.page.keyboard.press("/")
    tab.wait_for(past="blink")
    tab.wait_for(sequence=23)
    tab.wait_for(sequence=24)
    tab.wait_for(sequence=23)
    tab.page.keyboard.press("/")
    tab.page.keyboard.press("Backspace")
    tab.wait_for(past="live", sequence=24)


def test_a_link_shows_the_same_view_and_a_frame_is_saved(tab, browser):
    tab.look_at(20, 30, 24)
    tab.page.locator("#strip .past").nth(1).click()
    tab.wait_for(sequence=22)
    tab.page.keyboard.press("n")
    tab.page.keyboard.press("c")
    tab.page.keyboard.press("L")
    expect(tab.page.locator("#note")).to_contain_text("link to this view")
    other = Tab(browser, tab.page.url)
    other.wait_for(sequence=22, past="paused")
    left, right, _ = other.ranges()
    assert (left + right) / 2 == pytest.approx(20, abs=0.1)
    assert right - left == pytest.approx(24, rel=0.15)  # the panes differ by the room that the axis takes
    names = ["limits", "colours"]
    values = [other.page.evaluate(f"Bokeh.documents[0].get_model_by_name('{name}').value") for name in names]
    assert values == ["minmax", "inferno"]
    assert other.complaints == []
    other.context.close()
    with tab.page.expect_download() as download:
        tab.page.keyboard.press("F")
    with fits.open(download.value.path()) as hdul:
        assert hdul["DATA"].data[0, 0] == 220.0
    tab.page.keyboard.press("Backspace")
