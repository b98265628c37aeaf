"""A frame's telemetry in its FITS file: the table TELEM, and the cards of keys that have a keyword."""

import math
from collections.abc import Sequence

import numpy as np
from astropy.io import fits

from streams.clock import tai_to_mjd
from streams.messages import AdcResidual, Scalar, TelemetryRow

NOT_OF_A_READ = -1


def ascii_text(text: str) -> str:
    """Return a text with a question mark for what FITS cannot hold."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)


def telemetry_cards(rows: Sequence[TelemetryRow]) -> list[tuple[str, Scalar, str]]:
    """Return keyword, value and comment of each key at mid-exposure; of several the first that can be believed best."""
    cards: dict[str, tuple[str, Scalar, str]] = {}
    for row in sorted(rows, key=lambda row: row.status not in ("OK", "AGE")):
        if not row.fits or row.read is not None or row.status == "MISSING" or row.fits in cards:
            continue
        value = " ".join(map(_text, row.value)) if isinstance(row.value, list) else row.value
        if value is None or (isinstance(value, str) and len(value) > 60):
            continue  # the table has it
        unit = f"[{row.unit}] " if row.unit else ""
        doubt = {"STALE": f"STALE by {row.age_s:.1f} s" if row.age_s else "STALE", "SUSPECT": "SUSPECT"}
        cards[row.fits] = (row.fits, value, f"{unit}{doubt.get(row.status, 'at mid-exposure')}")
    return list(cards.values())


def residual_cards(adc: AdcResidual) -> list[tuple[str, Scalar, str]]:
    """Return what the atmosphere's dispersion leaves on a frame; what is not known has no card."""
    edge_x, edge_y = adc.edge_mas or (None, None)
    shift_x, shift_y = adc.shift_mas or (None, None)
    cards: list[tuple[str, Scalar | None, str]] = [
        ("ADCSTAT", adc.status, "residual dispersion"),
        ("ADCATMOS", adc.atmosphere, "origin of the atmosphere's dispersion"),
        ("ADCAIR", adc.air, "air that it is computed with"),
        ("ADCREFWV", adc.reference_um, "[um] reference wavelength"),
        ("ADCORIDG", adc.orientation_deg, "[deg] direction of the atmosphere's dispersion"),
        ("ADCATMAS", adc.atmosphere_mas, "[mas] edge to edge without prisms"),
        ("ADCEDGEX", edge_x, "[mas] residual, shortest to longest wavelength"),
        ("ADCEDGEY", edge_y, "[mas] the same, y"),
        ("ADCRMS", adc.rms_mas, "[mas] weighted scatter of the residual"),
        ("ADCSHFTX", shift_x, "[mas] of the band from the reference"),
        ("ADCSHFTY", shift_y, "[mas] the same, y"),
        ("ADCAXIS", adc.axis_deg, "[deg] direction of the longest image"),
        ("ADCELONG", adc.elongation_mas, "[mas] adds in square to FWHM"),
        ("ADCFWHM", adc.fwhm_mas, "[mas] of a diffraction-limited image"),
        ("ADCFOLER", adc.following_mas, "[mas] from prisms off their targets"),
    ]
    if adc.guides is not None:
        cards += [
            ("ADCGFWHM", adc.guides.fwhm_mas, "[mas] width of the guide stars"),
            ("ADCGELON", adc.guides.elongation_mas, "[mas] makes their width their length, in square"),
            ("ADCGAXIS", adc.guides.axis_deg, "[deg] direction in which they are longest"),
            ("ADCUNEXP", adc.guides.unexplained_mas, "[mas] elongation not from dispersion"),
        ]
    return [(keyword, value, comment) for keyword, value, comment in cards if value is not None]


def residual_table(adc: AdcResidual) -> fits.BinTableHDU:
    """Return the table ADC: WAVELENGTH [um], WEIGHT, DX and DY [mas]."""
    columns = [
        fits.Column("WAVELENGTH", "D", unit="um", array=np.array(adc.wavelength_um)),
        fits.Column("WEIGHT", "D", array=np.array(adc.weight)),
        fits.Column("DX", "D", unit="mas", array=np.array(adc.x_mas)),
        fits.Column("DY", "D", unit="mas", array=np.array(adc.y_mas)),
    ]
    return fits.BinTableHDU.from_columns(columns, name="ADC")


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
