"""Lines masked, named and forgotten, orders changed, all of it undone."""

import numpy as np
import pytest
from msgspec.structs import replace

from rtcal.arcpage.editor import ArcEditor
from rtcal.arcpage.edits import Auto, Mask, Name, Order, Redo, Reset, Undo, Unname, Use
from rtcal.errors import UsageError
from rtcal.spectrograph.solution import MASKED, NAMED
from rtcal.spectrograph.solvedarc import read_solved
from tests.rtcal.arcpage.conftest import COUNT, DARK

ID = 12


def now(editor, ident=ID):
    return editor.solution.traces[editor.index_of(ident)]


def error_px(editor, arc, ident=ID):
    """Largest error of the wavelengths where there are lines."""
    row = editor.index_of(ident)
    x = arc.x[150:-150]
    return np.abs(now(editor, ident).matched.wavelengths(x) - arc.wavelengths(row)[150:-150]).max() / arc.step[row]


def test_a_file_is_read_back_as_it_was_solved(made, editor):
    _, _, solution = made
    assert editor.figures()[0] == len(solution.solved) == COUNT - 1
    assert editor.figures()[2:] == pytest.approx((solution.rms_px, solution.rms_km_s), rel=1e-6)
    for before, after in zip(solution.traces, editor.solution.traces, strict=True):
        assert (before.status, before.reason) == (after.status, after.reason)
        np.testing.assert_array_equal(before.found.x, after.found.x)
        np.testing.assert_array_equal(before.found.usable, after.found.usable)
        if before.matched is not None:
            np.testing.assert_array_equal(before.matched.lines, after.matched.lines)
            np.testing.assert_array_equal(before.matched.used, after.matched.used)
            np.testing.assert_allclose(after.matched.coefficients, before.matched.coefficients, rtol=1e-12)
    assert editor.solution.listed.wavelength_um.tolist() == solution.listed.wavelength_um.tolist()
    assert not editor.edited.any()


def test_a_masked_line_is_not_used_and_undo_and_redo_go_back_and_forth(editor, arc):
    before = now(editor)
    line = int(before.matched.lines[before.matched.used][3])
    assert editor.apply(Mask(ID, [line])) == [editor.index_of(ID)]
    masked = now(editor)
    assert masked.marks[line] == MASKED
    assert not masked.matched.used[masked.matched.lines == line].any()
    assert error_px(editor, arc) < 0.1
    assert editor.undoable == "mask, trace 12"
    assert editor.edited.sum() == 1
    editor.apply(Undo())
    assert now(editor) is before
    assert editor.redoable == "mask, trace 12"
    editor.apply(Redo())
    assert now(editor) is masked
    editor.apply(Use(ID, [line]))
    assert now(editor).marks[line] == 0
    assert now(editor).matched.used[now(editor).matched.lines == line].all()


def test_a_wrong_name_is_held_until_it_is_dropped(editor, arc):
    one = now(editor).matched
    line = int(one.lines[one.used][5])
    away_um = editor.solution.listed.wavelength_um
    right = float(one.wavelength_um[one.lines == line][0])
    wrong = float(away_um[np.argsort(np.abs(away_um - right))[1]])
    editor.apply(Name(ID, line, wrong))
    named = now(editor)
    assert named.marks[line] == NAMED
    assert named.matched.used[named.matched.lines == line].all()
    assert named.matched.rms_px > 3 * one.rms_px
    editor.apply(Unname(ID, [line]))
    assert line not in now(editor).matched.lines
    assert error_px(editor, arc) < 0.1
    editor.apply(Auto(ID))
    assert line not in now(editor).matched.lines  # a person dropped it
    editor.apply(Name(ID, line, right))
    assert error_px(editor, arc) < 0.1


def test_a_typed_wavelength_that_no_list_has_is_taken(editor):
    line = int(now(editor).matched.lines[0])
    editor.apply(Name(ID, line, 1.5123456))
    assert 1.5123456 in editor.solution.listed.wavelength_um
    editor.apply(Undo())
    assert 1.5123456 not in editor.solution.listed.wavelength_um


def test_a_trace_that_failed_is_solved_by_naming_lines(editor, arc):
    ident = 10 + DARK
    assert now(editor, ident).status == "FAILED"
    assert editor.shape_of(DARK) is not None
    truth = np.interp(now(editor, ident).found.x, arc.x, arc.wavelengths(DARK))
    for line in range(2):
        editor.apply(Name(ident, line, float(truth[line])))
    assert now(editor, ident).status == "SHIFTED"
    assert error_px(editor, arc, ident) < 0.5
    assert editor.figures()[0] == COUNT
    editor.apply(Mask(ident, [0, 1]))
    assert now(editor, ident).status == "FAILED"
    editor.apply(Reset())
    assert not editor.edited.any()


def test_names_by_the_fit_come_back(editor, arc):
    one = now(editor).matched
    dropped = [int(line) for line in one.lines[one.used][::2]]
    editor.apply(Unname(ID, dropped))
    editor.apply(Use(ID, [int(now(editor).matched.lines[0])]))
    editor.apply(Reset(ID))
    assert now(editor).matched is one
    editor.apply(Auto(ID))
    assert set(dropped) <= set(now(editor).matched.lines.tolist())
    assert error_px(editor, arc) < 0.1


def test_orders_of_one_and_of_all(editor, arc):
    editor.apply(Order(1, ID))
    assert now(editor).matched.coefficients.size == 2
    bent = now(editor).matched.rms_px
    editor.apply(Order(0, ID))
    assert now(editor).matched.coefficients.size >= 3
    assert now(editor).matched.rms_px < bent / 3
    assert len(editor.apply(Order(4))) == COUNT - 1
    assert {trace.matched.coefficients.size for trace in editor.solution.traces if trace.matched} == {5}
    assert editor.solution.order == 4
    for ident in (10, ID, 10 + COUNT - 1):
        assert error_px(editor, arc, ident) < 0.1
    with pytest.raises(UsageError, match="4 lines are too few"):
        editor.apply(_few(editor))


def _few(editor):
    lines = [int(line) for line in now(editor).matched.lines[now(editor).matched.used]]
    editor.apply(Mask(ID, lines[4:]))
    editor.apply(Use(ID, lines[:4]))
    return Order(5, ID)


def test_all_at_once_is_what_each_alone_would_be(editor, made, settings):
    alone = ArcEditor(read_solved(made[0]), replace(settings.arc, neighbours=0))
    alone.apply(Order(3))
    for ident in (10, 17):
        editor.apply(Order(3, ident))
        together, single = now(alone, ident).matched, now(editor, ident).matched
        np.testing.assert_allclose(together.coefficients, single.coefficients, rtol=1e-9)
        np.testing.assert_array_equal(together.used, single.used)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Mask(99, [0]), "there is no trace 99; there are 10 to 21"),
        (Mask(ID, [500]), "there is no line 500"),
        (Undo(), "nothing to undo"),
        (Redo(), "nothing to make again"),
        (Use(10 + DARK, [0]), "name it first"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(editor, edit, why):
    before = editor.solution.traces
    with pytest.raises(UsageError, match=why):
        editor.apply(edit)
    assert editor.solution.traces == before
    assert not editor.undoable
