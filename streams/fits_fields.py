"""The fields of one read's header, as its family's table says where to find them."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.clock import NS, UNIX_EPOCH_MJD, mjd_to_tai_ns, parse_iso_utc, utc_to_tai_ns
from streams.errors import ReadsError
from streams.fits_keys import Constants, FitsKeys, Header, as_text, find
from streams.messages import Scalar

SMALLEST_STAMP_US = 10**12
"""A `mjd_us` keyword up to this is no time stamp: IRIS also uses READTIME for the seconds that a read takes."""

LAST_YEAR = "2261"
"""The last whole year that nanoseconds in 64 bits can count."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?Z?")
_NO_ID = re.compile(r"[^\x21-\x7e]+")


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
        return None if value is None else self._renamed(name, as_text(value))

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
        if as_text(value).upper() in ("T", "F"):
            return as_text(value).upper() == "T"
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
        text = self._with_time_of_day(keyword, as_text(value))
        if not (_DATE.fullmatch(text) or _DATE_TIME.fullmatch(text)) or text[:4] > LAST_YEAR:
            raise self._wrong(name, keyword, value, "a date as YYYY-MM-DDThh:mm:ss")
        try:
            return parse_iso_utc(text)
        except ValueError as error:
            raise self._wrong(name, keyword, value, f"a date ({error})") from error

    def exposure_id(self, fallback: str | None) -> str:
        """Return the exposure's identity: its keyword, its parts joined, or `fallback` (from the file's name)."""
        found = self.text("exposure_id")
        parts = [find(self.headers, keyword) for keyword in self.keys.keywords.exposure_parts]
        if found is None and parts and None not in parts:
            found = "-".join(f"{part:04d}" if type(part) is int else as_text(part) for part in parts)
        found = found or fallback
        if not found:
            raise self.missing("exposure_id")
        return _NO_ID.sub("_", found)[:128]

    def setup(self) -> dict[str, Scalar]:
        """Return the values that choose references, under the names that the rules know."""
        setup: dict[str, Scalar] = dict(self.keys.setup_constants)
        for name, keywords in self.keys.setup.items():
            for keyword in keywords:
                value = find(self.headers, keyword)
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
            value = find(self.headers, keyword)
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
            time_of_day = find(self.headers, keyword.replace("DATE-", "TIME-"))
            if isinstance(time_of_day, str):
                return f"{text}T{time_of_day.strip()}"
        return text

    def _wrong(self, name: str, keyword: str, value: object, wanted: str) -> ReadsError:
        where = keyword or f"constants.{name}"
        table = f"[fits_keys.{self.family}]"
        return ReadsError(f"{self.path}: {where} = {value!r} for `{name}` of {table} is not {wanted}")


def _mjd_us_to_tai_ns(value: float) -> int:
    return utc_to_tai_ns((round(value) - UNIX_EPOCH_MJD * 86_400 * (NS // 1000)) * 1000)
