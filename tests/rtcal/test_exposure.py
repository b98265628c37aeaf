"""An exposure against the formulas, Monte Carlo and float64 fits: the acceptance numbers of the specification."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rtcal.bands import Bands
from rtcal.buffers import Buffers
from rtcal.calibration import Calibration, Limits
from rtcal.config import Detector
from rtcal.errors import ReadRejected
from rtcal.exposure import Exposure
from rtcal.ramp import Plan
from rtcal.survey import Survey
from streams.dq import Dq
from streams.messages import Read
from tests.fakes import FixedReferences, ramp_reads

DETECTOR = Detector(gain_e_per_dn=2.0, read_noise_e=9.0, saturation_dn=60_000.0, reference_border=0, channels=0)
NO_REFERENCES = FixedReferences().select({}, (1, 1), "utr", 0)


def expose(
    reads, bands, calibration_settings, mode="utr", m=4, buffers=None, jump_sigma=0.0, by_signal=False, **calibration
):
    """Reduce the reads of one exposure; a change of ramp index closes a ramp."""
    plan = Plan(mode, m, Limits(58_000.0), DETECTOR, jump_sigma=jump_sigma, by_signal=by_signal)
    shape = reads[0].data.shape
    made = Calibration.build(NO_REFERENCES, shape, 0)
    exposure = Exposure(reads[0], plan, made, Buffers.fit_for(reads[0], buffers), bands)
    for read in reads:
        if exposure.ramp is not None and read.header.ramp != exposure.last_ramp_index:
            exposure.close_ramp()
        exposure.add(read)
    exposure.close_ramp()
    how = replace(calibration_settings, **calibration)
    return exposure.frame(
        how, Survey(exposure.calibration.shape, 1024), sequence=0, revision=0, final=True, published_ns=1
    )


def test_a_ramp_that_has_all_its_reads_takes_no_other(bands):
    """Its sums are closed: a read more would be in some of them alone."""
    reads = ramp_reads(np.full((4, 2, 3), 1000, "<u2"))
    extra = Read(replace(reads[-1].header, read=4, time_ns=reads[-1].header.time_ns + 1), reads[-1].data)
    plan = Plan("utr", 4, Limits(58_000.0), DETECTOR)
    made = Calibration.build(NO_REFERENCES, (2, 3), 0)
    exposure = Exposure(reads[0], plan, made, Buffers.fit_for(reads[0], None), bands)
    for read in reads:
        exposure.add(read)
    with pytest.raises(ReadRejected, match="came after all that were planned"):
        exposure.add(extra)


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.floats(0, 500), min_size=2, max_size=40, unique=True),
    rate_dn=st.floats(0.5, 50),
    pedestal=st.integers(0, 20_000),
)
def test_a_noiseless_line_is_found_for_any_times_and_any_pedestal(times, rate_dn, pedestal, settings_):
    times_s = np.sort(np.round(np.array(times), 6))
    if np.diff(times_s).min() < 0.01:
        return
    cube = (pedestal + rate_dn * times_s)[:, None, None] * np.ones((1, 2, 3))
    reads = ramp_reads(cube.astype("<f4"), times_s=times_s)
    with Bands(1) as bands:
        frame = expose(reads, bands, settings_.calibration, bad_pixels="keep")
    exact = np.polyfit(times_s, cube[:, 0, 0].astype("<f4").astype(float), 1)[0] * 2.0
    np.testing.assert_allclose(frame.data, exact, rtol=1e-5)


@pytest.fixture(scope="module", name="settings_")
def _settings_(request):
    return request.getfixturevalue("settings")


@pytest.mark.parametrize("jump_sigma", [0.0, 5.0])
@pytest.mark.parametrize("mode", ["utr", "cds", "mcds"])
@pytest.mark.parametrize("flux", [1.0, 20.0, 200.0])
def test_errors_are_honest(mode, flux, jump_sigma, bands, calibration_settings):
    """chi = (rate - truth) / ERR has a spread of 1 within 3 %, and no bias beyond 0.02 sigma (256 x 256 pixels)."""
    rng = np.random.default_rng(11)
    n, shape = 10, (256, 256)
    electrons = np.cumsum(rng.poisson(flux * 0.72, (n, *shape)), axis=0) + rng.normal(0, 9.0, (n, *shape))
    reads = ramp_reads((5000 + electrons / 2.0).astype("<f4"), times_s=np.arange(n) * 0.72)
    frame = expose(reads, bands, calibration_settings, mode, m=3, jump_sigma=jump_sigma, bad_pixels="keep")
    chi = (frame.data - flux) / frame.err
    assert 0.97 <= chi.std() <= 1.03
    assert abs((frame.data.mean() - flux) / frame.err.mean()) < 0.02
    assert frame.header.mode == mode
    assert frame.header.reads_per_end == {"utr": 0, "cds": 1, "mcds": 3}[mode]


def test_float32_sums_agree_with_a_float64_fit(bands, calibration_settings):
    """100 reads at 50 kDN: within 0.01 sigma."""
    rng = np.random.default_rng(12)
    n, shape = 100, (4, 300)
    cube = np.clip(45_000 + np.arange(n)[:, None, None] * 60 + rng.normal(0, 4, (n, *shape)), 0, 65_535).astype("<u2")
    times_s = np.arange(n) * 0.72
    frame = expose(ramp_reads(cube, times_s=times_s), bands, calibration_settings, bad_pixels="keep")
    flat = cube.reshape(n, -1).astype(float)
    oracle = np.polyfit(times_s, flat, 1)[0].reshape(shape) * 2.0
    assert (np.abs(frame.data - oracle) / frame.err).max() < 0.01


@pytest.mark.parametrize("lost", [[3], [0], [9], [0, 1, 5, 9]])
@pytest.mark.parametrize("mode", ["utr", "cds", "mcds"])
def test_lost_reads_leave_the_rate_right_and_are_flagged(mode, lost, bands, calibration_settings):
    times_s = np.arange(10) * 0.72
    cube = np.repeat((1000 + 50 * times_s)[:, None], 6, axis=1).reshape(10, 2, 3).astype("<f4")
    reads = [read for read in ramp_reads(cube, times_s=times_s) if read.header.read not in lost]
    frame = expose(reads, bands, calibration_settings, mode, m=3)
    np.testing.assert_allclose(frame.data, 100.0, rtol=1e-4)
    assert (frame.dq & Dq.MISSING_READ != 0).all()
    assert (frame.header.reads_used, frame.header.reads_lost) == (10 - len(lost), len(lost))
    assert not frame.header.complete


@pytest.mark.parametrize("mode", ["utr", "cds", "mcds"])
def test_a_ramp_that_saturates_at_read_k_uses_k_reads(mode, bands, calibration_settings):
    times_s = np.arange(8) * 0.72
    cube = np.repeat((1000.0 + 50 * times_s)[:, None], 45, axis=1).reshape(8, 5, 9).astype("<f4")
    cube[5:, 0, 0] = 59_000
    cube[1:, 4, 8] = 59_000
    frame = expose(ramp_reads(cube, times_s=times_s), bands, calibration_settings, mode, m=2, bad_pixels="keep")
    for y, x in ((0, 0), (0, 1), (1, 1)):
        np.testing.assert_allclose(frame.data[y, x], 100.0, rtol=1e-4)
        assert frame.dq[y, x] == Dq.SATURATED
    for y, x in ((4, 8), (3, 7)):
        assert np.isnan(frame.data[y, x])
        assert np.isnan(frame.err[y, x])
        assert frame.dq[y, x] == Dq.SATURATED | Dq.DO_NOT_USE
    assert frame.saturated_from[0, :2].tolist() == [5, 65535]
    assert frame.saturated_from[4, 7:].tolist() == [65535, 1]
    assert frame.dq[2, 4] == 0
    assert frame.err[0, 0] > frame.err[2, 4]


def test_a_jump_leaves_the_rate_right_and_is_flagged(bands, calibration_settings):
    times_s = np.arange(12) * 0.72
    cube = np.repeat((1000.0 + 50 * times_s)[:, None], 30, axis=1).reshape(12, 5, 6).astype("<f4")
    cube[6:, 2, 2] += 3000
    cube[4, 3, 3] += 3000
    for mode in ("utr", "cds", "mcds"):
        reads = ramp_reads(cube, times_s=times_s, exposure_id=mode)
        frame = expose(reads, bands, calibration_settings, mode, m=2, jump_sigma=5.0)
        np.testing.assert_allclose(frame.data, 100.0, rtol=1e-4)
        assert frame.dq[2, 2] == Dq.JUMP_DET
        assert np.count_nonzero(frame.dq) == 1
        assert frame.err[2, 2] > frame.err[0, 0]


def test_ramps_combine_by_the_inverse_of_their_read_variance(bands, calibration_settings):
    rng = np.random.default_rng(13)
    lengths, rates = (10, 10, 5), []
    reads, weights = [], []
    for ramp, n in enumerate(lengths):
        cube = (5000 + np.arange(n)[:, None, None] * 10 + rng.normal(0, 4.5, (n, 3, 4))).astype("<f4")
        reads += ramp_reads(cube, ramp=ramp, first_sequence=len(reads), reads_planned=n, ramps_planned=3)
        rates.append(np.polyfit(np.arange(n), cube.reshape(n, -1).astype(float), 1)[0].reshape(3, 4) * 2)
        weights.append(n * (n**2 - 1) / 12)
    frame = expose(reads, bands, calibration_settings, bad_pixels="keep")
    expected = np.average(rates, axis=0, weights=weights)
    np.testing.assert_allclose(frame.data, expected, rtol=1e-4)
    photon = [6 * (n**2 + 1) / (5 * n * (n**2 - 1)) for n in lengths]
    spread = np.sum([w * w * p for w, p in zip(weights, photon, strict=True)]) / np.sum(weights) ** 2
    variance = 81 / np.sum(weights) + np.maximum(expected, 0) * spread
    np.testing.assert_allclose(frame.err, np.sqrt(variance), rtol=1e-4)
    assert frame.header.ramps == 3
    assert frame.header.effective_s == pytest.approx(9 + 9 + 4)
    assert frame.header.complete


def test_mcds_without_a_plan_says_that_the_slope_was_used(bands, calibration_settings):
    cube = np.repeat(np.arange(6.0)[:, None], 6, axis=1).reshape(6, 2, 3).astype("<f4") * 10 + 1000
    frame = expose(ramp_reads(cube, reads_planned=0), bands, calibration_settings, "mcds")
    np.testing.assert_allclose(frame.data, 20.0, rtol=1e-5)
    assert "no two ends" in frame.header.notes[0]


def test_buffers_serve_again_and_leave_nothing_behind(bands, calibration_settings):
    first = ramp_reads(np.full((4, 2, 300), 58_500, "<u2"), exposure_id="E-1")
    cube = (1000 + 10 * np.arange(4)[:, None, None] * np.ones((1, 2, 300))).astype("<u2")
    buffers = Buffers.fit_for(first[0], None)
    expose(first, bands, calibration_settings, "mcds", buffers=buffers)
    again = expose(ramp_reads(cube, exposure_id="E-2"), bands, calibration_settings, "mcds", buffers=buffers)
    fresh = expose(ramp_reads(cube, exposure_id="E-2"), bands, calibration_settings, "mcds")
    assert Buffers.fit_for(first[0], buffers) is buffers
    for name in ("data", "err", "dq", "saturated_from"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fresh, name))
    assert (fresh.dq == 0).all()


def test_reads_that_do_not_fit_are_refused_by_cause(bands):
    reads = ramp_reads(np.full((4, 2, 3), 1000, "<u2"))
    calibration = Calibration.build(NO_REFERENCES, (2, 3), 0)
    exposure = Exposure(
        reads[0], Plan("cds", 1, Limits(58_000.0), DETECTOR), calibration, Buffers.fit_for(reads[0], None), bands
    )
    exposure.add(reads[0])
    exposure.add(reads[2])
    wrong_shape = ramp_reads(np.full((4, 3, 3), 1000, "<u2"))[3]
    wrong_type = ramp_reads(np.full((4, 2, 3), 1000, "<f4"))[3]
    wrong_time = ramp_reads(np.full((4, 2, 3), 1000, "<u2"), times_s=[0, 1, 2, 1.5])[3]
    same_time = ramp_reads(np.full((4, 2, 3), 1000, "<u2"), times_s=[0, 1, 2, 2])[3]
    for read, cause in (
        (wrong_shape, "mismatched"),
        (wrong_type, "mismatched"),
        (wrong_time, "bad_time"),
        (same_time, "bad_time"),
        (reads[2], "duplicates"),
        (reads[1], "late"),
    ):
        with pytest.raises(ReadRejected) as caught:
            exposure.add(read)
        assert caught.value.cause == cause
    exposure.close_ramp()
    assert exposure.counts == {"used": 2, "rejected": 5, "lost": 0}
    assert "read 3 of ramp 0 is (3, 3) uint16, the exposure (2, 3) uint16; left out" in exposure.notes
    assert "read 3 of ramp 0 has the time of an earlier one; left out" in exposure.notes
    assert exposure.always == Dq.MISSING_READ


def test_drift_of_the_electronics_is_taken_out_by_the_reference_pixels(bands, calibration_settings):
    """Offsets that change from read to read by channel and parity leave the rate alone; without a border it says so."""
    rng = np.random.default_rng(21)
    n, side, channels = 8, 128, 4
    times_s = np.arange(n) * 0.72
    active = np.zeros((side, side))
    active[4:-4, 4:-4] = 1
    cube = 5000 + 40 * times_s[:, None, None] * active + rng.normal(0, 3, (n, 1, 1))
    for channel in range(channels):
        columns = slice(channel * 32, (channel + 1) * 32)
        cube[:, :, columns] += rng.normal(0, 20, (n, 1, 1))
    reads = ramp_reads(cube.astype("<f4"), times_s=times_s)
    results = {}
    for border in (4, 0):
        detector = Detector(2.0, 9.0, 60_000.0, border, channels)
        plan = Plan("utr", 4, Limits(58_000.0), detector, jump_sigma=5.0, reference_pixels=True)
        made = Calibration.build(NO_REFERENCES, (side, side), border)
        exposure = Exposure(reads[0], plan, made, Buffers.fit_for(reads[0], None), bands)
        for read in reads:
            exposure.add(read)
        exposure.close_ramp()
        results[border] = exposure.frame(
            calibration_settings,
            Survey(exposure.calibration.shape, 1024),
            sequence=0,
            revision=0,
            final=True,
            published_ns=0,
        )
    np.testing.assert_allclose(results[4].data[4:-4, 4:-4], 80.0, rtol=1e-4)
    assert np.abs(results[0].data - 80).max() > 1
    assert results[4].header.notes == []
    assert results[0].header.notes == ["reference pixels: none to correct by"]


def test_weights_by_signal_are_for_slopes_of_reads_in_order(bands, calibration_settings):
    rng = np.random.default_rng(4)
    cube = (5000 + np.cumsum(rng.poisson(800, (8, 6, 300)), axis=0)).astype("<f4")
    reads = ramp_reads(cube, times_s=np.arange(8) * 0.72)
    weighted = expose(reads, bands, calibration_settings, by_signal=True)
    equal = expose(reads, bands, calibration_settings)
    assert "reads are weighted by signal to noise" in weighted.header.notes
    assert (weighted.err < 0.97 * equal.err).all()
    ends = (cube[-1] - cube[0]) / (7 * 0.72) * 2.0
    assert np.abs(weighted.data - ends).max() < 0.2 * np.abs(equal.data - ends).max()
    for mode, order, note in (("cds", reads, None), ("utr", [*reads[1:], reads[0]], "late; they have equal weights")):
        plain = expose(order, bands, calibration_settings, mode)
        same = expose(order, bands, calibration_settings, mode, by_signal=True)
        np.testing.assert_array_equal(same.data, plain.data)
        assert note is None or any(note in one for one in same.header.notes)
