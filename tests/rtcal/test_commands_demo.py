"""`rtcal demo`: the whole instrument on one machine, measured, and nothing left behind."""

import json
import re
import socket

import psutil
import pytest

from tests.rigs import rtcal


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo of four seconds at four times the pace: the process that ended, its report, its folders."""
    folder = tmp_path_factory.mktemp("demo")
    report, temporary = folder / "report.json", folder / "tmp"
    temporary.mkdir()
    words = ["--headless", "--seconds", "4", "--speed", "4", "--size", "256", "--json", report]
    done = rtcal("demo", *words, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    return done, json.loads(report.read_text()), temporary


def test_no_read_is_lost_and_frames_come_back(demo):
    _, report, _ = demo
    assert report["reads_sent"] == report["reads_received"] >= 10
    assert report["reads_lost"] == 0
    assert report["frames_published"] >= report["ramps_sent"] >= 1
    assert report["frames_missing"] == 0
    latency_s = report["latency_s"]
    assert 0 < latency_s["p50"] <= latency_s["p95"] <= latency_s["p99"]
    assert report["first_frame_s"] > 0


def test_it_says_in_one_line_what_came_of_it(demo):
    done, report, _ = demo
    sent, frames = report["reads_sent"], report["frames_published"]
    assert done.stderr.splitlines()[-1].startswith(f"{sent} reads sent, {sent} received, 0 lost; {frames} frames, last")
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert done.stdout == ""


def test_no_process_no_port_and_no_file_is_left(demo):
    done, _, temporary = demo
    endpoints = re.findall(r"tcp://127\.0\.0\.1:(\d+)", done.stderr)
    assert len(endpoints) == 3
    for port in endpoints:
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ does: what lingers is no server
            free.bind(("127.0.0.1", int(port)))
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        assert not any(f"tcp://127.0.0.1:{port}" in words for port in endpoints)
    assert list(temporary.iterdir()) == []
