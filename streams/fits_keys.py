"""What the keywords of a FITS file mean: one table `[fits_keys.NAME]` of the configuration for each family of files.

A family names, for every field of a read's header, the keywords that may hold it, their units, the
constants that stand in for what has no keyword, and the keywords that go into the setup. `docs/fits.md`
explains the tables.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeAlias

from astropy.io import fits
from msgspec import Struct

from streams.clock import NS, UNIX_EPOCH_MJD, mjd_to_tai_ns, parse_iso_utc, utc_to_tai_ns
from streams.errors import ReadsError
from streams.messages import Scalar

Unit = Literal["ms", "us", "mjd", "mjd_us", "difference"]
Header: TypeAlias = fits.Header

SMALLEST_STAMP_US = 10**12
"""A `mjd_us` keyword up to this is no time stamp: IRIS also uses READTIME for the seconds that a read takes."""

LAST_YEAR = "2261"
"""The last whole year that nanoseconds in 64 bits can count."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?Z?")
_NO_ID = re.compile(r"[^\x21-\x7e]+")


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
        if all(_fits(_find(headers, keyword), pattern) for keyword, pattern in wanted.items())
    ]
    if fitting:
        return max(fitting, key=lambda found: found[0])[1]
    seen = {key: _find(headers, key) for key in ("TELESCOP", "INSTRUME", "DATAMODL")}
    found = ", ".join(f"{key}={value!r}" for key, value in seen.items() if value is not None)
    raise ReadsError(
        f"{path}: fits no family of [fits_keys] ({found or 'no INSTRUME'}); known are {', '.join(sorted(families))}: "
        "name one of them as the family, or add a table for these files"
    )


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one image's header.

    Parameters
    ----------
    path, family, keys
        The file, and its family's name and table.
    headers
        Where keywords are looked for, the nearest first: the image's own, then the PRIMARY.
    given
        Values that win over keywords and constants.
    """

    path: Path
    family: str
    keys: FitsKeys
    headers: tuple[Header, ...]
    given: Constants

    def text(self, name: str) -> str | None:
        """Return a field as text, renamed by the family's `values`."""
        value, _ = self._raw(name)
        return None if value is None else self._renamed(name, _text(value))

    def number(self, name: str) -> float | None:
        """Return a field in the unit of its name, None where the file does not say."""
        value, keyword = self._raw(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(name, keyword, value, "a number")
        factor = {"ms": 1e-3, "us": 1e-6, "difference": math.sqrt(0.5)}.get(self.keys.units.get(keyword, ""), 1.0)
        return float(value) * factor

    def count(self, name: str) -> int | None:
        """Return a whole number as it stands."""
        value, keyword = self._raw(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self._wrong(name, keyword, value, "a whole number")
        return int(value)

    def index(self, name: str) -> int | None:
        """Return the number of a read or ramp, counted from 0."""
        value, (_, keyword) = self.count(name), self._raw(name)
        if value is None or keyword == "":
            return value
        if value < self.keys.count_from:
            raise self._wrong(name, keyword, value, f"{self.keys.count_from} or more (count_from)")
        return value - self.keys.count_from

    def flag(self, name: str) -> bool | None:
        """Return a logical value; T and F as text are taken too."""
        value, keyword = self._raw(name)
        if value is None or isinstance(value, bool):
            return value
        if _text(value).upper() in ("T", "F"):
            return _text(value).upper() == "T"
        raise self._wrong(name, keyword, value, "T or F")

    def instant(self, name: str) -> int | None:
        """Return an instant as TAI [ns]."""
        value, keyword = self._raw(name)
        unit = self.keys.units.get(keyword, "")
        if value is None:
            return None
        if unit in ("mjd", "mjd_us"):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise self._wrong(name, keyword, value, "a Modified Julian Date")
            return mjd_to_tai_ns(value) if unit == "mjd" else _mjd_us_to_tai_ns(value)
        text = self._with_time_of_day(keyword, _text(value))
        if not (_DATE.fullmatch(text) or _DATE_TIME.fullmatch(text)) or text[:4] > LAST_YEAR:
            raise self._wrong(name, keyword, value, "a date as YYYY-MM-DDThh:mm:ss")
        try:
            return parse_iso_utc(text)
        except ValueError as error:
            raise self._wrong(name, keyword, value, f"a date ({error})") from error

    def exposure_id(self, fallback: str | None) -> str:
        """Return the exposure's identity: its keyword, its parts joined, or `fallback` (from the file's name)."""
        found = self.text("exposure_id")
        parts = [_find(self.headers, keyword) for keyword in self.keys.keywords.exposure_parts]
        if found is None and parts and None not in parts:
            found = "-".join(f"{part:04d}" if type(part) is int else _text(part) for part in parts)
        found = found or fallback
        if not found:
            raise self.missing("exposure_id")
        return _NO_ID.sub("_", found)[:128]

    def setup(self) -> dict[str, Scalar]:
        """Return the values that choose references, under the names that the rules know."""
        setup: dict[str, Scalar] = dict(self.keys.setup_constants)
        for name, keywords in self.keys.setup.items():
            for keyword in keywords:
                value = _find(self.headers, keyword)
                if isinstance(value, str | int | float):
                    setup[name] = self._renamed(name, value) if isinstance(value, str) else value
                    break
        return setup

    def missing(self, name: str) -> ReadsError:
        """Return the error for a field that must be there: file, keywords, table and what would work."""
        keywords = list(getattr(self.keys.keywords, name))
        keywords += self.keys.keywords.exposure_parts if name == "exposure_id" else []
        lacks = f"no {' or '.join(keywords)}" if keywords else "no keyword is named"
        remedy = f"name the keyword in [fits_keys.{self.family}.keywords]"
        if name in Constants.__struct_fields__:
            remedy += f", or give constants.{name}"
        return ReadsError(f"{self.path}: {lacks} for `{name}`, which a read needs; {remedy}")

    def _raw(self, name: str) -> tuple[Any, str]:
        """Return a field's value and the keyword that held it, "" for a constant."""
        given = getattr(self.given, name, None)
        if given is not None:
            return given, ""
        for keyword in getattr(self.keys.keywords, name):
            value = _find(self.headers, keyword)
            stamp = self.keys.units.get(keyword) == "mjd_us"
            if value is None or (stamp and isinstance(value, int | float) and value <= SMALLEST_STAMP_US):
                continue
            return value, keyword
        return getattr(self.keys.constants, name, None), ""

    def _renamed(self, name: str, value: str) -> str:
        return self.keys.values.get(name, {}).get(value, value)

    def _with_time_of_day(self, keyword: str, text: str) -> str:
        """Complete a bare DATE-xxx by the TIME-xxx that older files keep beside it."""
        if keyword.startswith("DATE-") and _DATE.fullmatch(text):
            time_of_day = _find(self.headers, keyword.replace("DATE-", "TIME-"))
            if isinstance(time_of_day, str):
                return f"{text}T{time_of_day.strip()}"
        return text

    def _wrong(self, name: str, keyword: str, value: object, wanted: str) -> ReadsError:
        where = keyword or f"constants.{name}"
        table = f"[fits_keys.{self.family}]"
        return ReadsError(f"{self.path}: {where} = {value!r} for `{name}` of {table} is not {wanted}")


def _find(headers: Sequence[Header], keyword: str) -> Any:
    """Return the value of a keyword in the first header that has it; None for absent and undefined."""
    for header in headers:
        value = header.get(keyword)
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, bool | int | float):
            return value
    return None


def _fits(value: object, pattern: str) -> bool:
    return value is not None and fnmatchcase(_text(value), pattern)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _mjd_us_to_tai_ns(value: float) -> int:
    return utc_to_tai_ns((round(value) - UNIX_EPOCH_MJD * 86_400 * (NS // 1000)) * 1000)
