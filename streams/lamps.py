"""Lines of arc lamps and of the night sky: the tables that come with the program, vacuum wavelengths [um]."""

import csv
from functools import cache
from importlib import resources
from typing import Final

LAMPS: Final = ("Ar", "Ne", "Kr", "Xe")


@cache
def lamp_table(lamp: str) -> tuple[tuple[float, float], ...]:
    """Return wavelength [um] and intensity (the strongest 1) of the lines of a lamp, by wavelength.

    Raises
    ------
    KeyError
        If there is no such lamp; `LAMPS` are there.
    """
    if lamp not in LAMPS:
        raise KeyError(lamp)
    rows = [(float(row[0]), float(row[1])) for row in _rows(lamp)]
    top = max(intensity for _, intensity in rows)
    return tuple((wavelength, intensity / top) for wavelength, intensity in rows)


@cache
def oh_table() -> tuple[tuple[float, float], ...]:
    """Return wavelength [um] and intensity (the strongest of its band 1) of the sky's strong OH lines."""
    return tuple((float(row[0]), float(row[1])) for row in _rows("OH"))


def _rows(name: str) -> list[list[str]]:
    with resources.files("streams").joinpath("lines", f"{name}.csv").open(encoding="ascii") as stream:
        return [row for row in csv.reader(stream) if not row[0].startswith("#")][1:]
