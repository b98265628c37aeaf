"""Arc exposures of the night, solved in the background by a process of their own."""

import numpy as np
import pytest

from refcache import Chosen
from rtcal.reduce import cube_stage
from rtcal.spectrograph.arcfile import read_arc
from rtcal.spectrograph.nightarcs import NightArcs, range_of
from streams.clock import NS
from streams.messages import Cube, Frame
from tests.fakes import FakeClock, FixedReferences
from tests.rtcal.spectrograph.fields import write_true_arc
from tests.rtcal.spectrograph.test_stage import SIZE, configured, products, simulate

NONE = FixedReferences().select()
WAIT_S = 240.0


@pytest.fixture
def night(tmp_path):
    arcs = NightArcs(tmp_path / "arcs", [])
    yield arcs
    arcs.close()


def frames(sequence, **changes):
    simulator, traces = simulate(sequence, "slicer_half", **changes)
    return [one for one in products(simulator, configured())[0] if isinstance(one, Frame)], traces


def test_an_arc_exposure_becomes_the_reference_that_science_uses(tmp_path, night):
    (arc_frame, science), traces = frames(["arc", "science"], arc_e_per_s=60_000.0)
    moved = type(traces)(**{**vars(traces), "start_um": traces.start_um + 3 * traces.step_um})
    old = write_true_arc(tmp_path / "old.fits", moved, SIZE, INSTMODE="SLICER")
    settings = configured(layout=str(old))
    stage = cube_stage(settings, FakeClock(), night)
    before = list(stage.products(science, NONE))[-1]
    assert before.header.arc.name == "old.fits"
    assert list(stage.products(arc_frame, NONE)) == []
    assert night.wait(WAIT_S)
    assert (night.counters["arcs_solved"], night.problem) == (1, "")
    (solved,) = (tmp_path / "arcs").glob("*.fits")
    assert not list((tmp_path / "arcs").glob("2031*"))  # the frame it was made of is gone
    arc = read_arc(solved)
    assert arc.solved.mean() > 0.9  # so short a spectrum has more blends than lines
    true = np.array([traces.wavelengths(i) for i in range(traces.ix.size)])
    assert np.nanmedian(np.abs(arc.centres() - true)) / traces.step_um < 0.05
    made = list(stage.products(science, NONE))
    cube = made[-1]
    assert isinstance(cube, Cube)
    assert cube.header.arc.name == solved.name
    assert (cube.header.arc.status, cube.header.status) == ("OK", "OK")
    assert cube.header.arc.age_s == pytest.approx((science.header.first_read_ns - arc_frame.header.first_read_ns) / NS)
    assert abs(cube.header.oh_offset_px) < 0.2
    # Another run of the daemon takes it up; an exposure before it does not.
    again = NightArcs(tmp_path / "arcs", [])
    assert again.best(science.header.setup, science.header.first_read_ns, NONE.arc).path == solved
    assert again.best(science.header.setup, arc_frame.header.first_read_ns - 2 * NS, NONE.arc) is None
    assert again.best({**science.header.setup, "GRATING": "other"}, science.header.first_read_ns, NONE.arc) is None
    again.close()


def test_an_arc_that_cannot_be_solved_is_told_and_science_goes_on(tmp_path, night):
    (arc_frame, science), traces = frames(["arc", "science"], arc_e_per_s=0.0)
    layout = write_true_arc(tmp_path / "layout.fits", traces, SIZE, INSTMODE="SLICER")
    stage = cube_stage(configured(layout=str(layout)), FakeClock(), night)
    list(stage.products(arc_frame, NONE))
    assert night.wait(WAIT_S)
    assert "was the lamp on?" in night.problem
    assert stage.counters["arcs_failed"] == 1
    cube = list(stage.products(science, NONE))[-1]
    assert cube.header.arc.name == "layout.fits"
    assert any("was not solved" in note for note in cube.header.notes)


def test_without_a_first_guess_there_is_no_attempt(night):
    (arc_frame,), _ = frames(["arc"])
    night.offer(arc_frame, None)
    assert night.wait(WAIT_S)
    assert "no first guess" in night.problem


def test_the_rules_choice_wins_where_it_is_newer(tmp_path):
    _, traces = simulate()
    path = tmp_path / "arc_x.fits"
    write_true_arc(path, traces, SIZE, USEAFTER="2031-01-15 06:00:00", INSTMODE="SLICER")
    (tmp_path / "arc_broken.fits").write_text("no FITS")
    night = NightArcs(tmp_path, [])
    setup = {"DETECTOR": "IFU", "INSTMODE": "SLICER"}
    start_ns = night._known[0].start_ns
    reference = type("Reference", (), {"path": path})()
    newer, older = (Chosen("arc", "OK", reference, age_s, "") for age_s in (60.0, 5000.0))
    assert night.best(setup, start_ns + 1000 * NS, newer) is None
    assert night.best(setup, start_ns + 1000 * NS, older).path == path
    assert len(night._known) == 1
    assert range_of(read_arc(path)) == pytest.approx(
        (np.median(traces.start_um), np.median([traces.wavelengths(i)[-1] for i in range(20)])), rel=5e-3
    )
    night.close()
