"""What a display costs and how fast it is, with pages that look at it, each a process of its own."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from rtcal.errors import RtcalError
from rtcal.live import Child

SAMPLE_S = 1.0
MOST_SAMPLES = 60
SETTLE_S = 5.0
MB = 1e6


class Audience:
    """A display and the pages that look at it.

    Parameters
    ----------
    arguments
        For `python -m dashboards`: the endpoints, and the configuration if there is one.
    pages
        How many; one of them is a real browser where one is installed.
    view
        "reduced" or "ramp".

    Raises
    ------
    RtcalError
        If the display does not start; its own message is on standard error.
    """

    def __init__(self, arguments: Sequence[str], pages: int, view: str = "reduced") -> None:
        self._stack = ExitStack()
        command = ["-m", "dashboards", "--port", "0", "--print-url", *arguments]
        self.display = self._start("display", command)
        self.url = _line(self.display)
        self._looking = ["-m", "rtcal.audience.viewers", self.url, "--pages", str(pages), "--view", view]
        self._viewers: Child | None = None
        self._samples: list[tuple[float, float, int]] = []
        self._began_s = 0.0

    def __enter__(self) -> "Audience":
        return self

    def __exit__(self, *_why: object) -> None:
        self._stack.close()

    def open(self) -> None:
        """Open the pages; returns when all are connected."""
        self._viewers = self._start("viewers", self._looking)
        _line(self._viewers)
        self._began_s = time.monotonic()

    def sample(self) -> None:
        """Note what the display has taken so far."""
        self.display.check()
        cpu_s, rss = self.display.usage()
        self._samples.append((time.monotonic() - self._began_s, cpu_s, rss))

    def close(self) -> dict[str, Any]:
        """Close the pages; return what they saw and what the display took."""
        assert self._viewers is not None, "nothing was opened"
        self.sample()
        self._viewers.process.terminate()
        seen: dict[str, Any] = json.loads(_line(self._viewers))
        return seen | cost(self._samples)

    def _start(self, name: str, arguments: Sequence[str]) -> Child:
        child = Child(name, arguments, {}, subprocess.PIPE)
        self._stack.callback(_end, child)
        return child


def _line(child: Child) -> str:
    """Return the next line that a process writes, without its end."""
    assert child.process.stdout is not None, "its output is ours"
    line = str(child.process.stdout.readline()).strip()
    if not line:
        child.process.wait()
        child.check()
    return line


def _end(child: Child) -> None:
    child.stop()
    if child.process.stdout is not None:
        child.process.stdout.close()


def cost(samples: Sequence[tuple[float, float, int]]) -> dict[str, Any]:
    """Sum up samples of time [s], CPU time [s] and resident memory [bytes].

    `growth_mb_per_min` is the slope of memory over the second half.
    """
    first, last = samples[0], samples[-1]
    half = [sample for sample in samples if sample[0] >= (first[0] + last[0]) / 2]
    minutes = (half[-1][0] - half[0][0]) / 60
    elapsed_s = last[0] - first[0]
    step = -(-len(samples) // MOST_SAMPLES)
    return {
        "seconds": round(elapsed_s, 1),
        "display_cpu_cores": round((last[1] - first[1]) / elapsed_s, 3) if elapsed_s > 0 else None,
        "display_rss_mb": {
            "start": round(first[2] / MB),
            "end": round(last[2] / MB),
            "most": round(max(sample[2] for sample in samples) / MB),
        },
        "growth_mb_per_min": round((half[-1][2] - half[0][2]) / MB / minutes, 2) if minutes > 0 else None,
        "rss_curve_mb": [[round(at_s), round(rss / MB)] for at_s, _, rss in samples[::step]],
    }


def measure_display(
    publish: Sequence[str],
    arguments: Sequence[str],
    pages: int,
    seconds: float,
    view: str,
    stop: threading.Event,
    show: Callable[[str], None],
) -> dict[str, Any]:
    """Publish, look, and measure.

    Parameters
    ----------
    publish
        Arguments of `rtcal.audience.publisher`.
    arguments
        Further ones of the display.
    pages, view
        Who looks, and at what.
    seconds
        How long, once things have settled.
    stop
        Ends it earlier.
    show
        Called each second with what goes on.

    Raises
    ------
    RtcalError
        If a process ends by itself, or no page showed anything.
    """
    with ExitStack() as stack:
        publisher = Child("publisher", ["-m", "rtcal.audience.publisher", *publish], {}, subprocess.PIPE)
        stack.callback(_end, publisher)
        endpoints = json.loads(_line(publisher))
        named = [text for name, endpoint in endpoints.items() for text in (f"--{name}", endpoint)]
        audience = stack.enter_context(Audience([*named, "--telemetry", "", *arguments], pages, view))
        audience.open()
        stop.wait(SETTLE_S)
        ends_s = time.monotonic() + seconds
        audience.sample()
        while not stop.wait(SAMPLE_S) and time.monotonic() < ends_s:
            publisher.check()
            audience.sample()
            show(f"{ends_s - time.monotonic():.0f} s to go (Ctrl-C ends)")
        result = audience.close()
    if not result["frames"]:
        raise RtcalError("no page showed a frame")
    return result
