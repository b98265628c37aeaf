"""Opening FITS files that may be damaged: whatever is wrong becomes one `ReadsError` line."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from streams.errors import ReadsError

SUFFIXES = (".fits", ".fits.fz", ".fits.gz")

_LFS_START = b"version https://git-lfs"
_GZIP_START = b"\x1f\x8b"
_FITS_START = b"SIMPLE  ="
# What reading a card of a damaged header raises; anything else there is a fault of ours and must show.
_BROKEN_CARD = (ValueError, TypeError, LookupError, AttributeError, OverflowError, fits.VerifyError)


def expand(inputs: Sequence[Path]) -> list[Path]:
    """Return the files meant by `inputs`: files as given, directories as their FITS files sorted by name.

    A file that is meant twice is listed once. Directories are not searched below their first level.

    Raises
    ------
    ReadsError
        If there are no inputs, a path does not exist, or a directory holds no FITS file.
    """
    if not inputs:
        raise ReadsError("no input: give FITS files or directories that hold them")
    files: dict[Path, Path] = {}
    for path in inputs:
        for file in _files_of(Path(path)):
            files.setdefault(file.resolve(), file)
    return list(files.values())


def _files_of(path: Path) -> list[Path]:
    try:
        if not path.exists():
            raise ReadsError(f"{path}: no such file or directory")
        if not path.is_dir():
            return [path]
        names = sorted(file.name for file in path.iterdir())
    except OSError as error:
        raise ReadsError(f"{path}: cannot be read: {error.strerror}") from error
    files = [path / name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    if not files:
        raise ReadsError(f"{path}: the directory holds no FITS file ({', '.join('*' + end for end in SUFFIXES)})")
    return files


@contextmanager
def guarded(path: Path, broken: tuple[type[Exception], ...] = _BROKEN_CARD) -> Iterator[None]:
    """Turn what damaged bytes raise, or astropy warns of, into a `ReadsError`; other warnings are kept back.

    Must not span a `yield` to other code: the filter of warnings belongs to the whole process.

    Parameters
    ----------
    path
        The file, for the error's text.
    broken
        The exceptions that mean a damaged file.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except ReadsError:
            raise
        except broken as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise ReadsError(f"{path}: damaged or truncated FITS: {text[:200]}; get the file again") from error
    for warning in caught:
        text = " ".join(str(warning.message).split())
        if "truncated" in text:
            raise ReadsError(f"{path}: truncated: {text[:200]}; get the file again")


@contextmanager
def open_fits(path: Path) -> Iterator[fits.HDUList]:
    """Open a file and read all its headers.

    Raises
    ------
    ReadsError
        If it cannot be read, is a Git-LFS pointer, is not FITS, or ends early.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ReadsError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        _check_start(path, file.read(80))
        file.seek(0)
        with guarded(path, (Exception,)):  # astropy and its decoders raise what they like, private types too
            hdus = fits.open(file, mode="readonly", memmap=False, lazy_load_hdus=False)
        with hdus:
            yield hdus


def _check_start(path: Path, start: bytes) -> None:
    if start.startswith(_LFS_START):
        raise ReadsError(f"{path}: a Git-LFS pointer, not the file itself; fetch it with `git lfs pull`")
    if not start:
        raise ReadsError(f"{path}: empty; get the file again")
    if not start.startswith((_FITS_START, _GZIP_START)):
        raise ReadsError(f"{path}: not FITS: starts with {start[:16]!r}, FITS (or gzip) was expected")


def pixels(path: Path, hdu: Any, index: tuple[int, ...], factor: float | None) -> NDArray[Any]:
    """Return one (y, x) plane: uint16 for unsigned pixels of up to 16 bits, float32 for all others; read-only.

    Parameters
    ----------
    path
        For the error's text.
    hdu
        The image, plain or compressed.
    index
        Position along the axes before (y, x); only this plane is read.
    factor
        Multiplies the pixels, in float64, where it is not None.
    """
    with guarded(path, (Exception,)), np.errstate(over="ignore", invalid="ignore"):
        stored = hdu.section[index] if index else hdu.data
        if factor is not None:
            stored = stored.astype(np.float64) * factor
        unsigned = stored.dtype.kind == "u" and stored.dtype.itemsize <= 2
        plane: NDArray[Any] = np.ascontiguousarray(stored, dtype="<u2" if unsigned else "<f4")
    plane.setflags(write=False)
    return plane
