"""Pictures of the pages for a person to look at, and for the user guide: `make screenshots`.

python -m tests.browser.screenshots build/screenshots
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from rtcal.config import Settings
from rtcal.spectrograph.arc import solve
from rtcal.spectrograph.arcwrite import write_arc
from streams.dq import Dq
from streams.messages import AdcResidual, Frame, Quality
from streams.settings import load
from tests.browser.conftest import CHROMIUM_FLAGS, Display, Tab, hover
from tests.quicklook import Publisher, make_cube, make_frame, make_preview, make_status
from tests.rtcal.spectrograph.synthetic import Arc
from tests.rtcal.spectrograph.test_arcfile import HEADER, placed

NAMES = ("IMG1", "IMG2", "IMG3", "IMG4")
SIDE = 1024
RESIDUAL = AdcResidual(
    status="OK", atmosphere="TCS", air="OK", reference_um=2.2, atmosphere_mas=26.8, wavelength_um=[1.975, 2.2, 2.412],
    weight=[1, 1, 1], x_mas=[1.1, 0, -0.7], y_mas=[0.8, 0, -0.5], edge_mas=[1.8, 1.3], rms_mas=0.6,
)  # fmt: skip


def flagged(frame: Frame, seed: int) -> Frame:
    """Sprinkle flags over a frame as a real detector has them."""
    rng = np.random.default_rng(seed)
    for flags, part in ((Dq.HOT | Dq.DO_NOT_USE, 8e-4), (Dq.DEAD | Dq.DO_NOT_USE, 8e-4), (Dq.JUMP_DET, 3e-4)):
        frame.dq[rng.random(frame.dq.shape) < part] |= np.uint32(flags)
    frame.dq[frame.data > 3000] |= np.uint32(Dq.SATURATED)
    frame.dq[700:764, 500:564] |= np.uint32(Dq.WINDOW | Dq.DO_NOT_USE)
    border = np.ones(frame.dq.shape, bool)
    border[4:-4, 4:-4] = False
    frame.dq[border] |= np.uint32(Dq.REFERENCE_PIXEL)
    return frame


def publish(publisher: Publisher) -> None:
    """Send four detectors' frames of a few exposures."""
    for exposure in range(5):
        for number, name in enumerate(NAMES):
            told = {"exposure_id": f"2026B-001-{exposure:04d}", **facts(exposure, number)}
            frame = make_frame(name, exposure, side=SIDE, **told)
            noise = np.random.default_rng(100 * exposure + number).normal(0, 1, frame.data.shape)
            pixels = make_frame(name, number, side=SIDE).data + noise.astype(np.float32)
            publisher.send(flagged(Frame(frame.header, pixels, frame.err, frame.dq, frame.saturated_from), number))
    for name in NAMES:
        publisher.send(make_preview(name, 21, side=SIDE))
    publisher.send(make_cube("IFS", 4, bins=480))
    publisher.send(make_status(1, period_s=1000.0, detectors=NAMES))


def facts(exposure: int, number: int) -> dict[str, Any]:
    """What a frame's header says besides: quality, world coordinates, airmass."""
    wide = 12.0 + 4 * (exposure == 4) * (number == 2) * 5 + 0.6 * number + 0.3 * (-1) ** exposure
    quality = Quality(
        sources=6, fwhm_mas=wide, ellipticity=0.06, ee50_mas=11.4, ee_50mas=0.81, strehl=0.52, sky=29.8, sky_noise=2.1,
        saturated_fraction=2e-5, peak_fraction=0.83, read_noise_e=[8.7, 8.9, 9.0, 9.2, 10.4], jumps=312,
        jumps_per_s_cm2=4.9,
    )  # fmt: skip
    scale = 4 / 3.6e6
    wcs = {"CD1_1": -0.8 * scale, "CD1_2": 0.6 * scale, "CD2_1": 0.6 * scale, "CD2_2": 0.8 * scale}
    return {"quality": quality, "wcs": wcs, "adc": RESIDUAL}


def brightest(publisher_seed: int) -> tuple[int, int]:
    data = make_frame("IMG1", publisher_seed, side=SIDE).data[200:800, 200:800]
    row, column = np.unravel_index(int(np.argmax(np.where(data < 4000, data, 0))), data.shape)
    return int(column) + 200, int(row) + 200


def take(folder: Path, only: str) -> None:
    publisher = Publisher()
    display = Display(publisher)
    try:
        photograph(publisher, display, folder, only)
    finally:
        display.stop()
        publisher.close()


def take_arc(folder: Path) -> None:
    """The page of an arc, on a process and a file of its own."""
    with tempfile.TemporaryDirectory() as room, sync_playwright() as playwright:
        path = write_example(Path(room) / "arc_Hbb_slicer.fits")
        command = [sys.executable, "-m", "rtcal", "arc", "edit", str(path), "--no-browser"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(process.stdout.readline().strip())
            page.wait_for_selector("#app[data-trace]")
            for key in ("w", "m", "ArrowLeft", "ArrowLeft", "i"):
                page.keyboard.press(key)
                page.wait_for_timeout(200)
            page.screenshot(path=folder / "arc.png")
            browser.close()
            process.terminate()


def write_example(path: Path) -> Path:
    """Write an arc of 40 traces, one with a hot pixel's line, one without lines, for the picture of its page."""
    arc = Arc(count=40, snr=25.0)
    arc.flux[23] = np.random.default_rng(3).normal(0, 1, arc.x.size)
    solution = solve([arc.spectra()], arc.lines, arc.off(), load(None, Settings).arc)
    header = {**HEADER, "GRATING": "H4000", "FILTER": "Hbb"}
    write_arc(
        path, solution, placed(40, arc.x.size), (256, arc.x.size + 8), header, ["Ar", "Ne"], "2031-01-15T06:00:00", [],
        spectra=arc.flux,
    )  # fmt: skip
    return path


def photograph(publisher: Publisher, display: Display, folder: Path, only: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        tab = Tab(browser, display.url)
        tab.page.on("console", lambda message: tab.complaints.append(message.text))
        publish(publisher)
        try:
            tab.wait_for(scene="MOSAIC/reduced", health="ok")
            tab.page.wait_for_timeout(800)
            for name, pose in POSES.items():
                if only in name:
                    pose(tab)
                    tab.page.wait_for_timeout(900)
                    tab.page.screenshot(path=folder / f"{name}.png")
        finally:
            print("\n".join(tab.complaints))  # noqa: T201
        browser.close()


def single(tab: Tab) -> None:
    tab.page.keyboard.press("1")
    tab.wait_for(scene="IMG1/reduced")
    tab.page.wait_for_timeout(300)


def source(tab: Tab) -> None:
    single(tab)
    x, y = brightest(0)
    tab.look_at(x, y, 160)
    tab.page.wait_for_timeout(300)
    hover(tab, x, y)
    tab.page.keyboard.press("s")
    tab.page.keyboard.press("h")


def flags(tab: Tab) -> None:
    single(tab)
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("f")
    tab.page.keyboard.press("a")
    tab.page.keyboard.press("k")
    tab.page.click("#tab-look")


def box(tab: Tab) -> None:
    single(tab)
    for key in ("a", "k", "Escape", "b"):
        tab.page.keyboard.press(key)
    x, y = brightest(0)
    tab.look_at(x, y, 160)
    tab.page.wait_for_timeout(300)
    hover(tab, x - 20, y - 14)
    tab.page.mouse.down()
    hover(tab, x + 22, y + 15)
    tab.page.mouse.up()
    tab.page.keyboard.press("j")


def difference(tab: Tab) -> None:
    single(tab)
    for key in ("Escape", "f", ",", "="):
        tab.page.keyboard.press(key)
    tab.page.click("#tab-now")


def night(tab: Tab) -> None:
    tab.page.keyboard.press("=")
    tab.page.keyboard.press("Backspace")
    tab.page.click("#tab-night")


def target(tab: Tab) -> None:
    single(tab)
    x, y = brightest(0)
    tab.look_at(x, y, 120)
    tab.page.wait_for_timeout(300)
    tab.page.keyboard.press("t")
    hover(tab, x + 2, y)
    tab.page.mouse.down()
    tab.page.mouse.up()


def cube(tab: Tab) -> None:
    tab.page.keyboard.press("Escape")
    tab.page.locator(".bk-btn").filter(has_text="IFS-cube").click()
    tab.wait_for(scene="IFS-cube/reduced")
    tab.page.wait_for_timeout(400)
    hover(tab, 20, 24)
    tab.page.keyboard.press("Enter")
    tab.page.select_option("#cube-how", "slice")
    tab.page.locator("#cube-first").fill("190")
    tab.page.locator("#cube-first").blur()


def keys(tab: Tab) -> None:
    tab.page.keyboard.press("?")


def light(tab: Tab) -> None:
    for key in ("?", "d", "m", "Backspace"):
        tab.page.keyboard.press(key)
    tab.wait_for(scene="MOSAIC/reduced")


POSES: dict[str, Callable[[Tab], None]] = {
    "mosaic": lambda _tab: None,
    "source": source,
    "flags": flags,
    "region": box,
    "difference": difference,
    "night": night,
    "target": target,
    "cube": cube,
    "keys": keys,
    "light": light,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="part of a picture's name")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.only in "arc":
        take_arc(options.folder)
    take(options.folder, options.only)


if __name__ == "__main__":
    main()
