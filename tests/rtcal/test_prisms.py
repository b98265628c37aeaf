"""The prisms' dispersion from a reference file, and frames that are made with it."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from rtcal.prisms import PrismCurve, PrismsError, read_curve


def write(path: Path, waves: list[float], spread: list[float], names: tuple[str, str] = ("WAVELENGTH", "DISP")) -> Path:
    columns = [fits.Column(name, "D", array=np.array(one)) for name, one in zip(names, (waves, spread), strict=True)]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


def test_a_table_is_read_in_the_order_of_wavelengths(tmp_path: Path) -> None:
    path = write(tmp_path / "adc.fits", [1.8, 1.4, 1.6], [-0.01, 0.02, 0.0])
    assert read_curve(path, "a") == PrismCurve((1.4, 1.6, 1.8), (20.0, 0.0, -10.0))


@pytest.mark.parametrize(
    ("waves", "spread", "said"),
    [
        ([1.4], [0.0], "no curve"),
        ([1.4, 1.4], [0.0, 1.0], "no curve"),
        ([1.4, np.nan], [0.0, 1.0], "no curve"),
        ([1.4, 1.5], [0.0, np.inf], "no curve within 10 arcsec"),
        ([1.4, 1.5], [0.0, np.nan], "no curve within"),
    ],
)
def test_numbers_that_are_no_curve(tmp_path: Path, waves: list[float], spread: list[float], said: str) -> None:
    with pytest.raises(PrismsError, match=said):
        read_curve(write(tmp_path / "adc.fits", waves, spread), "b")


def test_files_that_are_no_table(tmp_path: Path) -> None:
    with pytest.raises(PrismsError, match="no table with the columns"):
        read_curve(write(tmp_path / "adc.fits", [1.0, 2.0], [0.0, 1.0], ("WAVELENGTH", "OTHER")), "c")
    with pytest.raises(PrismsError, match="cannot be read"):
        read_curve(tmp_path / "none.fits", "d")
    (tmp_path / "text.fits").write_text("nothing", encoding="utf-8")
    with pytest.raises(PrismsError, match="cannot be read"):
        read_curve(tmp_path / "text.fits", "e")
