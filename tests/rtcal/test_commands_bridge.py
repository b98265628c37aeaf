"""`rtcal bridge csw` as a user runs it: a real Redis, a real socket, a signal at the end."""

import re
import signal
import subprocess
import sys
from pathlib import Path

from streams.clock import SystemClock
from streams.csw import CswEvent, CswParameter, decode, encode
from streams.messages import Telemetry
from streams.sinks import ZmqSink
from streams.sources import ZmqSource
from streams.targets import REQUEST, offset_message
from streams.telemetry_keys import load_keys
from tests.redis_server import WAIT_S, free_port, redis_server
from tests.rigs import quiet_environment
from tests.samples import OFFSET, TIME_NS


def ask_and_hear(targets: str, source: ZmqSource) -> object:
    """Send an offset as a display does, and return the request that comes back from the event service."""
    with ZmqSink(targets, pattern="pub", bind=False, high_water=1) as display:
        assert display.wait_for_receiver(WAIT_S)
        while True:  # this end may listen too late for the first
            display.send(offset_message(OFFSET, SystemClock().tai_ns(), 0))
            message = source.receive(0.2)
            if isinstance(message, Telemetry) and message.header.event == f"IRIS.{REQUEST}":
                assert message.header.instrument == "IRIS"
                return message.header.values["request"]


def test_events_and_offsets_come_through_until_a_signal(tmp_path: Path) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    event = CswEvent(
        "TCS.cmIRIS", "positionAngle", TIME_NS, {"positionAngle": CswParameter("Double", [12.5], "degree")}
    )
    with redis_server(tmp_path) as server:
        with server.client() as client:
            client.set(event.key, encode(event))
        targets = f"tcp://127.0.0.1:{free_port()}"
        config = tmp_path / "mine.toml"
        config.write_text(f'[streams]\ntargets = "{targets}"\n', encoding="utf-8")
        options = ["--redis", server.address, "--to", endpoint, "--publish", "--config", str(config)]
        command = [sys.executable, "-m", "rtcal", "bridge", "csw", *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=quiet_environment())
        try:
            with ZmqSource(endpoint, pattern="sub", bind=False, high_water=100) as source, server.client() as client:
                # The last value may leave before this end listens, so one is published until one comes.
                message = None
                while message is None:
                    client.publish(event.key, encode(event))
                    message = source.receive(0.1)
            assert isinstance(message, Telemetry)
            assert message.header.values == {"positionAngle": 12.5}
            with ZmqSource(endpoint, pattern="sub", bind=False, high_water=100) as source:
                assert ask_and_hear(targets, source) == OFFSET.request
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 0
    assert f"from {server.address} to {endpoint}" in said
    assert "connected 1" in said


def test_the_simulator_publishes_the_whole_table_and_says_how_much(command, tmp_path: Path) -> None:
    """Faster than any server answers: nothing may be dropped all the same."""
    with redis_server(tmp_path) as server:
        options = ["--csw", server.address, "--detectors", "IMG1", "--size", "256", "--exposures", "1", "--speed", "0"]
        code, _, said = command("simulate", *options, "--no-wait", "--to", f"tcp://127.0.0.1:{free_port()}")
        assert code == 0
        with server.client() as client:
            known = {key.decode() for key in client.scan_iter()}
            header = decode(client.get("TCS.PointingKernelAssembly.WCSFITSHeader"))
    events = {event for event, keys in load_keys("").keys.items() if keys}
    assert events <= known
    assert header.parameters["CTYPE1"].values == ["RA---TAN"]
    published = int(re.search(r"(\d+) events published, 0 dropped", said)[1])  # type: ignore[index]
    assert published > 1000


def test_mistakes(command, tmp_path):
    code, _, said = command("bridge", "csw", "--redis", "localhost")
    assert code == 2
    assert "csw.redis" in said
    wrong = tmp_path / "keys.toml"
    wrong.write_text("version = 2\n", encoding="utf-8")
    config = tmp_path / "mine.toml"
    config.write_text(f'[telemetry]\nkeys = "{wrong}"\n', encoding="utf-8")
    code, _, said = command("bridge", "csw", "--config", config)
    assert code == 2
    assert str(wrong) in said
