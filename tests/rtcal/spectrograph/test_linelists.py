"""Lines of lamps: the tables that come along, and those of users with their traps."""

import numpy as np
import pytest

from rtcal.errors import UsageError
from rtcal.spectrograph.linelists import air_to_vacuum_um, lamp_lines, read_lines
from streams.lamps import LAMPS
from tests.data import shared_data

AR_AIR_A = (11488.109, 12439.321, 13367.111, 13718.577, 15046.5, 16940.584)
"""Argon lines in air [A], from the NIST Atomic Spectra Database."""
AR_VACUUM_UM = (1.1491250, 1.2442720, 1.3370766, 1.3722328, 1.5050615, 1.6945211)


@pytest.mark.parametrize("lamp", LAMPS)
def test_tables_are_in_order_and_cover_the_bands(lamp):
    lines = lamp_lines([lamp])
    assert (np.diff(lines.wavelength_um) > 0).all()
    assert lines.intensity.max() == 1.0
    assert lines.intensity.min() > 0
    assert len(lines.between(0.83, 2.45)) > 60


def test_known_lines_are_there_in_vacuum():
    listed = lamp_lines(["Ar"]).wavelength_um
    for wavelength in AR_VACUUM_UM:
        assert np.abs(listed - wavelength).min() < 6e-7


def test_air_becomes_vacuum():
    np.testing.assert_allclose(air_to_vacuum_um(np.array(AR_AIR_A) / 1e4), AR_VACUUM_UM, rtol=0, atol=6e-7)


def test_an_unknown_lamp_names_the_known():
    with pytest.raises(UsageError, match="lamp 'Hg' is not known; known are Ar, Ne, Kr, Xe"):
        lamp_lines(["Hg"])


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("wavelength_um,intensity\n1.3370766,10\n1.5050615,5\n", []),
        ("wavelength_nm element\n1337.0766 Ar\n1505.0615 Ar\n1716.1929 Ne\n", []),
        ("# my list\n| ion | wave | amplitude |\n| ArI | 13370.766 | 10 |\n| ArI | 15050.615 | 5 |\n", ["angstrom"]),
        ("#Order | Vacuum Wavelength | Species\n#      | (microns) |\n 3 | 1.3370766 | Ar\n 3 | 1.5050615 | Ar\n", []),
        ("Element,Air wavelength\nAr,13367.111\nAr,15046.5\nKr,13177.412\n", ["angstrom", "converted from air"]),
        ("ion,wave\nAr I,13367.111\nAr I,15046.500\n", ["angstrom", "so 2 lines agree with NIST, not 0"]),
    ],
)
def test_tables_of_many_forms_give_the_same_vacuum_lines(tmp_path, text, notes):
    lines, said = read_lines(write(tmp_path / "lines.dat", text), ["Ar"])
    np.testing.assert_allclose(lines.wavelength_um, [1.3370766, 1.5050615], atol=6e-7)
    assert said[0] == "lines.dat: 2 lines"
    assert len(said) == 1 + len(notes)
    for note, words in zip(said[1:], notes, strict=True):
        assert words in note


def test_the_medium_can_be_said(tmp_path):
    path = write(tmp_path / "lines.dat", "wavelength_a\n13367.111\n")
    assert read_lines(path, ["Ar"], "vacuum")[0].wavelength_um[0] == pytest.approx(1.3367111)
    assert read_lines(path, ["Ar"], "air")[0].wavelength_um[0] == pytest.approx(1.3370766, abs=6e-7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b c\n1 2 3\n", "no header with a column of wavelengths"),
        ("element,wavelength_um\nKr,1.5\n", "no line of Ar among its 1 rows"),
        ("", "no header with a column of wavelengths"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_lines(write(tmp_path / "lines.dat", text), ["Ar"])
    with pytest.raises(UsageError, match="cannot be read"):
        read_lines(tmp_path / "absent", ["Ar"])


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "lamps", "least"),
    [
        ("linelists/Ar_IR_MOSFIRE_lines.dat", ["Ar"], 110),
        ("linelists/Ne_IR_MOSFIRE_lines.dat", ["Ne"], 281),
        ("linelists/NIRSPEC-ArNeKrXe_lines.dat", ["Kr", "Xe"], 246),
        ("uspex/ShortXD_lines.dat", ["Ar"], 90),
    ],
)
def test_tables_of_other_programs_are_read_as_vacuum_and_agree_with_ours(name, lamps, least):
    lines, said = read_lines(shared_data("arcs") / name, lamps)
    assert len(lines) >= least
    assert not any("air" in note for note in said)
    own = lamp_lines(lamps).wavelength_um
    near = np.abs(own[:, None] - lines.wavelength_um).min(axis=0)
    assert np.mean(near < 1.5e-6) > 0.9
