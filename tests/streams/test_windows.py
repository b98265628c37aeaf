"""Windows: their names, where they lie, and what cannot be one."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import WindowError
from streams.windows import Window, base_detector, is_window, listed, window_of, windows_in
from tests.fakes import READ_HEADER

SHAPE = (6, 8)
PLACE = {"SUBARRAY": "ODGW", "XSTART": 11, "YSTART": 21}


def header(detector="IMG1.W3", **setup):
    return msgspec.structs.replace(READ_HEADER, detector=detector, setup=setup)


windows = st.builds(Window, *(st.integers(0, 4000),) * 2, *(st.integers(1, 500),) * 2)


@given(st.lists(windows, max_size=10))
def test_what_a_full_frame_lists_is_read_back(some):
    assert windows_in({"WINDOWS": listed(some)}) == some


@given(windows, windows)
def test_two_overlap_if_they_share_a_pixel(one, other):
    rows = set(range(one.y, one.y + one.rows)) & set(range(other.y, other.y + other.rows))
    columns = set(range(one.x, one.x + one.columns)) & set(range(other.x, other.x + other.columns))
    assert one.overlaps(other) == other.overlaps(one) == bool(rows and columns)


@pytest.mark.parametrize("name", ["IMG1", "IMG1.W", "IMG1.W0", "IMG1.W11", "W1", "IMG1.w1", "A.W1.B", "IMG1-W1"])
def test_names_of_whole_detectors_stay_as_they_are(name):
    assert base_detector(name) == name
    assert window_of(header(name), SHAPE) is None


@pytest.mark.parametrize(("name", "base"), [("IMG1.W1", "IMG1"), ("IMG1.W10", "IMG1"), ("A.B.WX5Y77", "A.B")])
def test_a_windows_name_is_its_detectors_with_a_number_or_a_place(name, base):
    assert base_detector(name) == base
    assert window_of(header(name, **PLACE), SHAPE) == Window(20, 10, 6, 8)
    assert window_of(header(name, **PLACE, XSIZE=8, YSIZE=6), SHAPE) == Window(20, 10, 6, 8)


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        ({}, "needs XSTART and YSTART, counted from 1"),
        ({"XSTART": 3}, "needs XSTART and YSTART"),
        ({**PLACE, "XSTART": 0}, "XSTART = 0 is no whole number from 1 on"),
        ({**PLACE, "YSTART": 2.5}, r"YSTART = 2\.5 is no whole number"),
        ({**PLACE, "YSTART": True}, "YSTART = True is no whole number"),
        ({**PLACE, "XSIZE": 9}, r"XSIZE 9 and YSIZE None are not the read's shape \(6, 8\)"),
    ],
)
def test_a_window_that_does_not_say_where_it_lies_is_none(setup, message):
    with pytest.raises(WindowError, match=message):
        window_of(header(**setup), SHAPE)


ELEVEN = "; ".join(["1 1 2 2"] * 11)


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 4;", "a b c d", "0 1 5 5", "1 1 -5 5", "1 1 5.0 5", ELEVEN])
def test_a_list_that_cannot_be_read_is_refused(text):
    with pytest.raises(WindowError, match="WINDOWS"):
        windows_in({"WINDOWS": text})


def test_what_setup_means_a_part_of_the_detector():
    assert not any(map(is_window, ({}, {"SUBARRAY": "FULL"}, {"SUBARRAY": "n/a", "SARRMODE": "FULL_FRAME"})))
    parts = ({"SUBARRAY": "SUB1"}, {"SARRMODE": "ODGW"}, {"SUBARRAY": "FULL", "SARRMODE": "SUB_ARRAY"})
    assert all(map(is_window, parts))
