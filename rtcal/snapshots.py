"""Calibrations that are no files: what is known of the instrument, the telescope and the air, as rows of provenance.

With the references (`refcache.REFTYPES`) they make up the list of real-time calibrations of each frame. The reads' own
setup comes first, telemetry second.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from refcache.choosing import SPECTRAL
from rtcal.wcs import HEADER, HEADER_DIFFERS
from streams.messages import FrameHeader, Provenance, RefStatus, Scalar, TelemetryRow


@dataclass(frozen=True)
class Snapshot:
    """One kind of knowledge.

    Attributes
    ----------
    name
        Of the row.
    keywords
        FITS keywords that have to be known.
    default
        What stands in for those that are not; "" if nothing does.
    spectral
        Keywords that frames of spectra need besides.
    """

    name: str
    keywords: tuple[str, ...]
    default: str = ""
    spectral: tuple[str, ...] = ()


SNAPSHOTS: Final = (
    Snapshot("environment", ("ENVPRES", "ENVTAIR", "ENVRHUM"), "615 hPa, 2 degC, 20 %"),
    Snapshot("instrument", ("FILTER", "READMODE"), spectral=("GRATING", "SCALE")),
    Snapshot("nfiraos", ("AORATEHO", "AOLOOPHO", "AOLOOPLO", "LGSR0")),
    Snapshot("pointing", ("RA", "DEC", "PA")),
)
ADC: Final = Snapshot("adc", ("ADCROTA", "ADCROTB"))
MECHANISMS: Final = ("PPMIRRST",)
"""Keywords of what stands in everybody's light: the mirror of the pupil's camera."""
SPECTRAL_MECHANISMS: Final = ("IFSGRTST", "LLMSKST", "SLMSKST")
UNSETTLED: Final = ("INTERMEDIATE", "UNKNOWN")
"""What a mechanism is said to be while it moves, and when nobody knows."""
STAND_IN = "no table of the prisms' dispersion: half of the atmosphere's at 65 deg stands in"


def is_spectral(setup: Mapping[str, Scalar]) -> bool:
    """Tell whether frames of a setup hold spectra."""
    return str(setup.get("INSTMODE", "IMG")).upper() in SPECTRAL


def complete(header: FrameHeader) -> list[Provenance]:
    """Return the rows of a frame, with those of what is no file behind the references; pure.

    A value is known from the setup or from telemetry (OK, or without a rate: AGE). One row's status is the worst of
    its values: STALE; SUSPECT and absent ones count as unknown, which is DEFAULT where something stands in, else
    MISSING. Its age is that of the oldest value. `adc` is both a table and telemetry; `instrument` is MISMATCH while
    a mechanism moves.
    """
    telemetry = _by_keyword(header.telemetry)
    spectral = is_spectral(header.setup)
    rows = [
        _with_prisms(row, _row(ADC, ADC.keywords, header.setup, telemetry)) if row.reftype == ADC.name else row
        for row in header.references
    ]
    for snapshot in SNAPSHOTS:
        keywords = snapshot.keywords + (snapshot.spectral if spectral else ())
        row = _row(snapshot, keywords, header.setup, telemetry)
        if snapshot.name == "instrument":
            row = _with_mechanisms(row, MECHANISMS + (SPECTRAL_MECHANISMS if spectral else ()), header.setup, telemetry)
        rows.append(row)
    rows[-1] = _with_coordinates(rows[-1], header.wcs.get("WCSNAME"))
    return rows


def _by_keyword(rows: Iterable[TelemetryRow]) -> dict[str, TelemetryRow]:
    """Return what telemetry says of each FITS keyword at the middle of the exposure; usable values win."""
    found: dict[str, TelemetryRow] = {}
    for row in rows:
        if row.fits and row.read is None and row.value is not None:
            before = found.get(row.fits)
            if before is None or _rank(row) < _rank(before):
                found[row.fits] = row
    return found


def _rank(row: TelemetryRow) -> int:
    return ("OK", "AGE", "STALE", "SUSPECT", "MISSING").index(row.status)


def _row(
    snapshot: Snapshot, keywords: Sequence[str], setup: Mapping[str, Scalar], telemetry: Mapping[str, TelemetryRow]
) -> Provenance:
    rows = {key: telemetry[key] for key in keywords if key in telemetry and key not in setup}
    unknown = [key for key in keywords if key not in setup and (key not in rows or _rank(rows[key]) > 2)]
    stale = [key for key, row in rows.items() if row.status == "STALE"]
    ages = [row.age_s for row in rows.values() if row.age_s is not None]
    status: RefStatus = "STALE" if stale else "OK"
    notes = [f"old: {', '.join(stale)}"] if stale else []
    if unknown:
        status = "DEFAULT" if snapshot.default else "MISSING"
        notes.insert(0, f"not known: {', '.join(unknown)}")
        if snapshot.default:
            notes.insert(1, f"{snapshot.default} stands in")
    return Provenance(reftype=snapshot.name, status=status, age_s=max(ages) if ages else None, note="; ".join(notes))


def _with_mechanisms(
    instrument: Provenance,
    keywords: Sequence[str],
    setup: Mapping[str, Scalar],
    telemetry: Mapping[str, TelemetryRow],
) -> Provenance:
    """Call a frame uncalibrated while a mechanism in its light moved, or stood nobody knows where."""
    said = []
    for key in keywords:
        row = telemetry.get(key)
        told = str(row.value).upper() if row is not None and _rank(row) <= 2 else ""
        own = str(setup.get(key, "")).upper()
        # The header is what was asked for: it knows where a mechanism is meant to be, not whether it has arrived.
        state = told if told == UNSETTLED[0] else own or told
        if state in UNSETTLED:
            said.append(f"{key} is {state}")
    if not said:
        return instrument
    note = f"uncalibrated: {', '.join(said)}"
    return replace(instrument, status="MISMATCH", note="; ".join(filter(None, (note, instrument.note)))[:1000])


def _with_coordinates(pointing: Provenance, origin: object) -> Provenance:
    """Say in the row of the pointing what became of the telescope's WCS header."""
    if origin == HEADER_DIFFERS:
        note = "the telescope's WCS header differs and is not used"
        return replace(pointing, status="MISMATCH", note="; ".join(filter(None, (note, pointing.note)))[:1000])
    if origin == HEADER and pointing.status == "MISSING":
        return replace(pointing, status="DEFAULT", note=f"{pointing.note}; the telescope's WCS header stands in"[:1000])
    return pointing


def _with_prisms(table: Provenance, prisms: Provenance) -> Provenance:
    """Join the two halves of the ADC's row: where its prisms stand, and what they do to light."""
    if prisms.status == "MISSING":
        note = f"{prisms.note}: the residual is not known"
        return replace(table, status="MISSING", note="; ".join(filter(None, (note, table.note)))[:1000])
    if table.status == "MISSING":
        return replace(table, status="DEFAULT", age_s=prisms.age_s, note=STAND_IN)
    worst = prisms if prisms.status == "STALE" else table
    return replace(table, status=worst.status, note="; ".join(filter(None, (prisms.note, table.note)))[:1000])
