"""Windows in FITS reads, beside the full frame or alone."""

import msgspec
import numpy as np
import pytest
from astropy.io import fits

from streams.errors import ReadsError
from streams.fits_keys import FitsKeys
from streams.fits_reads import FitsSource
from streams.messages import Read
from streams.settings import load


@pytest.fixture
def families():
    return load(None, Tables).fits_keys


class Tables(msgspec.Struct, frozen=True):
    fits_keys: dict[str, FitsKeys]


def write(path, number, shape, windows=None, **cards):
    """Write one read of IRIS's own form."""
    header = fits.Header()
    header["INSTRUME"], header["DET_ID"], header["EXPID"] = "IRIS", "IMG1", "E-1"
    header["READ_NO"], header["RAMP_NO"], header["NUMREADS"] = number, 0, 2
    header["READTIME"], header["FRM_TIME"] = 5_000_000_000_000_000 + 720_000 * number, 720_000
    header["SARRMODE"] = "FULL_FRAME"
    header.update(cards)
    hdus = [fits.PrimaryHDU(header=header), fits.ImageHDU(np.full(shape, 1000 + number, "u2"), name="SCI")]
    if windows is not None:
        hdus.append(fits.ImageHDU(windows, name="SUBARR_MAP"))
    fits.HDUList(hdus).writeto(path)


def place(x, y, **more):
    return {"SARRMODE": "ODGW", "XSTART": x, "YSTART": y, **more}


def reads_of(folder, families):
    with FitsSource([folder], families) as source:
        messages = []
        while not source.exhausted:
            messages.append(source.receive(0.0))
    return [message for message in messages if isinstance(message, Read)]


def numbers():
    """The map of a full frame with two windows."""
    image = np.zeros((32, 40), "i2")
    image[4:8, 5:11] = 1
    image[20:23, 30:34] = 2
    return image


def test_reads_of_one_exposure_go_apart_by_window(tmp_path, families):
    for number in range(2):
        write(tmp_path / f"full_{number}.fits", number, (32, 40), numbers())
        write(tmp_path / f"one_{number}.fits", number, (4, 6), **place(6, 5, SUBARRID=1))
        write(tmp_path / f"two_{number}.fits", number, (3, 4), **place(31, 21))
    reads = reads_of(tmp_path, families)
    found = {(read.header.detector, read.data.shape, read.header.setup.get("WINDOWS")) for read in reads}
    assert found == {
        ("IMG1", (32, 40), "6 5 6 4; 31 21 4 3"),
        ("IMG1.W1", (4, 6), None),
        ("IMG1.WX31Y21", (3, 4), None),
    }
    assert {read.header.setup["DETECTOR"] for read in reads} == {"IMG1"}
    for name in ("IMG1", "IMG1.W1", "IMG1.WX31Y21"):
        sequences = [read.header.sequence for read in reads if read.header.detector == name]
        assert sequences == [0, 1]


def test_a_part_that_does_not_say_where_it_lies_goes_as_the_detector(tmp_path, families):
    write(tmp_path / "part.fits", 0, (4, 6), SARRMODE="SUB_ARRAY")
    (read,) = reads_of(tmp_path, families)
    assert read.header.detector == "IMG1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: np.where(image == 2, 11, image), "SUBARR_MAP has numbers from 0 to 11, not 0 to 10"),
        (lambda image: np.where(image == 2, -1, image), "numbers from -1 to 1"),
        (lambda image: image.astype("f4"), "no image of whole numbers"),
        (
            lambda image: np.where((image == 1) & (np.arange(40) == 7), 0, image),
            "window 1 of SUBARR_MAP is no rect",
        ),
    ],
)
def test_a_map_that_is_none_is_refused(tmp_path, families, change, message):
    write(tmp_path / "full.fits", 0, (32, 40), change(numbers()))
    with pytest.raises(ReadsError, match=message):
        reads_of(tmp_path, families)
