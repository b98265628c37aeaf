"""The simulated instrument on one machine: what it measures of the daemon, and `rtcal bench live`."""

import json

import pytest

from rtcal.instrument import Load, summary
from tests.fakes import FakeClock
from tests.rigs import rtcal


class Process:
    """Says what a process has used: a row (CPU seconds, bytes) for each question."""

    def __init__(self, *rows):
        self._rows = list(rows)

    def usage(self):
        return self._rows.pop(0)


def test_the_load_is_of_the_time_that_reads_flow():
    clock = FakeClock()
    load = Load(Process((10.0, 100), (10.5, 300), (11.0, 500), (12.0, 400)), clock)
    for settled in (False, True, True):
        clock.advance(2.0)
        load.sample(settled)
    assert load.summary() == {
        "streaming_s": 6.0,
        "daemon_cpu_cores": 0.333,
        "daemon_rss_after_first_ramp_bytes": 500,
        "daemon_rss_bytes": 400,
        "daemon_rss_max_bytes": 500,
    }


def test_a_load_that_was_never_sampled_has_no_cores():
    assert Load(Process((10.0, 100)), FakeClock()).summary() == {
        "streaming_s": 0.0,
        "daemon_cpu_cores": None,
        "daemon_rss_after_first_ramp_bytes": None,
        "daemon_rss_bytes": 100,
        "daemon_rss_max_bytes": 100,
    }


def test_a_report_without_a_frame_is_said_in_one_line():
    nothing = {"p50": None, "p95": None, "p99": None}
    result = {"reads_sent": 3, "reads_received": 2, "reads_lost": 1, "frames_published": 0, "latency_s": nothing}
    assert summary(result) == "3 reads sent, 2 received, 1 lost; 0 frames"


@pytest.fixture(scope="module")
def live():
    done = rtcal("bench", "live", "--size", "256", "--detectors", "2", "--seconds", "3", "--speed", "5", "--json")
    assert done.returncode == 0, done.stderr
    return done, json.loads(done.stdout)


def test_the_benchmark_reports_losses_latency_and_load(live):
    _, report = live
    assert report["detectors"] == ["IMG1", "IMG2"]
    assert report["reads_sent"] == report["reads_received"] >= 20
    assert report["reads_lost"] == report["frames_missing"] == 0
    assert report["frames_published"] >= 2
    assert 0 < report["latency_s"]["p50"] <= report["latency_s"]["p95"] <= report["latency_s"]["p99"]
    assert 0 < report["daemon_cpu_cores"] < 64
    assert 2.0 < report["streaming_s"] < 60
    settled, last, most = (report[f"daemon_rss_{when}bytes"] for when in ("after_first_ramp_", "", "max_"))
    assert 1e7 < settled <= most
    assert last <= most


def test_the_benchmark_says_the_same_in_one_line(live):
    done, report = live
    assert done.stderr.splitlines()[-1] == summary(report)


def test_a_wire_on_which_they_would_not_meet_is_wrong_usage(command, tmp_path):
    config = tmp_path / "pull.toml"
    config.write_text('[streams]\npattern = "pull"\n')
    code, _, err = command("bench", "live", "--config", config)
    assert code == 2
    assert err == "rtcal: [streams] pattern = 'pull': the benchmark needs 'sub'; leave the key out\n"


def test_a_sixth_detector_is_wrong_usage(command):
    code, _, err = command("bench", "live", "--detectors", "6")
    assert code == 2
    assert "Invalid value for '--detectors'" in err
