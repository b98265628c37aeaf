"""The measure of a live run, and processes that do not outlive it."""

import json
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest

from rtcal.errors import RtcalError
from rtcal.live import Child, MeasuringSink, Observer, Seen, free_endpoints, report, write_report
from streams.clock import SystemClock
from streams.messages import DetectorStatus, Frame, StatusHeader
from streams.sinks import ZmqSink
from tests.fakes import FakeClock, ListSink, ramp_reads
from tests.rigs import ROOT, WAIT_S
from tests.samples import SAMPLES

SLEEPER = ["-c", "import time; print('up', flush=True); time.sleep(600)"]


def reads(ramp=0, n=3):
    return ramp_reads(np.zeros((n, 2, 2), "<u2"), ramp=ramp, ramps_planned=2, first_sequence=ramp * n)


def status(lost=0, dropped=0, received=6):
    header = SAMPLES["status"].header
    counters = {"reads_lost": lost, "dropped_queue_full": dropped}
    return StatusHeader(
        instrument="IRIS",
        detector="ALL",
        sequence=0,
        time_ns=header.time_ns,
        state="stopping",
        started_ns=header.started_ns,
        period_s=1.0,
        counters={"reads": received},
        detectors={"IMG1": DetectorStatus(counters=counters)},
    )


@pytest.fixture
def measured():
    """Two ramps sent, a second apart."""
    clock = FakeClock()
    sink = MeasuringSink(Endpoint(), clock)
    for ramp in range(2):
        for read in reads(ramp):
            clock.advance(1.0)
            assert sink.send(read)
        assert sink.send(SAMPLES["telemetry"])
    return sink


class Endpoint(ListSink):
    endpoint = "tcp://127.0.0.1:1"


def test_the_latency_is_from_a_ramps_last_read_to_its_frame(measured):
    seen = Seen(frames=2, arrived={("IMG1", "E-1", 1): 3.25, ("IMG1", "E-1", 2): 6.75}, first_frame_s=3.25)
    seen.status = status()
    ready_s = {("IMG1", "E-1", 1): 0.125, ("IMG1", "E-1", 2): 0.375}
    seen.published_ns = {key: measured.last_reads_ns[key] + round(after_s * 1e9) for key, after_s in ready_s.items()}
    result = report(measured, seen, started_s=-10.0, simulator_late=1)
    assert result == {
        "reads_sent": 6,
        "reads_received": 6,
        "reads_lost": 0,
        "reads_late_from_simulator": 1,
        "ramps_sent": 2,
        "frames_published": 2,
        "frames_missing": 0,
        "first_frame_s": 13.25,
        "latency_s": {"p50": 0.5, "p95": 0.725, "p99": 0.745},
        "published_latency_s": {"p50": 0.25, "p95": 0.3625, "p99": 0.3725},
    }
    assert measured.reads_of == {"IMG1": 6}


@pytest.mark.parametrize(
    ("heard", "lost"),
    [
        (status(), 0),
        (status(received=4), 2),
        (status(lost=1), 1),
        (status(lost=1, dropped=2), 3),
        (None, 6),
    ],
)
def test_a_read_is_lost_wherever_it_was_lost(measured, heard, lost):
    seen = Seen(status=heard)
    result = report(measured, seen, 0.0, 0)
    assert result["reads_lost"] == lost
    assert result["frames_missing"] == 2
    assert result["latency_s"] == {"p50": None, "p95": None, "p99": None}
    assert result["first_frame_s"] is None


def test_products_of_the_spectrograph_have_their_own_latency(measured):
    seen = Seen(spectral={"cube": {("IMG1", "E-1", 1): 4.75, ("other", "E-1", 2): 9.0}})
    assert report(measured, seen, 0.0, 0)["cube_latency_s"] == {"p50": 1.75, "p95": 1.75, "p99": 1.75}


def test_a_report_is_json_and_a_place_for_it_that_is_none_is_said(tmp_path):
    write_report({"reads_sent": 1}, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == {"reads_sent": 1}
    with pytest.raises(RtcalError, match=r"no/report\.json cannot be written"):
        write_report({}, tmp_path / "no" / "report.json")


def test_free_endpoints_are_all_different():
    endpoints = free_endpoints(20)
    assert len(set(endpoints)) == 20
    assert all(endpoint.startswith("tcp://127.0.0.1:") for endpoint in endpoints)


def test_the_observer_takes_in_all_that_came_before_it_was_closed():
    frame, heartbeat = SAMPLES["frame"], SAMPLES["status"]
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=100) as frames,
        ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=100) as previews,
    ):
        observer = Observer(frames.endpoint, previews.endpoint, "IRIS", SystemClock())
        assert frames.wait_for_receiver(WAIT_S)
        assert previews.wait_for_receiver(WAIT_S)
        previews.send(SAMPLES["preview"])
        previews.send(SAMPLES["white"])  # a provisional one
        previews.send(SAMPLES["spectrum"])
        previews.send(heartbeat)
        assert observer.beating.wait(WAIT_S)
        for _ in range(20):
            frames.send(frame)
        frames.send(SAMPLES["cube"])
        observer.close()
    assert isinstance(frame, Frame)
    assert observer.seen.status == heartbeat.header
    assert observer.seen.frames == 20
    assert observer.seen.used == 20 * frame.header.reads_used
    assert sorted(observer.seen.spectral) == ["cube", "spectrum"]
    key = "IMG1", frame.header.exposure_id, 2
    assert list(observer.seen.arrived) == [key]
    assert observer.seen.published_ns == {key: frame.header.published_ns}


def test_a_child_is_asked_to_stop_and_its_end_is_told(tmp_path):
    with (tmp_path / "out").open("w+") as out:
        child = Child("sleeper", SLEEPER, {}, out)
        child.check()
        assert child.stop() == -signal.SIGTERM
        assert child.stop() == -signal.SIGTERM
    with pytest.raises(RtcalError, match="the sleeper ended with exit code -15"):
        child.check()


def test_a_child_has_the_environment_it_is_given(tmp_path):
    with (tmp_path / "out").open("w+") as out:
        child = Child("printer", ["-c", "import os; print(os.environ['CRDS_PATH'])"], {"CRDS_PATH": "here"}, out)
        assert child.process.wait(WAIT_S) == 0
        out.seek(0)
        assert out.read() == "here\n"


PARENT = """
import sys, time
from rtcal.live import Child
child = Child("sleeper", {sleeper!r}, {{}})
print(child.process.pid, flush=True)
time.sleep(600)
"""


def test_a_child_does_not_outlive_a_parent_that_was_killed():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(sleeper=SLEEPER)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "up\n"
        child = psutil.Process(pid)
        parent.kill()
        parent.wait(WAIT_S)
        _, alive = psutil.wait_procs([child], timeout=WAIT_S)
    assert not alive
