"""The pipeline of one detector: order, ramps, exposures, events, previews, provenance."""

import threading
from dataclasses import replace as replace_dataclass

import numpy as np
import pytest
from msgspec.structs import replace

from refcache import FRAME_TYPES
from rtcal.pipeline import Pipeline
from streams.dq import Dq
from streams.messages import Frame, Observe, ObserveHeader, Preview, Read, Telemetry, TelemetryHeader
from tests.fakes import READ_HEADER, SECOND_NS, FixedReferences, badpix_reference, dark_reference, ramp_reads

SHAPE = (6, 8)
WAIT_S = 30.0


@pytest.fixture
def references():
    return FixedReferences()


@pytest.fixture
def pipeline(pipeline_settings, references, bands, clock):
    return Pipeline(pipeline_settings, references, bands, clock)


def line(n=5, slope_dn=10.0):
    return (1000 + slope_dn * np.arange(n)[:, None, None] * np.ones((1, *SHAPE))).astype("<u2")


def feed(pipeline, messages):
    return [result for message in messages for result in pipeline.process(message)]


def frames(results):
    return [result for result in results if isinstance(result, Frame)]


def event(name, exposure_id="E-1", at_s=0):
    header = ObserveHeader(
        instrument="IRIS",
        detector="IMG1",
        sequence=0,
        time_ns=READ_HEADER.time_ns + at_s * SECOND_NS,
        name=name,
        exposure_id=exposure_id,
    )
    return Observe(header)


def test_a_ramp_gives_a_preview_for_each_read_and_a_frame_at_its_end(pipeline, references):
    results = feed(pipeline, ramp_reads(line()))
    assert [type(result) for result in results] == [Preview] * 4 + [Frame, Preview]  # the frame is waited for
    previews = [*results[:4], results[5]]
    assert [preview.header.read for preview in previews] == [0, 1, 2, 3, 4]
    assert [preview.header.sequence for preview in previews] == [0, 1, 2, 3, 4]
    assert np.isnan(previews[0].rate).all()
    np.testing.assert_allclose(previews[1].rate, 20.0)
    np.testing.assert_allclose(previews[4].rate, 20.0)
    frame = results[4]
    np.testing.assert_allclose(frame.data, 20.0)
    assert frame.header.final
    assert frame.header.complete
    setup, shape, mode, time_ns = references.asked[0]
    assert (setup["DETECTOR"], setup["INSTRUME"], shape, mode) == ("IMG1", "IRIS", SHAPE, "utr")
    assert time_ns == READ_HEADER.time_ns


@pytest.mark.parametrize("ramps_planned", [1, 2])
def test_a_frame_is_finished_in_its_turn(pipeline, bands, ramps_planned):
    """Of detectors that end together: while another has the turn, the frame waits for it, and comes then.

    That of a ramp whose last read has come, and the final one of ramps that are closed already.
    """
    *before, last = ramp_reads(line(), ramps_planned=ramps_planned)
    if ramps_planned == 2:
        before, last = [*before, last], event("ExposureAborted")
    feed(pipeline, before)
    made = []
    worker = threading.Thread(target=lambda: made.extend(frames(pipeline.process(last))))
    with bands.turn.take():
        worker.start()
        worker.join(0.3)
        assert worker.is_alive()
        assert not made
    worker.join(WAIT_S)
    assert [type(one) for one in made] == [Frame]


def test_the_last_read_s_preview_gives_way_to_the_frames_of_others(pipeline, bands):
    *before, last = ramp_reads(line())
    feed(pipeline, before)
    results = pipeline.process(last)
    assert isinstance(next(results), Frame)
    with bands.turn.take():
        assert list(results) == []


def test_previews_can_be_left_out(pipeline):
    results = [result for read in ramp_reads(line()) for result in pipeline.process(read, preview=False)]
    assert [type(result) for result in results] == [Frame]


def test_a_frame_after_each_ramp_counts_revisions(pipeline):
    reads = [
        read for ramp in range(3) for read in ramp_reads(line(), ramp=ramp, ramps_planned=3, first_sequence=5 * ramp)
    ]
    made = frames(feed(pipeline, reads))
    assert [frame.header.ramps for frame in made] == [1, 2, 3]
    assert [frame.header.revision for frame in made] == [0, 1, 2]
    assert [frame.header.final for frame in made] == [False, False, True]
    assert [frame.header.complete for frame in made] == [False, False, True]
    assert made[2].err.mean() < made[0].err.mean()


def test_a_new_ramp_without_an_end_finishes_the_one_before(pipeline):
    short = ramp_reads(line(), ramps_planned=2)[:3]
    following = ramp_reads(line(), ramp=1, ramps_planned=2, first_sequence=3)
    made = frames(feed(pipeline, [*short, *following]))
    assert [frame.header.reads_used for frame in made] == [3, 8]
    assert [frame.header.reads_lost for frame in made] == [2, 2]
    assert not made[1].header.complete
    assert (made[1].dq & Dq.MISSING_READ != 0).all()


def test_a_new_exposure_finishes_the_one_before(pipeline):
    first = ramp_reads(line(), exposure_id="E-1", reads_planned=9)
    second = ramp_reads(line(slope_dn=20), exposure_id="E-2", first_sequence=5)
    made = frames(feed(pipeline, [*first, *second]))
    assert [frame.header.exposure_id for frame in made] == ["E-1", "E-2"]
    np.testing.assert_allclose(made[1].data, 40.0)


def test_a_ramp_of_unknown_length_ends_with_its_exposure(pipeline):
    results = feed(pipeline, [event("ExposureStart"), *ramp_reads(line(), reads_planned=0), event("ExposureEnd")])
    made = frames(results)
    assert len(made) == 1
    assert made[0].header.reads_used == 5
    assert made[0].header.complete


def test_an_end_that_overtakes_the_last_reads_costs_none(pipeline):
    reads = ramp_reads(line())
    results = feed(pipeline, [*reads[:3], event("ExposureEnd", at_s=5), *reads[3:]])
    (frame,) = frames(results)
    assert (frame.header.reads_used, frame.header.reads_lost, frame.header.final) == (5, 0, True)


def test_an_end_is_waited_for_three_frame_times(pipeline):
    reads = ramp_reads(line())
    assert not frames(feed(pipeline, [*reads[:4], event("ExposureEnd", at_s=5), event("ReadoutEnd", at_s=7)]))
    (frame,) = frames(feed(pipeline, [event("DataWriteEnd", at_s=8)]))
    assert (frame.header.reads_used, frame.header.reads_lost, frame.header.final) == (4, 1, True)
    assert not pipeline.ramp_open


def test_an_end_and_then_silence_is_no_abort(pipeline):
    assert not frames(feed(pipeline, [*ramp_reads(line())[:4], event("ObserveEnd", at_s=5)]))
    (frame,) = frames(pipeline.finish_ramp())  # as the daemon does when nothing comes any more
    assert (frame.header.reads_used, frame.header.reads_lost, frame.header.final) == (4, 1, True)


def test_an_end_between_ramps_makes_the_last_frame_final(pipeline):
    made = frames(feed(pipeline, [*ramp_reads(line(), ramps_planned=3), event("ExposureEnd", at_s=5)]))
    assert [frame.header.final for frame in made] == [False]
    made = frames(feed(pipeline, ramp_reads(line(), exposure_id="E-2", first_sequence=5)))
    assert [(frame.header.exposure_id, frame.header.final) for frame in made] == [("E-1", True), ("E-2", True)]


def test_a_step_of_the_whole_observation_concerns_its_exposures_unless_it_is_older(pipeline):
    reads = ramp_reads(line(), exposure_id="2031A-001-001-IRIS-IMG1-SCI0-0001")
    assert not frames(feed(pipeline, [*reads[:3], event("ExposureAborted", "2031A-001-001", at_s=-1)]))
    assert not frames(feed(pipeline, [event("ExposureAborted", "2031A-001-00", at_s=4)]))
    (frame,) = frames(feed(pipeline, [event("ExposureAborted", "2031A-001-001", at_s=4)]))
    assert frame.header.reads_used == 3


def test_an_abort_publishes_what_is_there(pipeline):
    results = feed(pipeline, [*ramp_reads(line())[:3], event("ExposureAborted")])
    made = frames(results)
    assert len(made) == 1
    assert made[0].header.reads_used == 3
    assert made[0].header.reads_lost == 0
    assert not made[0].header.complete
    np.testing.assert_allclose(made[0].data, 20.0)


def test_events_of_another_exposure_change_nothing(pipeline):
    results = feed(pipeline, [*ramp_reads(line())[:3], event("ExposureEnd", "E-other")])
    assert not frames(results)
    assert pipeline.ramp_open


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4], [0, 2, 3, 1, 4], [0, 1, 2, 4, 3], [0, 4, 1, 2, 3]])
def test_reads_out_of_order_give_the_same_frame(pipeline_settings, references, bands, clock, order):
    settings = replace_dataclass(pipeline_settings, ramp=replace(pipeline_settings.ramp, jump_sigma=0.0))
    pipeline = Pipeline(settings, references, bands, clock)
    rng = np.random.default_rng(1)
    reads = ramp_reads(rng.integers(1000, 60_000, (5, *SHAPE)).astype("<u2"), exposure_id="E-1")
    results = frames(feed(pipeline, [reads[index] for index in order]))
    results += frames(pipeline.finish_ramp(aborted=False))
    sorted_results = frames(
        feed(pipeline, ramp_reads(np.stack([read.data for read in reads]), exposure_id="E-2", first_sequence=5))
    )
    assert len(results) == len(sorted_results) == 1
    assert results[0].header.reads_lost == 0
    np.testing.assert_allclose(results[0].data, sorted_results[0].data, rtol=1e-5, atol=1e-3)


def test_a_late_read_is_left_out_where_jumps_are_looked_for(pipeline):
    reads = ramp_reads(line())
    made = frames(feed(pipeline, [reads[1], reads[0], *reads[2:]]))
    np.testing.assert_allclose(made[0].data, 20.0)
    assert made[0].header.reads_used == 4
    assert made[0].header.reads_rejected == 1
    assert pipeline.counters["rejected_late"] == 1


def test_duplicates_are_counted_and_change_nothing(pipeline):
    reads = ramp_reads(line())
    made = frames(feed(pipeline, [reads[0], reads[1], reads[1], reads[2], reads[0], reads[3], reads[4]]))
    assert len(made) == 1
    np.testing.assert_allclose(made[0].data, 20.0)
    assert made[0].header.reads_used == 5
    assert pipeline.status().counters["duplicates"] == 2


def test_a_read_after_its_frame_is_counted_late(pipeline):
    reads = ramp_reads(line())
    late = Read(replace(reads[2].header, sequence=5, read=5), reads[2].data)
    made = frames(feed(pipeline, [*reads, late]))
    assert len(made) == 1
    assert pipeline.counters["late"] == 1


def test_the_same_reads_are_welcome_again_after_a_rest(pipeline):
    reads = ramp_reads(line())
    assert len(frames(feed(pipeline, reads))) == 1
    assert not frames(feed(pipeline, reads))
    pipeline.rest()
    again = frames(feed(pipeline, reads))
    assert len(again) == 1
    np.testing.assert_allclose(again[0].data, 20.0)
    pipeline.rest()
    late = feed(pipeline, [reads[3]])
    assert not late
    assert pipeline.counters["late"] == 1


def test_a_rest_in_the_middle_of_a_ramp_changes_nothing(pipeline):
    reads = ramp_reads(line())
    results = feed(pipeline, reads[:3])
    pipeline.rest()
    assert frames(results + feed(pipeline, [reads[2], *reads[3:]]))[0].header.reads_used == 5
    assert pipeline.status().counters["duplicates"] == 1


def test_an_incomplete_read_is_lost_and_flagged(pipeline):
    reads = ramp_reads(line())
    reads[2] = Read(replace(reads[2].header, complete=False), reads[2].data)
    made = frames(feed(pipeline, reads))
    made += frames(pipeline.finish_ramp(aborted=False))
    assert made[0].header.reads_used == 4
    assert made[0].header.reads_lost == 1
    np.testing.assert_allclose(made[0].data, 20.0)


def test_references_are_applied_and_named(pipeline_settings, bands, clock):
    dq = np.zeros(SHAPE, "u4")
    dq[2, 2] = Dq.DO_NOT_USE | Dq.DEAD
    references = FixedReferences(
        dark=dark_reference(np.full(SHAPE, 3.0), np.full(SHAPE, 0.5)), badpix=badpix_reference(dq)
    )
    pipeline = Pipeline(pipeline_settings, references, bands, clock)
    cube = line()
    cube[:, 2, 2] = 7
    frame = frames(feed(pipeline, ramp_reads(cube)))[0]
    np.testing.assert_allclose(frame.data, 17.0, rtol=1e-6)
    assert frame.dq[2, 2] == Dq.DO_NOT_USE | Dq.DEAD
    by_type = {one.reftype: one for one in frame.header.references}
    assert by_type["dark"].name == "dark.fits"
    assert (by_type["dark"].status, by_type["sky"].status) == ("OK", "MISSING")
    assert frame.header.crds_context == "test_0001.pmap"
    read_variance = 81 * 12 / (5 * 24)
    photon_variance = 20 * 6 * 26 / (5 * 5 * 24)
    np.testing.assert_allclose(frame.err[0, 0], np.sqrt(read_variance + photon_variance + 0.25), rtol=1e-5)


@pytest.mark.parametrize(("how", "value"), [("repair", 20.0), ("nan", np.nan), ("keep", 0.0)])
def test_bad_pixels_are_treated_as_configured_and_keep_their_flag(pipeline_settings, bands, clock, how, value):
    dq = np.zeros(SHAPE, "u4")
    dq[2, 2] = Dq.DO_NOT_USE
    settings = replace_dataclass(pipeline_settings, calibration=replace(pipeline_settings.calibration, bad_pixels=how))
    pipeline = Pipeline(settings, FixedReferences(badpix=badpix_reference(dq)), bands, clock)
    cube = line()
    cube[:, 2, 2] = 1000
    frame = frames(feed(pipeline, ramp_reads(cube)))[0]
    np.testing.assert_allclose(frame.data[2, 2], value)
    assert frame.dq[2, 2] == Dq.DO_NOT_USE


def test_a_full_frame_has_a_border_of_reference_pixels(pipeline_settings, references, bands, clock):
    pipeline = Pipeline(pipeline_settings, references, bands, clock)
    cube = np.repeat(np.arange(3, dtype="<u2")[:, None, None], 20, axis=1).repeat(20, axis=2) * 10
    frame = frames(feed(pipeline, ramp_reads(cube, setup={"SUBARRAY": "FULL"})))[0]
    border = frame.dq & Dq.REFERENCE_PIXEL != 0
    assert border.sum() == 20 * 20 - 12 * 12
    assert not border[4:16, 4:16].any()


def test_previews_are_binned_to_the_size_asked_for(pipeline_settings, references, bands, clock):
    settings = replace_dataclass(pipeline_settings, preview_pixels=64)
    pipeline = Pipeline(settings, references, bands, clock)
    cube = np.arange(3, dtype="<u2")[:, None, None] * np.ones((1, 130, 100), "<u2") * 10
    preview = feed(pipeline, ramp_reads(cube))[1]
    assert preview.header.binning == 3
    assert preview.header.full_shape == (130, 100)
    assert preview.rate.shape == (43, 33)
    np.testing.assert_allclose(preview.rate, 20.0)


def test_the_mode_follows_readmode_where_the_configuration_says_auto(pipeline_settings, references, bands, clock):
    settings = replace_dataclass(pipeline_settings, ramp=replace(pipeline_settings.ramp, mode="auto"))
    pipeline = Pipeline(settings, references, bands, clock)
    for number, (readmode, mode) in enumerate(
        [("CDS", "cds"), ("MDS", "mcds"), ("MCDS", "mcds"), ("OLS", "utr"), ("?", "utr")]
    ):
        reads = ramp_reads(line(), exposure_id=f"E-{number}", first_sequence=5 * number, setup={"READMODE": readmode})
        assert frames(feed(pipeline, reads))[0].header.mode == mode


def test_telemetry_and_foreign_messages_are_counted(pipeline):
    telemetry = Telemetry(
        TelemetryHeader(instrument="IRIS", detector="ALL", sequence=0, time_ns=1, event="TCS.x", values={"a": 1.0})
    )
    assert feed(pipeline, [telemetry]) == []
    assert pipeline.counters["ignored"] == 1


def test_after_a_fault_the_next_exposure_starts_clean(pipeline):
    feed(pipeline, ramp_reads(line())[:3])
    pipeline.forget()
    assert not pipeline.ramp_open
    made = frames(feed(pipeline, ramp_reads(line(slope_dn=30), exposure_id="E-2", first_sequence=100)))
    np.testing.assert_allclose(made[0].data, 60.0)


def test_status_says_where_the_pipeline_stands(pipeline):
    feed(pipeline, ramp_reads(line())[:3])
    status = pipeline.status(queued=2)
    assert (status.exposure_id, status.read, status.reads_planned, status.queued) == ("E-1", 2, 5, 2)
    assert status.counters["reads_used"] == 3
    assert {one.reftype for one in status.references} == set(FRAME_TYPES)
