"""The page of telemetry: what is kept, statuses, the past of a key, and what the server answers."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from dashboards.board import Board
from streams.clock import NS, utc_to_tai_ns
from streams.key_files import shipped_keys
from streams.messages import FrameHeader, Telemetry, TelemetryHeader, TelemetryRow
from streams.sinks import ZmqSink
from streams.telemetry_keys import load_keys
from tests.fakes import FakeClock, ListSource
from tests.rigs import WAIT_S, quiet_environment
from tests.samples import SAMPLES, TIME_NS

UTC_S = 1_900_000_000
START_NS = utc_to_tai_ns(UTC_S * NS)


@pytest.fixture
def board() -> Board:
    return Board(load_keys(""), FakeClock(START_NS))


def event(name: str, at_s: float, **values: Any) -> TelemetryHeader:
    return TelemetryHeader(
        instrument="IRIS",
        detector="ALL",
        sequence=0,
        time_ns=START_NS + round(at_s * NS),
        event=name,
        values=values,
    )


@pytest.mark.parametrize(
    ("name", "values", "age_s", "status"),
    [
        ("TCS.cmIRIS.positionAngle", {"positionAngle": 1.0}, 1.0, "OK"),
        ("TCS.cmIRIS.positionAngle", {"positionAngle": 1.0}, 4.0, "STALE"),
        ("TCS.cmIRIS.positionAngle", {"positionAngle": 1.0}, 31.0, "MISSING"),
        ("NFIRAOS.rtc.turbLgs", {"r0": 0.9}, 1.0, "SUSPECT"),
        ("NFIRAOS.rtc.loop", {"ho": "LOCK"}, 3000.0, "AGE"),
        ("NFIRAOS.rtc.loop", {"ho": "EXPLODED"}, 1.0, "SUSPECT"),
    ],
)
def test_statuses(board: Board, name: str, values: dict[str, Any], age_s: float, status: str) -> None:
    board.take(event(name, -age_s, **values))
    (latest,) = board.latest()
    assert latest.status(board.now_s()) == status
    assert latest.time_s == pytest.approx(UTC_S - age_s)


def test_the_past_of_numbers_is_thinned_and_an_hour_long(board: Board) -> None:
    for step in range(80_000):
        board.take(event("TCS.cmIRIS.positionAngle", 0.05 * step, positionAngle=float(step % 7)))
    past = board.past("TCS.cmIRIS.positionAngle.positionAngle")
    assert 7100 <= len(past) <= 7201
    assert past[-1][0] - past[0][0] <= 3600
    board.take(event("NFIRAOS.rtc.loop", 0.0, ho="LOCK"))
    assert board.past("NFIRAOS.rtc.loop.ho") == []
    assert board.past("nothing") == []


def test_what_is_not_known_is_counted(board: Board) -> None:
    board.take(event("X.y", 0.0, a=1.0))
    board.take(event("TCS.cmIRIS.positionAngle", 0.0, positionAngle="north"))
    assert board.counters == {"events": 2, "unknown": 1}
    assert board.latest() == []


def test_a_source_is_followed_until_its_end(board: Board) -> None:
    board.follow(ListSource([SAMPLES["read"], Telemetry(event("TCS.cmIRIS.positionAngle", 0.0, positionAngle=2.0))]))
    board.stop()
    assert [one.value for one in board.latest()] in ([2.0], [])


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        return json.loads(answer.read())


def configured(folder: Path) -> Path:
    """Return a configuration whose key table calls the position angle otherwise."""
    keys, config = folder / "keys.toml", folder / "mine.toml"
    keys.write_text(
        shipped_keys().read_text(encoding="utf-8").replace('fits = "PA"', 'fits = "MYANGLE"'), encoding="utf-8"
    )
    config.write_text(f'[telemetry]\nkeys = "{keys}"\n', encoding="utf-8")
    return config


def test_the_server_answers_with_what_was_published_by_the_configured_keys(tmp_path: Path) -> None:
    config = configured(tmp_path)
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=100) as sink,
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=100) as frames,
    ):
        command = [sys.executable, "-m", "dashboards", "--port", "0", "--print-url", "--telemetry", sink.endpoint]
        command += ["--frames", frames.endpoint, "--previews", frames.endpoint, "--config", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=quiet_environment())
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert sink.wait_for_receiver(WAIT_S)
            assert frames.wait_for_receiver(WAIT_S)
            angle = event("TCS.cmIRIS.positionAngle", 0.0, positionAngle=12.5)
            frames.send(SAMPLES["frame"])
            until_s, state = time.monotonic() + WAIT_S, {"rows": [], "exposures": []}
            while not (state["rows"] and state["exposures"]):
                assert time.monotonic() < until_s, state
                sink.send(Telemetry(angle))
                state = get(f"{url}telemetry.json")
            past = get(f"{url}telemetry/past.json?key=TCS.cmIRIS.positionAngle.positionAngle")
            with urllib.request.urlopen(f"{url}telemetry", timeout=WAIT_S) as page:
                assert b"telemetry.js" in page.read()
        finally:
            process.terminate()
            process.communicate(timeout=WAIT_S)
    (row,) = state["rows"]
    assert (row["fits"], row["value"], row["unit"], row["status"]) == ("MYANGLE", 12.5, "deg", "OK")
    assert past == [[UTC_S, 12.5]]
    exposure = state["exposures"][0]  # two sockets hear of it, and the second may be later
    assert (exposure["detector"], exposure["excluded"]) == ("IMG1", 2)
    assert exposure["end"] == pytest.approx((TIME_NS - 37 * NS) / NS)
    assert state["adc"]["IMG1"]["edge"] == [0.5, 0.25]


def test_what_a_frame_tells_fills_in_for_what_was_not_heard(board: Board) -> None:
    board.take(event("TCS.cmIRIS.positionAngle", 0.0, positionAngle=3.0))
    frame = SAMPLES["frame"].header
    assert isinstance(frame, FrameHeader)
    loop = TelemetryRow(key="NFIRAOS.rtc.loop", param="ho", status="AGE", value="LOCK", time_ns=START_NS - 900 * NS)
    unknown = TelemetryRow(key="SOMEBODY.else", param="x", status="OK", value=1, time_ns=START_NS)
    board.know(replace(frame, telemetry=[*frame.telemetry, loop, unknown]))
    assert {one.key.name: one.value for one in board.latest()} == {
        "TCS.cmIRIS.positionAngle.positionAngle": 3.0,
        "NFIRAOS.rtc.loop.ho": "LOCK",
    }
    assert [one.time_s for one in board.latest() if one.value == "LOCK"] == [UTC_S - 900]
