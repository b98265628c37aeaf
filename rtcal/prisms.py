"""The dispersion of the corrector's prisms as a reference file (REFTYPE ADC) gives it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.io import fits

from rtcal.errors import RtcalError

MAX_POINTS = 10_000
MAX_ARCSEC = 10.0


class PrismsError(RtcalError, ValueError):
    """A table of the prisms' dispersion that cannot be used: names the file and what is wrong."""


@dataclass(frozen=True)
class PrismCurve:
    """Dispersion of one prism."""

    wavelength_um: tuple[float, ...]
    """Rising."""
    dispersion_mas: tuple[float, ...]
    """Relative to any wavelength."""


@lru_cache(maxsize=16)
def read_curve(path: Path, sha256: str) -> PrismCurve:
    """Read the table with WAVELENGTH [um] and DISP [arcsec]; `sha256` tells one content of a path from another.

    Raises
    ------
    PrismsError
        If there is no such table, or its numbers are no curve.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            table = next((hdu.data for hdu in hdus if {"WAVELENGTH", "DISP"} <= _columns(hdu)), None)
            if table is None:
                raise PrismsError(f"{path}: no table with the columns WAVELENGTH and DISP")
            waves = np.array(table["WAVELENGTH"], dtype=np.float64).ravel()
            spread = np.array(table["DISP"], dtype=np.float64).ravel()
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, PrismsError):
            raise
        raise PrismsError(f"{path}: cannot be read ({sha256[:12]}): {' '.join(str(error).split())[:200]}") from error
    order = np.argsort(waves)
    waves, spread = waves[order], spread[order]
    if not 2 <= len(waves) <= MAX_POINTS or not np.isfinite(waves).all() or (np.diff(waves) <= 0).any():
        raise PrismsError(f"{path}: WAVELENGTH and DISP are no curve of 2 to {MAX_POINTS} points, each once")
    if not (np.abs(spread) <= MAX_ARCSEC).all():
        raise PrismsError(f"{path}: DISP is no curve within {MAX_ARCSEC:g} arcsec")
    return PrismCurve(tuple(waves.tolist()), tuple((1000 * spread).tolist()))


def _columns(hdu: object) -> set[str]:
    return set(hdu.columns.names) if isinstance(hdu, fits.BinTableHDU) else set()
