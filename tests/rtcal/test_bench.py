"""The benchmarks measure what they say: the same work on both sides, counted as it is."""

import json

import numpy as np
import pytest

from rtcal import bench, steps
from rtcal.bands import Bands
from rtcal.bench import numpy_chain, peers, timing
from rtcal.bench.cases import finalise, judge_last, make_cases
from rtcal.bench.scene import GAIN_E_PER_DN, READS, Scene, Work
from rtcal.cli import app
from rtcal.commands.bench import kernel_report
from rtcal.kernels.flags import DO_NOT_USE
from streams.dq import Dq
from tests.fakes import FakeClock

SIZE = 256


@pytest.fixture
def scene(bands):
    """A ramp in which nothing happened: what the numpy equivalents are made for."""
    return quiet(bands)


def quiet(bands):
    scene = Scene(SIZE)
    scene.run_ramp(Work(scene.reads, scene.chain(), refpix=False), bands)
    return scene


NUMPY = (
    "read: sums",
    "finalise, 1 % repaired",
    "repair alone, 1 % bad",
    "bin_mean 1 x 1",
    "preview 1 x 1, raw and rate",
)


def test_every_numpy_equivalent_is_tested_here(bands):
    cases = make_cases(Scene(SIZE), bands)
    assert {case.name for case in cases if case.numpy is not None} == set(NUMPY)


def case_of(scene, bands, name):
    (case,) = [case for case in make_cases(scene, bands) if case.name == name]
    return case


def test_the_sums_of_a_ramp_are_the_same_by_numpy(scene, bands):
    ours = scene.state.moments.copy()
    scene.state.moments.fill(7)
    case_of(scene, bands, "read: sums").numpy()
    np.testing.assert_allclose(scene.state.moments, ours, rtol=1e-5, atol=1e-3)
    assert np.abs(ours).max() > 1000


@pytest.mark.parametrize("linear", [True, False])
def test_the_end_of_a_ramp_is_the_same_frame_by_numpy(scene, bands, linear):
    judge_last(scene, bands)
    out = finalise(scene, bands, linear=linear)
    ours = [plane.copy() for plane in out]
    for plane in out:
        plane.fill(0)
    numpy_chain.finalise(scene, out)
    for one, other in zip(ours[2:], out[2:], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(ours[0], out.rate, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(ours[1], out.err, rtol=1e-4 if linear else 2e-3)  # the curve stretches the noise
    inside = out.dq & Dq.REFERENCE_PIXEL == 0
    assert 0.005 < np.mean(out.dq[inside] & DO_NOT_USE) < 0.02


def test_repair_is_the_same_by_numpy(scene, bands):
    """What is bad stays bad, so a frame can be repaired again: by the other way, from other values."""
    finalise(scene, bands)
    ours = scene.out.rate.copy()
    scene.out.rate[scene.out.dq & DO_NOT_USE != 0] += 100
    case_of(scene, bands, "repair alone, 1 % bad").numpy()
    inside = scene.out.dq & Dq.REFERENCE_PIXEL == 0
    np.testing.assert_allclose(scene.out.rate[inside], ours[inside], rtol=1e-5)


def test_the_preview_is_the_same_by_numpy(scene, bands):
    raw, rate = steps.make_preview(
        scene.state, scene.timeline, GAIN_E_PER_DN, scene.read, scene.masks, scene.binning, bands
    )
    numpy_chain.bin_mean(scene.read, scene.binning, scene.binned)
    np.testing.assert_allclose(raw, scene.binned, rtol=1e-6)
    theirs = np.empty_like(rate)
    numpy_chain.preview_rate(scene, theirs)
    np.testing.assert_allclose(rate, theirs, rtol=1e-4)


def test_the_bright_ramp_has_a_saturated_pixel_in_every_block_and_the_other_none(scene, bands):
    for reads, share in ((scene.reads, 0.0), (scene.bright_reads, 1.0)):
        scene.run_ramp(Work(reads, scene.chain(), refpix=False), bands)
        assert scene.state.slow.mean() == share


def test_the_whole_chain_finds_a_jump_here_and_there(scene, bands):
    scene.run_ramp(Work(scene.reads, scene.chain(linear=False, test=True), refpix=True), bands)
    assert 0 < np.mean(scene.state.marks != 0) < 0.002


class Machine:
    """Work that takes as long as it is told to, on a clock of its own."""

    def __init__(self, monkeypatch):
        self._clock = FakeClock()
        monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: round(self._clock.now_s * 1e9))
        monkeypatch.setattr(timing, "COPY_BYTES", 1 << 12)
        monkeypatch.setattr(timing, "PIECE_BYTES", 1 << 10)

    def work(self, *seconds):
        left = list(seconds)
        return lambda: self._clock.advance(left.pop(0))


def test_the_shortest_time_counts_and_a_ramp_counts_as_its_reads(monkeypatch, bands):
    machine = Machine(monkeypatch)
    cases = [
        bench.Case("one", 4.0, machine.work(9.0, 0.3, 0.2, 0.4), machine.work(0.8, 1.0, 0.9)),
        bench.Case("ramp", 8.0, machine.work(0.0, 3.0, 4.0, 2.0), None, times=READS),
    ]
    ticks = []
    one, ramp = bench.measure(cases, 16, 3, bands, lambda: ticks.append(1))
    assert (one.ms, one.numpy_ms) == pytest.approx((200.0, 800.0))
    assert one.faster_than_numpy == pytest.approx(4.0)
    assert ramp.ms == pytest.approx(200.0)
    assert ramp.numpy_ms is None
    assert ramp.faster_than_numpy is None
    assert len(ticks) == 6


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("piece", "pieces"), [(1 << 13, 2), (1 << 12, 3)])
def test_a_copy_moves_the_bytes_that_it_says(monkeypatch, threads, piece, pieces):
    monkeypatch.setattr(timing, "COPY_BYTES", 1 << 13)
    moved = []
    copy = np.copyto
    monkeypatch.setattr(timing.np, "copyto", lambda to, source: (moved.append(source.nbytes), copy(to, source)))
    with Bands(threads) as pool:
        timing.Copier(pool).move(12_000, piece)
    assert len(moved) == threads * pieces
    assert sum(moved) == 12_000


def test_all_fits_of_a_ramp_find_the_same_rates(bands):
    cube = peers.make_ramp(64)
    expected = peers.polyfit(cube)()
    np.testing.assert_allclose(peers.ours(cube, bands)(), expected, rtol=1e-4)
    pytest.importorskip("stcal", reason="stcal, of the test extra, is not installed")
    theirs = peers.stcal_ols_c(cube)()  # weighted by the noise, so not the same for each pixel
    assert np.median(theirs / expected) == pytest.approx(1.0, abs=0.005)


def test_a_package_that_is_missing_is_said_and_left_out(monkeypatch, bands):
    def missing(_cube):
        raise ImportError("No module named 'stcal'")

    monkeypatch.setattr(peers, "stcal_ols_c", missing)
    measured, notes = bench.measure_peers(64, 1, bands)
    assert [peer.name for peer in measured] == ["rtcal", "rtcal, jumps found", "numpy.polyfit"]
    assert notes == ["stcal OLS_C is left out: No module named 'stcal'; pip install 'iris-rtcal[test]' brings it"]
    assert all(np.isfinite(peer.ms) for peer in measured)


def test_a_report_has_plain_numbers():
    times = [bench.Timing("one", 4.0, 2.0, 4.0, 8.0), bench.Timing("two", 4.0, 2.0, 1.0, None)]
    made = kernel_report(times, [bench.Peer("rtcal", 0.5), bench.Peer("other", 2.0)])
    assert made["kernels"][0] == {
        "name": "one",
        "bytes_per_pixel": 4.0,
        "ms": 2.0,
        "copy_ms": 4.0,
        "over_copy": 0.5,
        "numpy_ms": 8.0,
        "faster_than_numpy": 4.0,
    }
    assert made["kernels"][1]["faster_than_numpy"] is None
    assert [peer["over_ours"] for peer in made["peers"]] == [1.0, 4.0]


def test_the_command_writes_json(command):
    code, out, err = command("bench", "kernels", "--size", "256", "--rounds", "1", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["size"], report["threads"], report["rounds"]) == (256, 1, 1)
    assert [one["name"] for one in report["kernels"]][:4] == [
        "read: sums",
        "read: sums, bright",
        "read: sums, linearity",
        "read: refpix, jumps",
    ]
    assert all(one["ms"] > 0 and one["over_copy"] > 0 for one in report["kernels"])
    assert {"numpy", "numba", "processor", "cores"} <= report["machine"].keys()


def test_the_command_shows_tables(command):
    code, out, err = command("bench", "kernels", "--size", "256", "--rounds", "1")
    assert code == 0, err
    assert "finalise, 1 % repaired" in out
    assert "numpy.polyfit" in out


def test_a_size_that_is_no_multiple_of_64_is_wrong_usage(command):
    assert command("bench", "kernels", "--size", "1000") == (
        2,
        "",
        "rtcal: --size 1000: a multiple of 64, 960 or 1024\n",
    )


def test_the_benchmark_has_a_place_in_the_command_line():
    assert "bench" in {group.name for group in app.registered_groups}
