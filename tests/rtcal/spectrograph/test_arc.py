"""Whole arcs on synthetic spectra whose wavelengths are known."""

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as with_keys

from rtcal.spectrograph.arc import solve
from rtcal.spectrograph.detection import detect
from rtcal.spectrograph.linelists import LineList, lamp_lines
from rtcal.spectrograph.solution import ArcError
from tests.rtcal.spectrograph.synthetic import Arc, line_flux


def test_an_arc_at_snr_50_is_within_the_tolerances(settings):
    arc = Arc(count=100)
    solution = solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    error = arc.errors_px(solution)
    assert len(solution.solved) >= 99
    assert np.median(np.abs(error)) <= 0.03
    assert np.sqrt(np.mean(error**2)) <= 0.05
    assert solution.rms_px <= 0.05
    assert solution.rms_km_s == pytest.approx(solution.rms_px * 37.5, rel=0.2)  # R = 4000, two pixels to FWHM


def test_staggered_traces_are_found_and_sharing_does_not_move_them(settings):
    arc = Arc(count=30, stagger=25.0)
    solution = solve([arc.spectra()], arc.lines, arc.off(10, 0.01), settings.arc)
    assert len(solution.solved) == 30
    assert np.median(np.abs(arc.errors_px(solution))) <= 0.03


def test_neighbours_make_each_other_better(settings):
    arc = Arc(count=60, snr=10.0)
    alone = solve([arc.spectra()], arc.lines, arc.off(), with_keys(settings.arc, neighbours=0))
    together = solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    assert np.sqrt(np.mean(arc.errors_px(together) ** 2)) < 0.7 * np.sqrt(np.mean(arc.errors_px(alone) ** 2))


def test_two_lamps_in_two_frames_are_one_arc(settings):
    arcs = [Arc(count=4, lamps=[lamp], seed=3) for lamp in ("Ar", "Ne")]
    solution = solve([arc.spectra() for arc in arcs], lamp_lines(["Ar", "Ne"]), arcs[0].off(), settings.arc)
    assert len(solution.solved) == 4
    assert np.median(np.abs(arcs[0].errors_px(solution))) <= 0.03
    used = {solution.listed.element[np.searchsorted(solution.listed.wavelength_um, w)] for w in solution.residuals()[2]}
    assert used == {"Ar", "Ne"}


def test_traces_with_few_lines_take_their_neighbours_shape(settings):
    arc = Arc(count=12)
    for row, keep in ((5, 2), (6, 1)):
        brightest = np.argsort(arc.flux[row])[::-1]
        kept = [x for x in brightest if 60 < x < 1540][:1] if keep == 1 else [x for x in brightest if 60 < x < 1540][:9]
        mask = np.zeros(arc.flux.shape[1], bool)
        for x in kept:
            mask[max(0, x - 6) : x + 7] = True
        arc.flux[row, ~mask] = np.random.default_rng(row).normal(0, 1, (~mask).sum())
    arc.flux[8] = np.random.default_rng(8).normal(0, 1, arc.flux.shape[1])
    arc.flux[9] = np.nan
    solution = solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    assert [solution.traces[row].status for row in (5, 6, 8, 9)] == ["SHIFTED", "SHIFTED", "FAILED", "FAILED"]
    assert "lines: shape of its neighbours" in solution.traces[5].reason
    assert solution.traces[8].reason.startswith("0 usable lines")
    error = arc.errors_px(solution)
    assert np.abs(np.median(error[5:7], axis=1)).max() < 0.1


def test_lines_that_are_saturated_are_left_out_and_too_many_are_an_error(settings):
    arc = Arc(count=3)
    spectra = arc.spectra()
    some = replace(spectra, saturated=arc.flux > np.percentile(arc.flux, 99.5))
    solution = solve([some], arc.lines, arc.off(), settings.arc)
    assert len(solution.solved) == 3
    assert all((trace.found.state == 1).any() for trace in solution.traces)
    most = replace(spectra, saturated=arc.flux > 5)
    with pytest.raises(ArcError, match=r"lines are saturated; take a shorter arc"):
        solve([most], arc.lines, arc.off(), settings.arc)


def test_a_wrong_lamp_is_told_with_the_right_one(settings):
    arc = Arc(count=3, lamps=["Ar"])
    with pytest.raises(ArcError, match=r"no trace matches Xe.*lines found.*they do match Ar .*check --lamps"):
        solve([arc.spectra()], lamp_lines(["Xe"]), arc.off(), settings.arc)


def test_a_grating_that_has_moved_further_than_allowed_is_told(settings):
    arc = Arc(count=3)
    with pytest.raises(ArcError, match=r"off by more than 20 px or 2 %: check --wave-range"):
        solve([arc.spectra()], arc.lines, arc.off(300, 0.0), settings.arc)


def test_a_dark_arc_and_a_list_without_lines_are_told(settings):
    arc = Arc(count=3)
    arc.flux = np.random.default_rng(0).normal(0, 1, arc.flux.shape)
    with pytest.raises(ArcError, match=r"no lines found in 3 spectra above 10 sigma; was the lamp on"):
        solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    with pytest.raises(ArcError, match=r"the list has 0 lines from .*check --wave-range"):
        solve([arc.spectra()], arc.lines, (9.0, 9.1), settings.arc)


def test_nan_pixels_do_no_harm(settings):
    arc = Arc(count=8)
    arc.flux[np.random.default_rng(1).uniform(size=arc.flux.shape) < 0.02] = np.nan
    solution = solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    assert len(solution.solved) == 8
    assert np.median(np.abs(arc.errors_px(solution))) <= 0.03


def test_progress_is_told_and_the_same_arc_gives_the_same_answer(settings):
    arc = Arc(count=5)
    told = []
    one = solve([arc.spectra()], arc.lines, arc.off(), settings.arc, lambda done, total: told.append((done, total)))
    two = solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    assert told == [(k, 5) for k in range(1, 6)]
    for left, right in zip(one.traces, two.traces, strict=True):
        np.testing.assert_array_equal(left.matched.coefficients, right.matched.coefficients)


def test_a_ghost_wider_than_a_line_is_not_used(settings):
    arc = Arc(count=2)
    arc.flux += line_flux(arc.x, 800.0, 3000.0, 4.0)
    solution = solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    for trace in solution.traces:
        assert not any(abs(x - 800) < 2 for x in trace.found.x[trace.matched.lines[trace.matched.used]])


def test_neighbours_across_a_jump_do_not_pull_each_other(settings):
    arc = Arc(count=60)
    arc.shift(np.where(np.arange(60) >= 30, 3.0, 0.0))
    solution = solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    error = arc.errors_px(solution)
    assert len(error) == 60
    assert np.sqrt(np.mean(error**2, axis=1)).max() < 0.1


def older(arc, moved_px):
    """An older solution of each trace: the truth, moved."""
    u = 2 * arc.x / arc.x[-1] - 1
    return [
        np.polynomial.chebyshev.chebfit(u, arc.wavelengths(row) + moved_px * arc.step[row], 2)
        for row in range(arc.start.size)
    ]


@pytest.mark.parametrize("moved_px", [-15.0, 0.4, 12.0])
def test_an_older_solution_makes_three_lines_enough(settings, moved_px):
    arc = Arc(count=40, stagger=20.0)
    bright = np.argsort(arc.lines.intensity * ((arc.lines.wavelength_um > 1.5) & (arc.lines.wavelength_um < 1.78)))[-3:]
    for row in range(40):
        where = np.interp(arc.lines.wavelength_um[bright], arc.wavelengths(row), arc.x)
        dark = np.all(np.abs(arc.x[:, None] - where) > 6, axis=1)
        arc.flux[row, dark] = np.random.default_rng(row).normal(0, 1, dark.sum())
    known = older(arc, moved_px)
    known[7] = None
    solution = solve([arc.spectra()], arc.lines, arc.span, settings.arc, known=known)
    assert len(solution.solved) >= 39
    assert {solution.traces[row].status for row in solution.solved} <= {"OK", "SHIFTED"}
    assert solution.traces[7].status != "OK"
    assert np.median(np.abs(arc.errors_px(solution))) < 0.05


def test_an_older_solution_of_another_mode_is_told(settings):
    arc = Arc(count=6)
    with pytest.raises(
        ArcError, match=r"hardly any falls onto the list .* check --lamps, and that --traces is of this"
    ):
        solve([arc.spectra()], lamp_lines(["Xe"]), arc.span, settings.arc, known=older(arc, 0.3))


def test_a_list_of_wrong_lines_matches_nothing(settings):
    arc = Arc(count=3)
    rng = np.random.default_rng(2)
    wavelengths = np.sort(rng.uniform(1.45, 1.82, 60))
    wrong = LineList(wavelengths, rng.uniform(0.01, 1, 60), ("Ar",) * 60)
    with pytest.raises(ArcError, match=r"no trace matches Ar from .*the list has \d+ lines there"):
        solve([arc.spectra()], wrong, arc.off(), settings.arc)


def test_two_lamps_where_others_were_asked_for_are_named(settings):
    arc = Arc(count=2, lamps=["Ar", "Ne"])
    with pytest.raises(ArcError, match=r"they do match (Ar|Ne|Ar and Ne) \("):
        solve([arc.spectra()], lamp_lines(["Xe"]), arc.off(), settings.arc)


def test_a_wrong_list_that_names_some_traces_by_chance_is_no_solution(settings):
    arc = Arc(count=40, lamps=["Ar", "Ne"], snr=8.0, stagger=20.0)
    with pytest.raises(ArcError, match=r"(no trace matches|traces match) Kr, Xe"):
        solve([arc.spectra()], lamp_lines(["Kr", "Xe"]), arc.off(), settings.arc)


def test_a_line_that_was_hit_is_doubted_and_does_not_pull_its_trace(settings):
    arc = Arc(count=12, snr=30.0)
    hit = 200 + int(arc.flux[5, 200:-200].argmax())
    height = arc.flux[5, hit]
    arc.flux[5, hit + 1 : hit + 3] += 0.7 * height
    found = detect([arc.spectra()], settings.arc)[5]
    line = np.abs(found.x - hit - 1).argmin()
    assert found.err_px[line] > 0.05
    assert np.median(found.err_px) < 0.05
    solution = solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    assert np.abs(arc.errors_px(solution)[5]).max() < 0.15
