"""A real Chromium, a real display process, a small real publisher."""

import io
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.data import need
from tests.quicklook import Publisher

ROOT = Path(__file__).parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LIMIT_MS = 15_000
FIGURE = 'Bokeh.documents[0].get_model_by_name("figure")'

expect.set_options(timeout=LIMIT_MS)


class Display:
    """The display's process, subscribed to a publisher."""

    def __init__(self, publisher: Publisher, port: int = 0, arguments: tuple[str, ...] = ()) -> None:
        self.publisher = publisher
        command = [sys.executable, "-m", "dashboards", "--port", str(port), "--print-url"]
        endpoints = [text for name, endpoint in publisher.endpoints.items() for text in (f"--{name}", endpoint)]
        self.process = subprocess.Popen([*command, *endpoints, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        try:
            self.url = self.process.stdout.readline().strip()
            publisher.wait_for_subscribers()
        except BaseException:
            self.stop()
            raise

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


class Tab:
    """A page of the display, and what a test asks of it."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(LIMIT_MS)
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._watch)
        self.page.goto(url)

    def _watch(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "blob:", "data:")):
            self.complaints.append(f"asked for {request.url}")

    def wait_for(self, **data: object) -> None:
        """Wait until the page's `data-` attributes have these values."""
        self.page.wait_for_selector("#app" + "".join(f'[data-{name}="{value}"]' for name, value in data.items()))

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def look_at(self, x: float, y: float, pixels: float) -> None:
        """Put a point into the middle of the image pane, with so many pixels across."""
        self.page.evaluate(
            f"""([x, y, size]) => {{
                const figure = {FIGURE};
                const up = (size * figure.inner_height) / figure.inner_width;
                figure.x_range.setv({{ start: x - size / 2, end: x + size / 2 }});
                figure.y_range.setv({{ start: y - up / 2, end: y + up / 2 }});
            }}""",
            [x, y, pixels],
        )

    def ranges(self) -> list[float]:
        script = f"(() => {{ const f = {FIGURE}; return [f.x_range.start, f.x_range.end, f.y_range.start]; }})()"
        found: list[float] = self.page.evaluate(script)
        return found

    def point_at_middle(self) -> None:
        box = self.page.locator("#image").bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.5)

    def colour(self, across: float, down: float) -> NDArray[np.uint8]:
        """Return the colour seen at a place of the image pane, given as parts of its width and height."""
        image = np.asarray(Image.open(io.BytesIO(self.page.locator("#image").screenshot())).convert("RGB"))
        pixel: NDArray[np.uint8] = image[int(down * image.shape[0]), int(across * image.shape[1])]
        return pixel


class Shared:
    """The one Chromium of all tests of this folder, started by the first that needs it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._browser: Browser | None = None

    def get(self) -> Browser:
        if self._browser is None:
            chromium = shutil.which("chromium")
            need(chromium is not None, "chromium")
            playwright = self._stack.enter_context(sync_playwright())
            self._browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
            self._stack.callback(self._browser.close)
        return self._browser

    def close(self) -> None:
        self._browser = None
        self._stack.close()


SHARED = Shared()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Generator[None]:
    """End the browser with the last test of this folder: its event loop would run below those that follow."""
    try:
        yield
    finally:
        if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
            SHARED.close()


@pytest.fixture(scope="module")
def browser() -> Browser:
    return SHARED.get()


@pytest.fixture(scope="module")
def publisher():
    made = Publisher()
    yield made
    made.close()


@pytest.fixture(scope="module")
def display(browser, publisher):  # noqa: ARG001  (without a browser no process is started)
    made = Display(publisher)
    yield made
    made.stop()


def hover(tab: Tab, x: float, y: float) -> None:
    """Put the cursor over a point of the scene."""
    place = tab.page.evaluate(
        """([x, y]) => {
          const f = Bokeh.documents[0].get_model_by_name("figure");
          const view = Object.values(Bokeh.index).find((one) => one.model === f);
          const box = view.el.getBoundingClientRect();
          const frame = view.frame.bbox;
          const { x_range: a, y_range: b } = f;
          return [box.left + frame.left + ((x - a.start) / (a.end - a.start)) * frame.width,
                  box.top + frame.top + ((b.end - y) / (b.end - b.start)) * frame.height];
        }""",
        [x, y],
    )
    tab.page.mouse.move(*place)
    expect(tab.page.locator("#at")).to_contain_text(f"x {round(x)}  y {round(y)}")


@pytest.fixture(scope="module")
def module_tab(browser, display):
    """A page that the tests of a file share: each leaves it as it found it."""
    tab = Tab(browser, display.url)
    yield tab
    tab.context.close()
    assert tab.complaints == []


@pytest.fixture
def open_tab(browser, display):
    tabs: list[Tab] = []

    def make() -> Tab:
        tabs.append(Tab(browser, display.url))
        return tabs[-1]

    yield make
    for tab in tabs:
        tab.context.close()
    assert [complaint for tab in tabs for complaint in tab.complaints] == []
