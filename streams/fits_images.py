"""The one place that writes image FITS files: DATA, ERR, DQ and the meaning of the DQ bits.

Bytes depend on the arguments alone: no date of writing is put in. A file appears under its name when
all of it is on disk, or not at all.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from streams.dq import DESCRIPTIONS, Dq
from streams.errors import ImageError

_LONG_STRINGS: Final = ("LONGSTRN", "OGIP 1.0", "long strings go on in CONTINUE")


def write_image(
    path: Path,
    cards: fits.Header,
    data: NDArray[Any] | None,
    err: NDArray[Any] | None,
    dq: NDArray[np.unsignedinteger[Any]] | None,
    *,
    extra: Sequence[fits.ImageHDU | fits.BinTableHDU] = (),
    coordinates: Mapping[str, str | int | float | bool] | None = None,
    overwrite: bool = False,
) -> None:
    """Write PRIMARY (`cards`), DATA, ERR, DQ, `extra` and DQ_DEF, each with CHECKSUM and DATASUM.

    Parameters
    ----------
    path
        The file; its directory must exist.
    cards
        Of the PRIMARY; a BUNIT there is repeated in DATA and ERR.
    data, err
        Values and their sigma, stored as float32, (y, x); NaN stays NaN. None leaves the extension out.
    dq
        Flags of `streams.dq`, stored as uint32 by the BZERO convention, (y, x). None leaves out DQ and DQ_DEF.
    extra
        Further extensions, written between DQ and DQ_DEF.
    coordinates
        Cards of DATA, ERR and DQ: where their pixels lie on the sky.
    overwrite
        True to replace a file of this name, in one step.

    Raises
    ------
    ImageError
        If the arrays differ in shape, there is none, the file exists, or it cannot be written (a full disk):
        then what stood there before stands there still, and nothing is left of the new one.
    """
    images = {name: array for name, array in (("DATA", data), ("ERR", err), ("DQ", dq)) if array is not None}
    shapes = {name: array.shape for name, array in images.items()}
    if not images or len(set(shapes.values())) > 1:
        raise ImageError(f"{path}: DATA, ERR and DQ need one shape, found {shapes or 'none of them'}")
    hdus = fits.HDUList([fits.PrimaryHDU(header=cards.copy())])
    for name, array in images.items():
        hdus.append(_image(name, array, cards.get("BUNIT")))
        hdus[-1].header.update(coordinates or {})
    for hdu in extra:
        hdus.append(hdu)
    if dq is not None:
        hdus.append(_dq_def())
    write_hdus(path, hdus, overwrite=overwrite)


def write_hdus(path: Path, hdus: fits.HDUList, *, overwrite: bool = False) -> None:
    """Write a file of any extensions with checksums, under a temporary name that is then changed to `path`.

    Raises
    ------
    ImageError
        If the file exists and `overwrite` is False, or it cannot be written; see `write_image`.
    """
    if path.exists() and not overwrite:
        raise ImageError(f"{path}: the file exists; remove it, choose another name, or allow overwriting")
    hdus.update_extend()
    for hdu in hdus:
        if any(len(card.image) > fits.Card.length for card in hdu.header.cards):
            hdu.header.set(*_LONG_STRINGS)
        hdu.add_checksum(when="")  # astropy would put the time of writing into the comment
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "wb") as file:
            hdus.writeto(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise ImageError(f"{path}: cannot be written: {reason}; check the space and the directory") from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def _image(name: str, array: NDArray[Any], unit: str | None) -> fits.ImageHDU:
    if name == "DQ":
        return fits.ImageHDU(np.ascontiguousarray(array, dtype=np.uint32), name=name)
    # A big-endian copy: astropy would swap the bytes of the caller's array in place while it writes.
    hdu = fits.ImageHDU(np.array(array, dtype=">f4", order="C"), name=name)
    if unit is not None:
        hdu.header["BUNIT"] = unit
    return hdu


def _dq_def() -> fits.BinTableHDU:
    """Return the table of the DQ bits: BIT, VALUE, NAME, DESCRIPTION."""
    names = [str(bit.name) for bit in Dq]
    texts = [DESCRIPTIONS[bit] for bit in Dq]
    columns = [
        fits.Column("BIT", "I", array=np.array([bit.value.bit_length() - 1 for bit in Dq], dtype=np.int16)),
        fits.Column("VALUE", "K", array=np.array([bit.value for bit in Dq], dtype=np.int64)),
        fits.Column("NAME", f"{max(map(len, names))}A", array=names),
        fits.Column("DESCRIPTION", f"{max(map(len, texts))}A", array=texts),
    ]
    return fits.BinTableHDU.from_columns(columns, name="DQ_DEF")


def _sync_directory(directory: Path) -> None:
    """Make the new name last through a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
