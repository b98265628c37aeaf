import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from streams.dq import DESCRIPTIONS, Dq
from streams.errors import ImageError
from streams.fits_images import write_hdus, write_image
from tests.fitsverify import verify

SHAPE = (6, 9)
DATA = np.linspace(-1, 1, 54, dtype=np.float32).reshape(SHAPE)
ERR = np.full(SHAPE, np.nan, dtype=np.float32)
DQ = np.full(SHAPE, Dq.DO_NOT_USE | Dq.REFERENCE_PIXEL, dtype=np.uint32)


def cards() -> fits.Header:
    return fits.Header({"INSTRUME": "IRIS", "REFTYPE": "DARK", "BUNIT": "electron/s"})


@contextmanager
def small_disk(limit_bytes: int) -> Iterator[None]:
    """Let the system refuse to write files beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    write_image(path, cards(), DATA, ERR, DQ)
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DATA", "ERR", "DQ", "DQ_DEF"]
        assert hdus[0].header["REFTYPE"] == "DARK"
        np.testing.assert_array_equal(hdus["DATA"].data, DATA)
        np.testing.assert_array_equal(hdus["ERR"].data, ERR)
        np.testing.assert_array_equal(hdus["DQ"].data, DQ)
        assert (hdus["DATA"].header["BITPIX"], hdus["DQ"].header["BZERO"]) == (-32, 2**31)
        assert hdus["DQ"].data.dtype == np.uint32
        assert [hdus[name].header.get("BUNIT") for name in ("DATA", "ERR", "DQ")] == ["electron/s"] * 2 + [None]
        assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus)
        table = hdus["DQ_DEF"].data
        assert table.columns.names == ["BIT", "VALUE", "NAME", "DESCRIPTION"]
        assert len(table) == 32
        for row, bit in zip(table, Dq, strict=True):
            assert (1 << int(row["BIT"]), row["VALUE"], row["NAME"]) == (bit.value, bit.value, bit.name)
            assert row["DESCRIPTION"] == DESCRIPTIONS[bit]


def test_fitsverify_finds_nothing(tmp_path: Path) -> None:
    header = cards()
    header["LONGTEXT"] = "x" * 200
    header.add_history("made for a test, with a line that is longer than one card of eighty characters can hold")
    extra = [fits.ImageHDU(np.full(SHAPE, 65535, np.uint16), name="SATREAD")]
    write_image(tmp_path / "a.fits", header, DATA, ERR, DQ, extra=extra)
    verify(tmp_path / "a.fits")
    assert fits.getheader(tmp_path / "a.fits")["LONGTEXT"] == "x" * 200


def test_flags_alone(tmp_path: Path) -> None:
    write_image(tmp_path / "badpix.fits", cards(), None, None, DQ)
    verify(tmp_path / "badpix.fits")
    with fits.open(tmp_path / "badpix.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DQ", "DQ_DEF"]


def test_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    for name in ("a.fits", "b.fits"):
        write_image(tmp_path / name, cards(), DATA, ERR, DQ)
    written = (tmp_path / "a.fits").read_bytes()
    assert written == (tmp_path / "b.fits").read_bytes()
    for header in (fits.getheader(tmp_path / "a.fits", number) for number in range(5)):
        assert "DATE" not in header
        assert header.comments["CHECKSUM"] == header.comments["DATASUM"] == ""


def test_arguments_stay_as_they_were(tmp_path: Path) -> None:
    data, err, dq, header = DATA.copy(), np.abs(DATA), DQ.copy(), cards()
    for array in (data, err, dq):
        array.setflags(write=False)
    write_image(tmp_path / "a.fits", header, data, err, dq)
    np.testing.assert_array_equal(data, DATA)
    np.testing.assert_array_equal(err, np.abs(DATA))
    assert list(header) == list(cards())


def test_other_float_types_become_float32(tmp_path: Path) -> None:
    write_image(tmp_path / "a.fits", cards(), DATA.astype(np.float64).T, None, DQ.T)
    with fits.open(tmp_path / "a.fits") as hdus:
        assert hdus["DATA"].data.dtype == np.dtype(">f4")
        np.testing.assert_array_equal(hdus["DATA"].data, DATA.T)


def test_shapes_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"DATA, ERR and DQ need one shape, found .*\(6, 9\).*\(9, 6\)"):
        write_image(tmp_path / "a.fits", cards(), DATA, ERR.T, DQ)
    with pytest.raises(ImageError, match="none of them"):
        write_image(tmp_path / "a.fits", cards(), None, None, None)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    write_image(path, cards(), DATA, ERR, DQ)
    before = path.read_bytes()
    with pytest.raises(ImageError, match=r"a\.fits: the file exists; remove it, choose another name"):
        write_image(path, cards(), ERR, DATA, DQ)
    assert path.read_bytes() == before
    write_image(path, cards(), ERR, DATA, DQ, overwrite=True)
    assert path.read_bytes() != before


def test_a_full_disk_leaves_nothing_behind_and_nothing_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    write_image(path, cards(), DATA, ERR, DQ)
    before = path.read_bytes()
    with small_disk(8000), pytest.raises(ImageError, match=r"a\.fits: cannot be written: File too large; check"):
        write_image(path, cards(), ERR, DATA, DQ, overwrite=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.fits"]


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be written: No such file or directory; check the space and"):
        write_image(tmp_path / "no" / "a.fits", cards(), DATA, ERR, DQ)


def test_any_extensions(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("X", "E", array=np.arange(3.0))], name="STARS")
    table.header["ORIGIN"] = "y" * 100
    write_hdus(tmp_path / "a.fits", fits.HDUList([fits.PrimaryHDU(), table]))
    verify(tmp_path / "a.fits")
