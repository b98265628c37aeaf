"""Lines of arc lamps: the tables that come with the program, and tables of the user's.

All wavelengths inside the program are vacuum [um]. A user's table may be in air; whether it is, is said by its
column's name or found by comparing it with the program's own table of the same element.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from rtcal.errors import UsageError
from streams.lamps import LAMPS, lamp_table

Floats = NDArray[np.float64]
Medium = Literal["auto", "air", "vacuum"]

WAVELENGTH_COLUMNS: Final = (
    "wavelength_um", "wavelength_nm", "wavelength_a", "wavelength", "wave", "lambda", "vacuum wavelength",
    "wavelength_vac", "vacuum", "air wavelength", "wavelength_air", "air",
)  # fmt: skip
ELEMENT_COLUMNS: Final = ("element", "ion", "species", "lamp")
INTENSITY_COLUMNS: Final = ("intensity", "amplitude", "strength", "rel_int", "rel. int.")
_UNITS: Final = {"um": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3, "a": 1e-4, "angstrom": 1e-4, "angstroms": 1e-4}
_AGREE_UM: Final = 3e-5
"""Lines of one element in two tables are the same if they agree to this; air and vacuum differ ten times more."""


@dataclass(frozen=True, eq=False)
class LineList:
    """Lines in order of wavelength.

    Attributes
    ----------
    wavelength_um
        Vacuum, float64, increasing.
    intensity
        Relative to the strongest of its element, float64, above 0 and at most 1.
    element
        Symbol of each line's element; "" where the table does not say.
    """

    wavelength_um: Floats
    intensity: Floats
    element: tuple[str, ...]

    def __len__(self) -> int:
        return self.wavelength_um.size

    def between(self, low_um: float, high_um: float) -> "LineList":
        """Return the lines in a range."""
        first, last = np.searchsorted(self.wavelength_um, (low_um, high_um))
        return LineList(self.wavelength_um[first:last], self.intensity[first:last], self.element[first:last])


def air_to_vacuum_um(air_um: Floats) -> Floats:
    """Convert wavelengths in standard air (15 C, 1013.25 hPa, 450 ppm CO2; Ciddor 1996, Appl. Opt. 35, 1566)."""
    wavenumber2 = (1 / air_um) ** 2
    return air_um * (1 + 0.05792105 / (238.0185 - wavenumber2) + 0.00167917 / (57.362 - wavenumber2))


def lamp_lines(lamps: Sequence[str]) -> LineList:
    """Return the program's own lines of some lamps.

    Raises
    ------
    UsageError
        If a lamp is not known; says which are.
    """
    rows: list[tuple[float, float, str]] = []
    for name in lamps:
        lamp = _lamp(name)
        rows += [(wavelength, intensity, lamp) for wavelength, intensity in lamp_table(lamp)]
    return _line_list(rows)


def read_lines(path: Path, lamps: Sequence[str], medium: Medium = "auto") -> tuple[LineList, list[str]]:
    """Read a table of lines: columns with a header, between bars, commas or blanks; # begins a comment.

    The columns are recognised by name, in any case: one of `WAVELENGTH_COLUMNS`, and where they are there one of
    `ELEMENT_COLUMNS` (rows of other elements than `lamps` are left out) and of `INTENSITY_COLUMNS`. The unit is
    that of the column's name or of a second header row in parentheses, else it follows from the size of the
    values.

    Parameters
    ----------
    path
        The table.
    lamps
        Elements to keep, e.g. Ar; "" keeps rows whose element is not known.
    medium
        What the wavelengths are measured in; `auto` decides by the column's name, else by comparison.

    Returns
    -------
    LineList, list of str
        The lines, and what was assumed, for people.

    Raises
    ------
    UsageError
        If the table cannot be read, has no column of wavelengths, or no line of the lamps.
    """
    wanted = {_lamp(name) for name in lamps}
    header, unit_row, body = _table(path)
    column = _find(header, WAVELENGTH_COLUMNS)
    if column is None:
        raise UsageError(
            f"{path}: no column of wavelengths among {', '.join(header)}; "
            f"name it one of {', '.join(WAVELENGTH_COLUMNS)}"
        )
    element, intensity = _find(header, ELEMENT_COLUMNS), _find(header, INTENSITY_COLUMNS)
    rows = []
    for cells in body:
        value = _number(cells[column])
        symbol = _symbol(cells[element]) if element is not None else ""
        if value is not None and value > 0 and (not symbol or symbol in wanted):
            strength = _number(cells[intensity]) if intensity is not None else None
            rows.append((value, strength or 0.0, symbol))
    if not rows:
        raise UsageError(f"{path}: no line of {', '.join(sorted(wanted))} among its {len(body)} rows")
    values = np.array([row[0] for row in rows])
    unit, notes = _unit(header[column], unit_row[column] if unit_row else "", values)
    wavelengths = values * _UNITS[unit]
    wavelengths, said = _to_vacuum(wavelengths, [row[2] for row in rows], header[column], medium)
    strengths = _scale(np.array([row[1] for row in rows]))
    lines = _line_list(list(zip(wavelengths.tolist(), strengths.tolist(), [row[2] for row in rows], strict=True)))
    return lines, [f"{path.name}: {len(lines)} lines", *notes, *said]


def _lamp(name: str) -> str:
    lamp = name.strip().capitalize()
    if lamp not in LAMPS:
        raise UsageError(f"lamp {name!r} is not known; known are {', '.join(LAMPS)}")
    return lamp


def _line_list(rows: list[tuple[float, float, str]]) -> LineList:
    rows = sorted(set(rows))
    wavelengths = np.array([row[0] for row in rows])
    return LineList(wavelengths, np.array([row[1] for row in rows]), tuple(row[2] for row in rows))


def _table(path: Path) -> tuple[list[str], list[str] | None, list[list[str]]]:
    """Return the header, the row of units where there is one, and the rows that are as long as the header."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    split = _splitter(text)
    rows = [split(line.lstrip("#")) for line in text.splitlines() if line.strip(" #=-\t")]
    commented = [line.startswith("#") for line in text.splitlines() if line.strip(" #=-\t")]
    for number, cells in enumerate(rows):
        names = [cell.lower() for cell in cells]
        if _find(names, WAVELENGTH_COLUMNS) is not None:
            body = [row for row, note in zip(rows[number + 1 :], commented[number + 1 :], strict=True) if not note]
            unit_row = rows[number + 1] if number + 1 < len(rows) and commented[number + 1] else None
            if unit_row is not None and len(unit_row) != len(cells):
                unit_row = None
            return names, unit_row, [row for row in body if len(row) == len(cells)]
    raise UsageError(
        f"{path}: no header with a column of wavelengths was found; begin the table with a row of names, "
        f"one of them {', '.join(WAVELENGTH_COLUMNS)}"
    )


def _splitter(text: str) -> Callable[[str], list[str]]:
    """Return what splits a row: at bars where most rows have them, else at commas, else at blanks."""
    lines = [line for line in text.splitlines() if line.strip()]
    if sum("|" in line for line in lines) > len(lines) / 2:
        return _split_bars
    if sum("," in line for line in lines) > len(lines) / 2:
        return lambda line: [cell.strip() for cell in line.split(",")]
    return str.split


def _split_bars(line: str) -> list[str]:
    row = line.rstrip()
    if row.startswith("|"):
        row = row[1:].removesuffix("|")
    return [cell.strip() for cell in row.split("|")]


def _find(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((index for word in known for index, name in enumerate(names) if name == word), None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _symbol(text: str) -> str:
    """Return the element of an ion's name: `ArI`, `Ar I` and `Ar` are all Ar."""
    found = re.match(r"[A-Z][a-z]?", text.strip())
    return found.group() if found else ""


def _unit(name: str, below: str, values: Floats) -> tuple[str, list[str]]:
    for text in (name.rpartition("_")[2], below.strip("() ").lower()):
        if text in _UNITS:
            return text, []
    middle = float(np.median(values))
    unit = "um" if middle < 50 else "nm" if middle < 3500 else "angstrom"
    return unit, [f"wavelengths taken as {unit} by their size (median {middle:g})"]


def _to_vacuum(values_um: Floats, elements: list[str], name: str, medium: Medium) -> tuple[Floats, list[str]]:
    if medium == "auto":
        if "air" in name:
            medium = "air"
        elif "vac" in name:
            medium = "vacuum"
        else:
            return _compare(values_um, elements)
    return (air_to_vacuum_um(values_um), ["converted from air"]) if medium == "air" else (values_um, [])


def _compare(values_um: Floats, elements: list[str]) -> tuple[Floats, list[str]]:
    """Decide between air and vacuum by how many lines agree with the program's own."""
    converted = air_to_vacuum_um(values_um)
    known = set(elements) & set(LAMPS)
    own = lamp_lines(sorted(known) if known else LAMPS).wavelength_um
    as_vacuum, as_air = (int(np.sum(_distance(own, values) < _AGREE_UM)) for values in (values_um, converted))
    if as_air > as_vacuum:
        reason = f"so {as_air} lines agree with NIST, not {as_vacuum}"
        return converted, [f"taken as air wavelengths and converted: {reason}"]
    if as_vacuum == 0:
        return values_um, ["taken as vacuum wavelengths: no line agrees with NIST either way"]
    return values_um, []


def _distance(own: Floats, values: Floats) -> Floats:
    index = np.clip(np.searchsorted(own, values), 1, own.size - 1)
    return np.asarray(np.minimum(np.abs(own[index] - values), np.abs(own[index - 1] - values)))


def _scale(strengths: Floats) -> Floats:
    """Scale to at most 1; a line without strength counts as one of the faint."""
    positive = strengths[strengths > 0]
    if positive.size == 0:
        return np.ones_like(strengths)
    return np.asarray(np.where(strengths > 0, strengths, positive.min()) / positive.max())
