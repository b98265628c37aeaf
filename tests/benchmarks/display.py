"""What a display costs and how fast it is: a real Chromium and bare websocket pages on a stream of large frames.

    python -m tests.benchmarks.display                     # ten pages on one 4096 x 4096 detector, frames
    python -m tests.benchmarks.display --kind previews --detectors 5 --pages 3
    python -m tests.benchmarks.display --kind binned --config thin.toml  # full_frames = false in it
    python -m tests.benchmarks.display --seconds 600       # is memory flat?

A line of JSON is written at the end. Send-to-paint runs from before the message is handed to ZeroMQ to the first
animation frame after the page has shown it; the websocket pages count to the arrival of the pixels.
"""

import argparse
import asyncio
import json
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
from playwright.async_api import async_playwright
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from rtcal.bands import Bands
from rtcal.binned import binned_frame
from streams.clock import SystemClock
from streams.messages import Frame, Message
from tests.quicklook import Publisher, make_frame, make_preview, make_status

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
BINNED_PIXELS = 1024
WISH = {
    "type": "view", "detector": "", "view": "reduced", "limits": "zscale", "percentile": 99.0, "low": 0.0,
    "high": 1.0, "stretch": "linear", "mark_bad": True,
}  # fmt: skip
WATCH = """() => {
  window.painted = [];
  const app = document.getElementById("app");
  new MutationObserver(() => {
    const sequence = Number(app.dataset.sequence);
    requestAnimationFrame(() => window.painted.push([sequence, performance.timeOrigin + performance.now()]));
  }).observe(app, { attributes: true, attributeFilter: ["data-sequence"] });
}"""


class Stream:
    """Sends the same pixels under ever new numbers at a steady rate, on a thread of its own."""

    def __init__(self, publisher: Publisher, options: argparse.Namespace) -> None:
        names = [f"IMG{number + 1}" for number in range(options.detectors)]
        pixels = np.random.default_rng(1).normal(30, 5, (options.side, options.side)).astype(np.float32)
        self._messages = [self._message(options, name, pixels) for name in names]
        frames = [message for message in self._messages if isinstance(message, Frame)]
        with Bands() as bands:
            self._binned = {frame.header.detector: binned_frame(frame, BINNED_PIXELS, bands) for frame in frames}
        self._publisher = publisher
        self._names = tuple(names)
        self._period_s = options.period
        self._stop = threading.Event()
        self.sent: dict[int, float] = {}
        self.thread = threading.Thread(target=self._run, daemon=True)

    @staticmethod
    def _message(options: argparse.Namespace, name: str, pixels: Any) -> Message:
        if options.kind != "previews":
            return make_frame(name, 0, data=pixels)
        binning = max(1, options.side // 1024)
        return make_preview(name, 0, binning=binning, rate=pixels[::binning, ::binning])

    def _send(self, message: Message, sequence: int) -> None:
        """Send a message under a new number, a frame as the daemon does: binned first."""
        fields = {"sequence": sequence, "published_ns": SystemClock().tai_ns()}
        message = replace(message, header=msgspec.structs.replace(message.header, **fields))  # type: ignore[type-var]
        if isinstance(message, Frame):
            header = message.header
            kept = {"sequence": sequence, "time_ns": header.time_ns, "frame": header}
            binned = self._binned[header.detector]
            self._publisher.send(replace(binned, header=msgspec.structs.replace(binned.header, **kept)))
        self._publisher.send(message)

    def _run(self) -> None:
        due_s = time.monotonic()
        sequence = 0
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            sequence += 1
            self._publisher.send(make_status(sequence, detectors=self._names))
            for number, message in enumerate(self._messages):
                if number == len(self._messages) - 1:
                    self.sent[sequence] = time.time() * 1000
                self._send(message, sequence)
            due_s += self._period_s

    def stop(self) -> None:
        self._stop.set()
        self.thread.join()


async def bare_page(url: str, view: str, seen: list[tuple[int, float]], stop: asyncio.Event) -> None:
    """Acknowledge what comes and note the newest sequence of each image."""
    request = HTTPRequest(url.replace("http", "ws") + "stream", headers={"Origin": url.rstrip("/")})
    connection = await websocket_connect(request, max_message_size=1 << 26)
    await connection.write_message(json.dumps(WISH | {"view": view}))
    newest = None
    while not stop.is_set():
        content = await connection.read_message()
        if content is None:
            return
        layer = None
        if isinstance(content, bytes):
            (length,) = struct.unpack_from("<I", content)
            header = json.loads(content[4 : 4 + length])
            layer = header["layer"]
            if layer == "base":
                newest = max((t["shown"]["sequence"] for t in header["tiles"] if t["shown"]), default=None)
            elif newest is not None:
                seen.append((newest, time.time() * 1000))
        if layer != "base":
            await connection.write_message(json.dumps({"type": "ack"}))
    connection.close()


async def measure(options: argparse.Namespace, url: str, process: psutil.Process, start: Callable[[], None]) -> Any:
    """Open the pages, let the stream run, return what each saw and what the server took."""
    view = "ramp" if options.kind == "previews" else "reduced"
    stop, seen = asyncio.Event(), [[] for _ in range(options.pages - 1)]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        began = time.monotonic()
        await page.goto(url)
        await page.wait_for_selector("#app[data-health]")
        opened_s = time.monotonic() - began
        if view == "ramp":
            await page.locator(".bk-btn").filter(has_text="Ramp").first.click()
        await page.evaluate(WATCH)
        tasks = [asyncio.create_task(bare_page(url, view, one, stop)) for one in seen]
        start()
        await asyncio.sleep(3)
        cpu, memory, began = sum(process.cpu_times()[:2]), [], time.monotonic()
        while time.monotonic() - began < options.seconds:
            await asyncio.sleep(1)
            memory.append(process.memory_info().rss / MIB)
        cores = (sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - began)
        painted = await page.evaluate("window.painted")
        stop.set()
        await asyncio.gather(*tasks)
        await browser.close()
    return painted, seen, cores, memory, opened_s


def report(sent: dict[int, float], pages: list[list[tuple[int, float]]], until_ms: float) -> dict[str, Any]:
    """Say how many of the images each page showed, and how long they took."""
    wanted = {sequence for sequence, at in list(sent.items())[4:] if at < until_ms}
    first = [{} for _ in pages]
    for one, page in zip(first, pages, strict=True):
        for sequence, at in page:
            one.setdefault(int(sequence), at)
    late = [at - sent[s] for one in first for s, at in one.items() if s in wanted]
    return {
        "sent": len(wanted),
        "shown": [len(wanted & set(one)) for one in first],
        "median_ms": round(float(np.median(late))),
        "p95_ms": round(float(np.percentile(late, 95))),
        "worst_ms": round(max(late)),
        "chromium_p95_ms": round(float(np.percentile([a - sent[s] for s, a in first[0].items() if s in wanted], 95))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("frames", "binned", "previews"), default="frames")
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--detectors", type=int, default=1)
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--period", type=float, default=1 / 1.4)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--config", help="given to the display")
    options = parser.parse_args()
    publisher = Publisher()
    stream = Stream(publisher, options)
    command = [sys.executable, "-m", "dashboards", "--port", "0", "--print-url"]
    endpoints = [text for name, endpoint in publisher.endpoints.items() for text in (f"--{name}", endpoint)]
    config = ["--config", options.config] if options.config else []
    display = subprocess.Popen([*command, *endpoints, *config], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert display.stdout is not None
        url = display.stdout.readline().strip()
        publisher.wait_for_subscribers(names=("previews",) if options.kind == "binned" else ("frames", "previews"))
        process = psutil.Process(display.pid)
        painted, seen, cores, memory, opened_s = asyncio.run(measure(options, url, process, stream.thread.start))
        stream.stop()
        answer = report(stream.sent, [painted, *seen], time.time() * 1000 - 2500)
    finally:
        display.terminate()
        display.wait()
    resources = {
        "first_paint_s": round(opened_s, 2),
        "server_cores": round(cores, 3),
        "memory_mib": {"start": round(memory[0]), "end": round(memory[-1]), "most": round(max(memory))},
    }
    sys.stdout.write(json.dumps(vars(options) | answer | resources) + "\n")


if __name__ == "__main__":
    main()
