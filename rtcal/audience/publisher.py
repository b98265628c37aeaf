"""A publisher of frames or previews and nothing else: `python -m rtcal.audience.publisher`.

The same pixels go out under ever new numbers at a steady rate, a frame as the daemon does it: binned first. The first
line of output names the endpoints; SIGTERM ends it.
"""

import argparse
import json
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from rtcal.daemon import stop_on_signals
from rtcal.survey import survey_of
from streams.clock import NS, SystemClock
from streams.messages import (
    Binned,
    DetectorStatus,
    Frame,
    FrameHeader,
    Preview,
    PreviewHeader,
    Status,
    StatusHeader,
)
from streams.sinks import ZmqSink

SCREEN_PIXELS = 1024
READS = 8
HELD = 2
"""Messages that ZeroMQ holds for a display that does not keep up."""


def main(arguments: list[str] | None = None) -> None:
    """Publish until told to stop."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    stop_on_signals(stop)
    names = [f"IMG{number + 1}" for number in range(options.detectors)]
    rng = np.random.default_rng(1)
    pixels = rng.normal(30, 5, (options.size, options.size)).astype(np.float32)
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=HELD) as frames,
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=8 * options.detectors) as previews,
    ):
        sent = _Sent(frames, previews, options.kind, pixels, names)
        sys.stdout.write(json.dumps({"frames": frames.endpoint, "previews": previews.endpoint}) + "\n")
        sys.stdout.flush()
        for sink in (previews, frames) if options.kind == "frames" else (previews,):
            while not (sink.wait_for_receiver(0.1) or stop.is_set()):
                pass
        due_s = time.monotonic()
        while not stop.wait(max(0.0, due_s - time.monotonic())):
            sent.send_all()
            due_s += options.period


class _Sent:
    """Sends what was made once, under new numbers."""

    def __init__(self, frames: ZmqSink, previews: ZmqSink, kind: str, pixels: Any, names: list[str]) -> None:
        self._count = 0
        self._frames, self._previews, self._kind, self._names = frames, previews, kind, names
        if kind == "previews":
            binning = max(1, pixels.shape[0] // SCREEN_PIXELS)
            self._messages: list[Frame | Preview] = [_preview(name, pixels, binning) for name in names]
            return
        self._messages = [_frame(name, pixels) for name in names]
        made = [one for one in self._messages if isinstance(one, Frame)]
        self._binned = [survey_of(one, SCREEN_PIXELS).binned(one) for one in made]

    def send_all(self) -> None:
        """Send one of each detector, and a heartbeat."""
        self._count += 1
        self._previews.send(_status(self._count, self._names))
        for number, message in enumerate(self._messages):
            new = {"sequence": self._count, "published_ns": SystemClock().tai_ns()}
            if isinstance(message, Preview):
                self._previews.send(replace(message, header=msgspec.structs.replace(message.header, **new)))
                continue
            header = msgspec.structs.replace(message.header, exposure_id=f"bench-{self._count:06d}", **new)
            binned = self._binned[number]
            if binned is not None:
                self._previews.send(_renumbered(binned, header))
            if self._kind == "frames":
                self._frames.send(replace(message, header=header))


def _renumbered(binned: Binned, header: FrameHeader) -> Binned:
    new = {"sequence": header.sequence, "time_ns": header.time_ns, "frame": header}
    return replace(binned, header=msgspec.structs.replace(binned.header, **new))


def _frame(name: str, pixels: Any) -> Frame:
    now = SystemClock().tai_ns()
    header = FrameHeader(
        instrument="IRIS",
        detector=name,
        sequence=0,
        time_ns=now,
        exposure_id="bench",
        ramps=1,
        ramps_planned=1,
        reads_planned=READS,
        mode="utr",
        effective_s=5.04,
        first_read_ns=now - 6 * NS,
        published_ns=now,
        reads_used=READS,
        reads_lost=0,
        reads_rejected=0,
        complete=True,
        final=True,
        gain_e_per_dn=3.04,
        read_noise_e=9.0,
        saturation_dn=34600.0,
    )
    err = np.sqrt(np.maximum(pixels, 1) / 5).astype(np.float32)
    return Frame(header, pixels, err, np.zeros(pixels.shape, np.uint32), np.full(pixels.shape, 65535, np.uint16))


def _preview(name: str, pixels: Any, binning: int) -> Preview:
    rate = np.ascontiguousarray(pixels[::binning, ::binning])
    now = SystemClock().tai_ns()
    header = PreviewHeader(
        instrument="IRIS",
        detector=name,
        sequence=0,
        time_ns=now,
        exposure_id="bench",
        ramp=0,
        read=0,
        ramps_planned=1,
        reads_planned=READS,
        reads_used=1,
        reads_lost=0,
        effective_s=0.72,
        binning=binning,
        full_shape=(pixels.shape[0], pixels.shape[1]),
        published_ns=now,
    )
    return Preview(header, (5000 + rate).astype(np.float32), rate)


def _status(sequence: int, names: list[str]) -> Status:
    now = SystemClock().tai_ns()
    header = StatusHeader(
        instrument="IRIS",
        detector="ALL",
        sequence=sequence,
        time_ns=now,
        state="running",
        started_ns=now,
        period_s=1.0,
        software="rtcal bench",
        detectors=dict.fromkeys(names, DetectorStatus()),
    )
    return Status(header)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rtcal.audience.publisher", description="Publish frames at a rate.")
    parser.add_argument("--kind", choices=("frames", "binned", "previews"), default="frames")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--detectors", type=int, default=1)
    parser.add_argument("--period", type=float, default=1 / 1.4, metavar="SECONDS")
    return parser


if __name__ == "__main__":
    main()
