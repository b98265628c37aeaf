"""Pages that look at a display, for its benchmark: `python -m rtcal.audience.viewers URL`.

One is a real Chromium, where playwright and a `chromium` are installed; the others speak the page's websocket and
acknowledge every message. "ready" is written once all are connected, and the summary as a line of JSON after SIGTERM.

Times run from the publication of a frame, by its own stamp, to the arrival of its pixels at a bare page, or to the
first animation frame after Chromium has drawn it.
"""

import argparse
import asyncio
import json
import shutil
import signal
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

WISH = {
    "type": "view", "detector": "", "limits": "zscale", "percentile": 99.0, "low": 0.0, "high": 1.0,
    "stretch": "linear", "mark_bad": True,
}  # fmt: skip
WATCH = """() => {
  window.painted = [];
  const app = document.getElementById("app");
  new MutationObserver(() => {
    const sequence = Number(app.dataset.sequence);
    requestAnimationFrame(() => window.painted.push([sequence, performance.timeOrigin + performance.now()]));
  }).observe(app, { attributes: true, attributeFilter: ["data-sequence"] });
}"""

LAST_MS = 1500.0
"""What was published so shortly before the end does not count: it may be on its way."""


class Shown(NamedTuple):
    """When a frame was published, and when it was there; ms of the monotonic clock."""

    published_ms: float
    there_ms: float


Seen = dict[tuple[str, int], Shown]
"""By detector and sequence; a browser names the sequence alone."""


class Barepage:
    """A page without a browser.

    Parameters
    ----------
    url, view
        The display's address, and the view wanted.
    published
        Takes when each sequence was published [ms of the monotonic clock], for the browser's times.
    """

    def __init__(self, url: str, view: str, published: dict[int, float]) -> None:
        self.seen: Seen = {}
        self._url = url
        self._view = view
        self._published = published
        self._shown: list[tuple[str, int, float]] = []

    async def connect(self) -> WebSocketClientConnection:
        """Connect, and say what is wanted."""
        request = HTTPRequest(self._url.replace("http", "ws", 1) + "stream", headers={"Origin": self._url.rstrip("/")})
        connection = await websocket_connect(request, max_message_size=1 << 26)
        await connection.write_message(json.dumps(WISH | {"view": self._view}))
        return connection

    async def follow(self, connection: WebSocketClientConnection) -> None:
        """Acknowledge what comes until the connection ends."""
        while (content := await connection.read_message()) is not None:
            if not isinstance(content, bytes) or self._take(content) == "detail":
                await connection.write_message(json.dumps({"type": "ack"}))

    def _take(self, content: bytes) -> str:
        """Note what an image shows; it is there whole with its detail, the second of its two layers."""
        (length,) = struct.unpack_from("<I", content)
        header = json.loads(content[4 : 4 + length])
        if header["layer"] == "base":
            self._shown = list(_frames(header))
        now_ms = time.monotonic() * 1000
        for detector, sequence, published_ms in self._shown:
            self.seen.setdefault((detector, sequence), Shown(published_ms, now_ms))
            self._published.setdefault(sequence, published_ms)  # a frame issued again has a later stamp
        return str(header["layer"])


def _frames(header: dict[str, Any]) -> Iterator[tuple[str, int, float]]:
    for tile in header["tiles"]:
        if tile["shown"]:
            yield tile["detector"], tile["shown"]["sequence"], tile["shown"]["published_ms"]


class Chromium:
    """A page in a real browser; use it as a context."""

    def __init__(self, url: str, view: str) -> None:
        self.first_paint_s = 0.0
        self._url = url
        self._view = view

    async def __aenter__(self) -> "Chromium":
        from playwright.async_api import async_playwright

        self._manager = async_playwright()
        playwright = await self._manager.__aenter__()
        flags = ["--no-sandbox", "--disable-gpu"]
        self._browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        self._page = await self._browser.new_page(viewport={"width": 1280, "height": 800})
        began_s = time.monotonic()
        await self._page.goto(self._url)
        await self._page.wait_for_selector("#app[data-health]")
        self.first_paint_s = time.monotonic() - began_s
        if self._view == "ramp":
            await self._page.locator(".bk-btn").filter(has_text="Ramp").first.click()
        await self._page.evaluate(WATCH)
        return self

    async def __aexit__(self, *_why: object) -> None:
        await self._browser.close()
        await self._manager.__aexit__()

    async def seen(self, published: dict[int, float]) -> Seen:
        """Return when each frame was drawn."""
        to_monotonic_ms = (time.monotonic() - time.time()) * 1000
        seen: Seen = {}
        for sequence, wall_ms in await self._page.evaluate("window.painted"):
            if int(sequence) in published:
                shown = Shown(published[int(sequence)], wall_ms + to_monotonic_ms)
                seen.setdefault(("", int(sequence)), shown)
        return seen


def has_browser() -> bool:
    """Tell whether one of the pages can be a real one."""
    from importlib.util import find_spec

    return find_spec("playwright") is not None and shutil.which("chromium") is not None


async def look(url: str, pages: int, view: str) -> dict[str, Any]:
    """Open the pages, look until SIGTERM, and sum up."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    published: dict[int, float] = {}
    browser = Chromium(url, view) if has_browser() and pages > 1 else None
    bare = [Barepage(url, view, published) for _ in range(pages - (browser is not None))]
    connections = [await page.connect() for page in bare]
    following = [asyncio.create_task(page.follow(one)) for page, one in zip(bare, connections, strict=True)]
    drawn: Seen = {}
    if browser is None:
        during = await _until(stop)
    else:
        async with browser:
            during = await _until(stop)
            drawn = await browser.seen(published)
    for connection in connections:
        connection.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*following), 5)
    first_paint = {} if browser is None else {"first_paint_s": round(browser.first_paint_s, 2)}
    return summary([page.seen for page in bare], drawn if browser else None, during) | first_paint


async def _until(stop: asyncio.Event) -> tuple[float, float]:
    """Wait, and return from when to when what is published counts [ms of the monotonic clock]."""
    began_ms = time.monotonic() * 1000
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stop.wait()
    return began_ms, time.monotonic() * 1000 - LAST_MS


def summary(pages: list[Seen], browser: Seen | None, during: tuple[float, float]) -> dict[str, Any]:
    """Say how many frames each page showed of those published `during` the run, and how long they took [ms]."""
    bare = [_within(seen, during) for seen in pages]
    drawn = None if browser is None else _within(browser, during)
    everything = {key for seen in bare for key in seen}
    newest: dict[str, list[int]] = {}
    for detector, sequence in everything:
        newest.setdefault(detector, []).append(sequence)
    answer: dict[str, Any] = {
        "pages": len(bare) + (drawn is not None),
        "frames": sum(max(numbers) - min(numbers) + 1 for numbers in newest.values()),
        "shown_by_pages": [len(seen) for seen in bare],
        "page_ms": quantiles([shown for seen in bare for shown in seen.values()]),
    }
    if drawn is not None:
        answer |= {"shown_by_browser": len(drawn), "browser_ms": quantiles(drawn.values())}
    return answer


def _within(seen: Seen, during: tuple[float, float]) -> Seen:
    return {key: shown for key, shown in seen.items() if during[0] <= shown.published_ms <= during[1]}


def quantiles(shown: Iterable[Shown]) -> dict[str, int | None]:
    """Return median, 95 % and the worst of how late frames were [ms], each a whole number."""
    late_ms = [one.there_ms - one.published_ms for one in shown]
    values = np.quantile(late_ms, [0.5, 0.95, 1.0]).round().astype(int).tolist() if late_ms else [None] * 3
    return dict(zip(("p50", "p95", "worst"), values, strict=True))


def main(arguments: list[str] | None = None) -> None:
    """Look until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m rtcal.audience.viewers", description="Look at a display.")
    parser.add_argument("url")
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--view", choices=("ramp", "reduced"), default="reduced")
    options = parser.parse_args(arguments)
    sys.stdout.write(json.dumps(asyncio.run(look(options.url, options.pages, options.view))) + "\n")


if __name__ == "__main__":
    main()
