"""A frame's telemetry in its FITS file: the table TELEM, and the cards of keys that have a keyword."""

import math
from collections.abc import Sequence

import numpy as np
from astropy.io import fits

from streams.clock import tai_to_mjd
from streams.messages import Scalar, TelemetryRow

NOT_OF_A_READ = -1


def ascii_text(text: str) -> str:
    """Return a text with a question mark for what FITS cannot hold."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)


def telemetry_cards(rows: Sequence[TelemetryRow]) -> list[tuple[str, Scalar, str]]:
    """Return keyword, value and comment of each key at mid-exposure; the first of a keyword that has a value."""
    cards: dict[str, tuple[str, Scalar, str]] = {}
    for row in rows:
        if not row.fits or row.read is not None or row.status == "MISSING" or row.fits in cards:
            continue
        value = " ".join(map(_text, row.value)) if isinstance(row.value, list) else row.value
        if value is None or (isinstance(value, str) and len(value) > 60):
            continue  # the table has it
        unit = f"[{row.unit}] " if row.unit else ""
        doubt = {"STALE": f"STALE by {row.age_s:.1f} s" if row.age_s else "STALE", "SUSPECT": "SUSPECT"}
        cards[row.fits] = (row.fits, value, f"{unit}{doubt.get(row.status, 'at mid-exposure')}")
    return list(cards.values())


def telemetry_table(rows: Sequence[TelemetryRow]) -> fits.BinTableHDU:
    """Return the table TELEM.

    KEY, PARAM, FITSKEY; TIME since when the value holds [MJD, UTC]; VALUE as text (lists by blanks) and NUMBER as a
    double, NaN where it is none; UNIT; AGE [s]; STATUS; RAMP and READ that it is of, -1 for mid-exposure.
    """
    texts = {
        "KEY": [row.key for row in rows],
        "PARAM": [row.param for row in rows],
        "FITSKEY": [row.fits for row in rows],
        "VALUE": [_text(row.value) for row in rows],
        "UNIT": [row.unit for row in rows],
        "STATUS": [str(row.status) for row in rows],
    }
    columns = {}
    for name, values in texts.items():
        clean = [ascii_text(value) for value in values]
        columns[name] = fits.Column(name, f"{max([1, *map(len, clean)])}A", array=np.array(clean, dtype=np.bytes_))
    times = [math.nan if row.time_ns is None else tai_to_mjd(row.time_ns) for row in rows]
    ages = [math.nan if row.age_s is None else row.age_s for row in rows]
    columns["TIME"] = fits.Column("TIME", "D", unit="d", array=np.array(times, dtype=np.float64))
    columns["AGE"] = fits.Column("AGE", "D", unit="s", array=np.array(ages, dtype=np.float64))
    columns["NUMBER"] = fits.Column("NUMBER", "D", array=np.array([_number(row.value) for row in rows], np.float64))
    for name, places in (("RAMP", [row.ramp for row in rows]), ("READ", [row.read for row in rows])):
        numbers = [NOT_OF_A_READ if place is None else place for place in places]
        columns[name] = fits.Column(name, "J", array=np.array(numbers, dtype=np.int32))
    order = ("KEY", "PARAM", "FITSKEY", "TIME", "VALUE", "NUMBER", "UNIT", "AGE", "STATUS", "RAMP", "READ")
    return fits.BinTableHDU.from_columns([columns[name] for name in order], name="TELEM")


def _text(value: Scalar | list[Scalar] | None) -> str:
    """Write a value so that a number reads back exactly."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(_text, value))
    if isinstance(value, bool):
        return "T" if value else "F"
    return repr(value) if isinstance(value, float) else str(value)


def _number(value: Scalar | list[Scalar] | None) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
