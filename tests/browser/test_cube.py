"""A cube: its white light, a slice chosen on the spectrum, the spectrum of a spaxel and of a region."""

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import hover
from tests.quicklook import make_cube, make_status, make_white

pytestmark = pytest.mark.browser

CUBE = make_cube("IFS", 51)
SPECTRUM = "Bokeh.documents[0].get_model_by_name('spectrumPlot').renderers[1].data_source.data"


@pytest.fixture(scope="module")
def tab(publisher, module_tab):
    publisher.send(make_status(1, period_s=1000.0, detectors=("IFS",)))
    publisher.send(CUBE)
    module_tab.wait_for(scene="IFS-cube/reduced", sequence=51)
    return module_tab


def test_white_light_is_shown_before_its_cube(publisher, module_tab):
    publisher.send(make_status(1, period_s=1000.0, detectors=("IFS",)))
    white = make_white(make_cube("IFS", 50))
    publisher.send(white)
    module_tab.wait_for(scene="IFS-cube/reduced", sequence=50)
    hover(module_tab, 20, 24)
    expect(module_tab.page.locator("#value")).to_contain_text(f"{white.data[24, 20]:.5g} ±")
    expect(module_tab.page.locator("#cube-box em")).to_have_text("white light, cube to come, OK")


def test_the_white_light_is_the_mean_and_the_panel_opens(tab):
    expect(tab.page.locator("#cube-box")).to_be_visible()
    hover(tab, 20, 24)
    expect(tab.page.locator("#value")).to_contain_text("±")
    value = float(tab.text("#value").split()[0])
    assert value == pytest.approx(float(CUBE.data[:, 24, 20].mean()), rel=1e-3)


def test_the_spectrum_of_the_spaxel_at_the_cursor_is_the_cubes(tab):
    hover(tab, 20, 24)
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#spectrum-note")).to_contain_text("of 1 spaxel")
    tab.page.wait_for_function(f"{SPECTRUM}.other.length === 120 && {SPECTRUM}.wave.length === 120")
    middle = "Bokeh.documents[0].get_model_by_name('spectrumPlot').renderers[2].data_source.data.value"
    assert tab.page.evaluate(middle) == pytest.approx(CUBE.data[:, 24, 20].tolist(), rel=1e-5)


def test_a_slice_is_shown_and_stepped(tab):
    tab.page.select_option("#cube-how", "slice")
    tab.page.locator("#cube-first").fill("47")
    tab.wait_for(slice="47-47")
    hover(tab, 20, 24)
    expect(tab.page.locator("#value")).to_contain_text(f"{CUBE.data[47, 24, 20]:.5g} ±")
    assert "2.14920 µm" in tab.text("#cube-wave")
    tab.page.locator("#cube-first").blur()
    tab.page.keyboard.press(">")
    tab.wait_for(slice="48-48")
    expect(tab.page.locator("#value")).to_contain_text(f"{CUBE.data[48, 24, 20]:.5g} ±")
    tab.page.select_option("#cube-how", "median")
    tab.page.locator("#cube-last").fill("60")
    tab.wait_for(slice="48-60")
    median = float(np.median(CUBE.data[48:61, 24, 20].astype(float)))
    expect(tab.page.locator("#value")).to_contain_text(f"{median:.4g}"[:4])


def test_a_region_sums_spaxels(tab):
    tab.page.keyboard.press("b")
    hover(tab, 10, 12)
    tab.page.mouse.down()
    hover(tab, 13, 14)
    tab.page.mouse.up()
    expect(tab.page.locator("#spectrum-note")).to_contain_text("of 12 spaxels")
    expect(tab.page.locator("#region-box dd").nth(1)).to_contain_text("12 good")


def marked(tab, column, beside):
    """A column of the plot's source that has another one too."""
    plot = "Bokeh.documents[0].get_model_by_name('spectrumPlot')"
    sources = f"{plot}.renderers.map((one) => one.data_source.data)"
    return tab.page.evaluate(f"Array.from({sources}.find((data) => data.{beside}).{column})")


def test_a_person_s_lines_are_marked_at_their_redshift_and_the_sky_s_too(tab):
    hover(tab, 20, 24)
    tab.page.keyboard.press("Enter")
    tab.page.fill("#lines-text", "Ha, brg 2.14 nonsense")
    tab.page.fill("#redshift", "0")
    tab.page.wait_for_selector("#app[data-lines='2']")
    assert marked(tab, "name", "top") == ["Brg", "2.14"]
    expect(tab.page.locator("#lines-note")).to_contain_text("not known: nonsense")
    expect(tab.page.locator("#lines-note")).to_contain_text("1 outside the spectrum")
    tab.page.fill("#lines-text", "Ha")
    tab.page.fill("#redshift", "2.3")
    tab.page.wait_for_selector("#app[data-lines='1']")
    assert marked(tab, "wave", "top") == pytest.approx([0.656461 * 3.3])
    assert int(tab.page.get_attribute("#app", "data-oh")) > 0
    tab.page.uncheck("#oh-lines")
    tab.page.wait_for_selector("#app[data-oh='0']")
    tab.page.check("#oh-lines")
    tab.page.fill("#redshift", "-2")
    expect(tab.page.locator("#lines-note")).to_contain_text("above −1")
    tab.page.fill("#redshift", "0")
    tab.page.locator("#redshift").blur()


def test_the_slices_run_until_they_are_stopped(tab):
    tab.page.keyboard.press("P")
    first = tab.page.get_attribute("#app", "data-slice")
    tab.page.wait_for_function(f"document.getElementById('app').dataset.slice !== '{first}'")
    expect(tab.page.locator("#cube-play")).to_have_text("stop")
    tab.page.click("#cube-play")
    expect(tab.page.locator("#cube-play")).to_have_text("play")
