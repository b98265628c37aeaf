"""Reference files: checked, loaded whole into memory, and read-only from then on.

A file has PRIMARY and the image extensions DATA, ERR and DQ (a bad-pixel map has DQ alone). Axis order is
(y, x); images are float32, DQ uint32, native byte order, C order.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from refcache.cards import check_unit
from refcache.errors import MissingFileError, ReferenceFileError
from refcache.fits_images import DqImage, FitsImages, FloatImage, check_start, locked, read_images
from refcache.values import SetupValue

REFTYPES = ("dark", "badpix", "sky", "flat")


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference:
    """What every reference has.

    Attributes
    ----------
    name
        File name.
    path
        Where it was loaded from.
    sha256
        Of the file's bytes, in hexadecimal.
    useafter
        USEAFTER card, else DATE-OBS, UTC; "" if neither is there.
    pedigree
        PEDIGREE card in upper case, e.g. INFLIGHT, GROUND, SIMULATION, DUMMY; "" if it is missing.
    header
        Cards of PRIMARY, those of the first image extension where PRIMARY lacks them.
    dq
        Data-quality bits, uint32, (y, x), read-only.
    notes
        What was put right while loading, for people.
    """

    name: str
    path: Path
    sha256: str
    useafter: str
    pedigree: str
    header: Mapping[str, SetupValue]
    dq: DqImage
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.dq.shape
        return rows, columns

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return sum(image.nbytes for image in vars(self).values() if isinstance(image, np.ndarray))


@dataclass(frozen=True, eq=False, kw_only=True)
class Dark(Reference):
    """Signal without light.

    Attributes
    ----------
    rate, err
        [e-/s], float32, (y, x), finite, read-only. A pixel without a finite rate has 0 and UNRELIABLE_DARK.
    """

    rate: FloatImage
    err: FloatImage


@dataclass(frozen=True, eq=False, kw_only=True)
class Sky(Reference):
    """Signal of the sky and the telescope.

    Attributes
    ----------
    rate, err
        [e-/s], float32, (y, x), finite, read-only. A pixel without a finite rate has 0 and DO_NOT_USE: no
        bit is the sky's own, and a frame's pixel that keeps its sky has no valid rate.
    """

    rate: FloatImage
    err: FloatImage


@dataclass(frozen=True, eq=False, kw_only=True)
class Flat(Reference):
    """Relative response.

    Attributes
    ----------
    flat, err
        Without unit, float32, (y, x), positive and finite, read-only. A pixel with a response of 0 or less,
        or none, has 1 and UNRELIABLE_FLAT.
    """

    flat: FloatImage
    err: FloatImage


@dataclass(frozen=True, eq=False, kw_only=True)
class BadPixels(Reference):
    """Lasting defects of a detector, in `dq`."""


def load_reference(path: Path, reftype: str) -> Reference:
    """Load and check a reference.

    Parameters
    ----------
    path
        FITS file, plain or gzipped.
    reftype
        One of `REFTYPES`.

    Returns
    -------
    Reference
        A `Dark`, `BadPixels`, `Sky` or `Flat`. A missing ERR is zeros and a missing DQ is zeros, each with a
        note; an error of a pixel that is negative or not finite is 0 with UNRELIABLE_ERROR.

    Raises
    ------
    ReferenceFileError
        If the file is missing, a Git LFS pointer, not FITS, damaged, or has not the extensions, dtypes,
        shapes or unit of its type. The message names the file, the key and the remedy.
    """
    if reftype not in REFTYPES:
        raise ReferenceFileError(path, "reftype", f"{reftype!r} is not known; known are {', '.join(REFTYPES)}")
    try:
        with path.open("rb") as stream:
            check_start(path, stream)
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            images = read_images(path, stream, "DQ" if reftype == "badpix" else "DATA")
    except FileNotFoundError as error:
        raise MissingFileError(path, "", "no such file; check the path, or fetch the reference") from error
    except OSError as error:
        raise MissingFileError(path, "", f"cannot be read: {error.strerror or error}") from error
    return _reference(path, reftype, sha256, images)


def crop(reference: Reference, y: int, x: int, shape: tuple[int, int]) -> Reference:
    """Cut a window out of a full-frame reference.

    Parameters
    ----------
    reference
        The full frame.
    y, x
        First row and column, from 0.
    shape
        Rows and columns of the window, which must lie inside.

    Returns
    -------
    Reference
        A copy in C order, read-only, of the same provenance.
    """
    window = (slice(y, y + shape[0]), slice(x, x + shape[1]))
    images = {key: locked(value[window]) for key, value in vars(reference).items() if isinstance(value, np.ndarray)}
    if any(image.shape != shape for image in images.values()):
        raise ValueError(
            f"window {shape} at ({y}, {x}) does not lie inside {reference.name}, which is {reference.shape}"
        )
    note = f"cropped to {shape[0]} x {shape[1]} at column {x + 1}, row {y + 1}"
    changed: dict[str, Any] = {**images, "notes": (*reference.notes, note)}
    return replace(reference, **changed)


def _reference(path: Path, reftype: str, sha256: str, images: FitsImages) -> Reference:
    header = images.header
    common: dict[str, Any] = {
        "name": path.name,
        "path": path,
        "sha256": sha256,
        "useafter": str(header.get("USEAFTER", "") or header.get("DATE-OBS", "")).strip(),
        "pedigree": str(header.get("PEDIGREE", "")).strip().upper().partition(" ")[0],
        "header": MappingProxyType(header),
        "dq": images.dq,
    }
    if reftype == "badpix":
        reference: Reference = BadPixels(**common, notes=tuple(images.notes))
    else:
        check_unit(path, reftype, header.get("BUNIT"))
        images.mend(reftype)
        common["notes"] = tuple(images.notes)
        if reftype == "flat":
            reference = Flat(**common, flat=images.data, err=images.err)
        else:
            reference = (Dark if reftype == "dark" else Sky)(**common, rate=images.data, err=images.err)
    for image in vars(reference).values():
        if isinstance(image, np.ndarray):
            image.setflags(write=False)
    return reference
