"""Reference files: checked, loaded whole into memory, and read-only from then on.

A file has PRIMARY and the image extensions that its type needs (`reftypes`).
"""

import hashlib
import math
from collections.abc import Mapping
from io import BufferedIOBase
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from refcache.cards import check_unit
from refcache.coefficients import ascending, mend_coefficients, valid_range
from refcache.errors import LayoutError, MissingFileError, ReferenceFileError
from refcache.fits_images import FitsImages, check_start, read_cards, read_images
from refcache.flags import Flags
from refcache.references import (
    BadPixels,
    Bias,
    Dark,
    Flat,
    Gain,
    Linearity,
    OtherReference,
    ReadNoise,
    Reference,
    Saturation,
    Sky,
)
from refcache.reftypes import DO_NOT_USE, REFTYPES
from refcache.values import SetupValue

_CLASSES: dict[str, type[Reference]] = {
    kind.reftype: kind for kind in (BadPixels, Saturation, Bias, Linearity, Gain, ReadNoise, Dark, Sky, Flat)
}


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
        The class of its type; `OtherReference` where only its cards are of interest here. A missing ERR is zeros
        and a missing DQ is zeros, each with a note; an error of a pixel that is negative or not finite is 0 with
        UNRELIABLE_ERROR.

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
            if not REFTYPES[reftype].images:
                return _other(path, stream)
            images = read_images(path, stream, REFTYPES[reftype])
    except FileNotFoundError as error:
        raise MissingFileError(path, "", "no such file; check the path, or fetch the reference") from error
    except OSError as error:
        raise MissingFileError(path, "", f"cannot be read: {error.strerror or error}") from error
    return _reference(path, reftype, images)


def _other(path: Path, stream: BufferedIOBase) -> OtherReference:
    digest = hashlib.file_digest(stream, "sha256")
    header = read_cards(path)
    none = np.zeros((0, 0), np.uint32)
    return OtherReference(**_common(path, digest.hexdigest(), header), dq=Flags.of(none))


def _common(path: Path, sha256: str, header: Mapping[str, SetupValue]) -> dict[str, Any]:
    """Return what every reference has, but for its pixels."""
    return {
        "name": path.name,
        "path": path,
        "sha256": sha256,
        "useafter": str(header.get("USEAFTER", "") or header.get("DATE-OBS", "")).strip(),
        "pedigree": str(header.get("PEDIGREE", "")).strip().upper().partition(" ")[0],
        "header": MappingProxyType(dict(header)),
    }


def _reference(path: Path, reftype: str, images: FitsImages) -> Reference:
    header = images.header
    check_unit(path, reftype, header.get("BUNIT"))
    values = _numbers(path, reftype, images) or _values(path, reftype, images)
    common = _common(path, images.sha256, header)
    reference = _CLASSES[reftype](**common, dq=Flags.of(images.dq), **values, notes=tuple(images.notes))
    for image in vars(reference).values():
        if isinstance(image, np.ndarray):
            image.setflags(write=False)
    return reference


def _numbers(path: Path, reftype: str, images: FitsImages) -> dict[str, Any]:
    """Return the one number that serves for the whole detector, of the types that have one; their flags go with it.

    A pixel's own is uncertain by a tenth or more, unless dozens of ramps went into it. The typical gain is the median;
    the typical noise is the root of the mean variance of the pixels below three times the median, which itself is low
    where few reads went into each pixel.
    """
    if reftype not in ("gain", "readnoise"):
        return {}
    usable = np.isfinite(images.data) & (images.data > 0) & (images.dq & DO_NOT_USE == 0)
    if not usable.any():
        raise LayoutError(path, "DATA", "no pixel has a usable value (finite and above 0); make or fetch it again")
    values = images.data[usable]
    median = float(np.median(values))
    images.dq = np.zeros_like(images.dq)
    if reftype == "gain":
        return {"gain_e_per_dn": median}
    variance = float(np.mean(np.square(values[values <= 3 * median], dtype=np.float64)))
    of_difference = str(images.header.get("RNKIND", "")).strip().upper() == "CDS"
    return {"noise_e": math.sqrt(variance / 2 if of_difference else variance)}


def _values(path: Path, reftype: str, images: FitsImages) -> dict[str, Any]:
    """Return what a class has beside what all have; pixels without a usable value are mended."""
    kind = REFTYPES[reftype]
    if kind.cube:
        images.data = ascending(path, images.data, images.header.get("LINFORM"))
        mend_coefficients(path, images)
        return {"coefficients": images.data, "valid_dn": valid_range(path, images.header.get("LINMAX"))}
    if not images.data.size:
        return {}
    images.mend(path, kind)
    if kind.has_err:
        return {"flat" if reftype == "flat" else "rate": images.data, "err": images.err}
    return {"level": images.data}
