"""An arc of twelve traces, one of them without a solution, in a file as `rtcal arc solve` writes it."""

import numpy as np
import pytest

from rtcal.arcpage.editor import ArcEditor
from rtcal.spectrograph.arc import solve
from rtcal.spectrograph.arcwrite import write_arc
from rtcal.spectrograph.solvedarc import read_solved
from tests.rtcal.spectrograph.synthetic import Arc
from tests.rtcal.spectrograph.test_arcfile import HEADER, placed

COUNT, DARK = 12, 4
"""Trace 10 + DARK shows lines of no lamp."""


@pytest.fixture(scope="session")
def made(tmp_path_factory, settings):
    arc = Arc(count=COUNT)
    rng = np.random.default_rng(3)
    arc.flux[DARK] = rng.normal(0, 1, arc.x.size)
    for centre in (200.3, 640.8, 655.4, 1411.0):
        arc.flux[DARK] += 900 * np.exp(-0.5 * ((arc.x - centre) / 0.85) ** 2)
    solution = solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    path = tmp_path_factory.mktemp("arcpage") / "arc.fits"
    traces = placed(COUNT, arc.x.size)
    write_arc(
        path, solution, traces, (90, arc.x.size + 8), HEADER, ["Ar", "Ne"], "2031-01-15T06:00:00", ["from a test"],
        spectra=arc.flux,
    )  # fmt: skip
    return path, arc, solution


@pytest.fixture
def arc(made):
    return made[1]


@pytest.fixture
def path(made):
    return made[0]


@pytest.fixture
def editor(made, settings):
    return ArcEditor(read_solved(made[0]), settings.arc)
