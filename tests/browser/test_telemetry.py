"""The page of all telemetry: what it says against what was sent, search, colours, charts with exposures marked."""

import pytest
from msgspec.structs import replace
from playwright.sync_api import expect

from streams.clock import NS, SystemClock
from streams.messages import AdcResidual, GuideStars, Telemetry, TelemetryHeader
from streams.sinks import ZmqSink
from tests.browser.conftest import LIMIT_MS, Display, Tab
from tests.quicklook import make_frame

pytestmark = pytest.mark.browser

ANGLES = (12.5, 14.25, 13.75)
ANGLE = "TCS.cmIRIS.positionAngle.positionAngle"


def event(name, age_s, **values):
    time_ns = SystemClock().tai_ns() - round(age_s * NS)
    return Telemetry(
        TelemetryHeader(instrument="IRIS", detector="ALL", sequence=0, time_ns=time_ns, event=name, values=values)
    )


@pytest.fixture(scope="module")
def page(browser, publisher):
    with ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=100) as telemetry:
        display = Display(publisher, arguments=("--telemetry", telemetry.endpoint))
        assert telemetry.wait_for_receiver(LIMIT_MS / 1000)
        for number, angle in enumerate(ANGLES):
            telemetry.send(event("TCS.cmIRIS.positionAngle", 40 - 10 * number, positionAngle=angle))
        telemetry.send(event("NFIRAOS.rtc.loop", 5, ho="LOCK", lo="OPEN"))
        telemetry.send(event("NFIRAOS.rtc.turbLgs", 0, r0=0.9))
        telemetry.send(event("SOMEBODY.else.thing", 0, value=1))
        now_ns = SystemClock().tai_ns()
        times = {"first_read_ns": now_ns - 300 * NS, "time_ns": now_ns - 200 * NS}
        adc = AdcResidual(status="OK", atmosphere="TCS", air="OK", wavelength_um=[1.485, 1.781], edge_mas=[1.2, -0.5])
        guides = GuideStars(fwhm_mas=12.0, elongation_mas=3.04, axis_deg=-40.2, unexplained_mas=1.26)
        adc = replace(adc, guides=guides)
        publisher.send(make_frame("IMG1", 1, side=64, adc=adc, reads_excluded=2, exposure_id="E-1", **times))
        tab = Tab(browser, f"{display.url}telemetry")
        yield tab
        tab.context.close()
        display.stop()
        assert tab.complaints == []


def cells(page, name):
    row = page.page.locator(f'tr[title="{name}"]')
    expect(row).to_be_visible()
    return row.locator("td").all_inner_texts()


def test_a_row_says_what_was_sent_and_its_status_in_colour(page):
    status, name, fits, value, unit, age = cells(page, ANGLE)
    assert (status, name, fits, value, unit) == ("STALE", ANGLE, "PA", "13.75", "deg")
    assert 20 <= float(age.removesuffix(" s")) < 60
    assert cells(page, "NFIRAOS.rtc.loop.ho")[0::3] == ["AGE", "LOCK"]
    assert cells(page, "NFIRAOS.rtc.turbLgs.r0")[0::3] == ["SUSPECT", "0.9"]
    seen = page.page.locator("tbody tr td:first-child").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).color)"
    )
    assert len(set(seen)) == 3
    expect(page.page.locator("#counts")).to_contain_text("6 events, 1 unknown")


def test_every_word_of_a_search_has_to_be_found(page):
    page.page.fill("#search", "rtc.loop lock")
    assert page.page.locator("tbody tr:visible").count() == 1
    assert cells(page, "NFIRAOS.rtc.loop.ho")[3] == "LOCK"
    page.page.fill("#search", "")
    assert page.page.locator("tbody tr:visible").count() == 4


def test_a_chart_has_the_values_sent_and_marks_exposures(page):
    page.page.click(f'tr[title="{ANGLE}"]')
    caption = page.page.locator("#charts figcaption")
    expect(caption).to_have_text(f"{ANGLE}: 13.75 deg (12.5 to 14.25)")
    canvas = page.page.locator("#charts canvas")
    assert canvas.get_attribute("title") == "IMG1 E-1, 2 reads left out"
    # Of the 600 s that 420 pixels stand for, the exposure began 300 s and ended 200 s ago.
    alpha = canvas.evaluate(
        "(one) => [150, 245, 320].map((x) => one.getContext('2d').getImageData(x, 70, 1, 1).data[3])"
    )
    assert [value > 0 for value in alpha] == [False, True, False]
    page.page.keyboard.press("Tab")
    page.page.click("#charts button")
    expect(page.page.locator("#charts figure")).to_have_count(0)


def test_the_dispersion_left_is_told_for_each_detector(page):
    expect(page.page.locator("#residuals figcaption")).to_have_text(
        "IMG1 1.30 mas · OK, 1.485–1.781 µm guide stars 3.0 mas longer at -40°, 1.3 mas not from dispersion"
    )


def test_the_theme_is_that_of_the_page_of_images(page):
    dark = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.page.evaluate("localStorage.setItem('quicklook.theme', 'light')")
    page.page.reload()
    assert cells(page, ANGLE)[3] == "13.75"
    assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
