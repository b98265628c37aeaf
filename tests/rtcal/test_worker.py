"""A detector's worker, stepped by hand: time limits, faults, a full queue, the stop."""

import logging

import numpy as np
import pytest

from rtcal.pipeline import Pipeline
from rtcal.worker import Worker
from streams.messages import Frame, Preview
from tests.fakes import FixedReferences, ramp_reads

SHAPE = (6, 8)
IDLE_S = 5.0
IDLE_FRAMES = 3.0


def ramp(n=5, slope_dn=10.0, **fields):
    """A ramp whose rate is `2 slope_dn` e-/s: its gain is 2 e-/DN."""
    data = (1000 + slope_dn * np.arange(n)[:, None, None] * np.ones((1, *SHAPE))).astype("<u2")
    return ramp_reads(data, **fields)


@pytest.fixture
def pipeline(pipeline_settings, bands, clock):
    return Pipeline(pipeline_settings, FixedReferences(), bands, clock)


@pytest.fixture
def out():
    return []


@pytest.fixture
def worker(pipeline, out, clock):
    return make_worker(pipeline, out.append, clock)


def make_worker(pipeline, publish, clock, queue_reads=64, queue_wait_s=0.01):
    limits = {"queue_reads": queue_reads, "queue_wait_s": queue_wait_s, "idle_frames": IDLE_FRAMES, "idle_s": IDLE_S}
    limits["settle_s"] = 1.0
    return Worker("IMG1", pipeline, publish, clock, **limits)


def work_off(worker):
    """Handle what is queued, and see once that nothing is left."""
    for _ in range(worker.status().queued + 1):
        assert worker.step(0.0)


def take(worker, clock, reads, spacing_s=1.0):
    """Let reads come one by one and be handled at once."""
    for read in reads:
        clock.advance(spacing_s)
        worker.put(read)
        assert worker.step(0.0)


def frames(out):
    return [message for message in out if isinstance(message, Frame)]


def test_a_read_gives_a_preview_and_a_ramp_its_frame_with_the_latency(worker, out, clock):
    reads = ramp()
    take(worker, clock, reads[:-1])
    assert [type(message) for message in out] == [Preview] * 4
    worker.put(reads[-1])
    clock.advance(0.25)  # what the reduction of the last read takes
    assert worker.step(0.0)
    np.testing.assert_allclose(frames(out)[0].data, 20.0)
    status = worker.status()
    assert status.latency_s == 0.25
    assert (status.exposure_id, status.ramp, status.read, status.reads_planned) == ("E-1", 0, 4, 5)
    assert status.queued == 0


def test_a_worker_that_is_behind_leaves_previews_out_and_no_read(worker, out):
    for read in ramp():
        worker.put(read)
    assert worker.status().queued == 5
    work_off(worker)
    assert [type(message) for message in out] == [Frame, Preview]
    assert out[1].header.read == 4
    assert frames(out)[0].header.reads_used == 5


def test_an_idle_ramp_is_given_up_after_both_limits_and_published_as_far_as_it_came(worker, out, clock):
    take(worker, clock, ramp()[:3])
    clock.advance(IDLE_S)
    assert worker.step(0.0)
    assert not frames(out)
    clock.advance(0.01)
    assert worker.step(0.0)
    (frame,) = frames(out)
    assert not frame.header.complete
    assert frame.header.final
    assert (frame.header.reads_used, frame.header.reads_lost) == (3, 0)
    np.testing.assert_allclose(frame.data, 20.0)
    assert worker.status().counters["ramps_given_up"] == 1
    clock.advance(1000.0)
    assert worker.step(0.0)
    assert len(frames(out)) == 1


@pytest.mark.parametrize("spacing_s", [4.0, 60.0])
def test_a_slow_ramp_gets_so_many_spacings_of_its_own_reads(worker, out, clock, spacing_s):
    take(worker, clock, ramp(frame_time_ns=10**8)[:3], spacing_s)
    clock.advance(IDLE_FRAMES * spacing_s)
    assert worker.step(0.0)
    assert not frames(out)
    clock.advance(0.01)
    assert worker.step(0.0)
    assert len(frames(out)) == 1


def test_a_pause_between_exposures_does_not_count_as_a_spacing_of_reads(worker, out, clock):
    take(worker, clock, ramp())
    clock.advance(3600.0)
    take(worker, clock, ramp(exposure_id="E-2", first_sequence=5)[:2])
    clock.advance(IDLE_S + 0.01)
    assert worker.step(0.0)
    assert [frame.header.exposure_id for frame in frames(out)] == ["E-1", "E-2"]


def test_a_ramp_of_one_read_has_no_slope_yet_and_waits(worker, out, clock):
    reads = ramp()
    take(worker, clock, reads[:1])
    clock.advance(1000.0)
    assert worker.step(0.0)
    assert not frames(out)
    take(worker, clock, reads[1:])
    assert frames(out)[0].header.complete


def test_what_comes_after_a_ramp_was_given_up_is_counted_as_late(worker, out, clock):
    reads = ramp()
    take(worker, clock, reads[:3])
    clock.advance(IDLE_S + 0.01)
    assert worker.step(0.0)
    take(worker, clock, reads[3:])
    assert len(frames(out)) == 1
    assert worker.status().counters["late"] == 2
    take(worker, clock, ramp(exposure_id="E-2", first_sequence=5))
    assert frames(out)[1].header.complete


def test_after_a_pause_the_same_reads_may_be_played_again(worker, out, clock):
    take(worker, clock, ramp())
    take(worker, clock, ramp())  # without one they are duplicates
    assert len(frames(out)) == 1
    assert worker.status().counters["duplicates"] == 5
    clock.advance(IDLE_S + 0.01)
    assert worker.step(0.0)
    take(worker, clock, ramp())
    first, second = frames(out)
    assert second.header.complete
    np.testing.assert_array_equal(first.data, second.data)
    assert worker.status().counters["duplicates"] == 5


def test_reads_that_wait_for_a_lost_one_come_out_when_nothing_follows(worker, out, clock):
    take(worker, clock, ramp())
    take(worker, clock, ramp(exposure_id="E-2", first_sequence=6)[:2])  # a read was lost before them
    assert worker.status().exposure_id == "E-1"
    clock.advance(IDLE_S + 0.01)
    assert worker.step(0.0)
    assert [(frame.header.exposure_id, frame.header.reads_used) for frame in frames(out)] == [("E-1", 5), ("E-2", 2)]
    assert worker.status().counters["lost"] == 1


class Faulty(FixedReferences):
    """References that fail at the second question."""

    def open(self, setup, shape, mode, exposure_time_ns):
        opened = super().open(setup, shape, mode, exposure_time_ns)
        if len(self.asked) == 2:
            raise ZeroDivisionError("a bug")
        return opened


def test_a_fault_inside_is_counted_and_the_next_exposure_comes_out(pipeline_settings, bands, clock, out, caplog):
    worker = make_worker(Pipeline(pipeline_settings, Faulty(), bands, clock), out.append, clock)
    take(worker, clock, ramp())
    with caplog.at_level(logging.ERROR):
        take(worker, clock, ramp(exposure_id="E-2", first_sequence=5)[:1])
    assert "ZeroDivisionError" in caplog.text
    take(worker, clock, ramp(exposure_id="E-3", first_sequence=10, slope_dn=30.0))
    assert [frame.header.exposure_id for frame in frames(out)] == ["E-1", "E-3"]
    np.testing.assert_allclose(frames(out)[1].data, 60.0)
    assert frames(out)[1].header.complete
    counters = worker.status().counters
    assert counters["failures"] == 1
    assert counters["delivered"] == 11  # what was counted before the fault still counts


def test_a_fault_in_the_middle_of_a_ramp_costs_what_it_had_and_is_told(pipeline, clock, out):
    def publish(message):
        if isinstance(message, Preview) and message.header.sequence == 1:
            raise OSError("the socket is gone")
        out.append(message)

    worker = make_worker(pipeline, publish, clock)
    take(worker, clock, ramp())
    (partial,) = frames(out)
    assert (partial.header.reads_used, partial.header.reads_lost) == (3, 2)
    assert not partial.header.complete
    np.testing.assert_allclose(partial.data, 20.0)
    take(worker, clock, ramp(exposure_id="E-2", first_sequence=5))
    assert frames(out)[1].header.complete
    assert worker.status().counters["failures"] == 1


def test_a_full_queue_drops_the_newest_and_counts(pipeline, clock, out):
    worker = make_worker(pipeline, out.append, clock, queue_reads=3)
    reads = ramp()
    for read in reads:
        worker.put(read)
    assert worker.status().queued == 3
    work_off(worker)
    assert worker.status().counters["dropped_queue_full"] == 2
    for read in ramp(exposure_id="E-2", first_sequence=5)[:3]:
        worker.put(read)
    work_off(worker)
    (frame,) = frames(out)
    assert (frame.header.reads_used, frame.header.reads_lost) == (3, 2)


def test_a_read_waits_for_a_place_while_the_worker_moves(pipeline, clock, out):
    worker = make_worker(pipeline, out.append, clock, queue_reads=1, queue_wait_s=60.0)
    worker.start()
    for number in range(20):
        for read in ramp(exposure_id=f"E-{number}", first_sequence=5 * number):
            worker.put(read)
    worker.stop()
    assert worker.join(60.0)
    assert len(frames(out)) == 20
    assert "dropped_queue_full" not in worker.status().counters


def test_a_worker_that_hangs_lets_only_one_message_wait(pipeline, clock, out):
    worker = make_worker(pipeline, out.append, clock, queue_reads=1, queue_wait_s=0.01)
    reads = ramp()
    worker.put(reads[0])
    worker.put(reads[1])  # waits in vain
    worker._queue_wait_s = 1e9  # would wait for ever if it waited again
    worker.put(reads[2])
    assert worker.status().queued == 1
    worker.step(0.0)
    worker.put(reads[3])
    assert worker.status().counters["dropped_queue_full"] == 2


def test_a_stop_finishes_what_is_queued_and_publishes_the_open_ramp(worker, out):
    for read in ramp()[:4]:
        worker.put(read)
    worker.stop()
    for _ in range(4):
        assert worker.step(0.0)
    assert not worker.step(0.0)
    (frame,) = frames(out)
    assert frame.header.reads_used == 4
    assert not frame.header.complete
    assert worker.latency_s is None  # that ramp had no last read


def test_a_stop_with_nothing_open_publishes_nothing(worker, out, clock):
    take(worker, clock, ramp())
    worker.stop()
    assert not worker.step(0.0)
    assert len(frames(out)) == 1


def test_a_fault_while_stopping_still_ends_the_worker(pipeline, clock):
    def publish(message):
        if isinstance(message, Frame):
            raise OSError("the socket is gone")

    worker = make_worker(pipeline, publish, clock)
    take(worker, clock, ramp()[:3])
    worker.stop()
    assert not worker.step(0.0)
    assert worker.status().counters["failures"] == 1


def test_the_thread_does_all_that_by_itself(worker, out):
    worker.start()
    for read in ramp():
        worker.put(read)
    for read in ramp(exposure_id="E-2", first_sequence=5)[:2]:
        worker.put(read)
    worker.stop()
    assert worker.join(30.0)
    assert [frame.header.complete for frame in frames(out)] == [True, False]
