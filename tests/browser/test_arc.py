"""The page of an arc: a person masks, names and saves by key, and looks at the traces by mouse."""

import subprocess
import sys

import pytest
from playwright.sync_api import expect

from rtcal.spectrograph.solution import NAMED
from rtcal.spectrograph.solvedarc import read_solved
from tests.browser.conftest import LIMIT_MS
from tests.rtcal.arcpage.conftest import DARK, made
from tests.rtcal.conftest import settings

pytestmark = pytest.mark.browser
__all__ = ["made", "settings"]  # fixtures


@pytest.fixture(scope="module")
def path(made):
    return made[0]


@pytest.fixture(scope="module")
def page(browser, path):
    command = [sys.executable, "-m", "rtcal", "arc", "edit", str(path), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.set_default_timeout(LIMIT_MS)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(process.stdout.readline().strip())
        yield page
        context.close()
        process.terminate()
    assert complaints == []
    assert process.returncode == 0


@pytest.fixture
def fresh(page):
    """The page with nothing changed, at trace 12."""
    page.keyboard.press("Escape")
    if page.is_enabled("#reset-all"):
        page.click("#reset-all")
    expect(page.locator("#edited")).to_have_text("0")
    page.select_option("#sort", "number")
    page.click('.row[data-id="12"]')
    page.wait_for_selector('#app[data-trace="12"]')
    return page


def used(page):
    return int(page.inner_text("#trace-title").split(" of ")[0].split()[-1])


def expect_used(page, count):
    expect(page.locator("#trace-title")).to_contain_text(f", {count} of ")


def test_the_worst_trace_is_shown_first(page):
    page.wait_for_selector(f'#app[data-trace="{10 + DARK}"][data-status="FAILED"]')
    expect(page.locator("#solved")).to_have_text("11 of 12")
    page.keyboard.press("w")
    page.wait_for_selector('#app[data-status="OK"]')


def test_a_line_is_masked_and_used_again_by_key(fresh):
    before, rms = used(fresh), fresh.inner_text("#rms")
    expect(fresh.locator("#line-text")).to_contain_text(", used")
    fresh.keyboard.press("m")
    expect(fresh.locator("#line-text")).to_contain_text("masked by you")
    expect(fresh.locator("#edited")).to_have_text("1")
    assert used(fresh) < before
    assert fresh.inner_text("#rms") != rms
    fresh.keyboard.press("z")
    expect_used(fresh, before)
    fresh.keyboard.press("y")
    expect(fresh.locator("#line-text")).to_contain_text("masked by you")
    fresh.keyboard.press("u")
    expect(fresh.locator("#line-text")).to_contain_text(", used")


def test_the_order_of_one_trace_and_of_all(fresh):
    fresh.keyboard.press("1")
    expect(fresh.locator('#orders [aria-pressed="true"]')).to_have_text("1")
    expect(fresh.locator("#edited")).to_have_text("1")
    fresh.keyboard.press("z")
    fresh.keyboard.press("g")
    fresh.keyboard.press("4")
    expect(fresh.locator("#edited")).to_have_text("11")
    expect(fresh.locator('#orders [aria-pressed="true"]')).to_have_text("4")
    fresh.keyboard.press("g")


def test_a_line_is_named_from_the_list_and_by_typing(fresh):
    fresh.keyboard.press("d")
    expect(fresh.locator("#line-text")).to_contain_text("no name")
    fresh.keyboard.press("i")
    expect(fresh.locator("#candidates li")).to_have_count(8)
    fresh.keyboard.press("Enter")
    expect(fresh.locator("#line-text")).to_contain_text("held by you")
    fresh.keyboard.press("i")
    fresh.keyboard.press(".")
    fresh.locator("#typed").fill("1.6")
    fresh.keyboard.press("Enter")
    expect(fresh.locator("#line-text")).to_contain_text("1.600000 µm")
    fresh.keyboard.press("i")
    fresh.keyboard.press("Escape")
    expect(fresh.locator("#naming")).to_be_hidden()


def test_lines_and_traces_are_chosen_by_mouse(fresh):
    box = fresh.locator("#spectrum").bounding_box()
    text = fresh.inner_text("#line-text")
    fresh.keyboard.press("ArrowRight")
    expect(fresh.locator("#line-text")).not_to_have_text(text)
    fresh.keyboard.down("Shift")  # a range of lines, all masked at once
    fresh.mouse.move(box["x"] + 60, box["y"] + 150)
    fresh.mouse.down()
    fresh.mouse.move(box["x"] + 400, box["y"] + 150, steps=3)
    fresh.mouse.up()
    fresh.keyboard.up("Shift")
    expect(fresh.locator("#line-text")).to_contain_text(" lines")
    fresh.mouse.wheel(0, -400)
    fresh.mouse.dblclick(box["x"] + 400, box["y"] + 20)
    there = fresh.locator("#map").bounding_box()
    fresh.mouse.click(there["x"] + 200, there["y"] + 30)  # the topmost trace
    fresh.wait_for_selector('#app[data-trace="21"]')
    fresh.keyboard.press("ArrowDown")
    fresh.wait_for_selector('#app[data-trace="20"]')


def test_a_failed_trace_is_solved_by_hand_and_saved(fresh, tmp_path):
    fresh.click(f'.row[data-id="{10 + DARK}"]')
    fresh.wait_for_selector(f'#app[data-trace="{10 + DARK}"]')
    fresh.keyboard.press("ArrowRight")
    fresh.keyboard.press("i")
    fresh.keyboard.press("Enter")
    fresh.wait_for_selector('#app[data-status="SHIFTED"]')
    expect(fresh.locator("#solved")).to_have_text("12 of 12")
    out = tmp_path / "saved.fits"
    fresh.keyboard.press("s")
    fresh.fill("#save-path", str(out))
    fresh.click("#save-go")
    expect(fresh.locator("#save-said")).to_contain_text("is written")
    fresh.click("#save-go")
    expect(fresh.locator("#save-said")).to_contain_text("is there already")
    fresh.keyboard.press("Escape")
    saved = read_solved(out).solution.traces[DARK]
    assert saved.status == "SHIFTED"
    assert (saved.marks == NAMED).sum() == 1


def test_the_keys_are_listed(fresh):
    fresh.keyboard.press("?")
    expect(fresh.locator("#keys")).to_contain_text("worst trace")
    fresh.keyboard.press("Escape")
    expect(fresh.locator("#help")).to_be_hidden()
