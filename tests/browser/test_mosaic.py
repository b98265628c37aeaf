"""Several detectors and several people: the mosaic, the views, pages beside each other."""

import re

import pytest
from playwright.sync_api import expect

from tests.quicklook import make_frame, make_preview, make_status

pytestmark = pytest.mark.browser

DETECTORS = ("IMG1", "IMG2", "IMG3", "IMG4")


def test_mosaic_single_detectors_and_views(publisher, open_tab):
    tab = open_tab()
    for number, name in enumerate(DETECTORS):
        publisher.send(make_frame(name, 10 + number, side=128))
        publisher.send(make_preview(name, 21 + number, side=128))
    publisher.send(make_frame("IFS", 50, side=128))
    publisher.send(make_status(1, period_s=100.0, detectors=(*DETECTORS, "IFS")))
    tab.wait_for(scene="MOSAIC/reduced")
    buttons = tab.page.get_by_role("radio").or_(tab.page.locator(".bk-btn"))
    for name in ("Mosaic", *DETECTORS, "IFS"):
        expect(buttons.filter(has_text=re.compile(f"^{name}$"))).to_have_count(1)
    buttons.filter(has_text=re.compile("^IFS$")).click()
    tab.wait_for(scene="IFS/reduced", sequence=50)
    tab.page.click('.ramp[data-detector="IMG2"]')
    tab.wait_for(scene="IMG2/reduced", sequence=11)
    buttons.filter(has_text="Ramp").click()
    tab.wait_for(scene="IMG2/ramp", sequence=22)
    assert "ramp 1, read 7 of 8" in tab.text("#which")
    buttons.filter(has_text="Raw read").click()
    tab.wait_for(scene="IMG2/raw", sequence=22)
    assert tab.text("#units") == "DN"
    buttons.filter(has_text="Mosaic").click()
    tab.wait_for(scene="MOSAIC/raw")
    assert tab.text('.ramp[data-detector="IMG2"]').split() == ["IMG2", "read", "7/8", "·", "ramp", "1/2"]


def test_many_viewers_each_see_the_frame_in_their_own_view(publisher, open_tab):
    tabs = [open_tab() for _ in DETECTORS[:3]]
    for name in DETECTORS:
        publisher.send(make_frame(name, 1, side=128))
    for tab, name in zip(tabs, DETECTORS[:3], strict=True):
        tab.wait_for(scene="MOSAIC/reduced")
        tab.page.click(f'.ramp[data-detector="{name}"]')
        tab.wait_for(scene=f"{name}/reduced")
    tabs[0].page.evaluate("setTimeout(() => { const end = Date.now() + 2500; while (Date.now() < end); }, 0)")
    for sequence in (2, 3):
        for name in DETECTORS:
            publisher.send(make_frame(name, sequence, side=128))
        for tab in tabs[1:]:
            tab.wait_for(sequence=sequence)
    tabs[0].wait_for(sequence=3)
