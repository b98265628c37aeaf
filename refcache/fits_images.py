"""The images of a reference file, read and checked; what they mean is the business of `references`."""

import gzip
import hashlib
import io
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from refcache.cards import plain_cards
from refcache.errors import LayoutError, LfsPointerError, MissingFileError, NotFitsError, ReferenceFileError
from refcache.pixels import Plane, read_planes, stored_as
from refcache.reftypes import UNRELIABLE_ERROR, Reftype
from refcache.values import SetupValue

FloatImage = NDArray[np.float32]
DqImage = NDArray[np.uint32]

MAX_SIDE = 16384
MAX_COEFFICIENTS = 16
MAX_UNPACKED = 4 << 30
_FLOATS = frozenset(("float32", "float64"))
_FLAGS = frozenset(("uint8", "int8", "uint16", "int16", "uint32", "int32"))
_BELOW_ZERO = -5e-324
_READING_HEADERS = threading.Lock()
"""Python catches warnings for all threads at once: only one may read headers at a time."""
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
    `notes` say what was missing. `data_suspect` and `err_suspect` are the rows among which values may be unusable;
    all others are known to be good.
    """

    header: dict[str, SetupValue]
    data: FloatImage
    err: FloatImage
    dq: DqImage
    sha256: str = ""
    notes: list[str] = field(default_factory=list)
    data_suspect: list[slice] = field(default_factory=list)
    err_suspect: list[slice] = field(default_factory=list)

    def mend(self, path: Path, kind: Reftype) -> None:
        """Give pixels without a usable value one that changes nothing, and errors that are none 0; flag both.

        Raises
        ------
        LayoutError
            If no pixel has a usable value; `path` is for the message.
        """
        bad_errors = self._replace(self.err, self.err_suspect, _no_error, 0, UNRELIABLE_ERROR) if kind.has_err else 0

        def unusable(values: FloatImage) -> NDArray[np.bool_]:
            return ~(np.isfinite(values) & (values > 0)) if kind.positive else ~np.isfinite(values)

        if kind.flag_excludes:
            self._exclude(kind)
        bad = self._replace(self.data, self.data_suspect, unusable, kind.neutral, kind.flag)
        if bad == self.data.size:
            sort = "finite and above 0" if kind.positive else "finite"
            raise LayoutError(path, kind.images[0], f"no pixel has a usable value ({sort}); make or fetch it again")
        for count, what, value in ((bad_errors, "ERR", 0), (bad, "value", kind.neutral)):
            if count:
                self.notes.append(f"{count} pixels without a usable {what} count as {value:g}")

    def _exclude(self, kind: Reftype) -> None:
        """Take the values out that the file itself calls none."""
        excluded = self.dq & kind.flag != 0
        if excluded.any():
            self.data[excluded] = np.nan
            self.data_suspect = [slice(None)]

    def _replace(
        self,
        image: FloatImage,
        suspect: list[slice],
        is_bad: Callable[[FloatImage], NDArray[np.bool_]],
        value: float,
        flag: np.uint32,
    ) -> int:
        count = 0
        for rows in suspect:
            bad = is_bad(image[rows])
            image[rows][bad] = value
            if image is self.data and self.err.size:
                self.err[rows][bad] = 0
            self.dq[rows][bad] |= flag
            count += int(bad.sum())
        return count


def _no_error(values: FloatImage) -> NDArray[np.bool_]:
    return ~(np.isfinite(values) & (values >= 0))


def check_lfs(path: Path, stream: BufferedIOBase) -> bytes:
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


def check_start(path: Path, stream: BufferedIOBase) -> None:
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


def read_images(path: Path, stream: BufferedIOBase, kind: Reftype) -> FitsImages:
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
    packed = _is_packed(stream)
    sha256 = hashlib.file_digest(stream, "sha256").hexdigest() if packed else ""
    stream.seek(0)
    with _READING_HEADERS, _checked(path, plain := _unpacked(path, stream)) as hdus:
        images, planes = _laid_out(path, hdus, kind)
    try:
        images.sha256 = read_planes(plain, [plane for _, plane in planes])
    except EOFError as error:
        raise NotFitsError(path, "", f"is truncated: {error}; fetch it again") from error
    images.sha256 = sha256 or images.sha256
    for name, plane in planes:
        _check_sign(path, name, plane)
    return images


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
            with _READING_HEADERS, _checked(path, _unpacked(path, stream)) as hdus:
                cards = [plain_cards(hdu.header) for hdu in hdus[:2]]
    except FileNotFoundError as error:
        raise MissingFileError(path, "", "no such file; check the path, or fetch the reference") from error
    except OSError as error:
        raise MissingFileError(path, "", f"cannot be read: {error.strerror or error}") from error
    return {key: value for header in reversed(cards) for key, value in header.items()}


@contextmanager
def _checked(path: Path, stream: BufferedIOBase) -> Iterator[fits.HDUList]:
    """Open a FITS file whose extensions are all there; damage met inside is an error of the file too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            hdus = fits.open(stream, memmap=False, lazy_load_hdus=False)
            # Damage in a later extension is a warning for astropy, which then leaves the extension out.
            for warning in caught:
                if any(word in str(warning.message) for word in _DAMAGE_WARNINGS):
                    raise NotFitsError(path, "", f"is truncated or damaged: {warning.message}; fetch it again")
            yield hdus
        except _DAMAGED as error:
            if isinstance(error, ReferenceFileError):
                raise
            raise NotFitsError(path, "", f"is truncated or damaged: {error}; fetch it again") from error


def _is_packed(stream: BufferedIOBase) -> bool:
    packed = stream.read(len(_GZIP)) == _GZIP
    stream.seek(0)
    return packed


def _unpacked(path: Path, stream: BufferedIOBase) -> BufferedIOBase:
    """Return the file without its gzip: astropy takes a gzip that breaks off for a short file."""
    if not _is_packed(stream):
        return stream
    try:
        with gzip.open(stream) as unpacker:
            plain = unpacker.read(MAX_UNPACKED + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotFitsError(path, "", f"is truncated or damaged: {error}; fetch it again") from error
    if len(plain) > MAX_UNPACKED:
        raise LayoutError(path, "gzip", f"holds more than {MAX_UNPACKED} bytes; give the file unpacked")
    return io.BytesIO(plain)


def locked(image: NDArray[Any]) -> NDArray[Any]:
    """Return the image in C order, read-only; a copy if it was not."""
    ordered = np.ascontiguousarray(image)
    ordered.setflags(write=False)
    return ordered


def _laid_out(path: Path, hdus: fits.HDUList, kind: Reftype) -> tuple[FitsImages, list[tuple[str, Plane]]]:
    """Return images to be filled, and from which bytes; what astropy alone can read is filled already."""
    main, first = _extension(path, hdus, kind.images)
    header = plain_cards(first.header) | plain_cards(hdus[0].header)
    if "BUNIT" in first.header:  # the image's own unit, whatever PRIMARY says
        header["BUNIT"] = first.header["BUNIT"]
    full = _shape(path, main, first, kind.cube)
    rows, columns = shape = full[-2:]
    none = np.zeros((0, 0), np.float32)
    images = FitsImages(header, none, none, np.zeros(shape, np.uint32))
    planes: list[tuple[str, Plane]] = []
    if main != "DQ":
        # A row's coefficients lie together: (y, k, x), seen as the file has them.
        images.data = np.empty((rows, full[0], columns) if kind.cube else shape, np.float32)
        into = images.data.swapaxes(0, 1) if kind.cube else images.data
        planes += _place(path, main, first, into, images.data_suspect, 0.0 if kind.positive else -np.inf)
    if "DQ" in hdus:
        planes += _place(path, "DQ", hdus["DQ"], images.dq, [])
    else:
        images.notes.append("no DQ: no pixel is flagged")
    if kind.has_err:
        images.err = np.zeros(shape, np.float32)
        if "ERR" in hdus:
            planes += _place(path, "ERR", hdus["ERR"], images.err, images.err_suspect, _BELOW_ZERO)
        else:
            images.notes.append("no ERR: its error counts as 0")
    return images, planes


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


def _place(
    path: Path, name: str, hdu: Any, into: NDArray[Any], suspect: list[slice], above: float = -np.inf
) -> list[tuple[str, Plane]]:
    """Return the plane that fills an image, or fill it where astropy alone can read it."""
    own = tuple(getattr(hdu, "shape", ()))
    if own != into.shape:
        raise LayoutError(path, name, f"is of shape {own}, the first image {into.shape}; make them alike")
    stored = stored_as(hdu.header) if type(hdu) in (fits.PrimaryHDU, fits.ImageHDU) else None
    if stored is not None:
        dtype, zero = stored
        _check_dtype(path, name, f"uint{8 * dtype.itemsize}" if zero else dtype.name, into)
        return [(name, Plane(hdu.fileinfo()["datLoc"], dtype, into, zero, above, suspect))]
    data = hdu.data
    if not isinstance(data, np.ndarray) or data.shape != own:
        raise LayoutError(path, name, "has no pixels; write or fetch it again")
    _check_dtype(path, name, data.dtype.name, into)
    plane = Plane(0, data.dtype, into)
    plane.take(memoryview(np.ascontiguousarray(data).tobytes()), into)
    _check_sign(path, name, plane)
    suspect.append(slice(None))
    return []


def _check_dtype(path: Path, name: str, found: str, into: NDArray[Any]) -> None:
    known = _FLOATS if into.dtype.kind == "f" else _FLAGS
    if found not in known:
        raise LayoutError(path, name, f"is {found}; write it as {into.dtype.name}")


def _check_sign(path: Path, name: str, plane: Plane) -> None:
    if plane.negative:
        raise LayoutError(path, name, f"is {plane.stored.name} with negative values; write it as uint32")
