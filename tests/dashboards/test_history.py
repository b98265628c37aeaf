"""The past: what is kept, what goes first, and which picture a moment means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.feed import Feed
from dashboards.settings import Budget
from streams.clock import NS
from tests.fakes import FakeClock
from tests.quicklook import make_binned, make_frame, make_preview

MIB = 1 << 20
IMG1 = ("IMG1", "reduced")


def fed(messages, megabytes=100, frames=10, reads=10):
    feed = Feed(FakeClock(tai_ns=10**18), Budget(megabytes * MIB, frames, reads), 64)
    for message in messages:
        feed.take(message)
    return feed.latest()


def frame(sequence, name="IMG1", side=64, at_s=None):
    time_ns = (sequence if at_s is None else at_s) * NS
    return make_frame(name, sequence, data=np.zeros((side, side)), time_ns=time_ns)


def sequences(snapshot, key=IMG1):
    return [picture.header.sequence for picture in snapshot.history.shelves[key]]


def test_frames_and_reads_are_kept_up_to_their_numbers():
    snapshot = fed([*(frame(n) for n in range(7)), *(make_preview("IMG1", n) for n in range(5))], frames=4, reads=2)
    assert sequences(snapshot) == [3, 4, 5, 6]
    assert sequences(snapshot, ("IMG1", "ramp")) == sequences(snapshot, ("IMG1", "raw")) == [3, 4]
    assert snapshot.pictures[IMG1].header.sequence == 6


def test_past_frames_lose_their_pixels_before_the_newest_does():
    snapshot = fed([frame(n, side=512) for n in range(4)], megabytes=7)  # 2.25 MiB each, and one arriving
    assert sequences(snapshot) == [0, 1, 2, 3]
    assert [picture.levels[0].binning for picture in snapshot.history.shelves[IMG1]] == [8, 8, 1, 1]
    assert snapshot.counters["past_frames_thinned"] == 2
    assert "frames_thinned" not in snapshot.counters


def test_past_pictures_go_before_the_newest_loses_its_pixels():
    reads = [make_preview("IMG2", n, rate=np.zeros((256, 256)), binning=1) for n in range(8)]  # 512 KiB a read
    snapshot = fed([frame(0, side=512), *reads], megabytes=9)
    assert snapshot.pictures[IMG1].levels[0].binning == 1
    assert sequences(snapshot, ("IMG2", "raw"))[-1] == 7
    assert snapshot.counters["past_pictures_dropped"] > 0


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(4, 300)), max_size=12), st.integers(1, 3))
def test_the_budget_holds_whatever_comes(frames, megabytes):
    snapshot = fed([frame(n, f"IMG{name}", side) for n, (name, side) in enumerate(frames)], megabytes)
    assert snapshot.history.nbytes <= megabytes * MIB
    for shelf in snapshot.history.shelves.values():
        numbers = [picture.number for picture in shelf]
        assert numbers == sorted(numbers)


def test_a_moment_means_the_nearest_in_time_for_other_detectors_and_views():
    messages = [frame(n, name, at_s=100 * n + late) for n in range(3) for late, name in ((0, "IMG1"), (30, "IMG2"))]
    snapshot = fed([*messages, make_preview("IMG1", 7, time_ns=108 * NS), make_preview("IMG1", 8, time_ns=190 * NS)])
    meant = snapshot.history.shelves[IMG1][1].number
    assert snapshot.history.as_of(IMG1, meant).header.sequence == 1
    assert snapshot.history.as_of(("IMG2", "reduced"), meant).header.sequence == 1
    assert snapshot.history.as_of(("IMG1", "raw"), meant).header.sequence == 7
    assert snapshot.history.as_of(("IMG9", "raw"), meant) is None


def test_of_a_moment_that_is_not_kept_the_oldest_is_shown():
    snapshot = fed([frame(n) for n in range(6)], frames=2)
    assert snapshot.history.as_of(IMG1, 0).header.sequence == 4
    assert snapshot.history.numbered(0) is None
    assert snapshot.history.as_of(IMG1, None).header.sequence == 5


@pytest.mark.parametrize("view", ["raw", "ramp"])
def test_reads_have_a_past_of_their_own(view):
    snapshot = fed([make_preview("IMG1", n) for n in range(3)])
    assert sequences(snapshot, ("IMG1", view)) == [0, 1, 2]


def test_pages_that_need_full_pixels_keep_the_frame_that_has_them():
    first, second = frame(1, side=256), frame(2, side=256)
    history = fed([first, make_binned(second)]).history
    heard_s = history.latest()[IMG1].heard_s
    assert history.whole(IMG1, heard_s).header.sequence == 1
    assert history.whole(IMG1, heard_s + 0.1).header.sequence == 2  # it has waited long enough
    assert history.as_of(IMG1, None).header.sequence == 2
    assert fed([first, make_binned(second), second]).history.whole(IMG1, heard_s).header.sequence == 2
    assert fed([make_binned(second)]).history.whole(IMG1, heard_s).header.sequence == 2  # there is no other
    assert history.whole(("IMG9", "reduced"), heard_s) is None


def test_while_the_newest_waits_for_its_pixels_the_last_that_has_them_keeps_them():
    frames = [frame(n, side=512) for n in range(4)]  # 2.25 MiB each, and one arriving
    snapshot = fed([*frames[:3], make_binned(frames[3])], megabytes=5)
    assert [len(picture.levels) for picture in snapshot.history.shelves[IMG1]] == [1, 1, 2, 1]


def test_each_detector_adds_to_the_budget():
    budget = Budget(100, 10, 10, more_bytes=30, taken_bytes=20)
    assert [budget.room(detectors, 40) for detectors in (0, 1, 5)] == [40, 40, 120]
    assert budget.room(1, 90) == 0
    assert budget.limit(5) == 220
