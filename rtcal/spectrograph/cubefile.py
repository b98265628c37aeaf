"""Cubes and spectra on disk, as other programs read them: FITS with a wavelength axis, and tables.

`docs/spectrograph.md` lists extensions and cards. Nothing here depends on when a file is written.
"""

import math
from pathlib import Path

import numpy as np
from astropy.io import fits

from rtcal.products import UNITS, file_name, make_directory, reference_table, setup_cards
from streams.clock import iso_utc
from streams.fits_images import write_hdus, write_image
from streams.messages import Cube, CubeHeader, Spectrum, SpectrumHeader

MAS_PER_DEG = 3.6e6
TABLE_UNIT = "ct/s"
"""A count is an electron: readers of tables know only the units of the FITS standard, and the electron is none."""


def write_cube(cube: Cube, directory: Path) -> Path:
    """Write a cube, replacing an earlier one of the same exposure in one step; return its path.

    Extensions: DATA, ERR, DQ, each (wavelength, y, x), REFERENCES, DQ_DEF; wavelengths are CTYPE3 = WAVE, vacuum.

    Raises
    ------
    ImageError
        If the file cannot be written.
    """
    make_directory(directory)
    header = cube.header
    path = directory / _name(header, "cube")
    cards = _cards(header, "IrisRtcalCube")
    world = _world(header)
    write_image(
        path,
        cards,
        cube.data,
        cube.err,
        cube.dq,
        extra=[reference_table([header.arc, *header.references])],
        coordinates=world,
        overwrite=True,
    )
    return path


def write_spectrum(spectrum: Spectrum, directory: Path) -> Path:
    """Write a spectrum as a table WAVELENGTH [um], FLUX, UNCERTAINTY, DQ; return its path.

    Raises
    ------
    ImageError
        If the file cannot be written.
    """
    make_directory(directory)
    header = spectrum.header
    path = directory / _name(header, "spec")
    wavelength = header.wave_first_um + header.wave_step_um * np.arange(header.bins)
    columns = [
        fits.Column("WAVELENGTH", "D", unit="um", array=wavelength),
        fits.Column("FLUX", "E", unit=TABLE_UNIT, array=spectrum.data),
        fits.Column("UNCERTAINTY", "E", unit=TABLE_UNIT, array=spectrum.err),
        fits.Column("DQ", "J", bzero=2**31, array=spectrum.dq),
    ]
    cards = _cards(header, "IrisRtcalSpectrum")
    cards["APER_Y"] = (header.aperture_y, "[spaxel] centre of the aperture, from 0")
    cards["APER_X"] = (header.aperture_x, "[spaxel]")
    cards["APER_R"] = (header.aperture_radius, "[spaxel] radius")
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    write_hdus(path, fits.HDUList([fits.PrimaryHDU(header=cards), table]), overwrite=True)
    return path


def _name(header: CubeHeader | SpectrumHeader, kind: str) -> str:
    return f"{file_name(header).removesuffix('.fits')}_{kind}.fits"


def _world(header: CubeHeader) -> dict[str, str | int | float | bool]:
    """Return the cards of the axes: the sky, or without a pointing offsets on the field; and vacuum wavelength."""
    world: dict[str, str | int | float | bool] = {"WCSAXES": 3}
    side = None if header.scale_mas is None else header.scale_mas / MAS_PER_DEG
    for axis, spaxels in enumerate(reversed(header.field), 1):
        # Without a pointing the field's own axes, from its centre.
        world |= {f"CTYPE{axis}": "LINEAR", f"CUNIT{axis}": "deg" if side else "pixel", f"CRVAL{axis}": 0.0}
        world |= {f"CRPIX{axis}": (spaxels + 1) / 2, f"CDELT{axis}": side or 1.0}
    if side and header.pointing_deg is not None:
        ra, dec, angle = header.pointing_deg
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        world |= {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra % 360.0, "CRVAL2": dec, "RADESYS": "ICRS"}
        # East lies to the left where north is up.
        world |= {"CDELT1": -side, "PC1_1": cosine, "PC1_2": -sine, "PC2_1": sine, "PC2_2": cosine}
    world |= {"CTYPE3": "WAVE", "CUNIT3": "um", "CRPIX3": 1.0, "DISPAXIS": 3}
    return world | {"CRVAL3": header.wave_first_um, "CDELT3": header.wave_step_um, "SPECSYS": "TOPOCENT"}


def _cards(header: CubeHeader | SpectrumHeader, model: str) -> fits.Header:
    own: list[tuple[str, str | int | float | bool, str]] = [
        ("DATAMODL", model, "product of the spectrograph"),
        ("CREATOR", header.software, "program"),
        ("EXPID", header.exposure_id, "exposure"),
        ("REVISION", header.revision, "that of its frame"),
        ("BUNIT", UNITS[header.units], "a spaxel and wavelength bin"),
        ("TIMESYS", "UTC", "scale of dates"),
        ("DATE-OBS", iso_utc(header.first_read_ns), "start of the first read"),
        ("DATE-END", iso_utc(header.time_ns), "start of the last read"),
        ("EFFINTTM", header.effective_s, "[s] first to last read, all ramps"),
        ("NRAMPS", header.ramps, "ramps combined"),
        ("FINAL", header.final, "no further ramp expected"),
        ("CUBESTAT", header.status, "OK, APPROX (profiles of the arc), UNRELIABLE"),
        ("ARCFILE", header.arc.name or "N/A", "wavelengths"),
        ("ARCSTAT", header.arc.status, "status of the arc"),
        ("SKYSUB", header.sky.upper(), "sky that was subtracted"),
    ]
    if header.scale_mas is not None:
        own.append(("SPAXEL", header.scale_mas, "[mas] side of a spaxel"))
    if header.oh_offset_px is not None:
        own.append(("OHOFFSET", header.oh_offset_px, "[pixel] OH lines less the arc's wavelengths"))
    if header.adc_shift_max is not None:
        own.append(("ADCSHIFT", header.adc_shift_max, "[spaxel] largest shift of a slice"))
    for number, scale in enumerate(header.sky_scales, 1):
        own.append((f"SKYSCL{number}", scale, "scale of a group of OH lines"))
    return setup_cards(header, own)
