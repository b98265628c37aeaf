"""`rtcal run` as a process: it starts, works, stops on a signal, and says why it cannot start."""

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from streams.messages import Frame, Preview, Status
from streams.sinks import ZmqSink
from streams.sources import ZmqSource
from tests.fakes import ramp_reads
from tests.rigs import PROCESS_S, ROOT, WAIT_S, Listener, quiet_environment, rtcal

SHAPE = (8, 8)
SYSTEM_CHOSEN = "tcp://127.0.0.1:0"


def ramp(n=5, slope_dn=10.0, **fields):
    data = (1000 + slope_dn * np.arange(n)[:, None, None] * np.ones((1, *SHAPE))).astype("<u2")
    return ramp_reads(data, **fields)


class Process:
    """A running daemon: its process, and listeners to what it publishes."""

    def __init__(self, process: subprocess.Popen[str], said: list[str], frames: Listener, previews: Listener) -> None:
        self.process, self.said, self.frames, self.previews = process, said, frames, previews


@contextmanager
def daemon(*options: object) -> Iterator[tuple[ZmqSink, Process]]:
    """Start `rtcal run`, wait until its heart beats, and yield a publisher of reads it is subscribed to."""
    command = [sys.executable, "-m", "rtcal", "run", "--frames", SYSTEM_CHOSEN, "--previews", SYSTEM_CHOSEN]
    with ZmqSink(SYSTEM_CHOSEN, pattern="pub", high_water=100) as reads:
        process = subprocess.Popen(
            [*command, "--reads", reads.endpoint, *map(str, options)],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=quiet_environment(),
        )
        assert process.stderr is not None
        watchdog = threading.Timer(PROCESS_S, process.kill)
        watchdog.start()
        try:
            said = []
            while not said or not said[-1].startswith("reads from"):
                line = process.stderr.readline()
                assert line, said
                said.append(line.rstrip())
            frames, previews = re.findall(r"(?:frames|previews) to (\S+?)(?:,|$)", said[-1])
            with (
                ZmqSource(frames, pattern="sub", bind=False, high_water=100) as frames_source,
                ZmqSource(previews, pattern="sub", bind=False, high_water=100) as previews_source,
            ):
                running = Process(process, said, Listener(frames_source), Listener(previews_source))
                running.previews.until(lambda message: isinstance(message, Status))
                assert reads.wait_for_receiver(WAIT_S)
                yield reads, running
        finally:
            watchdog.cancel()
            process.kill()
            process.wait(WAIT_S)
            process.stderr.close()


def is_preview(message, exposure_id, read):
    return isinstance(message, Preview) and (message.header.exposure_id, message.header.read) == (exposure_id, read)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_publishes_the_open_ramp_and_ends_with_code_0(number, tmp_path):
    with daemon("--write", tmp_path / "frames", "--mode", "cds") as (reads, running):
        for read in ramp():
            reads.send(read)
        running.frames.until(lambda message: isinstance(message, Frame))  # so we are subscribed to frames, too
        for read in ramp(exposure_id="E-2", first_sequence=5, slope_dn=30.0)[:3]:
            reads.send(read)
        running.previews.until(lambda message: is_preview(message, "E-2", 2))  # not every read has one, the last has
        running.process.send_signal(number)
        frame = running.frames.until(lambda message: message.header.exposure_id == "E-2")
        running.previews.until(lambda message: isinstance(message, Status) and message.header.state == "stopping")
        assert running.process.wait(PROCESS_S) == 0
        running.previews.rest()
        rest = running.process.stderr.read()
    assert (frame.header.reads_used, frame.header.complete, frame.header.mode) == (3, False, "cds")
    np.testing.assert_allclose(frame.data, 60.0)
    assert rest.splitlines() == ["stopped"]
    # Compiled and loaded at the same time, the sockets last.
    stages = [line.split(":")[0].split(" in ")[0] for line in running.said]
    assert sorted(stages[:4]) == ["kernels compiled", "memory of 0 detectors taken", "references", "references"]
    assert stages[4].startswith("reads from")
    last = running.previews.of(Status)[-1].header
    assert last.counters == {"received": 8, "reads": 8, "frames_written": 2}
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["E-1_IMG1.fits", "E-2_IMG1.fits"]


def test_a_port_in_use_is_one_line_and_code_1():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = rtcal("run", "--frames", endpoint, "--previews", SYSTEM_CHOSEN)
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last == f"rtcal: {endpoint} is in use: stop the other program, or choose another endpoint in [streams]"
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
