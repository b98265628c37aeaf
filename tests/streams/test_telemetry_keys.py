"""The key table: complete against the observatory's own table, checked at the start, units and times converted."""

import csv
from pathlib import Path
from typing import Any

import pytest

from streams.clock import NS, parse_iso_utc
from streams.errors import SettingsError
from streams.key_files import shipped_keys
from streams.messages import TelemetryHeader
from streams.telemetry_keys import KeyTable, load_keys
from tests.data import shared_data

TIME_NS = parse_iso_utc("2031-01-15T06:00:00")
MJD = 62_881.25
"""The same instant as a Modified Julian Date in UTC."""


@pytest.fixture(scope="module")
def table() -> KeyTable:
    return load_keys("")


def event(name: str, units: dict[str, str] | None = None, **values: Any) -> TelemetryHeader:
    named = {key.replace("__", "-"): value for key, value in values.items()}
    return TelemetryHeader(
        instrument="IRIS", detector="ALL", sequence=0, time_ns=TIME_NS, event=name, values=named, units=units or {}
    )


def values(table: KeyTable, header: TelemetryHeader) -> dict[str, Any]:
    return {key.name: value for key, value in table.values(header)}


def test_every_keyword_and_parameter_of_the_observatory_s_table_is_there(table: KeyTable) -> None:
    path = shared_data("telemetry") / "IRIS_telemetry_and_FITS_metadata.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["subsystem"]]
    assert len(rows) == 234
    keywords = {key.fits for key in table.all()}
    for row in rows:
        name = ".".join(filter(None, (row["subsystem"], row["component"], row["name"])))
        assert table.event(name) is not None or table.observe_name(name) is not None, name
        if row["Fits Keywords"]:
            assert row["Fits Keywords"].strip() in keywords


@pytest.mark.parametrize(
    ("keyword", "name", "rate_hz", "unit", "join"),
    [
        ("RA", "TCS.pk.currentPosition.ra", 10, "deg", "angular"),
        ("DEC", "TCS.pk.currentPosition.dec", 10, "deg", "linear"),
        ("PA", "TCS.cmIRIS.positionAngle.positionAngle", 20, "deg", "angular"),
        ("IMGDISVL", "TCS.cmIRIS.imgAtmDispersion.dispersion", 1, "arcsec", "hold"),
        ("ADCROTA", "IRIS.imager.adc.PRISM_current.rotationA", 1, "deg", "angular"),
        ("AOLOOPHO", "NFIRAOS.rtc.loop.ho", 0, "", "hold"),
        ("LGSR0", "NFIRAOS.rtc.turbLgs.r0", 0.1, "m", "hold"),
        ("ENVTAIR", "ESEN.ESEN Publisher Assembly.air-temperatures", 1, "degC", "linear"),
        ("IMGDTEMP", "IRIS.sc.cryoenv.imgDetectorTemperature", 20, "K", "linear"),
        ("ISSKY", "ESW.TopLevelSequencer.DitherPosition.currentPositionIsSky", 0, "", "hold"),
    ],
)
def test_what_a_key_says(table: KeyTable, keyword: str, name: str, rate_hz: float, unit: str, join: str) -> None:
    key = table.named(keyword)[0]
    assert (key.name, key.rate_hz, key.unit, key.about.join) == (name, rate_hz, unit, join)
    assert table.named(name) == [key]


def test_names_that_drift_lead_to_the_same_keys(table: KeyTable) -> None:
    meta = values(table, event("TCS.pk.currentPosition", el=60.0, parallactic=12.5))
    icd = values(table, event("TCS.PointingKernelAssembly.CurrentPosition", telel=60.0, parang=12.5))
    assert meta == icd == {"TCS.pk.currentPosition.el": 60.0, "TCS.pk.currentPosition.parallactic": 12.5}
    assert values(table, event("IRIS.imager.adc.prism_current", rotationA=1.0)) == {
        "IRIS.imager.adc.PRISM_current.rotationA": 1.0
    }
    assert table.canonical("IRIS.el.env.TEMP_TEMP7") == "IRIS.el.env.TEMP_TEMP[N]"
    assert table.event("IRIS.nothing.like") is None


def test_units_are_converted_and_a_unit_that_is_not_known_is_no_value(table: KeyTable) -> None:
    kelvin = values(table, event("ESEN.puba.air-temperatures", {"a": "kelvin"}, a=275.15))
    assert kelvin == {"ESEN.ESEN Publisher Assembly.air-temperatures": pytest.approx(2.0)}
    kilopascal = values(table, event("SCMS.scmsAssembly.BarometricPressure", value=61.5))
    assert kilopascal == {"SCMS.scmsAssembly.BarometricPressure": pytest.approx(615.0)}
    radians = values(table, event("TCS.cmIRIS.positionAngle", {"positionAngle": "radian"}, positionAngle=1))
    assert radians == {"TCS.cmIRIS.positionAngle.positionAngle": pytest.approx(57.295779513)}
    assert values(table, event("TCS.cmIRIS.positionAngle", {"positionAngle": "furlong"}, positionAngle=1.0)) == {
        "TCS.cmIRIS.positionAngle.positionAngle": None
    }


def test_several_sensors_of_one_quantity_give_their_median(table: KeyTable) -> None:
    header = event("ESEN.ESEN Publisher Assembly.pressures", a=615.0, b=[614.0, 700.0], c="broken")
    assert values(table, header) == {"ESEN.ESEN Publisher Assembly.pressures": 615.0}
    assert values(table, event("ESEN.ESEN Publisher Assembly.pressures", a="broken")) == {
        "ESEN.ESEN Publisher Assembly.pressures": None
    }


@pytest.mark.parametrize("value", ["12", True, [1.0, 2.0], [], float("inf")])
def test_a_value_of_another_type_is_no_value(table: KeyTable, value: object) -> None:
    header = event("TCS.cmIRIS.positionAngle", positionAngle=value)
    assert values(table, header) == {"TCS.cmIRIS.positionAngle.positionAngle": None}


def test_ranges_and_choices(table: KeyTable) -> None:
    r0, loop = table.named("LGSR0")[0], table.named("AOLOOPHO")[0]
    assert [r0.in_range(value) for value in (0.04, 0.05, 0.5, 0.51)] == [False, True, True, False]
    assert loop.in_range("LOCK")
    assert not loop.in_range("OPEN")


def test_a_list_with_an_entry_for_each_detector(table: KeyTable) -> None:
    gain = table.named("IRIS.imager.detector.systemConf.gain")[0]
    assert gain.concerns("IMG2")
    assert not gain.concerns("IFS")
    assert gain.of_detector([1.0, 2.0, 3.0, 4.0], "IMG2") == 2.0
    assert gain.of_detector([1.0], "IMG2") is None
    assert gain.of_detector(1.5, "IMG2") == 1.5


@pytest.mark.parametrize(
    ("name", "stamp", "unit", "offset_s"),
    [
        ("TCS.pk.currentPosition", MJD, "", -37.0),  # a TAI date is an instant 37 s before the same date in UTC
        ("TCS.cmIRIS.pupilRotation", MJD + 2 / 86_400, "", 2.0),
        ("TCS.cmIRIS.pupilRotation", "2031-01-15T06:00:02", "", 2.0),
        ("TCS.cmIRIS.pupilRotation", TIME_NS + 3 * NS, "tai_ns", 3.0),
        ("NFIRAOS.rtc.turbLgs", 1_926_223_201.5, "", 1.5),
        ("NFIRAOS.rtc.turbLgs", 1_926_223_201_500, "", 1.5),
        ("NFIRAOS.rtc.turbLgs", MJD + 30, "", 0.0),  # a month away: not believed
        ("NFIRAOS.rtc.turbLgs", "noon", "", 0.0),
        ("NFIRAOS.rtc.turbLgs", True, "", 0.0),
        ("IRIS.not.known", 1_926_223_201.5, "", 1.5),
    ],
)
def test_the_time_since_when_values_hold(table: KeyTable, name: str, stamp: Any, unit: str, offset_s: float) -> None:
    header = event(name, {"timestamp": unit} if unit else None, timestamp=stamp)
    assert (table.valid_ns(header) - TIME_NS) / NS == pytest.approx(offset_s, abs=2e-6)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("IRIS.imager.detector.ObserveEvent.ExposureStart", "ExposureStart"),
        ("IRIS.is.startPrepare", "PrepareStart"),
        ("IRIS.is.aborted", "ExposureAborted"),
        ("IRIS.ifs.detector.readoutFailed", "ReadoutFailed"),
        ("IRIS.is.startReadout", ""),
        ("IRIS.is.observing", None),
    ],
)
def test_steps_of_the_sequence_by_both_sets_of_names(table: KeyTable, name: str, step: str | None) -> None:
    assert table.observe_name(name) == step


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = shipped_keys().read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "keys.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('fits = "LGSR0"', 'fits = "LGS-R0-TOO-LONG"', r"\[events.'NFIRAOS.rtc.turbLgs'\] r0: .*regex"),
        ('fits = "LGSR0"', 'fist = "LGSR0"', "r0: .*unknown field `fist`"),
        ('fits = "LGSR0", type = "real", unit = "m"', 'type = "real", unit = "yard"', "unit 'yard' is not in"),
        ("low = 0.05, high = 0.5, per_read", "low = 0.5, high = 0.05, per_read", "low = 0.5 is not below high = 0.05"),
        ('fits = "LGSTHT2", type = "real"', 'fits = "LGSTHT2", type = "text", join = "linear"', "needs type = 'real'"),
        ('fits = "LGSTHT2", type', 'join = "angular", type', "needs unit = 'deg'"),
        ('unit = "hPa", sent_unit = "kPa"', 'unit = "hPa", sent_unit = "psi"', "sent_unit 'psi'"),
        ("rate_hz = 0.3", 'rate_hz = "often"', r"\[events.'NFIRAOS.rtc.odgwImage'\]"),
        ('[aliases."IRIS.imager.adc.prism_state"]', '[aliases."IRIS.imager.adc.PRISM_current"]', "event of the table"),
        ('event = "IRIS.imager.adc.PRISM_state"', 'event = "IRIS.imager.adc.STATE"', "is not in the table"),
        ('parameters = { current = "name" }', 'parameters = { current = "nam" }', "has no parameter 'nam'"),
        ('"is.aborted" = "ExposureAborted"', '"is.aborted" = "Exploded"', "Exploded"),
        ("version = 1", "version = ", "not TOML"),
    ],
)
def test_a_wrong_table_stops_the_start(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        KeyTable(changed(tmp_path, old, new))
    assert str(error.value).startswith(str(tmp_path / "keys.toml"))


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_keys(str(tmp_path / "none.toml"))
