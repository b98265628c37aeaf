"""Windows of a detector: rectangles that are read at a pace of their own, beside the full frame.

A window is a source of its own: its reads come under the detector's name with `.W` and a number (or its place)
behind it, `IMG1.W3`, and say where it lies by the setup keys XSTART and YSTART, counted from 1.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streams.errors import WindowError
from streams.messages import ReadHeader, Scalar

MAX_WINDOWS = 10
"""Windows of one detector at a time."""
WINDOWS = "WINDOWS"
"""Setup key of a full frame: its windows, `XSTART YSTART XSIZE YSIZE` of each, separated by semicolons."""
FULL = frozenset(("FULL", "FULL_FRAME", "FULLFRAME", "GENERIC", "N/A", ""))
"""Values of SUBARRAY and SARRMODE that mean no window."""

_NAME = re.compile(r"(?P<detector>.+)\.W(?:[1-9]|10|X\d+Y\d+)")


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of pixels; first row and column from 0."""

    y: int
    x: int
    rows: int
    columns: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an image with."""
        return slice(self.y, self.y + self.rows), slice(self.x, self.x + self.columns)

    def lies_in(self, shape: tuple[int, int]) -> bool:
        """Tell whether all of it is inside an image."""
        return self.y + self.rows <= shape[0] and self.x + self.columns <= shape[1]

    def overlaps(self, other: "Window") -> bool:
        """Tell whether two have a pixel in common."""
        rows = self.y < other.y + other.rows and other.y < self.y + self.rows
        return rows and self.x < other.x + other.columns and other.x < self.x + self.columns

    def __str__(self) -> str:
        return f"{self.x + 1} {self.y + 1} {self.columns} {self.rows}"


def base_detector(name: str) -> str:
    """Return the detector whose window a name is: `IMG1` of `IMG1.W3`; any other name as it is."""
    found = _NAME.fullmatch(name)
    return found["detector"] if found else name


def is_window(setup: Mapping[str, Scalar]) -> bool:
    """Tell whether a setup is that of a part of the detector."""
    return any(str(setup.get(key, "FULL")).strip().upper() not in FULL for key in ("SUBARRAY", "SARRMODE"))


def corner(setup: Mapping[str, Scalar]) -> tuple[Scalar | None, Scalar | None]:
    """Return where a read's first pixel is, XSTART and YSTART, as far as the setup says."""
    return setup.get("XSTART"), setup.get("YSTART")


def window_of(header: ReadHeader, shape: tuple[int, int]) -> Window | None:
    """Return the window that a read is of; None if its name is that of a whole detector.

    Raises
    ------
    WindowError
        If the setup does not say where it lies, or says another size than the read has.
    """
    if base_detector(header.detector) == header.detector:
        return None
    try:
        x, y, columns, rows = (_count(header.setup, key) for key in ("XSTART", "YSTART", "XSIZE", "YSIZE"))
    except ValueError as error:
        raise WindowError(f"{header.source}: {error}") from error
    if x is None or y is None:
        raise WindowError(f"{header.source}: the setup of a window needs XSTART and YSTART, counted from 1")
    if (rows or shape[0], columns or shape[1]) != shape:
        raise WindowError(f"{header.source}: XSIZE {columns} and YSIZE {rows} are not the read's shape {shape}")
    return Window(y - 1, x - 1, *shape)


def _count(setup: Mapping[str, Scalar], key: str) -> int | None:
    value = setup.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"{key} = {value!r} is no whole number from 1 on")


def windows_in(setup: Mapping[str, Scalar]) -> list[Window]:
    """Return the windows that the setup of a full frame lists.

    Raises
    ------
    WindowError
        If the list cannot be read, or is longer than `MAX_WINDOWS`.
    """
    text = str(setup.get(WINDOWS, "")).strip()
    windows = []
    for part in text.split(";") if text else []:
        numbers = part.split()
        if len(numbers) != 4 or not all(number.isdecimal() and 0 < int(number) < 10**6 for number in numbers):
            raise WindowError(f"{WINDOWS} = {text!r}: write XSTART YSTART XSIZE YSIZE; XSTART YSTART ...")
        x, y, columns, rows = map(int, numbers)
        windows.append(Window(y - 1, x - 1, rows, columns))
    if len(windows) > MAX_WINDOWS:
        raise WindowError(f"{WINDOWS} lists {len(windows)} windows; a detector has {MAX_WINDOWS} at most")
    return windows


def listed(windows: Iterable[Window]) -> str:
    """Return windows as the setup of a full frame lists them."""
    return "; ".join(map(str, windows))
