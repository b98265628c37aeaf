import contextlib
import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refcache import (
    REFTYPES,
    BadPixels,
    Bias,
    Dark,
    Flags,
    Flat,
    Gain,
    Linearity,
    ReadNoise,
    RefcacheError,
    ReferenceFileError,
    Saturation,
    Sky,
    load_reference,
)
from refcache.errors import LayoutError, LfsPointerError, MissingFileError, NotFitsError, UnitError
from refcache.references import crop
from streams.dq import Dq
from tests.crds_cache import SHAPE, reference_hdus, write_reference

KINDS = {kind.reftype: kind for kind in (BadPixels, Bias, Dark, Flat, Gain, Linearity, ReadNoise, Saturation, Sky)}
WITH_PIXELS = [name for name, kind in REFTYPES.items() if kind.images]
IMAGES = {"badpix": 0, "gain": 0, "readnoise": 0, "bias": 1, "linearity": 1, "saturation": 1}
IMAGES |= {"dark": 2, "sky": 2, "flat": 2}


@pytest.mark.parametrize("reftype", WITH_PIXELS)
def test_each_type_is_loaded_read_only_in_native_c_order(tmp_path: Path, reftype: str) -> None:
    path = write_reference(tmp_path / "x.fits", reftype)
    reference = load_reference(path, reftype)
    assert type(reference) is KINDS[reftype]
    assert reference.shape == SHAPE
    assert reference.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (reference.name, reference.pedigree) == ("x.fits", "SIMULATION")
    assert reference.useafter == "2027-01-01 00:00:00"
    assert reference.header["REFTYPE"] == reftype.upper()
    assert reference.notes == ()
    images = {key: value for key, value in vars(reference).items() if isinstance(value, np.ndarray)}
    assert len(images) == IMAGES[reftype]
    for key, image in images.items():
        assert image.dtype == np.dtype("float32"), key
        assert image.dtype.isnative
        assert image.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            image[0, 0] = 1
    assert isinstance(reference.dq, Flags)
    with pytest.raises(TypeError):
        reference.header["X"] = 1  # type: ignore[index]


@pytest.mark.parametrize("reftype", [name for name in REFTYPES if name not in WITH_PIXELS])
def test_of_other_types_the_cards_and_the_hash_are_known_and_damage_is_found(tmp_path: Path, reftype: str) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("WAVELENGTH", "D", array=np.arange(500.0))], name="TABLE")
    hdus = fits.HDUList([reference_hdus("dark", REFTYPE=reftype)[0], table])
    hdus.writeto(tmp_path / "x.fits")
    reference = load_reference(tmp_path / "x.fits", reftype)
    assert reference.header["REFTYPE"] == reftype
    assert reference.sha256 == hashlib.sha256((tmp_path / "x.fits").read_bytes()).hexdigest()
    assert (reference.shape, reference.nbytes) == ((0, 0), 0)
    (tmp_path / "x.fits").write_bytes((tmp_path / "x.fits").read_bytes()[:-3000])
    with pytest.raises(NotFitsError, match="is truncated or damaged"):
        load_reference(tmp_path / "x.fits", reftype)


def test_values_bits_and_unsigned_words_survive(tmp_path: Path) -> None:
    hdus = reference_hdus("dark")
    hdus["DATA"].data = np.arange(48, dtype=">f8").reshape(SHAPE)
    hdus["DQ"].data = np.full(SHAPE, 1 << 31 | 5, np.uint32)
    hdus.writeto(tmp_path / "d.fits")
    dark = load_reference(tmp_path / "d.fits", "dark")
    assert isinstance(dark, Dark)
    np.testing.assert_array_equal(dark.rate, np.arange(48, dtype=np.float32).reshape(SHAPE))
    assert (dark.dq.plane() == (1 << 31 | 5)).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
def test_narrower_dq_is_widened_and_int32_keeps_its_sign_bit(tmp_path: Path, dtype: str) -> None:
    value = -(2**31) + 1 if dtype == "int32" else 7
    hdu = fits.ImageHDU(np.full(SHAPE, value, dtype), name="DQ")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "b.fits")
    assert (load_reference(tmp_path / "b.fits", "badpix").dq.plane() == (value % 2**32)).all()


def test_a_gzipped_and_a_tile_compressed_file_are_read(tmp_path: Path) -> None:
    path = write_reference(tmp_path / "d.fits")
    (tmp_path / "d.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert load_reference(tmp_path / "d.fits.gz", "dark").shape == SHAPE
    tiled = fits.CompImageHDU(np.ones(SHAPE, np.float32), name="DATA", compression_type="GZIP_2", quantize_level=0)
    tiled.header["BUNIT"] = "e-/s"
    fits.HDUList([fits.PrimaryHDU(), tiled]).writeto(tmp_path / "t.fits")
    tiled_dark = load_reference(tmp_path / "t.fits", "dark")
    assert isinstance(tiled_dark, Dark)
    assert (tiled_dark.rate == 1).all()


def test_missing_err_and_dq_are_zeros_with_a_note(tmp_path: Path) -> None:
    fits.HDUList(reference_hdus("dark")[:2]).writeto(tmp_path / "d.fits")
    dark = load_reference(tmp_path / "d.fits", "dark")
    assert isinstance(dark, Dark)
    assert not dark.err.any()
    assert not dark.dq.places.size
    assert dark.notes == ("no DQ: no pixel is flagged", "no ERR: its error counts as 0")


@pytest.mark.parametrize(
    ("reftype", "bad", "neutral", "flag"),
    [
        ("dark", np.nan, 0, Dq.UNRELIABLE_DARK),
        ("dark", -np.inf, 0, Dq.UNRELIABLE_DARK),
        ("dark", 1e300, 0, Dq.UNRELIABLE_DARK),  # beyond float32
        ("sky", np.nan, 0, Dq.DO_NOT_USE),
        ("flat", np.nan, 1, Dq.UNRELIABLE_FLAT),
        ("flat", 0.0, 1, Dq.UNRELIABLE_FLAT),
        ("flat", -0.5, 1, Dq.UNRELIABLE_FLAT),
    ],
)
def test_pixels_without_a_value_change_nothing_and_are_flagged(
    tmp_path: Path, reftype: str, bad: float, neutral: float, flag: int
) -> None:
    hdus = reference_hdus(reftype)
    data = np.full(SHAPE, 2.0)
    data[1, 2] = bad
    hdus["DATA"].data = data
    hdus["DQ"].data[1, 2] = 1 << 11
    hdus.writeto(tmp_path / "r.fits")
    reference = load_reference(tmp_path / "r.fits", reftype)
    image = reference.flat if isinstance(reference, Flat) else getattr(reference, "rate")  # noqa: B009
    assert image[1, 2] == neutral
    assert reference.dq.plane()[1, 2] == flag | 1 << 11
    assert getattr(reference, "err")[1, 2] == 0  # noqa: B009
    assert (image == 2).sum() == image.size - 1
    assert np.count_nonzero(reference.dq.plane()) == 1
    assert reference.notes == (f"1 pixels without a usable value count as {neutral:g}",)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -3.0])
def test_a_pixel_without_a_saturation_level_never_reaches_it(tmp_path: Path, bad: float) -> None:
    hdus = reference_hdus("saturation", value=34_000.0)
    hdus["DATA"].data[1, 2] = bad
    hdus["DQ"].data[3, 3] = Dq.NO_SAT_CHECK  # said by the file itself
    hdus.writeto(tmp_path / "s.fits")
    saturation = load_reference(tmp_path / "s.fits", "saturation")
    assert isinstance(saturation, Saturation)
    assert (saturation.level[1, 2], saturation.level[3, 3], saturation.level[0, 0]) == (np.inf, np.inf, 34_000)
    assert (saturation.dq.plane()[1, 2], saturation.dq.plane()[3, 3]) == (Dq.NO_SAT_CHECK, Dq.NO_SAT_CHECK)
    assert np.count_nonzero(saturation.dq.plane()) == 2


def test_a_pixel_without_a_bias_is_flagged(tmp_path: Path) -> None:
    hdus = reference_hdus("bias", value=5000.0)
    hdus["DATA"].data[1, 2] = np.nan
    hdus["DQ"].data[3, 3] = Dq.UNRELIABLE_BIAS  # of large variance, and a level all the same
    hdus.writeto(tmp_path / "b.fits")
    bias = load_reference(tmp_path / "b.fits", "bias")
    assert isinstance(bias, Bias)
    assert (bias.level[1, 2], bias.level[3, 3]) == (0, 5000)
    assert (bias.dq.plane()[1, 2], bias.dq.plane()[3, 3]) == (Dq.UNRELIABLE_BIAS, Dq.UNRELIABLE_BIAS)


@pytest.mark.parametrize("reftype", [name for name in WITH_PIXELS if name not in ("badpix", "linearity")])
def test_a_file_without_any_usable_value_is_refused(tmp_path: Path, reftype: str) -> None:
    hdus = reference_hdus(reftype, value=np.nan)
    hdus.writeto(tmp_path / "r.fits")
    with pytest.raises(LayoutError, match=r"r\.fits: DATA: no pixel has a usable value \(finite.*; make or fetch it"):
        load_reference(tmp_path / "r.fits", reftype)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_an_error_that_is_none_is_zero_and_flagged(tmp_path: Path, bad: float) -> None:
    hdus = reference_hdus("sky")
    hdus["ERR"].data[0, 0] = bad
    hdus.writeto(tmp_path / "s.fits")
    sky = load_reference(tmp_path / "s.fits", "sky")
    assert isinstance(sky, Sky)
    assert (sky.err[0, 0], sky.dq.plane()[0, 0], sky.rate[0, 0]) == (0, Dq.UNRELIABLE_ERROR, 2)


@pytest.mark.parametrize(
    "unit", ["e-/s", "electron/s", "electrons/s", "electron s-1", "E-/SEC", "electron s**-1", "e/s"]
)
def test_rates_may_spell_their_unit_in_the_usual_ways(tmp_path: Path, unit: str) -> None:
    hdus = reference_hdus("dark")
    hdus["DATA"].header["BUNIT"] = unit
    hdus.writeto(tmp_path / "d.fits")
    assert load_reference(tmp_path / "d.fits", "dark").shape == SHAPE


def test_the_unit_may_stand_in_primary(tmp_path: Path) -> None:
    hdus = reference_hdus("dark", BUNIT="electron/s")
    del hdus["DATA"].header["BUNIT"]
    hdus.writeto(tmp_path / "d.fits")
    assert load_reference(tmp_path / "d.fits", "dark").header["BUNIT"] == "electron/s"


def _unit(unit: str | None) -> Callable[[fits.HDUList], None]:
    def change(hdus: fits.HDUList) -> None:
        hdus["DATA"].header.remove("BUNIT", ignore_missing=True)
        if unit is not None:
            hdus["DATA"].header["BUNIT"] = unit

    return change


def _replace(name: str, data: np.ndarray | None) -> Callable[[fits.HDUList], None]:
    def change(hdus: fits.HDUList) -> None:
        index = hdus.index_of(name)
        unit = hdus[name].header.get("BUNIT")
        hdus[index] = fits.ImageHDU(data, name=name)
        if unit:
            hdus[index].header["BUNIT"] = unit

    return change


def _drop(name: str) -> Callable[[fits.HDUList], None]:
    return lambda hdus: hdus.pop(hdus.index_of(name))


@pytest.mark.parametrize(
    ("reftype", "change", "error", "text"),
    [
        ("dark", _unit("DN/s"), UnitError, "BUNIT: is 'DN/s'; a dark is in electrons per second: convert it to 'e-/s'"),
        ("sky", _unit(None), UnitError, "BUNIT: is missing; a sky is in electrons per second: set BUNIT = 'e-/s'"),
        ("flat", _unit("e-/s"), UnitError, "BUNIT: is 'e-/s'; a flat is relative: leave BUNIT out, or set it to '1'"),
        (
            "dark",
            _drop("DATA"),
            LayoutError,
            "DATA: no such extension; found PRIMARY, ERR, DQ; name the image extension",
        ),
        ("bias", _unit("e-"), UnitError, "BUNIT: is 'e-'; a bias is in raw numbers: convert it to 'DN'"),
        ("saturation", _unit(None), UnitError, "BUNIT: is missing; a saturation is in raw numbers: set BUNIT = 'DN'"),
        ("badpix", _drop("DQ"), LayoutError, "DQ: no such extension; found PRIMARY; name the image extension DQ"),
        ("dark", _replace("DATA", np.zeros((2, 3, 4), np.float32)), LayoutError, "DATA: is of shape (2, 3, 4); a ref"),
        ("dark", _replace("DATA", np.zeros(5, np.float32)), LayoutError, "DATA: is of shape (5,); a reference is one"),
        ("dark", _replace("DATA", None), LayoutError, "DATA: is of shape (); a reference is one image (y, x)"),
        ("dark", _replace("DATA", np.zeros(SHAPE, np.int16)), LayoutError, "DATA: is int16; write it as float32"),
        (
            "dark",
            _replace("ERR", np.zeros((6, 7), np.float32)),
            LayoutError,
            "ERR: is of shape (6, 7), the first image",
        ),
        ("dark", _replace("ERR", np.zeros(SHAPE, np.int32)), LayoutError, "ERR: is int32; write it as float32"),
        ("dark", _replace("DQ", np.zeros((7, 8), np.uint32)), LayoutError, "DQ: is of shape (7, 8), the first image"),
        ("dark", _replace("DQ", np.zeros(SHAPE, np.float32)), LayoutError, "DQ: is float32; write it as uint32"),
        (
            "badpix",
            _replace("DQ", np.full(SHAPE, -1, np.int16)),
            LayoutError,
            "DQ: is int16 with negative values; write",
        ),
        ("badpix", _replace("DQ", np.zeros(SHAPE, np.int64)), LayoutError, "DQ: is int64; write it as uint32"),
    ],
)
def test_a_file_that_does_not_fit_names_itself_the_key_and_the_remedy(
    tmp_path: Path, reftype: str, change: Callable[[fits.HDUList], None], error: type[Exception], text: str
) -> None:
    hdus = reference_hdus(reftype)
    change(hdus)
    path = tmp_path / "r.fits"
    hdus.writeto(path)
    with pytest.raises(error) as raised:
        load_reference(path, reftype)
    assert isinstance(raised.value, ReferenceFileError)
    assert str(raised.value).startswith(f"{path}: {text}")
    assert text.startswith(raised.value.key)


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"dark\.fits: no such file; check the path"):
        load_reference(tmp_path / "dark.fits", "dark")
    with pytest.raises(MissingFileError, match="cannot be read: Is a directory"):
        load_reference(tmp_path, "dark")


def test_a_git_lfs_pointer_is_named_as_such(tmp_path: Path) -> None:
    pointer = tmp_path / "d.fits"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12ab\nsize 201342400\n")
    with pytest.raises(LfsPointerError, match="is a Git LFS pointer, not the file; run `git lfs pull`"):
        load_reference(pointer, "dark")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_what_is_not_fits_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.fits").write_bytes(content)
    with pytest.raises(NotFitsError, match="is not FITS: it begins with"):
        load_reference(tmp_path / "d.fits", "dark")


def test_an_unknown_type_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ReferenceFileError, match="reftype: 'drak' is not known; known are badpix, saturation"):
        load_reference(tmp_path / "d.fits", "drak")


@pytest.mark.parametrize("kept", [80, 2880, 3000, 6000, 9000, 12000, -2880, -1])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, kept: int) -> None:
    whole = write_reference(tmp_path / "d.fits", shape=(40, 40)).read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:kept])
    with pytest.raises(ReferenceFileError, match=r"is truncated or damaged|no such extension") as raised:
        load_reference(tmp_path / "cut.fits", "dark")
    assert str(tmp_path / "cut.fits") in str(raised.value)


def test_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(write_reference(tmp_path / "d.fits", shape=(40, 40)).read_bytes())
    (tmp_path / "cut.fits.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NotFitsError, match="is truncated or damaged"):
        load_reference(tmp_path / "cut.fits.gz", "dark")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 4 * 2880), junk=st.binary(min_size=1, max_size=80))
def test_damage_anywhere_gives_a_reference_or_a_typed_error(tmp_path: Path, at: int, junk: bytes) -> None:
    whole = bytearray(write_reference(tmp_path / "d.fits").read_bytes())
    whole[at : at + len(junk)] = junk
    (tmp_path / "d.fits").write_bytes(whole)
    with contextlib.suppress(RefcacheError):
        assert isinstance(load_reference(tmp_path / "d.fits", "dark"), Dark)


def test_a_window_is_cut_out_of_every_image_and_stays_read_only(tmp_path: Path) -> None:
    hdus = reference_hdus("dark")
    hdus["DATA"].data = np.arange(48, dtype=np.float32).reshape(SHAPE)
    hdus.writeto(tmp_path / "d.fits")
    cut = crop(load_reference(tmp_path / "d.fits", "dark"), 1, 2, (3, 4))
    assert isinstance(cut, Dark)
    assert cut.shape == cut.rate.shape == cut.err.shape == (3, 4)
    assert cut.rate[0, 0] == 8 + 2
    assert cut.rate.flags.c_contiguous
    assert not cut.rate.flags.writeable
    assert cut.notes == ("cropped to 3 x 4 at column 3, row 2",)
    with pytest.raises(ValueError, match="does not lie inside"):
        crop(cut, 1, 0, (3, 4))


def test_gain_and_read_noise_are_what_is_typical_of_the_good_pixels(tmp_path: Path) -> None:
    hdus = reference_hdus("readnoise", value=10.0, RNKIND="SINGLE", GAIN=2.0)
    hdus["DATA"].data[0, :4] = [np.nan, -1.0, 0.0, 500.0]
    hdus["DQ"].data[0, 3] = Dq.DO_NOT_USE
    hdus["DATA"].data[1] = 12.0
    hdus["DATA"].data[2, 0] = 100.0  # noisy: not typical
    hdus.writeto(tmp_path / "n.fits")
    noise = load_reference(tmp_path / "n.fits", "readnoise")
    assert isinstance(noise, ReadNoise)
    typical = np.sqrt((35 * 100.0 + 8 * 144.0) / 43)
    assert noise.noise_e == pytest.approx(typical)
    assert noise.with_gain(3.0) == pytest.approx(1.5 * typical)  # measured in DN, with a gain of 2
    assert noise.shape == SHAPE
    difference = load_reference(
        write_reference(tmp_path / "d.fits", "readnoise", value=10.0, RNKIND="CDS"), "readnoise"
    )
    assert isinstance(difference, ReadNoise)
    assert difference.noise_e == pytest.approx(10 / np.sqrt(2))
    assert difference.with_gain(3.0) == difference.noise_e
    gain = load_reference(write_reference(tmp_path / "g.fits", "gain", value=2.5), "gain")
    assert isinstance(gain, Gain)
    assert gain.gain_e_per_dn == 2.5


@pytest.mark.parametrize(
    ("reftype", "unit", "wanted"), [("readnoise", "DN", "convert it to 'e-'"), ("gain", "e-", "convert it to 'e-/DN'")]
)
def test_gain_and_read_noise_have_their_units(tmp_path: Path, reftype: str, unit: str, wanted: str) -> None:
    hdus = reference_hdus(reftype)
    hdus["DATA"].header["BUNIT"] = unit
    hdus.writeto(tmp_path / "x.fits")
    with pytest.raises(UnitError, match=wanted):
        load_reference(tmp_path / "x.fits", reftype)
    with pytest.raises(LayoutError, match="no pixel has a usable value"):
        load_reference(write_reference(tmp_path / "y.fits", reftype, value=-1.0), reftype)
