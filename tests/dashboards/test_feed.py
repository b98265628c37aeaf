"""The feed on real sockets: what it keeps, what it refuses, what it forgets."""

import numpy as np
import pytest

from dashboards.feed import MAX_DETECTORS, Feed
from dashboards.frames import FrameSource
from dashboards.settings import Budget
from streams.clock import SystemClock
from streams.messages import Observe, ObserveHeader
from streams.sources import ZmqSource
from tests.fakes import SECOND_NS, FakeClock, ListSource
from tests.hostile import HOSTILE
from tests.quicklook import Publisher, make_binned, make_frame, make_preview, make_status

LIMIT_S = 20.0


@pytest.fixture
def publisher():
    made = Publisher()
    yield made
    made.close()


@pytest.fixture
def sources(publisher):
    made = {
        "frames": FrameSource(publisher.endpoints["frames"]),
        "previews": ZmqSource(publisher.endpoints["previews"], pattern="sub", bind=False, high_water=200),
    }
    while not publisher.sockets["frames"].poll(0):
        made["frames"].receive(0.02)
    publisher.wait_for_subscribers()
    yield made
    for source in made.values():
        source.close()


@pytest.fixture
def feed():
    return Feed(SystemClock(), Budget(50 << 20, 10, 10), 64)


def test_the_latest_of_each_kind_is_kept(publisher, sources, feed):
    publisher.send(make_frame("IMG1", 3, side=64))
    publisher.send(make_frame("IMG1", 4, side=64))
    publisher.send(make_preview("IFS", 9, side=64))
    publisher.send(make_status(5, detectors=("IMG2",)))
    for name in ("frames", "frames", "previews", "previews"):
        feed.step(sources[name], LIMIT_S)
    snapshot = feed.latest()
    assert snapshot.pictures["IMG1", "reduced"].header.sequence == 4
    assert {view for name, view in snapshot.pictures if name == "IFS"} == {"raw", "ramp"}
    assert snapshot.detectors() == {"IMG1", "IMG2", "IFS"}
    assert dict(snapshot.counters) == {"frames": 2, "previews": 1, "statuses": 1}


SENDABLE = [hostile for hostile in HOSTILE if hostile.parts]  # a message without parts cannot be sent


@pytest.mark.parametrize("hostile", SENDABLE, ids=lambda hostile: hostile.name)
def test_a_hostile_message_is_counted_and_the_next_good_one_is_shown(publisher, sources, feed, hostile):
    publisher.send_parts("frames", hostile.parts)
    publisher.send(make_frame("IMG1", 77, side=64))
    for _ in range(2):
        feed.step(sources["frames"], LIMIT_S)
    assert feed.latest().counters[f"rejected_{hostile.cause}"] == 1
    assert feed.latest().pictures["IMG1", "reduced"].header.sequence == 77


def test_a_message_that_cannot_be_shown_is_counted(feed, caplog):
    class Broken(ListSource):
        def receive(self, timeout_s):  # noqa: ARG002
            raise RuntimeError("odd")

    feed.step(Broken([]), 0)
    feed.step(ListSource([make_frame("IMG1", side=64)]), 0)
    assert feed.latest().counters["failed"] == 1
    assert "message dropped" in caplog.text
    assert feed.latest().detectors() == {"IMG1"}


def test_a_kind_that_is_not_shown_is_counted(feed):
    header = ObserveHeader(
        instrument="IRIS", detector="ALL", sequence=0, time_ns=0, name="ExposureStart", exposure_id="e"
    )
    feed.take(Observe(header))
    assert feed.latest().counters["unexpected"] == 1


def test_a_publisher_that_starts_again_is_heard_again(publisher, sources, feed):
    publisher.send(make_status(900))
    feed.step(sources["previews"], LIMIT_S)
    endpoints = dict(publisher.endpoints)
    publisher.close()
    again = Publisher(endpoints)
    try:
        for name, source in sources.items():  # a SUB socket subscribes anew while it is being read
            while not again.sockets[name].poll(0):
                feed.step(source, 0.02)
        again.send(make_frame("IMG1", 0, side=64))
        again.send(make_status(0))
        for source in sources.values():
            feed.step(source, LIMIT_S)
    finally:
        again.close()
    assert feed.latest().status.sequence == 0
    assert feed.latest().detectors() == {"IMG1"}


def test_threads_receive_until_they_are_stopped(feed):
    source = ListSource([make_frame("IMG1", side=64)])
    feed.follow(source, "list")
    feed.stop()
    assert source.exhausted


def test_a_snapshot_does_not_change():
    feed = Feed(SystemClock(), Budget(50 << 20, 10, 10), 64)
    feed.take(make_frame("IMG1", 1, side=64))
    before = feed.latest()
    feed.take(make_frame("IMG2", 1, side=64))
    assert before.detectors() == {"IMG1"}
    assert feed.latest().version > before.version


def test_memory_is_bounded_by_thinning_the_oldest_frames():
    feed = Feed(SystemClock(), Budget(10 << 20, 10, 10), 64)  # 2.25 MiB a frame: two arrive, two fit
    for sequence, name in enumerate(("IMG1", "IMG2", "IMG3", "IMG1", "IMG4")):
        feed.take(make_frame(name, sequence, data=np.zeros((512, 512))))
        assert sum(picture.nbytes for picture in feed.latest().pictures.values()) <= 10 << 20
    full = {name for (name, _), picture in feed.latest().pictures.items() if picture.levels[0].binning == 1}
    assert full == {"IMG1", "IMG4"}
    assert feed.latest().counters["frames_thinned"] >= 2


def test_a_picture_larger_than_all_memory_is_dropped_and_counted():
    feed = Feed(SystemClock(), Budget(1 << 20, 10, 10), 64)
    feed.take(make_preview("IMG1", rate=np.zeros((600, 600)), binning=1))
    assert feed.latest().counters["pictures_too_large"] == 2
    assert sum(picture.nbytes for picture in feed.latest().pictures.values()) <= 1 << 20


def test_names_of_detectors_do_not_fill_the_memory():
    feed = Feed(SystemClock(), Budget(50 << 20, 10, 10), 64)
    for number in range(MAX_DETECTORS + 5):
        feed.take(make_preview(f"D{number}", rate=np.zeros((4, 4))))
    assert len(feed.latest().detectors()) == MAX_DETECTORS
    assert feed.latest().counters["too_many_detectors"] == 5


def test_ages_are_told_on_the_monotonic_clock_and_never_negative():
    clock = FakeClock(tai_ns=50 * SECOND_NS)
    clock.advance(100.0)
    feed = Feed(clock, Budget(50 << 20, 10, 10), 64)
    feed.take(make_frame("IMG1", published_ns=147 * SECOND_NS, side=64))
    feed.take(make_frame("IMG2", published_ns=160 * SECOND_NS, side=64))
    published = {name: picture.published_s for (name, _), picture in feed.latest().pictures.items()}
    assert published == {"IMG1": 97.0, "IMG2": 100.0}


def test_a_binned_image_is_shown_until_its_frame_has_come(feed):
    told = []
    feed.on_frame = told.append
    frame = make_frame("IMG1", 4, side=256)
    feed.take(make_binned(frame))
    binned = feed.latest().pictures["IMG1", "reduced"]
    assert (binned.header, binned.expected, binned.levels[0].binning) == (frame.header, True, 4)
    feed.take(frame)
    whole = feed.latest().pictures["IMG1", "reduced"]
    assert (whole.number, whole.expected, [level.binning for level in whole.levels]) == (binned.number, False, [1, 4])
    assert whole.levels[0].data is frame.data
    assert whole.coarse is binned.coarse
    assert len(feed.latest().history.shelves["IMG1", "reduced"]) == 1
    assert told == [frame.header]


def test_a_binned_image_that_comes_after_its_frame_changes_nothing(feed):
    told = []
    feed.on_frame = told.append
    frame = make_frame("IMG1", 4, side=256)
    feed.take(frame)
    before = feed.latest()
    feed.take(make_binned(frame))
    assert feed.latest() is before
    assert told == [frame.header]


def test_a_binned_image_of_another_size_than_the_display_wants_is_replaced_whole(feed):
    frame = make_frame("IMG1", 4, side=256)
    feed.take(make_binned(frame, pixels=128))
    feed.take(frame)
    assert [level.binning for level in feed.latest().pictures["IMG1", "reduced"].levels] == [1, 4]


def test_without_full_frames_nothing_is_waited_for():
    feed = Feed(SystemClock(), Budget(50 << 20, 10, 10), 64, full_frames=False)
    feed.take(make_binned(make_frame("IMG1", 4, side=256)))
    assert not feed.latest().pictures["IMG1", "reduced"].expected
    assert feed.latest().counters["binned_frames"] == 1
