"""Frames read from the connection into their place: every value, the memory, and what is passed over."""

import gc
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.feed import Feed
from dashboards.flags import Flags, Packer
from dashboards.frames import FrameSource, KeptFrame
from dashboards.planes import Planes
from dashboards.settings import Budget
from streams.clock import SystemClock
from streams.messages import Cube
from tests.quicklook import Publisher, make_binned, make_cube, make_frame

LIMIT_S = 10.0


@pytest.fixture
def publisher():
    made = Publisher()
    yield made
    made.close()


def connected(publisher, **options):
    source = FrameSource(publisher.endpoints["frames"], **options)
    while not publisher.sockets["frames"].poll(0):
        source.receive(0.02)
    publisher.sockets["frames"].recv()
    return source


def test_a_frame_arrives_with_every_value_and_cannot_be_changed(publisher):
    frame = make_frame("IMG1", 3, side=300)
    with connected(publisher) as source:
        publisher.send(frame)
        kept = source.receive(LIMIT_S)
    assert isinstance(kept, KeptFrame)
    assert kept.header == frame.header
    np.testing.assert_array_equal(kept.data, frame.data)
    np.testing.assert_array_equal(kept.err, frame.err)
    np.testing.assert_array_equal(kept.dq[:], frame.dq)
    assert not kept.data.flags.writeable
    assert kept.nbytes < frame.data.nbytes * 2.3
    assert source.counters == {"received": 1}


def test_a_cube_comes_as_it_is(publisher):
    cube = make_cube("IFS", 1, bins=7, field=(5, 6))
    with connected(publisher) as source:
        publisher.send(cube)
        came = source.receive(LIMIT_S)
    assert isinstance(came, Cube)
    np.testing.assert_array_equal(came.data, cube.data)


def test_memory_is_used_again_once_nobody_looks(publisher):
    frame = make_frame("IMG1", 3, side=64)
    with connected(publisher) as source:

        def address():
            publisher.send(frame)
            kept = source.receive(LIMIT_S)
            return kept.data[2:5], kept.data.ctypes.data

        looked_at, first = address()
        _, second = address()
        assert second != first
        np.testing.assert_array_equal(looked_at, frame.data[2:5])
        del looked_at, _
        gc.collect()
        assert {address()[1] for _ in range(4)} <= {first, second}


def test_planes_that_nobody_needs_go_back_to_the_system():
    planes = Planes()
    held = [planes.take((8, 8), np.float32) for _ in range(5)]
    places = {one.ctypes.data for one in held}
    held.clear()
    again = [planes.take((8, 8), np.float32) for _ in range(2)]
    assert {one.ctypes.data for one in again} < places
    free = planes._free
    planes.take((4, 4), np.float32)
    assert planes._free is not free


def test_a_frame_that_is_not_wanted_is_passed_over(publisher):
    with connected(publisher, wanted=lambda header: header.sequence != 1) as source:
        for sequence in (1, 2):
            publisher.send(make_frame("IMG1", sequence, side=64))
        assert source.receive(LIMIT_S) is None
        assert source.receive(LIMIT_S).header.sequence == 2


def test_a_display_that_has_fallen_behind_lets_frames_go():
    feed = Feed(SystemClock(), Budget(50 << 20, 10, 10), 64)
    frames = [make_frame("IMG1", number, side=128) for number in range(3)]
    for frame in frames[:2]:
        feed.take(make_binned(frame))
    assert feed.wants(frames[0].header)
    feed.take(make_binned(frames[2]))
    assert not feed.wants(frames[0].header)
    assert feed.wants(frames[1].header)
    assert feed.wants(make_frame("IMG1", 9, side=8).header)
    assert feed.latest().counters["frames_skipped"] == 1


def test_arrays_of_different_shapes_are_refused(publisher):
    frame = make_frame("IMG1", 3, side=64)
    odd = replace(frame, err=np.zeros((64, 32), np.float32))
    with connected(publisher) as source:
        publisher.send(odd)
        publisher.send(frame)
        assert source.receive(LIMIT_S) is None
        assert source.receive(LIMIT_S).header == frame.header
    assert source.counters["rejected_array"] == 1


def test_another_version_is_counted_and_the_next_frame_is_shown(publisher):
    frame = make_frame("IMG1", 3, side=64)
    with connected(publisher) as source:
        publisher.send(replace(frame, header=msgspec.structs.replace(frame.header, version=2)))
        publisher.send(frame)
        assert source.receive(LIMIT_S) is None
        assert source.receive(LIMIT_S).header == frame.header
    assert source.counters["rejected_version"] == 1


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_packed_flags_are_the_flags(kinds, seed, pieces):
    rng = np.random.default_rng(seed)
    flags = rng.choice(np.array(kinds, np.uint32), (sum(pieces), 3))
    packer = Packer(np.empty(flags.shape, np.uint8))
    for end, rows in zip(np.cumsum(pieces), pieces, strict=True):
        packer.add(flags[end - rows : end].reshape(-1))
    packed = packer.packed()
    assert isinstance(packed, Flags)
    assert packed.shape == flags.shape
    np.testing.assert_array_equal(packed[1:, :2], flags[1:, :2])
    np.testing.assert_array_equal(packed[np.array([0]), np.array([2])], flags[[0], [2]])


@pytest.mark.parametrize("combinations", [256, 257, 5000])
def test_flags_of_any_number_of_combinations_are_kept(combinations):
    flags = np.arange(combinations * 7, dtype=np.uint32).reshape(7, -1) % np.uint32(combinations)
    packer = Packer(np.empty(flags.shape, np.uint8))
    for row in flags:
        packer.add(row)
    packed = packer.packed()
    assert isinstance(packed, Flags) == (combinations <= 256)
    np.testing.assert_array_equal(packed[:], flags)
