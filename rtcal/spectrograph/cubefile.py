"""Cubes and spectra on disk, as other programs read them: FITS with a wavelength axis, and tables.

`docs/spectrograph.md` lists extensions and cards. Nothing here depends on when a file is written.
"""

from pathlib import Path

import numpy as np
from astropy.io import fits

from rtcal.products import UNITS, file_name, make_directory, reference_table, setup_cards
from streams.clock import iso_utc
from streams.cube_axes import cube_axes
from streams.fits_images import write_hdus, write_image
from streams.messages import Cube, CubeHeader, Spectrum, SpectrumHeader

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
    write_image(
        path,
        cards,
        cube.data,
        cube.err,
        cube.dq,
        extra=[reference_table([header.arc, *header.references])],
        coordinates=cube_axes(header),
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
