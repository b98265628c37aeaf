"""What the keywords of a FITS file mean: one table `[fits_keys.NAME]` of the configuration for each family of files.

A family names, for every field of a read's header, the keywords that may hold it, their units, the
constants that stand in for what has no keyword, and the keywords that go into the setup. `docs/fits.md`
explains the tables.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeAlias

from astropy.io import fits
from msgspec import Struct

from streams.errors import ReadsError
from streams.messages import Scalar

Unit = Literal["ms", "us", "mjd", "mjd_us", "difference"]
Header: TypeAlias = fits.Header


class Keywords(Struct, frozen=True, forbid_unknown_fields=True):
    """For each field the keywords that may hold it, the first that is there being taken; empty: none does."""

    instrument: list[str] = []
    detector: list[str] = []
    exposure_id: list[str] = []
    exposure_parts: list[str] = []
    """Joined by `-` where no `exposure_id` is there; numbers with four digits."""
    ramp: list[str] = []
    read: list[str] = []
    ramps_planned: list[str] = []
    reads_planned: list[str] = []
    time: list[str] = []
    """Instant of a read's first pixel (in a cube: of its first read)."""
    start: list[str] = []
    """Instant that `elapsed_s` counts from, or of the exposure's first read."""
    reset: list[str] = []
    """End of the last reset."""
    elapsed_s: list[str] = []
    """From `start`, or where `time` is there from the reset, to a read's first pixel."""
    frame_time_s: list[str] = []
    spacing_s: list[str] = []
    """From read to read of a cube; where it is not there: the frame time."""
    complete: list[str] = []
    gain_e_per_dn: list[str] = []
    read_noise_e: list[str] = []
    saturation_dn: list[str] = []


class Constants(Struct, frozen=True, forbid_unknown_fields=True):
    """Values of fields that have no keyword; units as in the field's name, numbers counted from 0."""

    instrument: str | None = None
    detector: str | None = None
    exposure_id: str | None = None
    ramp: int | None = None
    ramps_planned: int | None = None
    reads_planned: int | None = None
    start: str | None = None
    frame_time_s: float | None = None
    spacing_s: float | None = None
    gain_e_per_dn: float | None = None
    read_noise_e: float | None = None
    saturation_dn: float | None = None


class FitsKeys(Struct, frozen=True, forbid_unknown_fields=True):
    """A family of FITS files: the table `[fits_keys.NAME]`."""

    layout: Literal["image", "ima"]
    """`image`: (y, x) is a read, (read, y, x) a ramp, (ramp, read, y, x) several. `ima`: HST multi-accum."""
    recognise: list[dict[str, str]]
    """A file is of this family if all keywords of one of these have values that fit (`*` and `?` as in a shell)."""
    images: list[str]
    """Names of the extension with the pixels; the first that is there with pixels is taken."""
    count_from: Literal[0, 1]
    """The number that the first read and the first ramp have in the keywords."""
    keywords: Keywords
    units: dict[str, Unit] = {}
    """Keyword = unit, where it is not s, ISO UTC, e- or DN. `difference`: noise of two reads' difference."""
    constants: Constants = Constants()
    values: dict[str, dict[str, str]] = {}
    """Field or setup name = table of a file's values and what they become."""
    setup: dict[str, list[str]] = {}
    """Setup name = keywords that may hold it."""
    setup_constants: dict[str, Scalar] = {}
    """Setup name = value where no keyword is there."""


def recognise(
    path: Path, headers: Sequence[Header], families: Mapping[str, FitsKeys], family: str | None = None
) -> str:
    """Return the name of the family that a file belongs to.

    Parameters
    ----------
    path
        For the error's text.
    headers
        Those in which keywords are looked for.
    families
        The tables by name; where several fit, the one that asks for more keywords wins, then the earlier.
    family
        The answer, if it was given: only checked.

    Raises
    ------
    ReadsError
        If no family fits, or the given one does not exist.
    """
    if family is not None:
        if family not in families:
            raise ReadsError(f"{path}: no family [fits_keys.{family}]; there are {', '.join(sorted(families))}")
        return family
    fitting = [
        (len(wanted), name)
        for name, keys in families.items()
        for wanted in keys.recognise
        if all(_fits(find(headers, keyword), pattern) for keyword, pattern in wanted.items())
    ]
    if fitting:
        return max(fitting, key=lambda found: found[0])[1]
    seen = {key: find(headers, key) for key in ("TELESCOP", "INSTRUME", "DATAMODL")}
    found = ", ".join(f"{key}={value!r}" for key, value in seen.items() if value is not None)
    raise ReadsError(
        f"{path}: fits no family of [fits_keys] ({found or 'no INSTRUME'}); known are {', '.join(sorted(families))}: "
        "name one of them as the family, or add a table for these files"
    )


def find(headers: Sequence[Header], keyword: str) -> Any:
    """Return the value of a keyword in the first header that has it; None for absent and undefined."""
    for header in headers:
        value = header.get(keyword)
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, bool | int | float):
            return value
    return None


def _fits(value: object, pattern: str) -> bool:
    return value is not None and fnmatchcase(as_text(value), pattern)


def as_text(value: object) -> str:
    """Return a card's value as text, "" for none."""
    return "" if value is None else str(value).strip()
