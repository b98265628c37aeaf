"""`rtcal record` and `rtcal replay` as processes, and `rtcal simulate` into a recording."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from streams.fits_reads import read_messages
from streams.playback import RecordingReader, RecordingSource
from streams.sinks import ZmqSink
from streams.sources import ZmqSource
from tests.fakes import ramp_reads
from tests.fits_ramps import write_ramp
from tests.rigs import PROCESS_S, ROOT, WAIT_S, parts_of, quiet_environment, ring_endpoint, rtcal, write_recording
from tests.samples import SAMPLES

SYSTEM_CHOSEN = "tcp://127.0.0.1:0"
READS = ramp_reads(np.arange(5 * 48, dtype="<u2").reshape(5, 6, 8))


@contextmanager
def process(*words: object) -> Iterator[subprocess.Popen[str]]:
    """Start a command that runs until it is told to stop, or done; killed if it hangs."""
    command = [sys.executable, "-m", "rtcal", *map(str, words)]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=quiet_environment())
    watchdog = threading.Timer(PROCESS_S, started.kill)
    watchdog.start()
    try:
        yield started
    finally:
        watchdog.cancel()
        started.kill()
        started.communicate()


def said(running: subprocess.Popen[str], beginning: str) -> str:
    """Wait for a line of a process that begins so."""
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith(beginning):
            return line.rstrip()
    pytest.fail(f"the process ended and never said {beginning!r}")


def recorded_until(path, count):
    """Wait until a recording in progress holds so many messages."""
    waiting = threading.Event()
    for _ in range(int(WAIT_S / 0.02)):
        if path.exists() and path.stat().st_size > 100 and RecordingReader(path).count >= count:
            return
        waiting.wait(0.02)
    pytest.fail(f"{path} never held {count} messages")


@pytest.mark.parametrize("protocol", ["karabo", "array-1.0"])
def test_what_comes_is_recorded_bit_for_bit_until_stopped(tmp_path, protocol):
    out, config = tmp_path / "night.mcap", tmp_path / "night.toml"
    config.write_text(f'[streams]\nprotocol = "{protocol}"\n')
    if protocol == "karabo":
        sent = [*map(parts_of, [SAMPLES["observe"], *READS, SAMPLES["telemetry"]])]
    else:
        header = b'{"htype": "array-1.0", "type": "uint16", "shape": [6, 8], "frame": %d}'
        sent = [[header % number, read.data.tobytes()] for number, read in enumerate(READS)]
    out.write_text("an older one")
    with ZmqSink(SYSTEM_CHOSEN, pattern="pub", high_water=100) as sink:
        words = ("record", out, "--overwrite", "--reads", sink.endpoint, "--config", config)
        with process(*words) as running:
            assert said(running, "recording ") == f"recording {sink.endpoint} to {out}"
            assert sink.wait_for_receiver(WAIT_S)
            for parts in sent:
                sink.send_parts(parts)
            recorded_until(out, len(sent))
            running.send_signal(signal.SIGTERM)
            _, err = running.communicate(timeout=PROCESS_S)
    assert running.returncode == 0
    assert err.splitlines()[-1].endswith(f"{len(sent)} messages")
    assert [[bytes(part) for part in parts] for _, parts in RecordingReader(out)] == sent


def test_a_replay_sends_everything_again_and_ends(tmp_path):
    path = tmp_path / "night.mcap"
    messages = [SAMPLES["observe"], *READS]
    write_recording(path, messages)
    with (
        ZmqSource(SYSTEM_CHOSEN, pattern="sub", bind=True, high_water=100) as source,
        process("replay", path, "--to", source.endpoint, "--speed", "max", "--config", binding(tmp_path)) as running,
    ):
        came = []
        while len(came) < len(messages):
            parts = source.receive_parts(0.1)
            if parts is None:
                assert running.poll() in (None, 0)
            else:
                came.append([part.bytes for part in parts])
        _, err = running.communicate(timeout=PROCESS_S)
    assert running.returncode == 0
    assert came == [parts_of(message) for message in messages]
    assert err.splitlines() == [f"replaying {path} at {source.endpoint}", f"{len(messages)} messages sent"]


def test_fits_reads_are_replayed_as_the_stream_that_they_were(tmp_path, settings):
    path = write_ramp(tmp_path / "ramp.fits")
    expected = [parts_of(message) for message in read_messages([path], settings.fits_keys)]
    with (
        ZmqSource(SYSTEM_CHOSEN, pattern="sub", bind=True, high_water=100) as source,
        process("replay", path, "--to", source.endpoint, "--speed", "max", "--config", binding(tmp_path)) as running,
    ):
        came = []
        while len(came) < len(expected):
            parts = source.receive_parts(0.1)
            if parts is None:
                assert running.poll() in (None, 0)
            else:
                came.append([part.bytes for part in parts])
        running.communicate(timeout=PROCESS_S)
    assert running.returncode == 0
    assert came == expected


def test_a_replay_through_shared_memory_is_recorded_bit_for_bit(tmp_path):
    path, out, ring = tmp_path / "night.mcap", tmp_path / "again.mcap", ring_endpoint()
    write_recording(path, [SAMPLES["observe"], *READS, SAMPLES["telemetry"]])
    with process("record", out, "--reads", ring) as recording:
        assert said(recording, "recording ") == f"recording {ring} to {out}"
        done = rtcal("replay", path, "--to", ring, "--speed", "max")
        assert (done.returncode, done.stderr.splitlines()) == (
            0,
            [f"replaying {path} at {ring}", f"{len(READS) + 2} messages sent"],
        )
        recorded_until(out, len(READS) + 2)
        recording.send_signal(signal.SIGTERM)
        recording.communicate(timeout=PROCESS_S)
    assert [[bytes(part) for part in parts] for _, parts in RecordingReader(out)] == [
        [bytes(part) for part in parts] for _, parts in RecordingReader(path)
    ]


def test_a_recording_is_replayed_alone(tmp_path):
    done = rtcal("replay", tmp_path / "a.mcap", tmp_path / "b.fits")
    assert done.returncode == 2
    assert "a recording is replayed alone" in done.stderr


def test_a_replay_that_nobody_hears_waits_and_stops_when_told(tmp_path):
    path = tmp_path / "night.mcap"
    write_recording(path, READS)
    with process("replay", path, "--to", SYSTEM_CHOSEN) as running:
        said(running, "replaying ")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PROCESS_S)
    assert running.returncode == 0
    assert err.splitlines() == ["0 messages sent"]


def test_a_simulation_is_recorded_beside_its_references_and_truth(tmp_path):
    out = tmp_path / "night.mcap"
    with ZmqSource(SYSTEM_CHOSEN, pattern="sub", bind=True, high_water=1000) as probe:
        endpoint = probe.endpoint
    with process("record", out, "--reads", endpoint) as recorder:
        said(recorder, "recording ")
        options = ["--detectors", "IMG1", "--size", "256", "--speed", "0", "--exposures", "1", "--seed", "3"]
        quiet = tmp_path / "quiet.toml"
        quiet.write_text("[simulator]\ntelemetry_rate = 0.0\n", encoding="utf-8")
        options += ["--telemetry", "", "--config", quiet]
        folders = ["--refs", tmp_path / "refs", "--truth", tmp_path / "truth"]
        done = rtcal("simulate", "--to", endpoint, *options, *folders)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "10 reads sent, 0 late (at worst by 0.00 s)"
        recorded_until(out, 14)
        recorder.send_signal(signal.SIGTERM)
        recorder.communicate(timeout=PROCESS_S)
    assert recorder.returncode == 0
    with RecordingSource(out) as source:
        kinds = [message.header.kind for message in iter(lambda: source.receive(), None)]
    assert kinds.count("read") == 10
    assert list((tmp_path / "refs").rglob("*.pmap"))
    assert list((tmp_path / "truth").glob("*.fits"))


def binding(folder):
    """A configuration in which the receiver of reads binds."""
    config = folder / "night.toml"
    config.write_text("[streams]\nbind_reads = true\n")
    return config
