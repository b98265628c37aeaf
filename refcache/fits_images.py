"""The images of a reference file, read and checked; what they mean is the business of `references`."""

import gzip
import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from refcache.cards import plain_cards
from refcache.errors import LayoutError, LfsPointerError, MissingFileError, NotFitsError, ReferenceFileError
from refcache.reftypes import UNRELIABLE_ERROR, Reftype
from refcache.values import SetupValue

FloatImage = NDArray[np.float32]
DqImage = NDArray[np.uint32]

MAX_SIDE = 16384
MAX_COEFFICIENTS = 16
MAX_UNPACKED = 4 << 30
_LFS = b"version https://git-lfs.github.com/spec/"
_GZIP = b"\x1f\x8b"
# What astropy raises for bytes that are not what their header says.
_DAMAGE_WARNINGS = ("truncated", "Error validating header")
_DAMAGED = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error, fits.VerifyError)


@dataclass
class FitsImages:
    """The images of one file, in C order.

    `data` (float32, (y, x); coefficients are (y, k, x)) and `err` (float32, (y, x)) are empty where the type has
    none; `dq` is uint32, (y, x). `header` has the cards of PRIMARY and, where it lacks them, of the first image;
    `notes` say what was missing.
    """

    header: dict[str, SetupValue]
    data: FloatImage
    err: FloatImage
    dq: DqImage
    notes: list[str] = field(default_factory=list)

    def mend(self, path: Path, kind: Reftype) -> None:
        """Give pixels without a usable value one that changes nothing, and errors that are none 0; flag both.

        Raises
        ------
        LayoutError
            If no pixel has a usable value; `path` is for the message.
        """
        usable = np.isfinite(self.data)
        if kind.positive:
            usable &= self.data > 0
        if kind.flag_excludes:
            usable &= self.dq & kind.flag == 0
        if not usable.any():
            sort = "finite and above 0" if kind.positive else "finite"
            raise LayoutError(path, kind.images[0], f"no pixel has a usable value ({sort}); make or fetch it again")
        if kind.has_err:
            self._mend(self.err, ~(np.isfinite(self.err) & (self.err >= 0)), 0, UNRELIABLE_ERROR, "ERR")
            self.err[~usable] = 0
        self._mend(self.data, ~usable, kind.neutral, kind.flag, "value")

    def _mend(self, image: FloatImage, bad: NDArray[np.bool_], value: float, flag: np.uint32, what: str) -> None:
        if bad.any():
            image[bad] = value
            self.dq[bad] |= flag
            self.notes.append(f"{int(bad.sum())} pixels without a usable {what} count as {value:g}")


def check_lfs(path: Path, stream: IO[bytes]) -> bytes:
    """Refuse what Git LFS leaves in a file's place; return the first bytes, and rewind.

    Raises
    ------
    LfsPointerError
        If it is such a pointer.
    """
    start = stream.read(len(_LFS))
    stream.seek(0)
    if start.startswith(_LFS):
        raise LfsPointerError(path, "", "is a Git LFS pointer, not the file; run `git lfs pull` in its repository")
    return start


def check_start(path: Path, stream: IO[bytes]) -> None:
    """Refuse what is no FITS file at the first glance, and rewind.

    Raises
    ------
    LfsPointerError
        If Git LFS left a pointer in the file's place.
    NotFitsError
        If it begins neither as FITS nor as gzip.
    """
    start = check_lfs(path, stream)
    if not start.startswith((b"SIMPLE  =", _GZIP)):
        raise NotFitsError(path, "", f"is not FITS: it begins with {start[:9]!r}; give a FITS file")


def read_images(path: Path, stream: IO[bytes], kind: Reftype) -> FitsImages:
    """Read the extensions of a reference.

    Parameters
    ----------
    path
        For the messages.
    stream
        The open file.
    kind
        Its type, which says what must be there.

    Raises
    ------
    NotFitsError
        If the file is damaged or truncated.
    LayoutError
        If an extension is missing, or of the wrong dtype or shape.
    """
    with _checked(path, stream) as hdus:
        return _read(path, hdus, kind)


def read_cards(path: Path) -> dict[str, SetupValue]:
    """Check that a file is whole FITS of any layout, and return the cards of PRIMARY and of the first image.

    Raises
    ------
    ReferenceFileError
        If it is missing, a Git LFS pointer, not FITS, truncated or damaged.
    """
    try:
        with path.open("rb") as stream:
            check_start(path, stream)
            with _checked(path, stream) as hdus:
                cards = [plain_cards(hdu.header) for hdu in hdus[:2]]
    except FileNotFoundError as error:
        raise MissingFileError(path, "", "no such file; check the path, or fetch the reference") from error
    except OSError as error:
        raise MissingFileError(path, "", f"cannot be read: {error.strerror or error}") from error
    return {key: value for header in reversed(cards) for key, value in header.items()}


@contextmanager
def _checked(path: Path, stream: IO[bytes]) -> Iterator[fits.HDUList]:
    """Open a FITS file whose extensions are all there; damage met inside is an error of the file too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with fits.open(_unpacked(path, stream), memmap=False, lazy_load_hdus=False) as hdus:
                # Damage in a later extension is a warning for astropy, which then leaves the extension out.
                for warning in caught:
                    if any(word in str(warning.message) for word in _DAMAGE_WARNINGS):
                        raise NotFitsError(path, "", f"is truncated or damaged: {warning.message}; fetch it again")
                yield hdus
        except _DAMAGED as error:
            if isinstance(error, ReferenceFileError):
                raise
            raise NotFitsError(path, "", f"is truncated or damaged: {error}; fetch it again") from error


def _unpacked(path: Path, stream: IO[bytes]) -> IO[bytes]:
    """Return the file without its gzip: astropy takes a gzip that breaks off for a short file."""
    packed = stream.read(len(_GZIP)) == _GZIP
    stream.seek(0)
    if not packed:
        return stream
    with gzip.open(stream) as unpacker:
        plain = unpacker.read(MAX_UNPACKED + 1)
    if len(plain) > MAX_UNPACKED:
        raise LayoutError(path, "gzip", f"holds more than {MAX_UNPACKED} bytes; give the file unpacked")
    return io.BytesIO(plain)


def locked(image: NDArray[Any]) -> NDArray[Any]:
    """Return the image in C order, read-only; a copy if it was not."""
    ordered = np.ascontiguousarray(image)
    ordered.setflags(write=False)
    return ordered


def _read(path: Path, hdus: fits.HDUList, kind: Reftype) -> FitsImages:
    main, first = _extension(path, hdus, kind.images)
    header = plain_cards(first.header) | plain_cards(hdus[0].header)
    if "BUNIT" in first.header:  # the image's own unit, whatever PRIMARY says
        header["BUNIT"] = first.header["BUNIT"]
    full = _shape(path, main, first, kind.cube)
    shape = full[-2:]
    none = np.zeros((0, 0), np.float32)
    images = FitsImages(header, none, none, np.zeros(shape, np.uint32))
    if "DQ" in hdus:
        images.dq = _dq(path, hdus["DQ"], shape)
    else:
        images.notes.append("no DQ: no pixel is flagged")
    if main != "DQ":
        images.data = _float(path, main, first, full)
    if kind.has_err:
        images.err = _float(path, "ERR", hdus["ERR"], shape) if "ERR" in hdus else np.zeros(shape, np.float32)
        if "ERR" not in hdus:
            images.notes.append("no ERR: its error counts as 0")
    return images


def _extension(path: Path, hdus: fits.HDUList, names: tuple[str, ...]) -> tuple[str, Any]:
    for name in names:
        if name in hdus:
            return name, hdus[name]
    found = ", ".join(hdu.name or "unnamed" for hdu in hdus)
    raise LayoutError(path, names[0], f"no such extension; found {found}; name the image extension {names[0]}")


def _shape(path: Path, name: str, hdu: Any, cube: bool) -> tuple[int, ...]:
    shape: tuple[int, ...] = tuple(getattr(hdu, "shape", ()))
    most = (MAX_COEFFICIENTS,) * cube + (MAX_SIDE, MAX_SIDE)
    if len(shape) != len(most) or not all(1 <= side <= limit for side, limit in zip(shape, most, strict=True)):
        if cube:
            wanted = f"coefficients are (k, y, x), up to {MAX_COEFFICIENTS} of them, sides up to {MAX_SIDE}"
        else:
            wanted = f"a reference is one image (y, x), sides up to {MAX_SIDE}"
        raise LayoutError(path, name, f"is of shape {shape}; {wanted}")
    return shape


def _float(path: Path, name: str, hdu: Any, shape: tuple[int, ...]) -> FloatImage:
    """Return an image, or planes (k, y, x) as (y, k, x): a row's coefficients lie together."""
    data = _data(path, name, hdu, shape)
    if data.dtype.kind != "f":
        raise LayoutError(path, name, f"is {data.dtype.name}; write it as float32")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf and is mended like any other
        return np.array(data if data.ndim == 2 else data.swapaxes(0, 1), dtype=np.float32, order="C")


def _dq(path: Path, hdu: Any, shape: tuple[int, ...]) -> DqImage:
    data = _data(path, "DQ", hdu, shape)
    if data.dtype.kind not in "iu" or data.dtype.itemsize > 4:
        raise LayoutError(path, "DQ", f"is {data.dtype.name}; write it as uint32")
    if data.dtype.kind == "i" and data.dtype.itemsize == 4:
        return np.array(data, dtype=np.int32, order="C").view(np.uint32)  # bit 31 is int32's sign
    if data.dtype.kind == "i" and (data < 0).any():
        raise LayoutError(path, "DQ", f"is {data.dtype.name} with negative values; write it as uint32")
    return np.array(data, dtype=np.uint32, order="C")


def _data(path: Path, name: str, hdu: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    own = tuple(getattr(hdu, "shape", ()))
    if own != shape:
        raise LayoutError(path, name, f"is of shape {own}, the first image {shape}; make them alike")
    data = hdu.data
    if not isinstance(data, np.ndarray) or data.shape != shape:
        raise LayoutError(path, name, "has no pixels; write or fetch it again")
    return data
