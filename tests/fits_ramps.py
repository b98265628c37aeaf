"""Small ramps as FITS files, for commands that read them."""

from pathlib import Path

import numpy as np
from astropy.io import fits

SHAPE = (24, 32)
GAIN_E_PER_DN = 2.0
SPACING_S = 1.5


def write_ramp(
    path: Path,
    reads: int = 5,
    rate_e_per_s: float | np.ndarray = 60.0,
    shape: tuple[int, int] = SHAPE,
    **cards: object,
) -> Path:
    """Write a ramp `(read, y, x)` in one file: a steady rate over a level of 5000 DN, without noise."""
    seconds = SPACING_S * np.arange(reads)[:, None, None]
    signal_dn = seconds * np.broadcast_to(rate_e_per_s, shape) / GAIN_E_PER_DN
    header = fits.Header()
    header["INSTRUME"] = "IRIS"
    header["DETECTOR"] = "IMG1"
    header["DATE-OBS"] = "2031-01-15T06:00:00"
    header["SUBARRAY"] = "WINDOW"  # no reference border: every pixel counts
    header["NGROUPS"] = reads
    header["TGROUP"] = SPACING_S
    header["TFRAME"] = SPACING_S
    header["GAIN"] = GAIN_E_PER_DN
    header["RDNOISE"] = 9.0
    header["SATURATE"] = 60000.0
    header.update(cards)
    image = fits.ImageHDU((5000 + signal_dn).round().astype(np.uint16), name="SCI")
    fits.HDUList([fits.PrimaryHDU(header=header), image]).writeto(path)
    return path


def write_truncated(path: Path, bytes_kept: int) -> Path:
    """Write a ramp of which only the beginning arrived."""
    whole = write_ramp(path.with_suffix(".whole"))
    path.write_bytes(whole.read_bytes()[:bytes_kept])
    whole.unlink()
    return path
