import gzip
import itertools
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.clock import NS, parse_iso_utc, utc_to_tai_ns
from streams.errors import ReadsError
from streams.fits_keys import Constants, FitsKeys
from streams.fits_reads import FitsSource, read_messages
from streams.messages import Observe, Read
from streams.settings import load
from streams.wire import decode, encode
from tests.data import shared_data


class Tables(msgspec.Struct, frozen=True):
    fits_keys: dict[str, FitsKeys]


FAMILIES = load(None, Tables).fits_keys
START = "2031-03-04T08:00:00"


def pixels(number: int, shape: tuple[int, ...] = (5, 7)) -> np.ndarray[Any, Any]:
    return (np.arange(math.prod(shape), dtype=np.uint16) + np.uint16(1000 * number)).reshape(shape)


def simulated(number: int, **cards: Any) -> dict[str, Any]:
    """Cards of the single-read files: numbers from 1, reads 5 s apart."""
    return {
        "INSTRUME": "PYXEL-HXRG",
        "OBSTYPE": "SCI",
        "RAMPID": "sci",
        "READNUM": number,
        "NREADS": 3,
        "FRMTIME": 5.0,
        "TREAD": 5.0 * number,
        "GAIN": 2.0,
        "RDNOISE": 8.0,
        "SATURATE": 51075,
        "DATE-OBS": f"2031-03-04T08:00:{5 * number:02d}",
    } | cards


def iris(read: int, ramp: int = 0, **cards: Any) -> dict[str, Any]:
    """Cards of IRIS's own files: numbers from 0, times in microseconds since MJD 0."""
    stamp_us = 62_929 * 86_400_000_000 + (ramp * 4 + read) * 720_000
    return {
        "INSTRUME": "IRIS",
        "OBS_ID": "2031A-001-123",
        "DET_ID": "IMG2",
        "EXP_NO": 7,
        "RAMP_NO": ramp,
        "READ_NO": read,
        "COMPLETE": True,
        "READTIME": stamp_us,
        "RST_TIME": 62_929 * 86_400_000_000 + ramp * 4 * 720_000 - 500_000,
        "FRM_TIME": 720_000,
        "SARRMODE": "FULL_FRAME",
        "FILTER": "H",
    } | cards


def write(path: Path, cards: dict[str, Any], data: np.ndarray[Any, Any] | None = None) -> Path:
    primary = fits.PrimaryHDU()
    for key, value in cards.items():
        if value is not None:
            primary.header[key] = value
    image = fits.ImageHDU(pixels(1) if data is None else data, name="SCI")
    fits.HDUList([primary, image]).writeto(path)
    return path


def messages(*inputs: Path, **options: Any) -> list[Any]:
    return list(read_messages(inputs, FAMILIES, **options))


def reads(*inputs: Path, **options: Any) -> list[Read]:
    return [message for message in messages(*inputs, **options) if isinstance(message, Read)]


def error(*inputs: Path, **options: Any) -> str:
    with pytest.raises(ReadsError) as raised:
        messages(*inputs, **options)
    text = str(raised.value)
    assert "\n" not in text
    return text


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        write(tmp_path / f"r{number}.fits", simulated(number), pixels(number))
    return tmp_path


def test_single_reads_become_an_exposure(ramp: Path) -> None:
    start, *middle, end = messages(ramp)
    assert [start.header.name, end.header.name] == ["ExposureStart", "ExposureEnd"]
    assert [read.header.read for read in middle] == [0, 1, 2]
    header = middle[0].header
    assert (header.exposure_id, header.detector, header.ramp, header.reads_planned) == ("sci", "SIM1", 0, 3)
    assert (header.gain_e_per_dn, header.read_noise_e, header.saturation_dn) == (2.0, 8.0, 51075.0)
    assert header.frame_time_ns == 5 * NS
    assert header.reset_ns == parse_iso_utc(START)
    assert header.setup["EXPTYPE"] == "SCI"
    for number, read in enumerate(middle, start=1):
        assert read.header.time_ns == parse_iso_utc(START) + 5 * number * NS
        assert read.data.dtype == np.dtype("<u2")
        np.testing.assert_array_equal(read.data, pixels(number))
        assert not read.data.flags.writeable
    assert end.header.time_ns == middle[-1].header.time_ns + 5 * NS


def test_every_message_travels(ramp: Path) -> None:
    for message in messages(ramp):
        again = decode([bytes(memoryview(part).cast("B")) for part in encode(message)])
        assert again.header == message.header


def test_sequences_count_each_source_over_the_whole_call(ramp: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "x.fits", simulated(1, RAMPID="sky"))
    found = messages(ramp, tmp_path / "other")
    assert [m.header.sequence for m in found if isinstance(m, Read)] == [0, 1, 2, 3]
    assert [m.header.sequence for m in found if isinstance(m, Observe)] == [0, 1, 2, 3]


def test_times_come_from_the_time_since_reset_where_dates_are_rounded(tmp_path: Path) -> None:
    for number, second in ((1, "00"), (2, "01"), (3, "02")):
        cards = simulated(number, TREAD=0.72 * number, FRMTIME=0.72)
        write(tmp_path / f"{number}.fits", cards | {"DATE-OBS": f"2031-03-04T08:00:{second}"})
    times = [read.header.time_ns for read in reads(tmp_path)]
    assert np.diff(times).tolist() == [720_000_000, 720_000_000]
    assert times[0] == parse_iso_utc(START)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(6)))
def test_file_names_and_their_order_do_not_matter(order: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("ramps")
    for place, which in enumerate(order):
        cards = simulated(1 + which % 3, RAMPID="ab"[which // 3])
        write(folder / f"{place}.fits", cards, pixels(which))
    found = reads(folder)
    for ramp_id in "ab":
        mine = [read for read in found if read.header.exposure_id == ramp_id]
        assert [read.header.read for read in mine] == [0, 1, 2]
        assert [int(read.data[0, 0]) // 1000 for read in mine] == [n + 3 * (ramp_id == "b") for n in range(3)]
    ids = [read.header.exposure_id for read in found]
    assert len(list(itertools.groupby(ids))) == 2


def test_exposures_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    write(tmp_path / "a.fits", simulated(1, RAMPID="late") | {"DATE-OBS": "2031-03-04T09:00:05"})
    write(tmp_path / "b.fits", simulated(1, RAMPID="early"))
    assert [read.header.exposure_id for read in reads(tmp_path)] == ["early", "late"]


def test_lost_reads_leave_a_gap_in_the_numbers(ramp: Path) -> None:
    (ramp / "r1.fits").unlink()
    found = reads(ramp)
    assert [read.header.read for read in found] == [1, 2]
    assert found[0].header.reset_ns == parse_iso_utc(START)


def test_compressed_files(tmp_path: Path) -> None:
    compressed = fits.CompImageHDU(pixels(1), name="SCI", compression_type="RICE_1")
    primary = fits.PrimaryHDU()
    primary.header.update(simulated(1))
    fits.HDUList([primary, compressed]).writeto(tmp_path / "1.fits.fz")
    plain = write(tmp_path / "plain", simulated(2), pixels(2))
    (tmp_path / "2.fits.gz").write_bytes(gzip.compress(plain.read_bytes()))
    found = reads(tmp_path)
    assert [read.header.read for read in found] == [0, 1]
    np.testing.assert_array_equal(found[0].data, pixels(1))
    np.testing.assert_array_equal(found[1].data, pixels(2))


def test_iris_keys(tmp_path: Path) -> None:
    for ramp, read in itertools.product(range(2), range(3)):
        write(tmp_path / f"{ramp}{read}.fits", iris(read, ramp, NUMRAMPS=2, NUMREADS=3))
    found = reads(tmp_path)
    assert [(read.header.ramp, read.header.read) for read in found] == [*itertools.product(range(2), range(3))]
    header = found[4].header
    midnight_ns = utc_to_tai_ns((62_929 - 40_587) * 86_400 * NS)
    assert header.time_ns == midnight_ns + 5 * 720_000_000
    assert header.reset_ns == midnight_ns + 4 * 720_000_000 - 500_000_000
    assert header.frame_time_ns == 720_000_000
    assert (header.exposure_id, header.detector) == ("2031A-001-123-0007", "IMG2")
    assert (header.ramps_planned, header.reads_planned, header.complete) == (2, 3, True)
    assert header.setup["DETECTOR"] == "IMG2"
    assert header.setup["INSTMODE"] == "IMG"
    assert header.setup["SUBARRAY"] == "FULL"
    assert header.setup["DATE-OBS"] == "2031-03-04T00:00:00.000"  # no DATE-OBS: that of the first read
    assert header.gain_e_per_dn is None


def test_iris_readtime_that_is_a_duration_is_no_time_stamp(tmp_path: Path) -> None:
    for read in range(3):
        write(tmp_path / f"{read}.fits", iris(read, READTIME=0.72, EXPSTART=62_929.25, NUMREADS=3))
    times = [read.header.time_ns for read in reads(tmp_path)]
    assert times[0] == parse_iso_utc("2031-03-04T06:00:00")
    assert np.diff(times).tolist() == [720_000_000, 720_000_000]


@pytest.mark.parametrize(("det_id", "mode"), [("SLC", "SLICER"), ("LEN", "LENSLET")])
def test_iris_slicer_and_lenslet_share_a_detector(det_id: str, mode: str, tmp_path: Path) -> None:
    header = reads(write(tmp_path / "a.fits", iris(0, DET_ID=det_id)))[0].header
    assert (header.detector, header.setup["DETECTOR"], header.setup["INSTMODE"]) == ("IFS", "IFU", mode)


def test_incomplete_reads_say_so(tmp_path: Path) -> None:
    assert not reads(write(tmp_path / "a.fits", iris(0, COMPLETE=False)))[0].header.complete


def test_cube_of_one_ramp(tmp_path: Path) -> None:
    cube = pixels(0, (3, 5, 7))
    cards = {"INSTRUME": "NIRX", "DETECTOR": "D1", "DATAMODL": "Level1bModel", "EXPSTART": 62_929.0}
    found = reads(write(tmp_path / "night 1.fits", cards | {"TFRAME": 2.0, "TGROUP": 6.0}, cube))
    assert [read.header.read for read in found] == [0, 1, 2]
    assert np.diff([read.header.time_ns for read in found]).tolist() == [6 * NS, 6 * NS]
    assert found[0].header.frame_time_ns == 2 * NS
    assert found[0].header.exposure_id == "night_1"
    np.testing.assert_array_equal(np.stack([read.data for read in found]), cube)


def test_cube_of_several_ramps(tmp_path: Path) -> None:
    cube = pixels(0, (2, 3, 5, 7)).astype(np.float32)
    cards = {"INSTRUME": "IRIS", "DETECTOR": "IRIS1", "DATAMODL": "TMTRampModel", "DATE-OBS": "2031-03-04"}
    found = reads(write(tmp_path / "a.fits", cards | {"TIME-OBS": "06:00:00.5"}, cube), given=Constants(frame_time_s=2))
    assert [(read.header.ramp, read.header.read) for read in found] == [*itertools.product(range(2), range(3))]
    assert found[0].header.ramps_planned == 2
    assert found[0].header.time_ns == parse_iso_utc("2031-03-04T06:00:00.5")
    gaps = np.diff([read.header.time_ns for read in found])
    assert gaps.tolist() == [2 * NS, 2 * NS, 4 * NS, 2 * NS, 2 * NS]  # a reset between the ramps
    assert {read.data.dtype.str for read in found} == {"<f4"}
    np.testing.assert_array_equal(found[4].data, cube[1, 1])


def test_given_values_win(ramp: Path) -> None:
    header = reads(ramp, given=Constants(gain_e_per_dn=3.5, detector="X"))[1].header
    assert (header.gain_e_per_dn, header.detector, header.read) == (3.5, "X", 1)


def test_a_family_of_ones_own_in_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text(
        '[fits_keys.mine]\nlayout = "image"\nrecognise = [{ CAMERA = "C?" }]\nimages = ["PRIMARY"]\ncount_from = 1\n'
        'keywords = { read = ["N"], time = ["T"], frame_time_s = ["DT"], exposure_id = ["ID"] }\n'
        'units = { T = "mjd", DT = "ms" }\nconstants = { instrument = "CAM", detector = "C1", ramp = 0 }\n'
    )
    header = fits.Header({"CAMERA": "C7", "N": 2, "T": 62_929.5, "DT": 1500, "ID": "a b"})
    fits.PrimaryHDU(pixels(3), header).writeto(tmp_path / "a.fits")
    families = load(config, Tables).fits_keys
    (found,) = [m for m in read_messages([tmp_path / "a.fits"], families) if isinstance(m, Read)]
    assert (found.header.read, found.header.exposure_id, found.header.frame_time_ns) == (1, "a_b", 1_500_000_000)
    assert found.header.time_ns == parse_iso_utc("2031-03-04T12:00:00")
    np.testing.assert_array_equal(found.data, pixels(3))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [("uint8", "<u2"), ("uint16", "<u2"), ("int16", "<f4"), ("int32", "<f4"), ("float64", "<f4")],
)
def test_pixel_types(stored: str, expected: str, tmp_path: Path) -> None:
    data = np.array([[0, 1], [100, 127]], dtype=stored)
    read = reads(write(tmp_path / "a.fits", simulated(1), data))[0]
    assert read.data.dtype.str == expected
    np.testing.assert_array_equal(read.data, data)


def ima(path: Path, unit: str = "ELECTRONS/S", samples: int = 4) -> Path:
    """Write a multi-accum file whose rate is 10 (y, x) constant; EXTVER 1 is the last read."""
    primary = fits.PrimaryHDU()
    primary.header.update(
        {"TELESCOP": "HST", "INSTRUME": "WFC3", "DETECTOR": "IR", "OBSMODE": "MULTIACCUM", "ROOTNAME": "abc"}
    )
    primary.header.update({"NSAMP": samples, "EXPSTART": 56_693.25, "READNSEA": 20.0, "ATODGNA": 2.5})
    hdus = fits.HDUList([primary])
    for version, sample in enumerate(reversed(range(samples)), start=1):
        hdu = fits.ImageHDU(np.full((4, 6), 10.0, dtype=np.float32), name="SCI", ver=version)
        hdu.header.update({"SAMPNUM": sample, "SAMPTIME": 2.5 * sample, "DELTATIM": 2.5 if sample else 0.0})
        hdu.header["BUNIT"] = unit
        hdus += [hdu, fits.ImageHDU(np.zeros((4, 6), dtype=np.int16), name="DQ", ver=version)]
    hdus.writeto(path)
    return path


def test_ima_rates_become_what_had_accumulated(tmp_path: Path) -> None:
    found = reads(ima(tmp_path / "abc_ima.fits"))
    assert [read.header.read for read in found] == [0, 1, 2, 3]
    assert [read.header.time_ns for read in found] == [
        parse_iso_utc("2014-02-05T06:00:00") + round(2.5 * n * NS) for n in range(4)
    ]
    for number, read in enumerate(found):
        np.testing.assert_array_equal(read.data, np.full((4, 6), 25.0 * number, dtype="<f4"))
    assert found[0].header.gain_e_per_dn == 1.0
    assert found[0].header.read_noise_e == pytest.approx(20.0 / math.sqrt(2))
    assert found[0].header.frame_time_ns == 2_500_000_000


def test_ima_counts_stay_as_they_are(tmp_path: Path) -> None:
    found = reads(ima(tmp_path / "abc_ima.fits", unit="COUNTS"))
    assert all((read.data == 10.0).all() for read in found)
    assert found[0].header.gain_e_per_dn == 2.5


def test_source_ends_and_says_so(ramp: Path) -> None:
    with FitsSource([ramp], FAMILIES) as source:
        received = []
        while not source.exhausted:
            message = source.receive(0.0)
            received += [] if message is None else [message]
        assert source.receive(0.0) is None
    assert len(received) == 5
    assert source.counters["received"] == 5


def test_the_same_file_twice_is_taken_once(ramp: Path) -> None:
    assert len(reads(ramp, ramp / "r2.fits")) == 3


# ---- what is wrong is said in one line -----------------------------------------------------------


def test_no_such_file(tmp_path: Path) -> None:
    assert error(tmp_path / "nothing.fits") == f"{tmp_path / 'nothing.fits'}: no such file or directory"


def test_nothing_given() -> None:
    assert "give FITS files or directories" in error()


def test_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.fits").write_text("x")
    assert "holds no FITS file (*.fits, *.fits.fz, *.fits.gz)" in error(tmp_path)


def test_not_fits(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(b"PNG and so on" * 400)
    assert "not FITS: starts with b'PNG and so on" in error(path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.touch()
    assert error(path) == f"{path}: empty; get the file again"


def test_git_lfs_pointer(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n")
    assert "a Git-LFS pointer, not the file itself; fetch it with `git lfs pull`" in error(path)


@pytest.mark.parametrize("left", [5760 + 20, 5760, 3000, 2880, 1000])
def test_truncated(left: int, ramp: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = ramp / "r2.fits"
    path.write_bytes(path.read_bytes()[:left])
    text = error(ramp)
    assert str(path) in text
    assert "truncated" in text
    assert not recwarn.list


@pytest.mark.parametrize("inside", [True, False])
def test_truncated_gzip(inside: bool, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", simulated(1), np.zeros((200, 200), np.uint16)).read_bytes()
    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(whole[:20_000]) if inside else gzip.compress(whole)[:-200])
    text = error(path)
    assert str(path) in text
    assert "truncated" in text


def test_a_multi_accum_file_cut_between_its_reads(tmp_path: Path) -> None:
    """What astropy leaves out without a word, an extension whose header breaks off, is missed all the same."""
    path = ima(tmp_path / "a_ima.fits")
    with fits.open(path) as hdus:
        second = hdus["SCI", 2]._header_offset
    path.write_bytes(path.read_bytes()[: second + 1000])
    text = error(path)
    assert str(path) in text
    assert "truncated" in text


def test_wrong_number_of_axes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", simulated(1), np.zeros((2, 2, 2, 2, 2), np.uint16))
    assert "shape (2, 2, 2, 2, 2); (y, x), (read, y, x) or (ramp, read, y, x) was expected" in error(path)
    path = write(tmp_path / "b.fits", simulated(1), np.zeros(9, np.uint16))
    assert "shape (9,);" in error(path)


def test_too_large(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", simulated(1), np.zeros((1, 16385), np.uint8))
    assert "reads of shape (1, 16385); 1 to 16384 pixels on a side are taken" in error(path)


def test_shapes_that_differ_within_a_ramp(ramp: Path) -> None:
    (ramp / "r2.fits").unlink()
    write(ramp / "r2.fits", simulated(2), pixels(2, (5, 8)))
    text = error(ramp)
    assert "ramp 0 read 1 has shape (5, 8), ramp 0 read 0 of the same exposure (r1.fits) has (5, 7)" in text


@pytest.mark.parametrize(
    ("key", "field"),
    [("FRMTIME", "frame_time_s"), ("RAMPID", "exposure_id"), ("DATE-OBS", "time")],
)
def test_missing_key(key: str, field: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", simulated(1) | {key: None})
    text = error(path)
    assert text.startswith(f"{path}: no {key} for `{field}`, which a read needs; name the keyword in ")
    assert "[fits_keys.pyxel.keywords]" in text


def test_missing_key_that_may_be_a_constant(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", iris(0, FRM_TIME=None))
    assert error(path).endswith("name the keyword in [fits_keys.iris.keywords], or give constants.frame_time_s")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"FRMTIME": "fast"}, "FRMTIME = 'fast' for `frame_time_s` of [fits_keys.pyxel] is not a number"),
        ({"READNUM": 1.5}, "READNUM = 1.5 for `read` of [fits_keys.pyxel] is not a whole number"),
        ({"READNUM": 0}, "is not 1 or more (count_from)"),
        ({"DATE-OBS": "tomorrow"}, "is not a date as YYYY-MM-DDThh:mm:ss"),
        ({"DATE-OBS": "2031-02-31T00:00:00"}, "is not a date ("),
        ({"DATE-OBS": "9031-02-01T00:00:00"}, "is not a date as YYYY-MM-DDThh:mm:ss"),
        ({"GAIN": -2.0}, "its header makes no read"),
        ({"FRMTIME": 0.0}, "its header makes no read"),
        ({"DET_ID": "no name!"}, "its header makes no read"),
    ],
)
def test_wrong_values(change: dict[str, Any], part: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", simulated(1) | change)
    text = error(path)
    assert text.startswith(str(path))
    assert part in text


def test_duplicated_numbers(ramp: Path) -> None:
    write(ramp / "again.fits", simulated(2))
    text = error(ramp)
    assert "ramp 0 read 1 of exposure 'sci' is also in" in text
    assert "r2.fits" in text
    assert "again.fits" in text


def test_times_that_run_backwards(tmp_path: Path) -> None:
    write(tmp_path / "0.fits", iris(0))
    write(tmp_path / "1.fits", iris(1, READTIME=62_928 * 86_400_000_000))
    assert "ramp 0 read 1 starts at 2031-03-03T00:00:00.000, not after ramp 0 read 0" in error(tmp_path)


def test_unknown_family(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", simulated(1, INSTRUME="SPAM"))
    text = error(path)
    assert "fits no family of [fits_keys] (INSTRUME='SPAM'); known are ima, iris, pyxel, ramp_cube" in text
    assert len(reads(path, family="pyxel")) == 1
    assert "no family [fits_keys.pixel]; there are" in error(path, family="pixel")


def test_missing_image(tmp_path: Path) -> None:
    header = fits.Header()
    header.update(simulated(1))
    fits.PrimaryHDU(header=header).writeto(tmp_path / "a.fits")
    assert "no image SCI with pixels (found PRIMARY)" in error(tmp_path)


def test_directory_that_is_named_like_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    (path / "inside").mkdir(parents=True)
    assert "holds no FITS file" in error(path)


def test_misspelt_key_of_a_family(tmp_path: Path) -> None:
    from streams.errors import SettingsError

    config = tmp_path / "my.toml"
    config.write_text('[fits_keys.pyxel.keywords]\ngain_e_per_adu = ["GAIN"]\n')
    with pytest.raises(SettingsError, match=r"my\.toml:2: unknown key 'gain_e_per_adu'.*did you mean 'gain_e_per_dn'"):
        load(config, Tables)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_reads_or_a_reads_error(data: st.DataObject, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        primary = fits.PrimaryHDU()
        primary.header.update(simulated(1))
        packed = fits.CompImageHDU(pixels(1, (20, 20)), name="SCI", compression_type="RICE_1")
        fits.HDUList([primary, packed]).writeto(whole)
    damaged = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.one_of(st.integers(0, len(damaged) - 1), st.integers(2880, 2880 + 30 * 80)))
        damaged[place % len(damaged)] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b" 0123456789'=")))
    path = tmp_path / "damaged.fits"
    path.write_bytes(damaged[: data.draw(st.integers(1, len(damaged)))] if data.draw(st.booleans()) else damaged)
    try:
        for message in messages(path):
            encode(message)
    except ReadsError as raised:
        assert str(path) in str(raised)  # noqa: PT017 - both outcomes are right


# ---- real files ------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_simulated_ramps() -> None:
    found = reads(shared_data("ramps/dark_D1"), shared_data("ramps/sci_D"))
    assert [read.header.exposure_id for read in found] == ["dark_D1"] * 10 + ["sci_D"] * 10
    assert {read.data.shape for read in found} == {(1024, 1024)}
    assert {read.data.dtype.str for read in found} == {"<u2"}
    assert set(np.diff([read.header.time_ns for read in found[10:]])) == {5 * NS}
    means = [read.data.mean() for read in found[10:]]
    assert (np.diff(means) > 0).all()


@pytest.mark.real_data
def test_toy_ramp() -> None:
    found = reads(shared_data("ramps/sample_ramp.fits"))
    assert [(read.header.detector, read.data.mean()) for read in found] == [
        ("IRIS1", 0.0),
        ("IRIS1", 4000.0),
        ("IRIS1", 8000.0),
        ("IRIS1", 12000.0),
    ]


@pytest.mark.real_data
def test_wfc3_ima() -> None:
    path = shared_data("wfc3_ima/iccz11q4q_ima.fits.gz")
    found = reads(path)
    with fits.open(path) as hdus:
        final = hdus["SCI", 1].data.astype(float) * hdus["SCI", 1].header["SAMPTIME"]
    assert len(found) == 4
    assert not found[0].data.any()
    np.testing.assert_allclose(found[3].data, final, rtol=1e-6)
    assert (found[3].header.time_ns - found[0].header.time_ns) / NS == pytest.approx(0.833445, abs=1e-9)
    # READNSEA is the noise of a difference of two reads: seen in the difference of the two middle ones.
    difference = (found[2].data - found[1].data)[10:-10, 10:-10]
    sigma = 1.4826 * np.median(np.abs(difference - np.median(difference)))
    noise_e = found[0].header.read_noise_e
    assert noise_e is not None
    assert sigma == pytest.approx(noise_e * math.sqrt(2), rel=0.05)
