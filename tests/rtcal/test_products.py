import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtcal.products import file_name, frame_cards, write_frame
from streams.clock import NS, parse_iso_utc
from streams.errors import ImageError
from streams.messages import Frame, FrameHeader, Provenance
from tests.fitsverify import verify

SHAPE = (6, 9)
BEGIN_NS = parse_iso_utc("2031-03-04T08:00:05.25")
END_NS = BEGIN_NS + 45 * NS + 1
DARK = Provenance(reftype="DARK", status="STALE", name="dark_7.fits", sha256="0f" * 32, age_s=86_400.5, note="old")
SKY = Provenance(reftype="SKY", status="MISSING", note="no rule covers FILTER=H")


def make_frame(**changes: Any) -> Frame:
    values: dict[str, Any] = {
        "instrument": "IRIS",
        "detector": "IMG1",
        "sequence": 4,
        "time_ns": END_NS,
        "exposure_id": "2031A-001-002-IRIS-IMG1-SCI0-0042",
        "revision": 1,
        "ramps": 2,
        "ramps_planned": 2,
        "reads_planned": 10,
        "mode": "mcds",
        "reads_per_end": 4,
        "effective_s": 12.96,
        "first_read_ns": BEGIN_NS,
        "published_ns": END_NS + NS,
        "reads_used": 18,
        "reads_lost": 1,
        "reads_rejected": 1,
        "complete": False,
        "final": True,
        "gain_e_per_dn": 3.04,
        "read_noise_e": 9.0,
        "saturation_dn": 34600.0,
        "sky_scale": 1.07,
        "setup": {"DETECTOR": "IMG1", "FILTER": "H", "DATE-OBS": "2031-03-04T08:00:05"},
        "references": [DARK, SKY],
        "crds_context": "tmt_0001.pmap",
        "crds_sha1": "ab" * 20,
        "software": "iris-rtcal 0.1.0",
        "notes": ["a subarray: no reference pixels"],
    }
    data = np.linspace(-5, 500, 54, dtype=np.float32).reshape(SHAPE)
    data[0, 0] = np.nan
    dq = np.arange(54, dtype=np.uint32).reshape(SHAPE) * np.uint32(2**25)
    saturated = np.full(SHAPE, 65535, dtype=np.uint16)
    saturated[2, 3] = 7
    return Frame(FrameHeader(**(values | changes)), data, np.sqrt(np.abs(data)), dq, saturated)


def test_a_frame_is_read_back_whole(tmp_path: Path) -> None:
    frame = make_frame()
    path = write_frame(frame, tmp_path / "made" / "here")
    assert path == tmp_path / "made" / "here" / "2031A-001-002_IRIS_IMG1_SCI_LVL2_0042-00.fits"
    verify(path)
    with fits.open(path, checksum=True) as hdus:
        names = ["PRIMARY", "DATA", "ERR", "DQ", "SATREAD", "REFERENCES", "DQ_DEF"]
        assert [hdu.name for hdu in hdus] == names
        for name, array in (("DATA", frame.data), ("ERR", frame.err), ("DQ", frame.dq)):
            np.testing.assert_array_equal(hdus[name].data, array)
        np.testing.assert_array_equal(hdus["SATREAD"].data, frame.saturated_from)
        assert hdus["SATREAD"].data.dtype == np.uint16
        assert hdus["DATA"].header["BUNIT"] == hdus["ERR"].header["BUNIT"] == "electron/s"
        table = hdus["REFERENCES"].data
        assert table.columns.names == ["REFTYPE", "NAME", "SHA256", "AGE", "STATUS", "NOTE"]
        assert tuple(table[0]) == ("DARK", "dark_7.fits", "0f" * 32, 86_400.5, "STALE", "old")
        assert tuple(table[1][name] for name in ("REFTYPE", "NAME", "SHA256", "STATUS", "NOTE")) == (
            "SKY", "", "", "MISSING", "no rule covers FILTER=H",
        )  # fmt: skip
        assert math.isnan(table[1]["AGE"])


def test_cards() -> None:
    cards = frame_cards(make_frame())
    expected = {
        "INSTRUME": "IRIS",
        "DETECTOR": "IMG1",
        "FILTER": "H",
        "EXPID": "2031A-001-002-IRIS-IMG1-SCI0-0042",
        "REVISION": 1,
        "BUNIT": "electron/s",
        "TIMESYS": "UTC",
        "DATE-OBS": "2031-03-04T08:00:05.250",
        "DATE-END": "2031-03-04T08:00:50.250",
        "TAI-BEG": BEGIN_NS,
        "TAI-END": END_NS,
        "EFFINTTM": 12.96,
        "RAMPMODE": "MCDS",
        "RDPEREND": 4,
        "NRAMPS": 2,
        "NRAMPPLN": 2,
        "NREADPLN": 10,
        "NREADS": 18,
        "NRDLOST": 1,
        "NRDREJ": 1,
        "COMPLETE": False,
        "FINAL": True,
        "GAIN": 3.04,
        "RDNOISE": 9.0,
        "RNKIND": "SINGLE",
        "SATURATE": 34600.0,
        "SKYSCALE": 1.07,
        "CRDS_CTX": "tmt_0001.pmap",
        "CRDS_SHA": "ab" * 20,
        "R_DARK": "dark_7.fits",
        "S_DARK": "STALE",
        "R_SKY": "N/A",
        "S_SKY": "MISSING",
        "CREATOR": "iris-rtcal 0.1.0",
    }
    assert {key: cards[key] for key in expected} == expected
    assert cards["MJD-OBS"] == pytest.approx(62_929 + (8 * 3600 + 5.25) / 86_400, abs=1e-10)
    assert list(cards["HISTORY"]) == ["a subarray: no reference pixels"]
    assert "SKYSCALE" not in frame_cards(make_frame(sky_scale=None))


def test_publication_does_not_reach_the_file(tmp_path: Path) -> None:
    live = write_frame(make_frame(), tmp_path / "live")
    offline = write_frame(make_frame(published_ns=BEGIN_NS, sequence=0), tmp_path / "offline")
    assert live.read_bytes() == offline.read_bytes()


def test_a_later_issue_replaces_the_earlier(tmp_path: Path) -> None:
    first = write_frame(make_frame(revision=1), tmp_path)
    second = write_frame(make_frame(revision=2), tmp_path)
    assert first == second
    assert fits.getheader(second)["REVISION"] == 2
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "2031A-001-002_IRIS_IMG1_SCI_LVL2_0042-00.fits"),
        ({"references": [SKY]}, "2031A-001-002_IRIS_IMG1_SCI_LVL1_0042-00.fits"),
        (
            {"exposure_id": "2031A-001-002-IRIS-IMG1-SKY0-0042-03"},
            "2031A-001-002_IRIS_IMG1_SKY_LVL2_0042-03.fits",
        ),
        ({"final": False, "ramps": 3}, "2031A-001-002_IRIS_IMG1_SCI_LVL2_0042-00_r003.fits"),
        ({"exposure_id": "sci_D"}, "sci_D_IMG1.fits"),
        ({"exposure_id": "sci_D", "final": False}, "sci_D_IMG1_r002.fits"),
        ({"detector": "IMG2"}, "2031A-001-002-IRIS-IMG1-SCI0-0042_IMG2.fits"),
    ],
)
def test_file_names(changes: dict[str, Any], name: str) -> None:
    assert file_name(make_frame(**changes).header) == name


IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)


@given(IDS)
def test_any_exposure_id_gives_a_name_inside_the_directory(exposure_id: str) -> None:
    name = file_name(make_frame(exposure_id=exposure_id).header)
    assert Path(name).name == name
    assert not name.startswith((".", "-"))
    assert len(name) < 200


@given(IDS, IDS)
def test_two_exposures_never_share_a_name(one: str, other: str) -> None:
    names = {
        file_name(make_frame(exposure_id=exposure_id).header).lower() for exposure_id in {one, other, "a/b", "a:b"}
    }
    assert len(names) == len({one.lower(), other.lower(), "a/b", "a:b"})


def test_setup_that_fits_cannot_hold_is_told_in_the_history() -> None:
    setup = {
        "FILTER_POSITION": "Kn3 \u03bb",
        "focus": 1.5,
        "BAD": math.inf,
        "NAXIS": 7,
        "": "x",
        "GAIN": 9.0,
        "FILTER_P": 2,
        "LINES": "a\nb",
    }
    cards = frame_cards(make_frame(setup=setup, effective_s=math.nan, notes=["\u00b5-metre"]))
    assert cards["FILTER_P"] == "Kn3 ?"
    assert cards["FOCUS"] == 1.5
    assert cards["LINES"] == "a?b"
    assert cards["GAIN"] == 3.04
    assert not {"BAD", "NAXIS", "EFFINTTM"} & set(cards)
    history = "\n".join(cards["HISTORY"])
    for part in (
        "?-metre",
        "setup 'FILTER_POSITION' is in the card FILTER_P",
        "FILTER_P was 'Kn3 \\u03bb'",
        "setup 'focus' is in the card FOCUS",
        "BAD has no card: it was inf",
        "setup 'NAXIS' = 7 has no card: the name is not free in FITS",
        "setup '' = 'x' has no card",
        "setup 'GAIN' = 9.0 has no card: GAIN is the frame's own",
        "setup 'FILTER_P' = 2 has no card: FILTER_P is taken by another key",
        "EFFINTTM has no card: it was nan",
    ):
        assert part in history


SETUP = st.dictionaries(
    st.one_of(st.text(max_size=12), st.from_regex(r"[A-Z]{2,4}[A-Z0-9_-]{0,4}", fullmatch=True)),
    st.one_of(st.text(max_size=100), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=True), st.booleans()),
    max_size=8,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(setup=SETUP, notes=st.lists(st.text(max_size=200), max_size=3))
def test_any_setup_gives_a_clean_file(setup: dict[str, Any], notes: list[str], tmp_path: Path) -> None:
    verify(write_frame(make_frame(setup=setup, notes=notes), tmp_path))


def test_no_references_and_strange_ones(tmp_path: Path) -> None:
    verify(write_frame(make_frame(references=[]), tmp_path))
    references = [
        Provenance(reftype="READNOISE", status="OK", name="caf\u00e9.fits", note="x" * 900),
        Provenance(reftype="READNOISE2", status="DUMMY"),
    ]
    path = write_frame(make_frame(references=references), tmp_path)
    verify(path)
    with fits.open(path) as hdus:
        assert hdus[0].header["R_READNO"] == "caf?.fits"
        assert list(hdus["REFERENCES"].data["STATUS"]) == ["OK", "DUMMY"]


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match=r"cannot be made: .*; choose another directory"):
        write_frame(make_frame(), tmp_path / "file" / "frames")
