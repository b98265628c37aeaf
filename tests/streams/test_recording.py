import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader

from streams import wire
from streams.clock import NS
from streams.errors import RecordingError
from streams.messages import Observe, Read, Telemetry
from streams.ordering import Resequencer
from streams.playback import RecordingReader, RecordingSource
from streams.recording import MAX_TOPICS, UNREADABLE, Recorder, frame_parts, record, split_parts
from streams.replay import Pacer, endless, replay
from streams.sinks import ZmqSink
from streams.sources import ZmqSource
from tests.samples import FRAME_NS, SAMPLES, TIME_NS, make_read, same

WAIT_S = 10.0


class TurnedClock:
    """A clock that moves when it is turned."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def tai_ns(self) -> int:
        return TIME_NS + round(self.now_s * NS)


class TurningStop(threading.Event):
    """A stop whose waits turn the clock instead of taking time."""

    def __init__(self, clock: TurnedClock) -> None:
        super().__init__()
        self.clock = clock
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.clock.now_s += timeout
        return self.is_set()


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "night.mcap"


def raw(message: Any) -> list[bytes]:
    return [bytes(part) for part in wire.encode(message)]


def write(path: Path, clock: TurnedClock, messages: Sequence[list[bytes]], spacing_ns: int = FRAME_NS) -> None:
    with Recorder(path, clock) as recorder:
        for number, parts in enumerate(messages):
            recorder.write(parts, TIME_NS + number * spacing_ns)


def contents(reader: RecordingReader) -> list[tuple[int, list[bytes]]]:
    return [(received_ns, [bytes(part) for part in parts]) for received_ns, parts in reader]


# ---- parts in one buffer ----


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_parts_come_back_from_their_frame(parts: list[bytes]) -> None:
    framed = b"".join(frame_parts(parts))
    assert [bytes(part) for part in split_parts(framed)] == parts


@given(st.binary(max_size=100))
def test_any_bytes_are_parts_or_a_recording_error(data: bytes) -> None:
    try:
        parts = split_parts(data)
    except RecordingError:
        return
    assert b"".join(frame_parts(parts)) == data or not data


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_a_frame_cut_short_is_refused(cut: int) -> None:
    framed = b"".join(frame_parts([b"a" * 10, b"b" * 100]))
    with pytest.raises(RecordingError):
        split_parts(framed[:-cut])


# ---- writing and reading ----


def test_a_recording_returns_every_byte_and_time(path: Path, clock: TurnedClock) -> None:
    messages = [raw(message) for message in SAMPLES.values()] + [[b"junk"], [b"", b""], []]
    write(path, clock, messages)
    reader = RecordingReader(path)
    expected = [(TIME_NS + number * FRAME_NS, parts) for number, parts in enumerate(messages)]
    assert contents(reader) == expected
    assert contents(reader) == expected  # any number of times
    assert (reader.count, reader.truncated, reader.damaged) == (len(messages), False, 0)
    assert reader.duration_s == pytest.approx((len(messages) - 1) * 0.72)


def test_other_mcap_tools_read_our_recordings(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [raw(message) for message in SAMPLES.values()] + [[b"junk"]])
    with path.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        found = [(channel.topic, message) for _, channel, message in reader.iter_messages()]
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count == len(SAMPLES) + 1
    assert {channel.message_encoding for channel in summary.channels.values()} == {"karabo-multipart"}
    headers = [message.header for message in SAMPLES.values()]
    assert [topic for topic, _ in found] == [*(header.source for header in headers), UNREADABLE]
    for header, (_, message) in zip(headers, found, strict=False):
        assert message.publish_time == header.time_ns
        assert message.sequence == header.sequence


def test_a_source_of_recorded_messages_gives_what_was_sent(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [*map(raw, SAMPLES.values()), [b"junk"], raw(make_read(7))])
    with RecordingSource(path) as source:
        for message in [*SAMPLES.values(), make_read(7)]:
            received = source.receive(0.0)
            assert received is not None
            assert same(received, message)
        assert not source.exhausted
        assert source.receive(0.0) is None
        assert source.exhausted
        assert source.counters == {"received": len(SAMPLES) + 2, "rejected_parts": 1}


@pytest.mark.parametrize("length", range(1, 9))
def test_recorded_pixels_are_aligned_wherever_they_lie(path: Path, clock: TurnedClock, length: int) -> None:
    data = np.arange(64 * 64, dtype="<f4").reshape(64, 64)
    write(path, clock, [raw(make_read(data=data, exposure_id="E" * length))])
    read = RecordingSource(path).receive()
    assert isinstance(read, Read)
    assert read.data.flags.aligned
    assert not read.data.flags.writeable
    np.testing.assert_array_equal(read.data, data)


def test_a_closed_source_is_exhausted(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [raw(make_read())])
    source = RecordingSource(path)
    source.close()
    assert source.receive() is None
    assert source.exhausted


def test_a_recording_of_nothing_is_one(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [])
    reader = RecordingReader(path)
    assert contents(reader) == []
    assert (reader.count, reader.duration_s, reader.truncated) == (0, 0.0, False)


def test_what_came_is_counted(path: Path, clock: TurnedClock) -> None:
    with Recorder(path, clock) as recorder:
        recorder.write(raw(make_read()), 1)
        recorder.write([b"junk"], 2)
    assert recorder.counters == {"messages": 2, "unreadable": 1, "bytes": recorder.counters["bytes"]}
    assert path.stat().st_size > recorder.counters["bytes"] > 0


def test_a_flood_of_sources_does_not_end_the_recording(path: Path, clock: TurnedClock) -> None:
    messages = [raw(make_read(detector=f"D{number}")) for number in range(MAX_TOPICS + 5)]
    write(path, clock, messages)
    assert [parts for _, parts in contents(RecordingReader(path))] == messages


def test_what_exists_is_not_overwritten(path: Path, clock: TurnedClock) -> None:
    path.write_text("precious")
    with pytest.raises(RecordingError, match=r"night\.mcap exists; a recording needs a new name"):
        Recorder(path, clock)
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path, clock: TurnedClock) -> None:
    with pytest.raises(RecordingError, match=r"cannot be made: No such file or directory"):
        Recorder(tmp_path / "no" / "night.mcap", clock)


# ---- killed, full, damaged ----


def test_a_recording_in_progress_is_readable_up_to_the_last_flush(path: Path, clock: TurnedClock) -> None:
    recorder = Recorder(path, clock, flush_s=1.0)
    assert contents(RecordingReader(path)) == []
    recorder.write([b"one"], 1)
    recorder.flush_if_due()
    assert RecordingReader(path).count == 0
    clock.now_s += 1.0
    recorder.flush_if_due()
    recorder.write([b"two"], 2)
    reader = RecordingReader(path)
    assert contents(reader) == [(1, [b"one"])]
    assert reader.truncated
    clock.now_s += 1.0
    recorder.write([b"three"], 3)
    assert RecordingReader(path).count == 3
    recorder.close()
    assert not RecordingReader(path).truncated


KILLED = """
import sys
from pathlib import Path
from streams.clock import SystemClock
from streams.recording import Recorder
from tests.samples import make_read
from streams import wire
import numpy as np
recorder = Recorder(Path(sys.argv[1]), SystemClock())
for number in range(5):
    data = np.full((1024, 1024), number, dtype="<u2")
    recorder.write(wire.encode(make_read(number, data=data)), number)
print("written", flush=True)
sys.stdin.read()
"""


def test_after_a_kill_every_read_is_there(path: Path) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "written\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    reader = RecordingReader(path)
    assert reader.truncated
    assert reader.count == 5
    with RecordingSource(path) as source:
        for number in range(5):
            read = source.receive()
            assert isinstance(read, Read)
            assert (read.data == number).all()


def test_cut_anywhere_a_recording_keeps_its_whole_chunks(path: Path, tmp_path: Path, clock: TurnedClock) -> None:
    recorder = Recorder(path, clock, flush_s=0.0)  # each message in a chunk of its own
    begin, ends = path.stat().st_size, []
    for number in range(4):
        recorder.write(raw(make_read(number)), number)
        ends.append(path.stat().st_size)
    recorder.close()
    whole = path.read_bytes()
    cut = tmp_path / "cut.mcap"
    for length in [*range(begin, len(whole), 7), *ends, *(end - 1 for end in ends), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        reader = RecordingReader(cut)
        found = [received_ns for received_ns, _ in reader]
        certain = sum(end <= length for end in ends)
        assert found == list(range(len(found)))
        assert certain <= len(found) <= certain + 1  # a chunk counts before its index is there
        assert reader.count == len(found)
        assert reader.truncated == (length < len(whole) - 8)


def test_zeros_at_the_end_as_a_crash_leaves_them_are_no_harm(path: Path, clock: TurnedClock) -> None:
    recorder = Recorder(path, clock, flush_s=0.0)
    recorder.write([b"one"], 1)
    with path.open("ab") as file:
        file.write(bytes(5000))
    reader = RecordingReader(path)
    assert contents(reader) == [(1, [b"one"])]
    assert reader.truncated
    recorder.close()


def test_a_damaged_chunk_is_left_out_and_counted(path: Path, clock: TurnedClock) -> None:
    recorder = Recorder(path, clock, flush_s=0.0)
    places = []
    for number in range(3):
        places.append(path.stat().st_size)
        recorder.write([bytes([65 + number]) * 200], number)
    recorder.close()
    damaged = bytearray(path.read_bytes())
    place = damaged.index(b"BBBB", places[1])
    damaged[place + 10] ^= 1
    path.write_bytes(damaged)
    reader = RecordingReader(path)
    assert [received_ns for received_ns, _ in reader] == [0, 2]
    assert reader.damaged == 1


def header_and(*records: tuple[int, bytes]) -> bytes:
    """Return the beginning of a recording and raw records."""
    header = (10).to_bytes(4, "little") + b"iris-rtcal" + bytes(4)
    packed = [bytes([code]) + len(body).to_bytes(8, "little") + body for code, body in [(1, header), *records]]
    return b"\x89MCAP0\r\n" + b"".join(packed)


CHUNK, MESSAGE_INDEX = 6, 7


@pytest.mark.parametrize(
    "record",
    [
        (CHUNK, b""),
        (CHUNK, bytes(10)),
        (CHUNK, bytes(40)),
        (CHUNK, bytes(32) + (2**62).to_bytes(8, "little") + b"abc"),
        (CHUNK, bytes(28) + (2**31).to_bytes(4, "little") + b"abc"),
        (CHUNK, bytes(16) + bytes([255]) * 8 + bytes(8) + (5).to_bytes(8, "little") + b"\x05\xff\xff\xff\xff"),
        (CHUNK, bytes(28) + (3).to_bytes(4, "little") + b"rot" + (1).to_bytes(8, "little") + b"x"),
        (MESSAGE_INDEX, b"abc"),
        (0x55, b"unknown"),
    ],
    ids=str,
)
def test_damaged_records_hold_no_messages_and_no_harm(path: Path, record: tuple[int, bytes]) -> None:
    path.write_bytes(header_and(record, record))
    reader = RecordingReader(path)
    assert contents(reader) == []
    assert (reader.count, reader.truncated) == (0, True)


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Let the system refuse to write any file beyond a size, as it does when the disk is full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_full_disk_is_said_at_once_and_what_was_written_stays(path: Path, clock: TurnedClock) -> None:
    messages = [raw(make_read(n, data=np.full((600, 1024), n, dtype="<u2"))) for n in range(8)]  # 1.2 MB each
    recorder = Recorder(path, clock)
    written = 0
    with file_size_limit(4_000_000):
        while written < len(messages) - 1 and path.stat().st_size < 3_000_000:
            recorder.write(messages[written], written)
            written += 1
        with pytest.raises(RecordingError) as refused:
            recorder.write(messages[written], written)
    assert 1 <= written < len(messages)
    assert str(path) in str(refused.value)
    assert f"stopped after {written} messages" in str(refused.value)
    assert path.stat().st_size <= 4_000_000
    with pytest.raises(RecordingError, match="stopped after"):
        recorder.write(messages[0], 99)
    recorder.flush_if_due()
    recorder.close()
    reader = RecordingReader(path)
    assert reader.truncated
    assert contents(reader) == [(number, messages[number]) for number in range(written)]


def test_a_disk_that_is_full_from_the_start_is_said(path: Path, clock: TurnedClock) -> None:
    with file_size_limit(0), pytest.raises(RecordingError, match="recording stopped after 0 messages"):
        Recorder(path, clock)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git-LFS pointer.*git lfs pull"),
        (b"SIMPLE  =                    T", "is no MCAP file; recordings are made by: rtcal record"),
        (b"\x89MCAP0\r\n", "ends inside its header"),
        (b"\x89MCAP0\r\n\x01\x0a\x00", "ends inside its header"),
        (b"\x89MCAP0\r\n\x01" + (8).to_bytes(8, "little") + bytes(8), "not of rtcal: its profile is ''"),
        (b"\x89MCAP0\r\n\x01" + (2**60).to_bytes(8, "little") + bytes(8), "ends inside its header"),
    ],
)
def test_what_is_no_recording_is_said(path: Path, content: bytes, text: str) -> None:
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=text) as refused:
        RecordingReader(path)
    assert str(path) in str(refused.value)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such file"):
        RecordingReader(tmp_path / "none.mcap")
    with pytest.raises(RecordingError, match="cannot be read"):
        RecordingReader(tmp_path)


@given(st.binary(max_size=300))
def test_any_bytes_behind_a_good_beginning_are_only_a_truncated_recording(tail: bytes) -> None:
    path = Path(f"/proc/self/fd/{os.memfd_create('recording')}")
    descriptor = int(path.name)
    try:
        os.write(descriptor, header_and() + tail)
        reader = RecordingReader(path)
        assert len(contents(reader)) <= reader.count + 1
    finally:
        os.close(descriptor)


# ---- the loop of rtcal record ----


class ListedParts:
    """Gives parts from a list; at its end it sets the stop."""

    def __init__(self, parts: Sequence[list[bytes] | None], stop: threading.Event) -> None:
        self.parts, self.stop = iter(parts), stop

    def receive_parts(self, timeout_s: float) -> list[bytes] | None:
        assert timeout_s <= 1.0
        parts = next(self.parts, [])
        if parts == []:
            self.stop.set()
            return None
        return parts


def test_record_writes_what_comes_until_it_is_stopped(path: Path, clock: TurnedClock) -> None:
    stop, seen = threading.Event(), []
    parts = [[b"one"], None, [b"two"], None]
    with Recorder(path, clock) as recorder:
        record(ListedParts(parts, stop), recorder, clock, stop, lambda counters: seen.append(counters["messages"]))
    assert contents(RecordingReader(path)) == [(clock.tai_ns(), [b"one"]), (clock.tai_ns(), [b"two"])]
    assert seen == [1, 2]


def test_record_flushes_while_nothing_comes(path: Path, clock: TurnedClock) -> None:
    stop = threading.Event()

    class Silence(ListedParts):
        def receive_parts(self, timeout_s: float) -> list[bytes] | None:
            clock.now_s += 0.6
            return super().receive_parts(timeout_s)

    recorder = Recorder(path, clock)
    record(Silence([[b"one"], None, None], stop), recorder, clock, stop)
    assert RecordingReader(path).count == 1
    recorder.close()


def test_live_recorded_and_replayed_messages_are_the_same_bits(path: Path, clock: TurnedClock) -> None:
    messages = [make_read(n, data=np.full((100, 100), n, dtype="<u2")) for n in range(5)]
    stop = threading.Event()
    with (
        ZmqSink("tcp://127.0.0.1:0", pattern="push", high_water=10) as sink,
        ZmqSource(sink.endpoint, pattern="pull", bind=False, high_water=10) as source,
    ):
        assert sink.wait_for_receiver(WAIT_S)
        for message in messages:
            sink.send(message)
        with Recorder(path, clock) as recorder:
            record(source, recorder, clock, stop, lambda counters: counters["messages"] < 5 or stop.set())
        assert replay(RecordingReader(path), sink.send_parts, Pacer(None, clock, threading.Event())) == 5
        received = [source.receive(WAIT_S) for _ in range(5)]
    for message, again in zip(messages, received, strict=True):
        assert again is not None
        assert same(again, message)


# ---- replay ----


@pytest.mark.parametrize(("speed", "waits"), [(1.0, 0.72), (4.0, 0.18), (0.5, 1.44)])
def test_replay_keeps_the_spacing_at_its_speed(path: Path, clock: TurnedClock, speed: float, waits: float) -> None:
    write(path, clock, [[bytes([n])] for n in range(4)])
    stop = TurningStop(clock)
    sent: list[tuple[float, bytes]] = []
    start_s = clock.now_s
    count = replay(
        RecordingReader(path), lambda parts: sent.append((clock.now_s, bytes(parts[0]))), Pacer(speed, clock, stop)
    )
    assert count == 4
    assert [part for _, part in sent] == [bytes([n]) for n in range(4)]
    np.testing.assert_allclose([at_s for at_s, _ in sent], start_s + waits * np.arange(4), atol=1e-9)


def test_replay_without_a_speed_never_waits(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [[b"x"]] * 4)
    stop = TurningStop(clock)
    assert replay(RecordingReader(path), lambda _: None, Pacer(None, clock, stop)) == 4
    assert stop.waits == []


def test_replay_that_fell_behind_catches_up(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [[b"x"]] * 4, spacing_ns=NS)
    stop = TurningStop(clock)
    start_s = clock.now_s
    sent: list[float] = []

    def slow_once(_: Sequence[Any]) -> None:
        sent.append(clock.now_s - start_s)
        clock.now_s += 2.5 if len(sent) == 1 else 0.0

    replay(RecordingReader(path), slow_once, Pacer(1.0, clock, stop))
    np.testing.assert_allclose(sent, [0.0, 2.5, 2.5, 3.0])


def test_replay_ends_when_it_is_stopped(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [[b"x"]] * 4)
    stop = TurningStop(clock)
    progress: list[int] = []
    sent = replay(
        RecordingReader(path),
        lambda _: stop.set() if len(progress) == 1 else None,
        Pacer(1.0, clock, stop),
        progress.append,
    )
    assert sent == 2
    assert progress == [1, 2]


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed: float, clock: TurnedClock) -> None:
    with pytest.raises(ValueError, match="speed"):
        Pacer(speed, clock, threading.Event())


def passes(reader: RecordingReader, count: int) -> list[tuple[int, Any]]:
    return [(received_ns, wire.decode(parts)) for received_ns, parts in itertools.islice(endless(reader), count)]


def test_an_endless_replay_goes_on_as_the_instrument_would(path: Path, clock: TurnedClock) -> None:
    reads = [make_read(n, reset_ns=TIME_NS, ramp=n // 3, read=n % 3) for n in range(4, 10)]
    write(path, clock, [raw(read) for read in reads] + [[b"junk"]])
    three = passes(RecordingReader(path), 18)
    first = three[:6]
    assert all(same(message, read) for (_, message), read in zip(first, reads, strict=True))
    headers = [message.header for _, message in three]
    assert [header.sequence for header in headers] == list(range(4, 22))
    assert [header.exposure_id[-2:] for header in headers] == ["01"] * 6 + ["+1"] * 6 + ["+2"] * 6
    assert np.diff([header.time_ns for header in headers]).min() > 0
    assert np.diff([received_ns for received_ns, _ in three]).min() > 0
    for before, after in itertools.pairwise([headers[:6], headers[6:12], headers[12:]]):
        shift_ns = after[0].time_ns - before[0].time_ns
        assert shift_ns >= 6 * FRAME_NS
        assert {b.time_ns - a.time_ns for a, b in zip(before, after, strict=True)} == {shift_ns}
        assert {b.reset_ns - a.reset_ns for a, b in zip(before, after, strict=True)} == {shift_ns}
    assert three[6][0] - three[0][0] == headers[6].time_ns - headers[0].time_ns  # both scales move alike


def test_an_endless_replay_is_no_duplicate_loss_or_restart(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [raw(make_read(n)) for n in range(5)])
    order = Resequencer(2)
    for _, message in passes(RecordingReader(path), 20):
        order.push(message)
    assert order.counters["delivered"] == 20
    assert sum(order.counters.values()) == 20


def test_events_move_with_the_reads_they_belong_to(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [raw(SAMPLES["observe"]), raw(SAMPLES["telemetry"]), raw(make_read(0))])
    _, (_, observe), (_, telemetry), (_, read) = passes(RecordingReader(path), 6)[2:]
    assert isinstance(observe, Observe)
    assert isinstance(telemetry, Telemetry)
    assert observe.header.exposure_id == read.header.exposure_id
    assert observe.header.sequence == SAMPLES["observe"].header.sequence + 1
    shift_ns = read.header.time_ns - make_read(0).header.time_ns
    assert shift_ns > 0
    assert observe.header.time_ns - SAMPLES["observe"].header.time_ns == shift_ns
    assert telemetry.header.values == SAMPLES["telemetry"].header.values  # type: ignore[union-attr]


def test_an_endless_replay_of_nothing_ends(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [[b"junk"]])
    assert list(endless(RecordingReader(path))) == []


def test_endless_replay_keeps_long_names_within_the_limit(path: Path, clock: TurnedClock) -> None:
    write(path, clock, [raw(make_read(0, exposure_id="E" * 128))])
    (_, first), (_, second) = passes(RecordingReader(path), 2)
    assert first.header.exposure_id == "E" * 128
    assert second.header.exposure_id.endswith("E+1")
