"""The log of exposures: rows, search, CSV, series, a file that others read meanwhile."""

import csv
import io
import sqlite3

import pytest

from dashboards.nightlog import NightLog
from streams.clock import NS
from streams.errors import SettingsError
from streams.messages import Quality, TelemetryRow
from tests.quicklook import make_frame


def add(night, number, detector="IMG1", **header):
    telemetry = [
        TelemetryRow(key="TCS.pk", param="airmass", fits="AIRMASS", value=1.0 + number / 10, status="OK"),
        TelemetryRow(key="TCS.pk", param="state", fits="PNTGST", value="TRACKING", status="OK"),
        TelemetryRow(key="ESW.x", param="p", fits="PRESS", value=615.0, status="STALE"),
    ]
    fields = {
        "exposure_id": f"2026B-{number:04d}", "time_ns": (2_000_000_000 + number) * NS, "telemetry": telemetry,
        "quality": Quality(fwhm_mas=10.0 + number, read_noise_e=[8.0, 9.0, 30.0]), "setup": {"FILTER": "H"},
    }  # fmt: skip
    night.add(make_frame(detector, number, side=8, **(fields | header)).header)


@pytest.fixture
def night():
    made = NightLog("")
    yield made
    made.close()


def exposures(rows):
    return [row["exposure"] for row in rows]


def test_an_exposure_has_one_row_its_latest(night):
    add(night, 1)
    add(night, 2)
    add(night, 1, revision=1, ramps=2)
    rows = night.find("")
    assert exposures(rows) == ["2026B-0002", "2026B-0001"]
    assert (rows[1]["revision"], rows[1]["ramps"], rows[1]["fwhm_mas"]) == (1, 2, 11.0)


def test_every_word_must_be_found_somewhere(night):
    add(night, 1, setup={"FILTER": "H", "OBJECT": "M92"})
    add(night, 2, "IMG2", setup={"FILTER": "Ks", "OBJECT": "M92"})
    assert exposures(night.find("m92 ks")) == ["2026B-0002"]
    assert len(night.find("M92")) == 2
    assert night.find("m92 zz") == []
    for hostile in ("'; DROP TABLE frames; --", "%", "_", '"', "x" * 200):
        night.find(hostile)
    assert len(night.find("")) == 2


def test_series_hold_quality_and_telemetry_oldest_first(night):
    for number in (3, 1, 2):
        add(night, number)
        add(night, number, "IMG2", quality=None)
    widths = night.series("fwhm_mas", "*")
    assert widths["value"] == [11.0, 12.0, 13.0]
    assert widths["exposure"][0] == "2026B-0001"
    assert night.series("AIRMASS", "IMG2")["value"] == pytest.approx([1.1, 1.2, 1.3])
    assert night.series("read_noise_e", "IMG1")["value"] == [9.0] * 3
    assert night.telemetry_names() == ["AIRMASS"]  # numbers that are not stale
    assert night.series("nothing", "*")["value"] == []


def test_csv_holds_what_is_found_and_no_formulas(night):
    add(night, 1, setup={"OBJECT": "=cmd()", "FILTER": "H"})
    add(night, 2, setup={"OBJECT": "a,b\nc", "FILTER": "J"})
    rows = list(csv.DictReader(io.StringIO(night.csv(""))))
    assert [row["object"] for row in rows] == ["'=cmd()", "a,b\nc"]
    assert [row["exposure"] for row in csv.DictReader(io.StringIO(night.csv("j")))] == ["2026B-0002"]


def test_others_read_the_file_while_it_grows_and_it_goes_on_after_a_restart(tmp_path):
    path = str(tmp_path / "night.sqlite")
    night = NightLog(path)
    add(night, 1)
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert other.execute("SELECT exposure FROM frames").fetchall() == [("2026B-0001",)]
        add(night, 2)
        assert other.execute("SELECT count(*) FROM frames").fetchone() == (2,)
    other.close()
    night.close()
    again = NightLog(path)
    assert len(again.find("")) == 2
    again.close()


def test_a_file_that_is_no_log_is_refused_and_a_fault_costs_a_row_alone(tmp_path):
    (tmp_path / "other").write_text("this is no database at all, but a text of some length")
    with pytest.raises(SettingsError, match="no log of exposures"):
        NightLog(str(tmp_path / "other"))
    with pytest.raises(SettingsError, match="nowhere"):
        NightLog(str(tmp_path / "nowhere" / "night.sqlite"))
    night = NightLog("")
    night.close()
    add(night, 1)
    assert night.find("") == []
    assert night.failed == 2
