"""One detector as a person meets it: what the page says and shows against what was published.

The tests of this file share one display, so each sends frames of its own numbers.
"""

import numpy as np
import pytest
from playwright.sync_api import expect

from streams.messages import AdcResidual
from tests.browser.conftest import Display
from tests.quicklook import SATURATED_AT, make_frame, make_preview, make_status

pytestmark = pytest.mark.browser

READ_LEVEL = "Bokeh.documents[0].get_model_by_name('figure').renderers[0].data_source.data.image[0][0]"


def test_the_page_names_the_frame_that_was_sent(publisher, open_tab):
    tab = open_tab()
    publisher.send(make_status(1, period_s=100.0, detectors=("IMG1",)))
    for sequence in range(103, 107):
        publisher.send(make_frame("IMG1", sequence, data=np.full((128, 128), 30.0)))
        tab.wait_for(sequence=sequence)
        assert f"2026B-{sequence:04d} · frame {sequence}," in tab.text("#which")
    assert tab.text("#what") == "IMG1 · reduced frame · Kbb"
    expect(tab.page.locator("#health-text")).to_have_text("live")
    assert float(tab.text("#age").removesuffix(" s")) >= 0


def test_the_pixels_on_the_screen_are_those_of_the_frame(publisher, open_tab):
    tab = open_tab()
    data = np.zeros((128, 128))
    data[:, 64:] = 1000.0
    data[64:, :64] = np.nan
    publisher.send(make_frame("IMG1", 201, data=data))
    tab.wait_for(sequence=201)
    expect(tab.page.locator("#value")).to_have_text("")
    left, right, top_left = tab.colour(0.35, 0.7), tab.colour(0.6, 0.5), tab.colour(0.35, 0.3)
    assert left.max() < 10
    assert right.min() > 245
    assert top_left[0] > 100
    assert top_left[1] < 60


def test_value_error_and_flags_under_the_cursor(publisher, open_tab):
    tab = open_tab()
    frame = make_frame("IMG1", 304, side=2048 // 4)
    publisher.send(frame)
    tab.wait_for(sequence=304)
    x, y = SATURATED_AT
    tab.look_at(x, y, 12)
    tab.point_at_middle()
    expect(tab.page.locator("#flags")).to_have_text("SATURATED · JUMP_DET")
    assert tab.text("#at").split() == ["IMG1", "x", str(x), "y", str(y)]
    value, _, error, unit = tab.text("#value").split()
    assert float(value) == pytest.approx(float(frame.data[y, x]), rel=1e-4)
    assert float(error) == pytest.approx(float(frame.err[y, x]), rel=0.05)
    assert unit == "e-/s"


def test_north_east_and_the_dispersion_left_are_drawn_beside_the_image(publisher, open_tab):
    tab = open_tab()
    scale = 4 / 3.6e6
    wcs = {"CD1_1": -scale, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale}
    adc = AdcResidual(
        status="STALE", atmosphere="TCS", air="OK", wavelength_um=[1.4851, 1.65, 1.781], edge_mas=[0.3, -0.4]
    )
    publisher.send(make_frame("IMG1", 351, side=64, wcs=wcs, adc=adc))
    tab.wait_for(sequence=351)
    compass = tab.page.locator("#compass")
    assert tab.text("#compass figcaption").split("\n") == ["0.50 mas · STALE", "1.485–1.781 µm"]
    assert (compass.get_attribute("aria-label") or "").startswith("North is 0° right of up. Residual dispersion")
    arrows = tab.page.locator("#compass line").evaluate_all(
        "all => all.map((one) => [one.x2, one.y2].map((a) => +a.baseVal.value.toFixed(2)))"
    )
    assert arrows == [[0, -30], [-30, 0], [5.4, 7.2]]  # north up, east left, 0.5 mas of a circle of 18 pixels for 1
    tab.page.keyboard.press("C")
    expect(compass).to_be_hidden()
    tab.page.keyboard.press("C")
    expect(compass).to_be_visible()
    publisher.send(make_frame("IMG1", 352, side=64))
    tab.wait_for(sequence=352)
    expect(compass).to_be_hidden()


def test_a_new_image_leaves_zoom_and_view_alone(publisher, open_tab):
    tab = open_tab()
    publisher.send(make_frame("IMG1", 401, side=256))
    tab.wait_for(sequence=401)
    tab.look_at(100, 120, 60)
    before = tab.ranges()
    publisher.send(make_frame("IMG1", 402, side=256))
    publisher.send(make_preview("IMG1", 9, side=256))
    tab.wait_for(sequence=402)
    assert tab.ranges() == before
    tab.page.locator(".bk-btn").filter(has_text="Ramp").click()
    tab.wait_for(scene="IMG1/ramp")
    assert tab.ranges() == before
    tab.page.keyboard.press("f")
    assert tab.ranges()[1] - tab.ranges()[0] > 256


def test_limits_stretch_and_colour_map_change_what_is_seen(publisher, open_tab):
    tab = open_tab()
    publisher.send(make_frame("IMG1", 501, data=np.full((64, 64), 500.0)))
    tab.wait_for(sequence=501)
    limits, stretch, colours = (tab.page.locator("#controls select").nth(index) for index in range(3))
    limits.select_option(label="by hand")
    numbers = tab.page.locator("#controls input[type=text]")
    for index, value in ((1, "0"), (2, "1000")):
        numbers.nth(index).fill(value)
        numbers.nth(index).press("Enter")
    tab.page.wait_for_function(READ_LEVEL + " === 128")
    assert abs(int(tab.colour(0.45, 0.5)[0]) - 128) < 6
    stretch.select_option(label="log")
    tab.page.wait_for_function(READ_LEVEL + " > 200")
    colours.select_option("viridis")
    red, green, _ = (int(part) for part in tab.colour(0.45, 0.5))
    assert green > red


def test_provenance_counters_and_problems_are_told_as_text(publisher, open_tab):
    tab = open_tab()
    attack = "<img src=x onerror=document.title='broken'>"
    publisher.send(make_frame("IMG1", 601, side=64, notes=[attack]))
    publisher.send(make_status(1, period_s=100.0, detectors=("IMG1",), problems=["disk is full", attack]))
    tab.wait_for(sequence=601)
    expect(tab.page.locator("#problems li")).to_have_text(["disk is full", attack])
    rows = tab.page.locator(".reference")
    expect(rows.locator(".status")).to_have_text(["OK", "STALE", "MISSING", "off"])
    assert tab.page.locator("#frame dd").all_inner_texts()[3] == "7 used · 1 lost · 0 rejected"
    assert "tmt_0001.pmap" in tab.text("#references")
    assert "reads received" in tab.text("#counters")
    colours = [row.evaluate("(row) => getComputedStyle(row).color") for row in rows.locator(".status").all()]
    assert len(set(colours)) == 4
    assert tab.page.title() == "IRIS quick-look"


def test_a_silent_reducer_is_shown_unmistakably_and_forgiven_when_it_speaks(publisher, open_tab):
    tab = open_tab()
    publisher.send(make_frame("IMG1", 701, side=64))
    publisher.send(make_status(1, period_s=0.3))
    tab.wait_for(sequence=701)
    tab.wait_for(health="stale")
    banner = tab.page.locator("#banner")
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("No sign of the reducer for")
    expect(tab.page.locator("#image")).to_have_css("filter", "grayscale(1) brightness(0.55)")
    publisher.send(make_status(2, period_s=100.0))
    tab.wait_for(health="ok")
    expect(banner).to_be_hidden()


def test_pages_that_have_gone_are_forgotten(publisher, open_tab):
    tab = open_tab()
    publisher.send(make_frame("IMG1", 801, side=64))
    tab.wait_for(sequence=801)
    expect(tab.page.locator("#counters")).to_contain_text("display viewers")
    other = open_tab()
    other.wait_for(sequence=801)
    expect(tab.page.locator("#counters dd").last).to_have_text("2")
    other.context.close()
    expect(tab.page.locator("#counters dd").last).to_have_text("1")


def test_a_page_says_that_its_server_is_gone_and_finds_it_again(publisher, display, open_tab):
    tab = open_tab()
    publisher.send(make_frame("IMG1", 901, side=64))
    publisher.send(make_status(1, period_s=100.0))
    tab.wait_for(sequence=901, health="ok")
    tab.page.evaluate("window.same = true")
    display.stop()
    tab.wait_for(health="gone")
    expect(tab.page.locator("#banner")).to_contain_text("The display server has not answered")
    again = Display(publisher, display.port)
    try:
        publisher.send(make_frame("IMG1", 902, side=64))
        publisher.send(make_status(2, period_s=100.0))
        tab.wait_for(sequence=902, health="ok")
    finally:
        again.stop()
    assert tab.page.evaluate("window.same") is True
