"""A whole instrument on one machine, and the measure of it: simulator, daemon and dashboard together.

The simulator runs in this process; daemon and dashboard are processes of their own, as at the telescope.
What is measured is what an observer would see: from the moment a ramp's last read was sent to the moment its
frame arrived at a subscriber.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from rtcal.errors import RtcalError
from streams import wire
from streams.clock import NS, Clock
from streams.messages import Cube, Frame, Message, Read, Spectrum, Status, StatusHeader, White
from streams.sinks import ZmqSink
from streams.sources import ZmqSource

START_S = 180.0
STOP_S = 40.0
POLL_S = 0.1
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be imported or allocated


def free_endpoints(count: int) -> list[str]:
    """Return endpoints on this machine whose ports are free now, no two the same."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [f"tcp://127.0.0.1:{probe.getsockname()[1]}" for probe in probes]


class Child:
    """A process that ends with this one, whatever happens.

    Parameters
    ----------
    name
        For messages.
    arguments
        Of the Python interpreter.
    environment
        What to change in this process's environment.
    output
        Where its output goes; None for this process's own.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], environment: dict[str, str], output: IO[str] | int | None = None
    ) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **environment},
            stdout=output,
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is ours to pass on, in order
            preexec_fn=_end_with_parent,
        )

    def check(self) -> None:
        """Raise if the process has ended by itself."""
        code = self.process.poll()
        if code is not None:
            raise RtcalError(f"the {self.name} ended with exit code {code}; its own message is above")

    def usage(self) -> tuple[float, int]:
        """Return CPU time [s] and resident memory [bytes] of the process."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        cpu_s = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
        return cpu_s, int(stat[21]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        """Ask it to stop, wait, and return its exit code; killed if it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _end_with_parent() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class MeasuringSink:
    """Passes messages on and notes when the last read of each ramp went out.

    Parameters
    ----------
    sink
        Where the messages go.
    clock
        The clock of the measure.
    """

    def __init__(self, sink: ZmqSink, clock: Clock) -> None:
        self.endpoint = sink.endpoint
        self.reads = 0
        self.reads_of: Counter[str] = Counter()
        self.last_reads: dict[tuple[str, str, int], float] = {}
        self.last_reads_ns: dict[tuple[str, str, int], int] = {}
        self._sink = sink
        self._clock = clock

    def send(self, message: Message) -> bool:
        """Send a message."""
        sent = self._sink.send(message)
        if isinstance(message, Read):
            header = message.header
            self.reads += 1
            self.reads_of[header.detector] += 1
            if header.read + 1 == header.reads_planned:
                key = header.detector, header.exposure_id, header.ramp + 1
                self.last_reads[key] = self._clock.monotonic_s()
                self.last_reads_ns[key] = self._clock.tai_ns()
        return sent

    def wait_for_receiver(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for somebody to listen."""
        return self._sink.wait_for_receiver(timeout_s)

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


@dataclass
class Seen:
    """What a subscriber saw of a run."""

    frames: int = 0
    arrived: dict[tuple[str, str, int], float] = field(default_factory=dict)
    published_ns: dict[tuple[str, str, int], int] = field(default_factory=dict)
    used: int = 0
    first_frame_s: float | None = None
    status: StatusHeader | None = None
    spectral: dict[str, dict[tuple[str, str, int], float]] = field(default_factory=dict)
    """By kind (white, spectrum, cube) when each of an exposure came; provisional ones are left out."""


class Observer:
    """Subscribes to frames and heartbeats, on a thread, and notes when each came.

    Parameters
    ----------
    frames, previews
        The daemon's endpoints.
    instrument
        In whose name the daemon's heart beats.
    clock
        The clock of the measure.
    """

    def __init__(self, frames: str, previews: str, instrument: str, clock: Clock) -> None:
        self.seen = Seen()
        self.beating = threading.Event()
        self._clock = clock
        self._stop = threading.Event()
        topics = [wire.topic(f"{instrument}/{what}") for what in ("ALL/status", "IFS/white", "IFS/spectrum")]
        self._sources = (
            ZmqSource(frames, pattern="sub", bind=False, high_water=100),
            ZmqSource(previews, pattern="sub", bind=False, high_water=100, topics=topics),
        )
        self._threads = [threading.Thread(target=self._follow, args=(one,), daemon=True) for one in self._sources]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Take in what has arrived, end the threads and close the sockets."""
        self._stop.set()
        for thread, source in zip(self._threads, self._sources, strict=True):
            thread.join()
            source.close()

    def _follow(self, source: ZmqSource) -> None:
        while True:
            stopping = self._stop.is_set()
            message = source.receive(POLL_S)
            if message is None and stopping:
                return
            if isinstance(message, Frame):
                self._note_frame(message)
            elif isinstance(message, White | Spectrum | Cube):
                self._note_spectral(message)
            elif isinstance(message, Status):
                self.seen.status = message.header
                self.beating.set()

    def _note_spectral(self, product: White | Spectrum | Cube) -> None:
        header = product.header
        if not header.provisional:
            of_kind = self.seen.spectral.setdefault(type(product).__name__.lower(), {})
            of_kind.setdefault((header.detector, header.exposure_id, header.ramps), self._clock.monotonic_s())

    def _note_frame(self, frame: Frame) -> None:
        now_s = self._clock.monotonic_s()
        header = frame.header
        # What is issued again later says nothing of how long the frame was waited for.
        key = header.detector, header.exposure_id, header.ramps
        self.seen.arrived.setdefault(key, now_s)
        self.seen.published_ns.setdefault(key, header.published_ns)
        self.seen.frames += 1
        self.seen.used += header.reads_used
        if self.seen.first_frame_s is None:
            self.seen.first_frame_s = now_s


def report(sink: MeasuringSink, seen: Seen, started_s: float, simulator_late: int) -> dict[str, Any]:
    """Sum a run up: reads sent, received, lost; frames; latency from a ramp's last read to its frame [s].

    Until it has arrived whole, and until it was ready to be sent, by its own time stamp.
    """
    status = seen.status
    detectors = status.detectors if status else {}
    received = status.counters.get("reads", 0) if status else 0
    lost = sum(
        one.counters.get("reads_lost", 0) + one.counters.get("dropped_queue_full", 0) for one in detectors.values()
    )
    waits = _waits(sink, seen.arrived)
    made = [
        (seen.published_ns[key] - sent) / NS for key, sent in sink.last_reads_ns.items() if key in seen.published_ns
    ]
    return {
        "reads_sent": sink.reads,
        "reads_received": received,
        "reads_lost": max(lost, sink.reads - received),
        "reads_late_from_simulator": simulator_late,
        "ramps_sent": len(sink.last_reads),
        "frames_published": seen.frames,
        "frames_missing": sum(key not in seen.arrived for key in sink.last_reads),
        "first_frame_s": None if seen.first_frame_s is None else round(seen.first_frame_s - started_s, 2),
        "latency_s": _quantiles(waits),
        "published_latency_s": _quantiles(made),
        **{f"{kind}_latency_s": _quantiles(_waits(sink, came)) for kind, came in seen.spectral.items()},
    }


def _waits(sink: MeasuringSink, came: dict[tuple[str, str, int], float]) -> list[float]:
    return [came[key] - sent for key, sent in sink.last_reads.items() if key in came]


def _quantiles(waits: list[float]) -> dict[str, float | None]:
    values = np.quantile(waits, [0.5, 0.95, 0.99]).round(4).tolist() if waits else [None] * 3
    return dict(zip(("p50", "p95", "p99"), values, strict=True))


def write_report(result: dict[str, Any], path: Path) -> None:
    """Write a report as JSON.

    Raises
    ------
    RtcalError
        If the file cannot be written.
    """
    try:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise RtcalError(f"the report {path} cannot be written: {error}") from error


def open_reads(endpoint: str) -> ZmqSink:
    """Open the publisher of reads; at a real cadence it never waits for a receiver."""
    return ZmqSink(endpoint, pattern="pub", high_water=100)
