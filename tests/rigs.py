"""A daemon on real sockets and on a thread of its own, and the command line as a user types it."""

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rtcal.config import Settings
from rtcal.daemon import Daemon
from streams import settings as settings_file
from streams import wire
from streams.clock import SystemClock
from streams.messages import Frame, Message, Preview, Status
from streams.recording import Recorder
from streams.ring import RingSink, RingSource
from streams.sinks import ZmqSink
from streams.sources import Source, ZmqSource
from tests.fakes import FakeClock

ROOT = Path(__file__).parent.parent
WAIT_S = 30.0
"""Only stops a test that would hang."""
PROCESS_S = 120.0


def settings_with(**tables: dict[str, Any]) -> Settings:
    """Return the shipped configuration with keys changed, a heart that beats fast and no thread to spare."""
    daemon = {"heartbeat_s": 0.05, "threads": 2} | tables.pop("daemon", {})
    return settings_file.load(None, Settings, {"daemon": daemon, **tables})


class Listener:
    """Keeps every message of a source."""

    def __init__(self, source: Source) -> None:
        self.heard: list[Message] = []
        self._source = source

    def until(self, wanted: Callable[[Message], bool]) -> Message:
        """Receive until a message is as wanted, and return it."""
        until_s = time.monotonic() + WAIT_S
        while time.monotonic() < until_s:
            message = self._source.receive(0.1)
            if message is not None:
                self.heard.append(message)
                if wanted(message):
                    return message
        pytest.fail(f"nothing wanted among {[message.header.source for message in self.heard]}")

    def rest(self) -> None:
        """Receive what has arrived already."""
        while (message := self._source.receive(0.1)) is not None:
            self.heard.append(message)

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]


class Rig:
    """A daemon that runs, and what listens to it."""

    def __init__(self, daemon: Daemon, frames: ZmqSource, previews: ZmqSource) -> None:
        self.daemon = daemon
        self.previews_endpoint = previews.endpoint
        self._frames, self._previews = Listener(frames), Listener(previews)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=daemon.run, args=(self._stop,), daemon=True)
        self._thread.start()

    def frames(self, count: int) -> list[Frame]:
        """Wait until so many frames came since the start; return all of them."""
        while len(frames := self._frames.of(Frame)) < count:
            self._frames.until(lambda message: isinstance(message, Frame))
        return frames

    def status(self, wanted: Callable[[Status], bool]) -> Status:
        """Wait for a heartbeat that is as wanted."""
        message = self._previews.until(lambda message: isinstance(message, Status) and wanted(message))
        assert isinstance(message, Status)
        return message

    def preview(self, exposure_id: str) -> Preview:
        """Wait for a preview of an exposure; those that nobody waits for may give way to newer ones."""
        message = self._previews.until(lambda one: isinstance(one, Preview) and one.header.exposure_id == exposure_id)
        assert isinstance(message, Preview)
        return message

    def previews(self) -> list[Preview]:
        """Return the previews that came while something was waited for."""
        return self._previews.of(Preview)

    def stop(self) -> list[Status]:
        """Stop the daemon and return all its heartbeats."""
        self._stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self._frames.rest()
        self._previews.rest()
        return self._previews.of(Status)


@contextmanager
def running(settings: Settings, references: Any, source: Source) -> Iterator[Rig]:
    """Run a daemon that reads from `source`; it is stopped at the end if it was not before."""
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=1000, wait_s=WAIT_S) as frames_out,
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=1000, wait_s=WAIT_S) as previews_out,
        ZmqSource(frames_out.endpoint, pattern="sub", bind=False, high_water=1000) as frames,
        ZmqSource(previews_out.endpoint, pattern="sub", bind=False, high_water=1000) as previews,
    ):
        assert frames_out.wait_for_receiver(WAIT_S)
        assert previews_out.wait_for_receiver(WAIT_S)
        rig = Rig(Daemon(settings, references, source, frames_out, previews_out, SystemClock()), frames, previews)
        try:
            yield rig
        finally:
            rig.stop()


@contextmanager
def published_reads(high_water: int = 1000) -> Iterator[tuple[ZmqSink, ZmqSource]]:
    """Yield a publisher of reads that loses none, and a source that is subscribed to it."""
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=high_water, wait_s=WAIT_S) as sink,
        ZmqSource(sink.endpoint, pattern="sub", bind=False, high_water=high_water) as source,
    ):
        assert sink.wait_for_receiver(WAIT_S)
        yield sink, source


@contextmanager
def ring_reads() -> Iterator[tuple[RingSink, RingSource]]:
    """Yield the same by a ring in shared memory, which is shorter than a ramp."""
    endpoint = ring_endpoint()
    with RingSink(endpoint, capacity=1 << 20, wait_s=WAIT_S) as sink, RingSource(endpoint) as source:
        assert sink.wait_for_receiver(WAIT_S)
        yield sink, source


def ring_endpoint() -> str:
    """Return the endpoint of a ring that nobody else has."""
    return f"shm://test-{uuid.uuid4().hex[:12]}"


def parts_of(message: Message) -> list[bytes]:
    """Return a message as it travels."""
    return [bytes(part) for part in wire.encode(message)]


def write_recording(path: Path, messages: Iterable[Message]) -> Path:
    """Record messages a nanosecond apart."""
    with Recorder(path, FakeClock()) as recorder:
        for number, message in enumerate(messages):
            recorder.write(parts_of(message), number)
    return path


def rtcal(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "rtcal", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
        env=quiet_environment(**environment),
        cwd=ROOT,
    )


def quiet_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without what would choose references or widen the terminal."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CRDS_")}
    return {**kept, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", **changes}
