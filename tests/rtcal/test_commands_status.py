"""`rtcal status` beside a daemon's heartbeat on a real socket."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from msgspec.structs import replace

from rtcal.commands.status import hear
from rtcal.errors import RtcalError
from streams import wire
from streams.clock import SystemClock
from streams.messages import Message, Status, StatusHeader
from streams.sinks import ZmqSink
from tests.fakes import FixedReferences
from tests.rigs import WAIT_S, published_reads, running, settings_with
from tests.samples import SAMPLES


def heartbeat(**changes) -> Status:
    header = SAMPLES["status"].header
    assert isinstance(header, StatusHeader)
    return Status(replace(header, **changes))


@contextmanager
def publishing(*messages: Message, keep: int | None = None) -> Iterator[str]:
    """Publish messages again and again, of each the first `keep` parts; yield where."""
    stop = threading.Event()
    encoded = [[bytes(part) for part in wire.encode(message)][:keep] for message in messages]

    def publish(sink: ZmqSink) -> None:
        while not stop.wait(0.01):
            for parts in encoded:
                sink.send_parts(parts)

    with ZmqSink("tcp://127.0.0.1:0", pattern="pub", high_water=10) as sink:
        thread = threading.Thread(target=publish, args=(sink,))
        thread.start()
        try:
            yield sink.endpoint
        finally:
            stop.set()
            thread.join(WAIT_S)


def test_a_person_sees_state_counters_detectors_and_problems(command):
    with publishing(SAMPLES["preview"], heartbeat()) as endpoint:
        code, out, err = command("status", "--previews", endpoint)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines == [
        "iris-rtcal 0.1.0: running, up 0:01:40, tmt_0001.pmap",
        "received 15, rejected_parts 1",
        "detector exposure ramp read queued latency lost references",
        "IMG1 2031A-001-001-IRIS-IMG1-SCI0-0001 2 5/10 1 0.125 s 0 DARK OK, SKY MISSING",
        "! IMG1: lost 1",
        "! no flat for FILTER=H",
    ]


def test_reads_that_were_refused_are_told_by_cause(command):
    detector = SAMPLES["status"].header.detectors["IMG1"]
    counted = replace(detector, counters={"reads_used": 9, "rejected_bad_time": 2, "duplicates": 1, "late": 0})
    with publishing(heartbeat(detectors={"IMG1": counted})) as endpoint:
        _, out, _ = command("status", "--previews", endpoint)
    assert "! IMG1: duplicates 1, rejected_bad_time 2" in out.splitlines()


def test_a_program_reads_the_whole_header_as_json(command):
    with publishing(heartbeat()) as endpoint:
        code, out, err = command("status", "--previews", endpoint, "--json")
    assert (code, err) == (0, "")
    assert msgspec.convert(json.loads(out), type=StatusHeader) == heartbeat().header


def test_lost_reads_are_summed_and_an_unplanned_ramp_has_no_end(command):
    detector = SAMPLES["status"].header.detectors["IMG1"]
    counters = {"reads_lost": 3, "dropped_queue_full": 4, "lost": 9}
    lossy = replace(detector, counters=counters, reads_planned=0, latency_s=None, references=[])
    with publishing(heartbeat(detectors={"IMG2": lossy, "IMG1": detector}, counters={})) as endpoint:
        _, out, _ = command("status", "--previews", endpoint)
    lines = [line.split() for line in out.splitlines()]
    assert lines[1] == ["nothing", "received", "yet"]
    assert lines[3][0] == "IMG1"
    assert lines[4] == ["IMG2", detector.exposure_id, "2", "5", "1", "-", "7"]


def test_a_text_from_the_wire_can_neither_colour_nor_steer_the_terminal(command):
    with publishing(heartbeat(problems=["[red]disk[/red] \x1b[2J\x07full\nsay"])) as endpoint:
        _, out, _ = command("status", "--previews", endpoint)
    assert out.splitlines()[-1] == "! [red]disk[/red] ?[2J?full?say"


def test_a_daemon_that_runs_is_heard():
    with published_reads() as (_, source), running(settings_with(), FixedReferences(), source) as rig:
        header = hear(rig.previews_endpoint, "IRIS", WAIT_S, SystemClock())
    assert header.state == "running"
    assert header.detectors == {}


def test_silence_ends_with_the_endpoint_and_the_remedy():
    with publishing(SAMPLES["preview"]) as endpoint, pytest.raises(RtcalError) as refused:
        hear(endpoint, "IRIS", 0.2, SystemClock())
    assert str(refused.value) == (
        f"no heartbeat IRIS/ALL/status at {endpoint} within 0.2 s; "
        "is `rtcal run` running, with this endpoint for its previews?"
    )


def test_a_heartbeat_that_is_refused_is_told():
    refused = r"what came was refused: \{.*'rejected_parts'"
    with publishing(heartbeat(), keep=1) as endpoint, pytest.raises(RtcalError, match=refused):
        hear(endpoint, "IRIS", 0.5, SystemClock())
