"""The night: quality, alarms, charts, log; and the telescope's target."""

import re

import numpy as np
import pytest
from msgspec.structs import replace
from playwright.sync_api import expect

from streams.messages import Quality, Telemetry
from streams.sinks import ZmqSink
from streams.sources import ZmqSource
from streams.targets import REQUEST
from tests.browser.conftest import Display, Tab, hover
from tests.quicklook import make_frame, make_status

pytestmark = pytest.mark.browser

STAR = (70.4, 90.7)
WCS = {"CD1_1": -4 / 3.6e6, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 4 / 3.6e6}


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    endpoint = f"ipc://{tmp_path_factory.mktemp('targets')}/socket"
    with ZmqSource(endpoint, pattern="sub", bind=True, high_water=10) as source:
        yield source


@pytest.fixture(scope="module")
def telemetry():
    with ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=10) as sink:
        yield sink


@pytest.fixture(scope="module")
def tab(browser, publisher, targets, telemetry):
    display = Display(publisher, arguments=("--targets", targets.endpoint, "--telemetry", telemetry.endpoint))
    assert telemetry.wait_for_receiver(20.0)
    made = Tab(browser, display.url)
    for number in (31, 32, 33):
        send(publisher, number, fwhm=12.0 + number)
    publisher.send(make_status(1, period_s=1000.0, detectors=("IMG1",)))
    made.wait_for(sequence=33)
    yield made
    made.context.close()
    display.stop()
    assert made.complaints == []


def send(publisher, number, fwhm, lost=0):
    y, x = np.mgrid[:128, :128]
    data = np.random.default_rng(number).normal(30, 1, (128, 128))
    data += 900 * np.exp(-((x - STAR[0]) ** 2 + (y - STAR[1]) ** 2) / 4.0)
    quality = Quality(sources=3, fwhm_mas=fwhm, strehl=0.51, sky=30.0, sky_noise=1.0, read_noise_e=[8.0, 9.0, 11.0])
    publisher.send(make_frame("IMG1", number, data=data, quality=quality, wcs=WCS, reads_lost=lost))


def test_the_quality_of_the_frame_is_told(tab):
    tab.page.click("#tab-now")
    facts = tab.page.locator("#quality dd").all_inner_texts()
    assert facts[0].startswith("45.0 mas · 0.51")
    assert facts[4] == "9.0 e-, worst 11.0"


def test_an_alarm_is_shown_and_acknowledged_by_a_person(tab, publisher):
    expect(tab.page.locator("#alarm")).to_have_text("wide images · IMG1")
    tab.page.click("#alarm")
    expect(tab.page.locator("#panel-night")).to_be_visible()
    assert not tab.page.locator("#sound").is_checked()
    tab.page.locator(".alarm button").first.click()
    expect(tab.page.locator("#alarm")).to_be_hidden()
    expect(tab.page.locator(".alarm button").first).to_have_text("seen")
    send(publisher, 34, fwhm=11.0)
    expect(tab.page.locator(".alarm")).to_have_count(0)


def test_charts_and_log_follow_the_exposures(tab):
    tab.page.click("#tab-night")
    values = "Bokeh.documents[0].get_model_by_name('nightPlot').renderers[0].data_source.data.value"
    tab.page.wait_for_function(f"{values}.length === 4")
    assert tab.page.evaluate(values) == [43.0, 44.0, 45.0, 11.0]
    tab.page.select_option("#quantity", "read_noise_e")
    tab.page.wait_for_function(f"{values}[0] === 9")
    tab.page.fill("#search", "0032")
    expect(tab.page.locator("#log tr")).to_have_count(2)
    assert "2026B-0032" in tab.text("#log")
    with tab.page.expect_download() as download:
        tab.page.click("#csv")
    text = download.value.path().read_text()
    assert text.splitlines()[1].split(",")[4] == "2026B-0032"
    tab.page.fill("#search", "")
    tab.page.keyboard.press("Escape")  # leaves the field: keys are the page's again


def test_the_line_of_a_chart_joins_the_frames_of_one_detector_alone(tab):
    columns = tab.page.evaluate(
        """async () => {
          const { byDetector } = await import(new URL("quicklook/night.js", document.baseURI));
          const found = byDetector({
            time_ms: [1, 2, 3], value: [10, 20, 30], detector: ["IMG1", "IFS", "IMG1"], exposure: ["a", "b", "c"],
          });
          return { ...found, value: found.value.map(String) };
        }"""
    )
    assert columns["value"] == ["10", "30", "NaN", "20"]
    assert columns["detector"] == ["IMG1", "IMG1", "", "IFS"]


def test_a_target_is_centred_nudged_and_sent_once(tab, targets, telemetry):
    tab.look_at(*STAR, 40)
    tab.page.keyboard.press("t")
    hover(tab, STAR[0] + 2, STAR[1] + 1)
    tab.page.mouse.down()
    tab.page.mouse.up()
    tab.wait_for(target="centroid")
    facts = tab.page.locator("#target-box dd").all_inner_texts()
    _, x, _, y = facts[0].split()
    assert (float(x), float(y)) == pytest.approx(STAR, abs=0.05)
    east = float(facts[4].replace("−", "-").rstrip("″"))
    assert east == pytest.approx(-(STAR[0] - 63.5) * 0.004, abs=3e-4)
    tab.page.keyboard.press("ArrowRight")
    tab.wait_for(target="raw")
    expect(tab.page.locator("#target-box dd").first).to_have_text(re.compile(f"x {float(x) + 1:.2f}"))
    assert targets.receive(0.2) is None  # nothing leaves before a person confirms
    tab.page.click("#send-target")
    tab.wait_for(target="sent")
    message = targets.receive(10.0)
    assert isinstance(message, Telemetry)
    assert message.header.values["x"] == pytest.approx(float(x) + 1, abs=0.006)
    assert tab.page.locator("#send-target").is_disabled()
    assert tab.text("#target-box em") == "sent"
    values = {"request": message.header.values["request"]}
    header = replace(message.header, detector="ALL", event=f"IRIS.{REQUEST}", values=values)
    telemetry.send(Telemetry(header))
    tab.wait_for(target="arrived")
    assert tab.text("#target-box em") == "sent, and in the event service"


def test_an_empty_place_is_refused_in_words(tab):
    tab.look_at(20, 20, 40)
    tab.page.keyboard.press("t")
    hover(tab, 20, 20)
    tab.page.mouse.down()
    tab.page.mouse.up()
    tab.wait_for(target="refused")
    expect(tab.page.locator("#target-why")).to_contain_text("nothing stands out")
