"""References that the night itself brings, and frames that are issued again because of them."""

import dataclasses
import hashlib
import itertools
import threading

import numpy as np
import pytest
from msgspec.structs import replace

from refcache import ReferenceStore, Sky, load_reference
from rtcal.config import NightSettings
from rtcal.finishing import finish
from rtcal.night.bare import BareFile, BareSums, Harvest
from rtcal.night.kinds import kind_of
from rtcal.night.shelf import Room, Shelf
from rtcal.pipeline import Pipeline
from rtcal.reduce import meter_of
from rtcal.survey import Survey
from streams.dq import Dq
from streams.messages import Frame, Read
from tests.crds_cache import SHAPE as CACHE_SHAPE
from tests.crds_cache import STALE_S
from tests.crds_cache import settings as crds_settings
from tests.fakes import (
    READ_HEADER,
    FixedReferences,
    badpix_reference,
    dark_reference,
    flat_reference,
    ramp_reads,
    sky_reference,
)
from tests.refcache_night import cache

SHAPE = (48, 64)
GAIN = 2.0
READS = 6
RNG = np.random.default_rng(2)
RIPPLE = 1 + 0.2 * np.sin(np.arange(SHAPE[1]) / 5)[None, :] * np.ones(SHAPE)
"""What the sky looks like on the detector, so that a scale alone does not take it out."""
NUMBERS = itertools.count(1)


def exposure(rate, start_s, kind="SCI", name=None, **setup):
    """The reads of an exposure with a constant rate [e-/s] in each pixel, from a time on."""
    times = start_s + np.arange(READS)
    rate = np.broadcast_to(rate, SHAPE)
    data = 2000 + rate[None] / GAIN * np.arange(READS)[:, None, None]
    keys = {"SUBARRAY": "WINDOW", "READMODE": "UTR", "FILTER": "K", "EXPTYPE": kind, **setup}
    name = name or f"{kind}-{next(NUMBERS)}"
    return ramp_reads(data.astype("<f4"), times_s=times, exposure_id=name, setup=keys)


def run(pipeline, *exposures):
    """Feed exposures; return all frames that come out."""
    return [out for reads in exposures for read in reads for out in pipeline.process(read) if isinstance(out, Frame)]


def kept_by(pipeline):
    """The exposures that wait for a better sky."""
    return pipeline._night._desk._night.kept.of(pipeline._night._desk)


def row(frame, reftype):
    (found,) = (one for one in frame.header.references if one.reftype == reftype)
    return found


@pytest.fixture
def night(settings):
    return settings.night


@pytest.fixture
def make(pipeline_settings, bands, clock, night):
    def make(references=None, meter=None, **changes):
        plain = replace(pipeline_settings.calibration, bad_pixels="keep")
        table = replace(night, **changes)
        settings = dataclasses.replace(pipeline_settings, night=table, calibration=plain, meter=meter)
        return Pipeline(settings, references or FixedReferences(), bands, clock)

    return make


@pytest.mark.parametrize(
    ("name", "setup", "kind"),
    [
        ("2031A-001-001-IRIS-IMG1-SKY0-0001", {}, "sky"),
        ("2031A-001-001-IRIS-IMG1-DRK0-0001-00", {"EXPTYPE": "SCI"}, "dark"),
        ("2031A-001-001-IRIS-IFS-ARC0-0003", {}, "arc"),
        ("2031A-001-001-IRIS-IMG1-SCI0-0001", {"EXPTYPE": "SKY"}, "science"),  # the name comes first
        ("E-1", {"EXPTYPE": " sky "}, "sky"),
        ("E-1", {"OBSTYPE": "DARK"}, "dark"),
        ("E-1", {"IMTYPE": "MDK"}, "dark"),
        ("E-1", {"EXPTYPE": "TARGET"}, "science"),
        ("E-1", {}, "science"),
    ],
)
def test_the_kind_is_in_the_name_else_in_the_setup(name, setup, kind):
    assert kind_of(replace(READ_HEADER, exposure_id=name, setup=setup)) == kind


def test_a_frame_without_a_sky_is_issued_again_when_one_lands(make):
    sky, star = 50 * RIPPLE, np.zeros(SHAPE)
    star[20:23, 30:33] = 400
    first, sky_frame, again = run(
        pipeline := make(), exposure(1.1 * sky + star, 0, name="S"), exposure(sky, 60, "SKY", name="K")
    )
    assert (first.header.exposure_id, first.header.revision, row(first, "sky").status) == ("S", 0, "MISSING")
    assert (sky_frame.header.exposure_id, row(sky_frame, "sky").status) == ("K", "NA")
    np.testing.assert_allclose(sky_frame.data, sky, rtol=1e-4)
    assert (again.header.exposure_id, again.header.revision, again.header.final) == ("S", 1, True)
    assert again.header.sequence > sky_frame.header.sequence
    assert again.header.sky_scale == pytest.approx(1.1, rel=0.005)
    np.testing.assert_allclose(again.data, star, atol=0.3)
    status = row(again, "sky")
    assert (status.status, status.name.startswith("night_sky_iris_img1_")) == ("OK", True)
    assert status.age_s == pytest.approx(-60)
    assert status.note == "of this night, 1 exposure"
    assert (again.err > first.err).all()  # the sky's own noise and that of its scale
    assert pipeline.status().counters["night_references"] == pipeline.status().counters["reissued"] == 1


def test_what_glows_is_remembered_from_exposure_to_exposure_and_when_a_frame_is_issued_again(make, settings):
    bright = 50 * RIPPLE + np.zeros(SHAPE)
    bright[10, 12] = 90_000
    frames = run(
        make(meter=meter_of(settings)),
        exposure(bright, 0, name="B"),
        exposure(50 * RIPPLE, 7, name="S"),
        exposure(50 * RIPPLE, 60, "SKY"),
    )
    first, again = (frame for frame in frames if frame.header.exposure_id == "S")
    assert (first.header.revision, again.header.revision) == (0, 1)
    around = [[y, x] for y in (9, 10, 11) for x in (11, 12, 13)]  # it saturates, and its neighbours with it
    for frame in (first, again):
        assert np.argwhere(frame.dq & np.uint32(Dq.PERSISTENCE)).tolist() == around


def test_between_two_skies_their_mean_counts_by_the_inverse_of_the_distance_in_time(make):
    before, after = 40 * RIPPLE, 70 * RIPPLE[:, ::-1]
    frames = run(
        make(),
        exposure(before, 0, "SKY"),
        exposure(55 * RIPPLE, 100, name="S"),
        exposure(after, 400, "SKY"),
    )
    first, again = (frame for frame in frames if frame.header.exposure_id == "S")
    assert (row(first, "sky").status, row(first, "sky").age_s) == ("OK", pytest.approx(100))
    sky = row(again, "sky")
    assert "the mean of 0.750 night_sky" in sky.note
    assert " + " in sky.name
    mean = 0.75 * before + 0.25 * after
    scale = again.header.sky_scale
    np.testing.assert_allclose(again.data, 55 * RIPPLE - scale * mean, atol=0.05)


@pytest.mark.parametrize(("start_s", "keys"), [(1900, {}), (60, {"FILTER": "H"}), (60, {"SCALE": 9})])
def test_a_sky_of_another_time_or_setup_does_not_serve(make, start_s, keys):
    frames = run(make(), exposure(50, 0, "SKY"), exposure(60, start_s, name="S", **keys))
    assert [(frame.header.exposure_id, row(frame, "sky").status) for frame in frames[1:]] == [("S", "MISSING")]


def test_the_rules_own_sky_stays_where_it_is_nearer_in_time(make):
    rules = FixedReferences(sky=sky_reference(np.full(SHAPE, 50.0), np.zeros(SHAPE)))  # 60 s old
    frames = run(make(rules), exposure(45 * RIPPLE, 0, "SKY"), exposure(50, 100, name="S"), exposure(50, 20, name="T"))
    assert [row(frame, "sky").name[:5] for frame in frames[1:]] == ["sky.f", "night"]


def test_skies_that_follow_each_other_are_one_reference_and_better_each_time(make, tmp_path):
    noisy = [50 * RIPPLE + RNG.normal(0, 3, SHAPE) for _ in range(3)]
    pipeline = make(directory=str(tmp_path / "night"))
    run(pipeline, exposure(50 * RIPPLE, 0, name="S"))
    issued = []
    for number, rate in enumerate(noisy):
        issued.append(run(pipeline, exposure(rate, 30 + 30 * number, "SKY"))[-1])
    assert [frame.header.revision for frame in issued] == [1, 2, 3]
    residual = [float(np.std(frame.data)) for frame in issued]
    assert residual[2] < 0.8 * residual[0]
    assert row(issued[2], "sky").note == "of this night, 3 exposures"
    (path,) = (tmp_path / "night").iterdir()
    assert {row(frame, "sky").name for frame in issued} == {path.name}
    assert row(issued[2], "sky").sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    sky = load_reference(path, "sky")
    assert isinstance(sky, Sky)
    assert sky.header["REFVER"] == "3"
    assert (sky.header["REFTYPE"], sky.header["FILTER"], sky.pedigree) == ("SKY", "K", "INFLIGHT")
    np.testing.assert_allclose(sky.rate, np.median(noisy, axis=0), rtol=1e-2)


def test_a_science_exposure_between_them_ends_a_group(make):
    frames = run(
        make(),
        exposure(50, 0, "SKY"),
        exposure(50, 30, name="S"),
        exposure(52, 60, "SKY"),
        exposure(50, 90, name="T"),
    )
    names = [row(frame, "sky").name for frame in frames if frame.header.exposure_id in ("S", "T")]
    assert len(set(names)) == 3
    assert names[1].count("night_sky") == 2


def test_a_group_takes_no_more_than_its_most(make):
    pipeline = make(group_most=2, dithers_least=0)
    frames = run(pipeline, *(exposure(50, 30 * number, "SKY") for number in range(3)), exposure(50, 90, name="S"))
    assert row(frames[-1], "sky").note == "of this night, 1 exposure"


def test_what_cannot_become_better_is_forgotten_and_nothing_is_kept_without_memory(make):
    pipeline = make()
    run(pipeline, exposure(50, 0, "SKY"), exposure(50, 30, name="S"), exposure(50, 60, "SKY"))
    assert len(kept_by(pipeline)) == 1  # the second sky may still be joined by others
    run(pipeline, exposure(50, 90, name="T"), exposure(50, 120, "SKY"))
    assert [kept.header.exposure_id for kept in kept_by(pipeline)] == ["T"]
    frames = run(make(reissue_mb=0), exposure(50, 0, name="S"), exposure(50, 30, "SKY"))
    assert [frame.header.revision for frame in frames] == [0, 0]


def test_a_dark_of_the_night_serves_where_the_rules_have_none(make):
    frames = run(make(), exposure(60, 0, name="S"), exposure(7, 30, "DARK"), exposure(60, 60, name="T"))
    assert [(frame.header.exposure_id, row(frame, "dark").status) for frame in frames] == [
        ("S", "MISSING"),
        (frames[1].header.exposure_id, "NA"),
        ("S", "OK"),
        ("T", "OK"),
    ]
    np.testing.assert_allclose(frames[1].data, 7, rtol=1e-3)
    for frame in frames[2:]:
        np.testing.assert_allclose(frame.data, 53, rtol=1e-3)
    rules = FixedReferences(dark=dark_reference(np.full(SHAPE, 1.0), np.zeros(SHAPE)))
    fresh = run(make(rules), exposure(7, 0, "DARK"), exposure(60, 60, name="S"))[-1]
    assert row(fresh, "dark").name == "dark.fits"


def star_field(shift):
    stars = np.zeros(SHAPE)
    for y, x in ((8, 10), (25, 40), (38, 20), (15, 50)):
        stars[y : y + 2, (x + shift) % SHAPE[1]] = 5000
    return stars


def test_dithered_science_makes_a_sky_where_none_was_taken(make):
    noise = [RNG.normal(0, 0.5, SHAPE) for _ in range(4)]
    rates = [50 * RIPPLE + star_field(4 * shift) + one for shift, one in enumerate(noise)]
    pipeline = make()
    frames = run(pipeline, *(exposure(rate, 30 * number, name=f"S{number}") for number, rate in enumerate(rates)))
    told = [(frame.header.exposure_id, frame.header.revision, row(frame, "sky").status) for frame in frames]
    assert told == [
        ("S0", 0, "MISSING"),
        ("S1", 0, "MISSING"),
        ("S2", 0, "MISSING"),
        ("S0", 1, "STALE"),
        ("S1", 1, "STALE"),
        ("S2", 1, "STALE"),
        ("S3", 0, "STALE"),
    ]
    assert row(frames[3], "sky").note == "median of 3 science exposures: no sky was taken"
    np.testing.assert_allclose(frames[3].data, star_field(0), atol=4)
    real = run(pipeline, exposure(50 * RIPPLE, 150, "SKY"))
    assert [frame.header.exposure_id for frame in real[1:]] == ["S0", "S1", "S2", "S3"]
    assert {row(frame, "sky").status for frame in real[1:]} == {"OK"}


def test_science_that_was_not_dithered_does_not_lose_its_stars(make):
    frames = run(make(), *(exposure(50 + star_field(0) + RNG.normal(0, 0.5, SHAPE), 30 * n) for n in range(4)))
    assert len(frames) == 4
    assert {row(frame, "sky").status for frame in frames} == {"MISSING"}


@pytest.mark.parametrize(("bad_pixels", "hurried"), [("keep", False), ("nan", True), ("repair", False)])
def test_finishing_anew_is_what_the_exposure_itself_would_have_made(
    pipeline_settings, bands, clock, calibration_settings, tmp_path, bad_pixels, hurried
):
    dq = np.zeros(SHAPE, "u4")
    dq[5, 5] = dq[20, 31] = Dq.DO_NOT_USE | Dq.HOT
    given = {
        "dark": dark_reference(RNG.uniform(0, 5, SHAPE), np.full(SHAPE, 0.3)),
        "badpix": badpix_reference(dq),
        "sky": sky_reference(40 * RIPPLE, np.full(SHAPE, 0.5)),
        "flat": flat_reference(RNG.uniform(0.9, 1.1, SHAPE), np.full(SHAPE, 0.01)),
    }
    table = replace(calibration_settings, bad_pixels=bad_pixels)
    pipeline = Pipeline(
        dataclasses.replace(pipeline_settings, calibration=table), FixedReferences(**given), bands, clock
    )
    rates = 50 * RIPPLE + RNG.normal(0, 1, SHAPE)
    rates[30, 30:34] = 30_000  # saturates
    reads = exposure(rates, 0)
    (frame,) = run(pipeline, reads)
    done = pipeline._exposure
    sums = BareSums(BareFile(SHAPE, tmp_path))
    harvest = Harvest(done.sums, done.calibration, sums.file, Room(1 << 20))
    if hurried:
        harvest.hurry()
        done.sums.state.moments.fill(np.nan)  # as the next exposure would
    harvest.run()
    out, sky = finish(sums, done.calibration, table, bands, Survey(SHAPE, 1024))
    np.testing.assert_allclose(out.rate, frame.data, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(out.err, frame.err, rtol=2e-5)
    np.testing.assert_array_equal(out.dq, frame.dq)
    np.testing.assert_array_equal(out.saturated_from, frame.saturated_from)
    assert float(sky.part.scale) == pytest.approx(frame.header.sky_scale, rel=1e-6)


def test_an_exposure_whose_sums_are_needed_and_for_which_there_is_no_room_is_given_up(
    pipeline_settings, bands, clock, tmp_path
):
    pipeline = Pipeline(pipeline_settings, FixedReferences(), bands, clock)
    run(pipeline, exposure(50, 0))
    done, room = pipeline._exposure, Room(48 * 64 * 10)
    harvest = Harvest(done.sums, done.calibration, BareFile(SHAPE, tmp_path), room)
    harvest.hurry()
    harvest.run()
    assert not harvest.whole
    assert room.take(48 * 64 * 10)


def test_what_is_on_a_shelf_leaves_by_age_whosever_it_is():
    shelf, owners = Shelf(100), ("one", "other")
    for number in range(4):
        shelf.put(owners[number % 2], f"{number}", number, 40)
    assert [shelf.of(owner) for owner in owners] == [[2], [3]]
    shelf.put("one", "4", 4, 200)
    assert [shelf.of(owner) for owner in owners] == [[], []]
    kept = Shelf(100, least=1)
    kept.put("one", "0", 0, 200)
    assert kept.of("one") == [0]


def test_the_same_messages_give_the_same_frames_and_files(make, tmp_path):
    reads = [
        exposure(50 * RIPPLE, 0, name="a"),
        exposure(45 * RIPPLE, 30, "SKY", name="b"),
        exposure(52 * RIPPLE, 60, name="c"),
        exposure(47 * RIPPLE, 90, "SKY", name="d"),
    ]
    runs = [run(make(directory=str(tmp_path / place)), *reads) for place in ("one", "two")]
    assert [frame.header.revision for frame in runs[0]] == [0, 0, 1, 0, 0, 1]
    for one, two in zip(*runs, strict=True):
        assert replace(one.header, published_ns=0) == replace(two.header, published_ns=0)
        for name in ("data", "err", "dq", "saturated_from"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    files = [{path.name: path.read_bytes() for path in (tmp_path / place).iterdir()} for place in ("one", "two")]
    assert files[0] == files[1]
    assert len(files[0]) == 2


def test_no_space_for_references_costs_no_frame(make, tmp_path):
    place = tmp_path / "night"
    pipeline = make(directory=str(place))
    place.rmdir()
    frames = run(pipeline, exposure(50, 0, name="S"), exposure(50, 30, "SKY"), exposure(50, 60, name="T"))
    assert len(frames) == 3
    assert pipeline.status().counters["night_failed"] >= 1


@pytest.mark.parametrize(
    ("table", "text"),
    [({"dithers_least": 2}, "a median needs 3"), ({"dithers_least": 9}, "dithers_least = 9 is above group_most = 8")],
)
def test_settings_that_cannot_be_met_are_refused(night, table, text):
    values = {name: getattr(night, name) for name in night.__struct_fields__} | table
    with pytest.raises(ValueError, match=text):
        NightSettings(**values)


def test_a_frame_that_went_out_while_its_dark_was_loading_is_issued_again_when_it_has_come(
    tmp_path, monkeypatch, pipeline_settings, bands, clock, night
):
    gate = threading.Event()

    def slow(path, reftype):
        assert gate.wait(30.0)
        return load_reference(path, reftype)

    monkeypatch.setattr("refcache.holding.load_reference", slow)
    root = cache(tmp_path)
    table = crds_settings(path=str(root), load_threads=1, override={"sky": "N/A", "flat": "N/A", "badpix": "N/A"})
    store = ReferenceStore(table, STALE_S, {}, wait=False)
    pipeline = Pipeline(dataclasses.replace(pipeline_settings, night=night), store, bands, clock)
    small = [
        Read(read.header, np.ascontiguousarray(read.data[: CACHE_SHAPE[0], : CACHE_SHAPE[1]]))
        for read in exposure(60, 0, name="S")
    ]
    (first,) = run(pipeline, small)
    assert row(first, "dark").note == "is being loaded"
    assert list(pipeline.revisit()) == []
    gate.set()
    store._pool.submit(int).result(30.0)
    store._pool.submit(int).result(30.0)
    (again,) = pipeline.revisit()
    assert (again.header.exposure_id, again.header.revision, row(again, "dark").name) == ("S", 1, "dark_2.fits")
    np.testing.assert_allclose(again.data, first.data - 2, rtol=1e-5)
    assert not kept_by(pipeline)
