"""Dates of CRDS rules, and the UTC of a read.

Rules and FITS cards count UTC; reads count TAI. CRDS compares dates as text in its own form,
`YYYY-MM-DD HH:MM:SS[.ffffff]`; so does this package, or it would choose other files than CRDS.
"""

import re
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache

import erfa
import numpy as np

NS = 1_000_000_000

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_ISO_T = re.compile(r"\d{4}[-/]\d\d[-/]\d\dT\d\d(:\d\d){1,2}(\.\d{1,6})?")
_WORD = re.compile(r"[A-Za-z]{3,10}")
_NUMERIC = (
    # The order and the centuries are CRDS's: two-digit years are 1990-1999 and 2000-2039.
    (re.compile(r"(?P<m>\d\d)/(?P<d>\d\d)/(?P<y>\d{4})"), 0),
    (re.compile(r"(?P<y>\d{4})/(?P<m>\d\d)/(?P<d>\d\d)"), 0),
    (re.compile(r"(?P<d>\d\d)/(?P<m>\d\d)/(?P<y>9\d)"), 1900),
    (re.compile(r"(?P<d>\d\d)/(?P<m>\d\d)/(?P<y>[0-3]\d)"), 2000),
)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d):(\d\d)(\d\d)(\d\d)")


def parse_date(text: str) -> datetime:
    """Read a date in any form that CRDS takes.

    Parameters
    ----------
    text
        `YYYY-MM-DD[ T]HH:MM[:SS[.ffffff]]`, the same with slashes, `MM/DD/YYYY`, `DD-MM-YY`, month names
        (`Mar 21 2001`, `21-Mar-2001`), `YYYYMMDD:HHMMSS`; AM or PM; a trailing ` UT`. UTC, without zone.

    Raises
    ------
    ValueError
        For anything else: also `Z`, offsets, MJD and second 60.
    """
    date = text.removesuffix(" UT")
    if _ISO_T.fullmatch(date):
        date = date.replace("T", " ")
    try:
        return _named_month(date) if _WORD.search(date) else _numeric(date)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no date; write YYYY-MM-DD HH:MM:SS ({error})") from error


def crds_text(date: datetime) -> str:
    """Write a date as CRDS compares it: microseconds only if there are any."""
    return date.replace(tzinfo=None).isoformat(" ")


def utc_of_tai(tai_ns: int) -> datetime:
    """Turn TAI [ns since 1970-01-01 TAI] into UTC, to the microsecond below.

    Raises
    ------
    OverflowError
        If the year is beyond 1-9999.
    """
    starts, offsets = _leap_table()
    utc_ns = tai_ns - offsets[0]
    for start, offset in zip(reversed(starts), reversed(offsets), strict=True):
        if tai_ns - offset >= start:
            utc_ns = tai_ns - offset
            break
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=utc_ns // 1000)


def seconds_between(early: datetime, late_tai_ns: int) -> float:
    """Return the elapsed seconds from a UTC date to a TAI instant; negative if the date is the later."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    utc_us = (early.replace(tzinfo=UTC) - epoch) // timedelta(microseconds=1)
    starts, offsets = _leap_table()
    offset = offsets[max(bisect_right(starts, utc_us * 1000) - 1, 0)]
    return (late_tai_ns - utc_us * 1000 - offset) / NS


@cache
def _leap_table() -> tuple[list[int], list[int]]:
    """UTC instants [ns since 1970] and TAI - UTC [ns] from each on (1972 and later)."""
    table = erfa.leap_seconds.get()
    table = table[table["year"] >= 1972]
    months = (table["year"] - 1970).astype(int) * 12 + table["month"].astype(int) - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(int)
    offsets = np.round(table["tai_utc"]).astype(int) * NS
    return [int(day) * 86_400 * NS for day in days], [int(offset) for offset in offsets]


def _numeric(date: str) -> datetime:
    words = date.replace("-", "/").split()
    if not words:
        raise ValueError("it is empty")
    clock = _clock(" ".join(words[1:]) or "00:00:00")
    compact = _COMPACT.fullmatch(words[0])
    if compact:
        year, month, day, hour, minute, second = map(int, compact.groups())
        return datetime(year, month, day, hour, minute, second)
    for pattern, century in _NUMERIC:
        found = pattern.fullmatch(words[0])
        if found:
            return datetime(century + int(found["y"]), int(found["m"]), int(found["d"]), *clock)
    raise ValueError("day, month and year are not in a known order")


def _named_month(date: str) -> datetime:
    spaced = re.sub(r"\s+(am|pm)$", r"\1", date, flags=re.IGNORECASE)
    words = spaced.replace("-", " ").replace("/", " ").split()
    if len(words) not in (3, 4):
        raise ValueError("a month's name needs a day and a year")
    first, second, year = words[0], words[1].removesuffix(","), words[2]
    clock = _clock(words[3] if len(words) == 4 else "00:00")
    try:
        return datetime(int(year), _month(first), int(second), *clock)
    except ValueError:
        return datetime(int(year), _month(second), int(first), *clock)


def _month(name: str) -> int:
    return _MONTHS.index(name[:3].upper()) + 1


def _clock(text: str) -> tuple[int, int, int, int]:
    """Hour, minute, second, microsecond of `HH:MM[:SS[.f]][AM|PM]`; CRDS drops a fourth field."""
    time = text.strip()
    half = time[-2:].upper()
    if half in ("AM", "PM"):
        time = time[:-2]
    fields = time.split(":")
    if len(fields) not in (2, 3, 4):
        raise ValueError(f"{text!r} is no time of day")
    hour, minute = int(fields[0]), int(fields[1])
    seconds = float(fields[2]) if len(fields) > 2 else 0.0
    whole = int(seconds)
    if half == "PM" and hour < 12:
        hour += 12
    elif half == "AM" and hour == 12:
        hour = 0
    return hour, minute, whole, int((seconds - whole) * 10**6)
