"""Many traces side by side against each by itself."""

import numpy as np
import pytest

from rtcal.arcpage.edits import Mask, Name
from rtcal.arcpage.refit import prepared
from rtcal.spectrograph.matching import best_order


@pytest.fixture
def marked(editor):
    """An editor with a masked and a named line, and the traces that have fits."""
    one = editor.solution.traces[2].matched
    editor.apply(Mask(12, one.lines[:2].tolist()))
    editor.apply(Name(12, int(one.lines[4]), float(one.wavelength_um[4])))
    return editor, editor.solution.solved


def test_orders_are_those_that_each_trace_asks_for(marked):
    editor, wanted = marked
    traces = editor.solution.traces
    single = [best_order(traces[i].found, traces[i].matched) for i in wanted]
    assert editor.named(wanted).best_orders().tolist() == single
    assert len(set(single)) >= 1


def test_the_lines_of_a_fit_are_those_of_each_trace(marked):
    editor, wanted = marked
    traces, listed = editor.solution.traces, editor.solution.listed
    many = editor.named(wanted).lines(listed)
    for row, index in enumerate(wanted):
        trace = traces[index]
        one = trace.matched
        marks = np.zeros(len(trace.found), np.int64) if trace.marks is None else trace.marks
        single = prepared(trace.found, one.lines, one.wavelength_um, marks, one, listed)
        size = one.lines.size
        for name in ("u", "value", "weight", "free", "held"):
            np.testing.assert_allclose(getattr(many, name)[row, :size], getattr(single, name)[0], rtol=1e-12)
            assert not getattr(many, name)[row, size:].any()
        assert many.um_per_px[row] == pytest.approx(single.um_per_px[0], rel=1e-12)
    assert many.held.sum() == 1
    row = wanted.index(2)
    assert not many.free[row, :2].any()


def test_sums_are_those_of_all_residuals(marked):
    editor, wanted = marked
    traces, _, _, away = editor.solution.residuals()
    lines, px2, _ = editor.named(wanted).sums().T
    assert lines.tolist() == np.bincount(traces)[wanted].tolist()
    np.testing.assert_allclose(px2, np.bincount(traces, away**2)[wanted], rtol=1e-9)
