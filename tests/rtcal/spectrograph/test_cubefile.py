"""Cubes and spectra on disk, read by astropy and specutils."""

import numpy as np
import pytest
import specutils
from astropy import units
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.wcs import WCS
from msgspec.structs import replace

from rtcal.spectrograph.cubefile import write_cube, write_spectrum
from streams.messages import Cube, CubeHeader, Spectrum, SpectrumHeader
from tests.fitsverify import verify
from tests.samples import _spectral


@pytest.fixture
def cube():
    rng = np.random.default_rng(1)
    data = rng.normal(10, 1, (40, 5, 6)).astype(np.float32)
    data[7, 2, 3] = np.nan
    dq = np.where(np.isnan(data), 1, 0).astype(np.uint32)
    dq[1, 1, 1] = 1 << 31
    values = _spectral(bins=40, binning=1, field=(5, 6), wave_first_um=1.5, wave_step_um=2e-4)
    return Cube(CubeHeader(**values), data, np.full_like(data, 0.5), dq)


def test_the_file_says_what_it_is(cube, tmp_path):
    path = write_cube(cube, tmp_path)
    assert path.name == "2031A-001-001_IRIS_IFS_SCI_LVL2_0001-00_cube.fits"
    verify(path)
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DATA", "ERR", "DQ", "REFERENCES", "DQ_DEF"]
        np.testing.assert_array_equal(hdus["DATA"].data, cube.data)
        np.testing.assert_array_equal(hdus["DQ"].data, cube.dq)
        cards = hdus[0].header
        expected = {
            "CUBESTAT": "APPROX", "ARCFILE": "arc_0001.fits", "ARCSTAT": "STALE", "SKYSUB": "SPAXELS", "OHOFFSET": 0.05,
            "ADCSHIFT": 0.25, "SPAXEL": 25.0, "SKYSCL2": 1.03, "FILTER": "H",
        }  # fmt: skip
        assert {key: cards[key] for key in expected} == expected
        world = hdus["DATA"].header
        assert (world["CTYPE3"], world["CUNIT3"], world["SPECSYS"]) == ("WAVE", "um", "TOPOCENT")
        assert "one trace has no wavelengths" in str(cards["HISTORY"])
    first = path.read_bytes()
    assert write_cube(cube, tmp_path).read_bytes() == first


def test_astropy_reads_the_wavelengths(cube, tmp_path):
    with fits.open(write_cube(cube, tmp_path)) as hdus:
        world = WCS(hdus["DATA"].header)
        assert world.spectral.pixel_to_world(0).to_value(units.um) == pytest.approx(1.5)
        assert world.spectral.pixel_to_world(39).to_value(units.um) == pytest.approx(1.5 + 39 * 2e-4)
        side = world.wcs.cdelt[0] * 3.6e6
        assert side == pytest.approx(25.0)


def test_astropy_reads_where_the_field_lies_if_the_telescope_said_so(cube, tmp_path):
    """One spaxel up from the centre lies along the y axis, which is turned from north to east."""
    cube = Cube(replace(cube.header, pointing_deg=(150.0, 30.0, 40.0)), cube.data, cube.err, cube.dq)
    path = write_cube(cube, tmp_path)
    verify(path)
    with fits.open(path) as hdus:
        sky = WCS(hdus["DATA"].header).celestial
    centre = sky.pixel_to_world(2.5, 2.0)
    assert (centre.ra.deg, centre.dec.deg) == pytest.approx((150.0, 30.0))
    above, right = sky.pixel_to_world(2.5, 3.0), sky.pixel_to_world(3.5, 2.0)
    assert centre.separation(above).mas == pytest.approx(25.0)
    assert centre.position_angle(above).deg == pytest.approx(40.0, abs=1e-3)
    assert centre.position_angle(right).deg == pytest.approx(40.0 - 90.0 + 360.0, abs=1e-3)


def test_specutils_reads_the_cube(cube, tmp_path):
    with fits.open(write_cube(cube, tmp_path)) as hdus:
        unit = units.Unit(hdus["DATA"].header["BUNIT"])
        read = specutils.Spectrum(
            flux=hdus["DATA"].data * unit,
            wcs=WCS(hdus["DATA"].header),
            uncertainty=StdDevUncertainty(hdus["ERR"].data),
            mask=hdus["DQ"].data & 1 == 1,
        )
        wavelengths = read.spectral_axis.to_value(units.um)
        np.testing.assert_allclose(wavelengths, 1.5 + 2e-4 * np.arange(40), rtol=1e-9)
        axis = read.spectral_axis_index
        np.testing.assert_array_equal(np.take(read.flux.value, 3, axis=axis).squeeze(), cube.data[3])
    read = specutils.Spectrum.read(write_cube(cube, tmp_path), format="wcs1d-fits", hdu=1, uncertainty_type="std")
    assert read.flux.unit == unit
    assert sorted(read.flux.shape) == [5, 6, 40]
    np.testing.assert_allclose(read.spectral_axis.to_value(units.um), wavelengths, rtol=1e-9)


def test_specutils_reads_the_spectrum(tmp_path):
    data = np.linspace(1, 2, 30, dtype=np.float32)
    where = {"aperture_y": 1.0, "aperture_x": 2.5, "aperture_radius": 3.0}
    values = _spectral(bins=30, wave_first_um=1.5, wave_step_um=2e-4, **where)
    dq = np.zeros(30, np.uint32)
    dq[4] = (1 << 31) | 1
    path = write_spectrum(Spectrum(SpectrumHeader(**values), data, data / 10, dq), tmp_path)
    assert path.name.endswith("_spec.fits")
    verify(path)
    read = specutils.Spectrum.read(path, format="tabular-fits", hdu=1)
    assert read.flux.unit == units.ct / units.s
    np.testing.assert_allclose(read.flux.value, data)
    np.testing.assert_allclose(read.spectral_axis.to_value(units.um), 1.5 + 2e-4 * np.arange(30))
    np.testing.assert_allclose(read.uncertainty.array, data / 10)
    with fits.open(path) as hdus:
        assert hdus[0].header["APER_X"] == 2.5
        assert hdus[1].data["DQ"][4] == (1 << 31) | 1
