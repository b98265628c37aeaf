"""The rows of a frame's provenance that are no files."""

import msgspec
import pytest

from rtcal.snapshots import STAND_IN, complete
from rtcal.wcs import HEADER, HEADER_DIFFERS
from streams.messages import FrameHeader, Provenance, TelemetryRow
from tests.samples import SAMPLES


def header(telemetry=(), setup=None, table="MISSING", wcs=None):
    frame = SAMPLES["frame"]
    assert isinstance(frame.header, FrameHeader)
    references = [Provenance(reftype="dark", status="OK", name="d.fits"), Provenance(reftype="adc", status=table)]
    rows = [
        TelemetryRow(key="X", param=fits, fits=fits, value=1.0, age_s=age, status=status)
        for fits, status, age in telemetry
    ]
    return msgspec.structs.replace(
        frame.header, telemetry=rows, references=references, setup=setup or {}, wcs=wcs or {}
    )


def row(name, **given):
    (found,) = (one for one in complete(header(**given)) if one.reftype == name)
    return found.status, found.age_s, found.note


def test_every_real_time_calibration_has_a_row_and_references_stay_first():
    names = [one.reftype for one in complete(header())]
    assert names == ["dark", "adc", "environment", "instrument", "nfiraos", "pointing"]


def test_nothing_known_is_said_so():
    assert row("pointing") == ("MISSING", None, "not known: RA, DEC, PA")
    status, age, note = row("environment")
    assert (status, age) == ("DEFAULT", None)
    assert note == "not known: ENVPRES, ENVTAIR, ENVRHUM; 615 hPa, 2 degC, 20 % stands in"


def test_the_oldest_value_and_the_worst_status_count():
    fresh = [("RA", "OK", 0.1), ("DEC", "OK", 0.2), ("PA", "AGE", 40.0)]
    assert row("pointing", telemetry=fresh) == ("OK", 40.0, "")
    old = [*fresh[:2], ("PA", "STALE", 90.0)]
    assert row("pointing", telemetry=old) == ("STALE", 90.0, "old: PA")
    assert row("pointing", telemetry=[*fresh[:2], ("PA", "SUSPECT", 1.0)])[::2] == ("MISSING", "not known: PA")


def test_what_became_of_the_telescope_s_wcs_header():
    known = [("RA", "OK", 0.1), ("DEC", "OK", 0.2), ("PA", "OK", 0.1)]
    assert row("pointing", telemetry=known, wcs={"WCSNAME": HEADER}) == ("OK", 0.2, "")
    status, age, note = row("pointing", telemetry=known, wcs={"WCSNAME": HEADER_DIFFERS})
    assert (status, age, note) == ("MISMATCH", 0.2, "the telescope's WCS header differs and is not used")
    status, _, note = row("pointing", wcs={"WCSNAME": HEADER})
    assert (status, note) == ("DEFAULT", "not known: RA, DEC, PA; the telescope's WCS header stands in")


def test_the_header_wins_and_the_better_of_two_sources_counts():
    two = [("PA", "STALE", 90.0), ("PA", "OK", 0.5)]
    setup = {"RA": 10.0, "DEC": -5.0}
    assert row("pointing", telemetry=two, setup=setup) == ("OK", 0.5, "")
    assert row("pointing", telemetry=[("PA", "OK", 0.5), ("RA", "STALE", 90.0)], setup=setup)[0] == "OK"


@pytest.mark.parametrize(
    ("setup", "status", "note"),
    [
        ({"FILTER": "K", "READMODE": "UTR"}, "OK", ""),
        ({"FILTER": "K"}, "MISSING", "not known: READMODE"),
        ({"FILTER": "K", "READMODE": "UTR", "INSTMODE": "SLICER"}, "MISSING", "not known: GRATING, SCALE"),
    ],
)
def test_the_instruments_configuration_is_that_of_the_reads(setup, status, note):
    assert row("instrument", setup=setup)[::2] == (status, note)


SPECTRAL = {"FILTER": "K", "READMODE": "UTR", "INSTMODE": "SLICER", "GRATING": "R4000", "SCALE": 25.0}


@pytest.mark.parametrize(
    ("setup", "told", "status", "note"),
    [
        (SPECTRAL, {"IFSGRTST": "4000-K", "SLMSKST": "HALF"}, "OK", ""),
        (SPECTRAL, {"IFSGRTST": "INTERMEDIATE"}, "MISMATCH", "uncalibrated: IFSGRTST is INTERMEDIATE"),
        (
            SPECTRAL | {"SLMSKST": "HALF"},
            {"SLMSKST": "intermediate"},
            "MISMATCH",
            "uncalibrated: SLMSKST is INTERMEDIATE",
        ),
        (SPECTRAL | {"SLMSKST": "HALF"}, {"SLMSKST": "UNKNOWN"}, "OK", ""),
        (SPECTRAL, {"LLMSKST": "UNKNOWN"}, "MISMATCH", "uncalibrated: LLMSKST is UNKNOWN"),
        ({"FILTER": "K", "READMODE": "UTR"}, {"IFSGRTST": "INTERMEDIATE"}, "OK", ""),
        (
            {"FILTER": "K"},
            {"PPMIRRST": "INTERMEDIATE"},
            "MISMATCH",
            "uncalibrated: PPMIRRST is INTERMEDIATE; not known: READMODE",
        ),
    ],
)
def test_a_frame_is_uncalibrated_while_a_mechanism_in_its_light_moves(setup, told, status, note):
    rows = [
        TelemetryRow(key="X", param=key, fits=key, value=value, age_s=0.5, status="OK") for key, value in told.items()
    ]
    frame = msgspec.structs.replace(header(setup=setup), telemetry=rows)
    (found,) = (one for one in complete(frame) if one.reftype == "instrument")
    assert (found.status, found.note) == (status, note)


PRISMS = [("ADCROTA", "OK", 0.3), ("ADCROTB", "OK", 0.4)]


@pytest.mark.parametrize(
    ("telemetry", "table", "status", "note"),
    [
        ([], "OK", "MISSING", "not known: ADCROTA, ADCROTB: the residual is not known"),
        (PRISMS, "MISSING", "DEFAULT", STAND_IN),
        (PRISMS, "OK", "OK", ""),
        (PRISMS, "STALE", "STALE", ""),
        ([PRISMS[0], ("ADCROTB", "STALE", 9.0)], "OK", "STALE", "old: ADCROTB"),
    ],
)
def test_the_adc_is_where_its_prisms_stand_and_what_they_do(telemetry, table, status, note):
    assert row("adc", telemetry=telemetry, table=table)[::2] == (status, note)
