"""A ring in shared memory, with real files, sockets and processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import zmq

from streams import ring, ring_file, wire
from streams.errors import EndpointError, WireError
from streams.messages import Read
from streams.ring import BELL, RingSink, RingSource
from streams.ring_file import DATA_AT, Bell, bell_of, path_of
from tests.hostile import HOSTILE, Hostile
from tests.rigs import ROOT, WAIT_S, parts_of, ring_endpoint
from tests.samples import SAMPLES, make_read, same

MIB = 1 << 20
PIXELS = np.random.default_rng(3).integers(0, 65535, (128, 256)).astype("<u2")  # 64 KiB


@pytest.fixture
def name() -> Iterator[str]:
    """Return an endpoint of its own; nothing of it may be left."""
    endpoint = ring_endpoint()
    yield endpoint
    left = [path for path in (path_of(endpoint), bell_of(path_of(endpoint))) if path.exists()]
    for path in left:
        path.unlink()
    assert left == []


def large(number: int) -> Read:
    return make_read(number, data=PIXELS + np.uint16(number))


def next_of(source: RingSource) -> int:
    """Return the sequence of the next message, and check its pixels."""
    message = source.receive(WAIT_S)
    assert isinstance(message, Read)
    np.testing.assert_array_equal(message.data, PIXELS + np.uint16(message.header.sequence))
    return message.header.sequence


def meet(sink: RingSink, source: RingSource) -> None:
    """Let both sides find each other again: a reader subscribes anew only while somebody receives from it."""
    for _ in range(int(WAIT_S * 100)):
        assert source.receive(0.0) is None
        if sink.wait_for_receiver(0.01):
            return
    pytest.fail("the sink found no receiver")


def test_messages_arrive_as_they_were_sent_at_every_reader(name: str) -> None:
    with RingSink(name, capacity=MIB) as sink, RingSource(name) as one, RingSource(name) as other:
        assert sink.wait_for_receiver(WAIT_S)
        while len(sink._read_until) < 2:
            sink.wait_for_receiver(0.0)
        for message in SAMPLES.values():
            assert sink.send(message)
            for source in (one, other):
                received = source.receive(WAIT_S)
                assert received is not None
                assert same(received, message)
        assert sink.counters == {"sent": len(SAMPLES)}
        assert one.counters == other.counters == {"received": len(SAMPLES)}
        assert one.receive(0.0) is None
        assert not one.exhausted


def test_the_parts_are_those_of_the_wire_and_outlive_the_ring(name: str) -> None:
    with RingSink(name, capacity=MIB) as sink, RingSource(name) as source:
        assert sink.wait_for_receiver(WAIT_S)
        sink.send_parts(parts_of(SAMPLES["frame"]))
        parts = source.receive_parts(WAIT_S)
        sink.send(large(1))
        read = source.receive(WAIT_S)
    assert parts is not None
    assert [bytes(part) for part in parts] == parts_of(SAMPLES["frame"])
    assert isinstance(read, Read)
    assert read.data.flags.aligned
    assert not read.data.flags.writeable
    np.testing.assert_array_equal(read.data, PIXELS + np.uint16(1))


def test_a_reader_that_is_overtaken_counts_what_it_missed_and_goes_on_with_what_is_whole(name: str) -> None:
    with RingSink(name, capacity=MIB) as sink, RingSource(name) as source:
        assert sink.wait_for_receiver(WAIT_S)
        for number in range(100):
            assert sink.send(large(number))
        came = [next_of(source)]
        while came[-1] < 99:
            came.append(next_of(source))
        assert came == list(range(100 - len(came), 100))
        assert 8 <= len(came) < 16  # 64 KiB and their header, in 1 MiB
        assert source.counters == {"received": len(came), "dropped_overtaken": 100 - len(came)}


def test_what_is_overwritten_while_it_is_copied_is_not_believed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with RingSink(name, capacity=MIB) as sink, RingSource(name) as source:
        assert sink.wait_for_receiver(WAIT_S)
        sink.send(large(0))
        copy = np.copyto

        def slow(target: np.ndarray, origin: np.ndarray) -> None:
            monkeypatch.setattr(np, "copyto", copy)
            copy(target[:30_000], origin[:30_000])
            for number in range(1, 17):
                sink.send(large(number))
            copy(target[30_000:], origin[30_000:])

        monkeypatch.setattr(ring_file.np, "copyto", slow)
        assert next_of(source) > 0
        assert source.counters["dropped_overtaken"] > 0


def test_messages_whose_bells_were_dropped_are_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "BELLS_HELD", 5)
    with RingSink(name, capacity=16 * MIB) as sink, RingSource(name) as source:
        assert sink.wait_for_receiver(WAIT_S)
        sent = 0
        while "dropped_overtaken" not in source.counters:
            for _ in range(500):
                sink.send(SAMPLES["observe"])
            sent += 500
            assert sent < 1_000_000
            while source.receive(0.1) is not None:
                pass
        assert source.counters["received"] + source.counters["dropped_overtaken"] <= sent
    assert set(source.counters) == {"received", "dropped_overtaken"}


def test_a_sink_that_may_wait_loses_nothing_and_drops_when_the_time_is_over(name: str) -> None:
    with RingSink(name, capacity=MIB, wait_s=WAIT_S) as sink, RingSource(name) as source:
        assert sink.wait_for_receiver(WAIT_S)
        came: list[int] = []
        reader = threading.Thread(target=lambda: came.extend(next_of(source) for _ in range(200)))
        reader.start()
        for number in range(200):
            assert sink.send(large(number))
        reader.join()
        assert came == list(range(200))
        sink._wait_s = 0.01
        sent = [sink.send(large(number)) for number in range(20)]
        assert sent[0]
        assert not sent[-1]
        assert sink.counters == {"sent": 200 + sum(sent), "dropped": 20 - sum(sent)}
        assert [next_of(source) for _ in range(sum(sent))] == list(range(sum(sent)))


def test_a_reader_that_is_gone_holds_up_nobody(name: str) -> None:
    with RingSink(name, capacity=MIB, wait_s=WAIT_S) as sink:
        with RingSource(name):
            assert sink.wait_for_receiver(WAIT_S)
        assert all(sink.send(large(number)) for number in range(30))
        assert sink._read_until == {}


def test_what_was_sent_last_is_read_although_the_sink_closes(name: str) -> None:
    with RingSource(name) as source:
        sink = RingSink(name, capacity=MIB)
        assert sink.wait_for_receiver(WAIT_S)
        for number in range(5):
            sink.send(large(number))
        closing = threading.Thread(target=sink.close)
        closing.start()
        assert [next_of(source) for _ in range(5)] == list(range(5))
        assert source.receive(0.1) is None
        closing.join()
        sink.close()
        assert not path_of(name).exists()
        assert source.counters == {"received": 5}


def test_a_message_that_is_too_large_says_what_to_change(name: str) -> None:
    with RingSink(name, capacity=MIB) as sink:
        with pytest.raises(WireError, match=r"takes 16 parts, 524288 bytes: raise ring_mb in \[streams\]"):
            sink.send(make_read(0, data=np.zeros((1024, 1024), "<u2")))
        with pytest.raises(WireError, match="17 parts"):
            sink.send_parts([b"x"] * 17)
        assert sink.send(large(0))


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_after_any_hostile_message_the_next_good_one_comes_out(name: str, case: Hostile) -> None:
    with RingSink(name, capacity=32 * MIB) as sink, RingSource(name) as source:
        assert sink.wait_for_receiver(WAIT_S)
        sink.send_parts(case.parts[:16] or [b""])
        sink.send(make_read(5))
        assert source.receive(WAIT_S) is None
        assert isinstance(source.receive(WAIT_S), Read)
        assert source.counters == {"received": 2, f"rejected_{case.cause}": 1}


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_in_the_ring_are_counted_and_the_next_good_message_comes_out(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with RingSink(name, capacity=MIB) as sink, RingSource(name) as source:
        assert sink.wait_for_receiver(WAIT_S)
        sink.send(large(0))
        start, size = (0, 4 * 1024) if seed % 2 else (int(rng.integers(0, 200)), int(rng.integers(1, 300)))
        with path_of(name).open("r+b") as file:
            file.seek(DATA_AT + start)
            file.write(rng.bytes(size))
        assert source.receive(WAIT_S) is None
        sink.send(large(1))
        assert next_of(source) == 1
        assert source.counters.total() == 3
        assert source.counters["received"] == 2


BELLS = [
    b"",
    b"x" * 31,
    b"x" * 5000,
    BELL.pack(0, 0, 0, 64),
    *(
        BELL.pack(*bell)
        for place in (0, 63, 1 << 40, (1 << 64) - 1)
        for length in (1, 63, 64, 1 << 19, 1 << 30, (1 << 64) - 1)
        for bell in ((1, 0, place, length), (1, (1 << 64) - 1, place, length))
    ),
]


def test_a_bell_that_lies_is_counted_and_the_next_good_message_comes_out(name: str) -> None:
    with RingSink(name, capacity=MIB) as sink, RingSource(name) as source:
        assert sink.wait_for_receiver(WAIT_S)
        sink.send(large(0))
        assert next_of(source) == 0
        for bell in BELLS:
            same_generation = (
                BELL.pack(sink._ring.generation, *BELL.unpack(bell)[1:]) if len(bell) == BELL.size else bell
            )
            for lie in (bell, same_generation):
                sink._socket.send(lie)
                assert source.receive(WAIT_S) is None
        before = source.counters.copy()
        sink.send(large(1))
        assert next_of(source) == 1
        assert before["rejected_segment"] + before["dropped_overtaken"] >= 2 * len(BELLS)


def test_notes_of_readers_that_lie_change_nothing(name: str) -> None:
    with RingSink(name, capacity=MIB) as sink, RingSource(name) as source:
        assert sink.wait_for_receiver(WAIT_S)
        for note in (b"", b"\2", b"\2junk", b"\3" * 17, ring.NOTE.pack(b"\2", b"stranger", 5), b"\2" + b"\xff" * 16):
            source.socket.send(note)
        source.socket.send(ring.NOTE.pack(b"\2", source._name, (1 << 64) - 1))
        sink.send(large(0))
        assert next_of(source) == 0
        sink.send(large(1))
        assert next_of(source) == 1
        assert set(sink._read_until) == {source._name}
        assert sink._read_until[source._name] <= sink._ring.position


def test_a_writer_that_begins_anew_is_followed(name: str) -> None:
    with RingSource(name) as source:
        for generation in range(3):
            with RingSink(name, capacity=(generation + 1) * MIB) as sink:
                meet(sink, source)
                for number in range(3):
                    sink.send(large(number))
                assert [next_of(source) for _ in range(3)] == [0, 1, 2]
                assert source.receive(0.0) is None
        assert source.counters == {"received": 9}


WRITER = """
import sys, numpy as np
from streams.ring import RingSink
from tests.samples import make_read
sink = RingSink(sys.argv[1], capacity=1 << 20)
while not sink.wait_for_receiver(0.1):
    pass
sink.send(make_read(7))
print("sent", flush=True)
sys.stdin.read()
"""


def test_the_ring_of_a_writer_that_was_killed_is_taken_over_and_its_readers_follow(name: str) -> None:
    with RingSource(name) as source:
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, name], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            first = source.receive(6 * WAIT_S)
            assert writer.stdout.readline() == "sent\n"
            with pytest.raises(EndpointError, match="is in use: stop the other publisher"):
                RingSink(name, capacity=MIB)
            writer.send_signal(signal.SIGKILL)
        assert path_of(name).exists()
        with RingSink(name, capacity=2 * MIB) as sink:
            meet(sink, source)
            sink.send(large(8))
            assert next_of(source) == 8
        assert isinstance(first, Read)
        assert first.header.sequence == 7
        assert source.counters == {"received": 2}


def _read_all(endpoint: str, count: int, out: Connection) -> None:
    """Read in a process of its own, keep three as a pipeline does, and tell what came and the memory it took."""
    with RingSource(endpoint) as source:
        kept: list[object] = []
        sums, resident = [], []
        while len(sums) < count:
            message = source.receive(WAIT_S)
            assert isinstance(message, Read)
            sums.append(int(message.data.astype(np.int64).sum()))
            kept = [*kept, message][-3:]
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        out.send((sums, resident, dict(source.counters)))


def test_a_reader_in_another_process_sees_every_pixel_and_its_memory_is_bounded(name: str) -> None:
    ours, theirs = multiprocessing.Pipe()
    count, size = 100, (1024, 1024)  # 200 MiB through a ring of 16
    planes = [np.random.default_rng(seed).integers(0, 65535, size).astype("<u2") for seed in range(3)]
    reader = multiprocessing.get_context("spawn").Process(target=_read_all, args=(name, count, theirs))
    with RingSink(name, capacity=16 * MIB, wait_s=WAIT_S) as sink:
        reader.start()
        for _ in range(60):
            if sink.wait_for_receiver(1.0):
                break
        for number in range(count):
            assert sink.send(make_read(number, data=planes[number % 3]))
        assert ours.poll(WAIT_S)
        sums, resident, counters = ours.recv()
        reader.join()
    assert sums == [int(planes[number % 3].astype(np.int64).sum()) for number in range(count)]
    assert counters == {"received": count}
    assert resident[-1] - resident[19] < 16 * MIB


def test_a_stranger_in_the_place_of_a_ring_is_refused_and_left_alone(name: str) -> None:
    path = path_of(name)
    path.write_bytes(b"somebody else's" * 1000)
    try:
        for opened in (lambda: RingSink(name, capacity=MIB), lambda: RingSource(name)):
            with pytest.raises(EndpointError, match="is no ring of rtcal; remove"):
                opened()
        assert path.read_bytes() == b"somebody else's" * 1000
    finally:
        path.unlink()


@pytest.mark.parametrize("size", [0, 20, 32, 4096, 100_000])
def test_a_torn_ring_is_said_to_a_reader_and_replaced_by_a_writer(name: str, size: int) -> None:
    path = path_of(name)
    path.write_bytes(ring_file.HEAD.pack(ring_file.MAGIC, ring_file.VERSION, 1, MIB)[:size].ljust(size, b"\0"))
    with pytest.raises(EndpointError, match="torn" if size >= 32 else "no ring"):
        RingSource(name)
    if size:
        with RingSink(name, capacity=MIB):
            RingSource(name).close()
    else:
        path.unlink()


def test_a_ring_that_is_cut_short_under_a_reader_ends_no_process(name: str) -> None:
    with RingSink(name, capacity=MIB) as sink, RingSource(name) as source:
        assert sink.wait_for_receiver(WAIT_S)
        sink.send(large(0))
        assert next_of(source) == 0
        sink._socket.send(BELL.pack(*Bell(sink._ring.generation, 1, 512 * 1024, 4096)))
        os.truncate(path_of(name), DATA_AT)
        assert source.receive(WAIT_S) is None
        assert source.counters == {"received": 2, "rejected_segment": 1}


def test_too_little_shared_memory_is_said(name: str) -> None:
    with pytest.raises(EndpointError, match=r"needs \d+ MiB in /dev/shm, which has \d+ free .* lower ring_mb"):
        RingSink(name, capacity=1 << 50)
    assert not list(path_of(name).parent.glob(f"{path_of(name).name}*"))


def test_a_doorbell_that_cannot_be_made_gives_the_ring_back(name: str) -> None:
    bell_of(path_of(name)).mkdir()
    try:
        with pytest.raises(EndpointError, match="bell"):
            RingSink(name, capacity=MIB)
        assert not path_of(name).exists()
    finally:
        if bell_of(path_of(name)).exists():
            bell_of(path_of(name)).rmdir()


def test_a_reader_waits_asleep() -> None:
    endpoint = ring_endpoint()
    with RingSource(endpoint) as source:
        poller = zmq.Poller()
        poller.register(source.socket, zmq.POLLIN)
        assert poller.poll(0) == []
        assert source.receive(0.001) is None


def test_what_cannot_travel_is_refused_before_it_is_written(name: str) -> None:
    with RingSink(name, capacity=MIB) as sink:
        with pytest.raises(WireError):
            sink.send(make_read(0, data=np.zeros((4, 4), "f8")))
        assert sink._ring.position == 0
        assert wire.encode(make_read(0))
