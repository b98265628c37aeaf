"""Time as the streams count it: int64 nanoseconds of TAI since 1970-01-01 TAI.

TAI has no leap seconds, so differences of read times are exact; UTC appears only in FITS cards,
in the metadata of the wire and on screens. Clocks are arguments, so that tests can turn them.
"""

import time
from bisect import bisect_right
from functools import cache
from typing import Protocol

import erfa
import numpy as np

NS = 1_000_000_000
UNIX_EPOCH_MJD = 40587


class Clock(Protocol):
    """What the daemon asks the time of."""

    def monotonic_s(self) -> float:
        """Seconds that never step back, for intervals and time limits."""
        ...

    def tai_ns(self) -> int:
        """TAI now [ns since 1970-01-01 TAI]."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def tai_ns(self) -> int:
        """TAI from the machine's UTC."""
        return utc_to_tai_ns(time.time_ns())


@cache
def _leap_table() -> tuple[list[int], list[int]]:
    """UTC instants [ns since 1970] and TAI - UTC [ns] from each on (1972 and later)."""
    table = erfa.leap_seconds.get()
    table = table[table["year"] >= 1972]
    months = (table["year"] - 1970).astype(int) * 12 + table["month"].astype(int) - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(int)
    offsets = np.round(table["tai_utc"]).astype(int) * NS
    return [int(day) * 86_400 * NS for day in days], [int(offset) for offset in offsets]


def utc_to_tai_ns(utc_ns: int) -> int:
    """Turn UTC (POSIX count) into TAI [ns since 1970 in its own scale]; 10 s is used before 1972."""
    starts, offsets = _leap_table()
    return utc_ns + offsets[max(bisect_right(starts, utc_ns) - 1, 0)]


def tai_to_utc_ns(tai_ns: int) -> int:
    """Turn TAI into UTC (POSIX count) [ns]; an instant inside a leap second repeats the second after it."""
    starts, offsets = _leap_table()
    for start, offset in zip(reversed(starts), reversed(offsets), strict=True):
        if tai_ns - offset >= start:
            return tai_ns - offset
    return tai_ns - offsets[0]


def mjd_to_tai_ns(mjd_utc: float, extra_s: float = 0.0) -> int:
    """Turn a UTC Modified Julian Date, and seconds to add, into TAI [ns]."""
    utc_ns = round((mjd_utc - UNIX_EPOCH_MJD) * 86_400 * NS)
    return utc_to_tai_ns(utc_ns) + round(extra_s * NS)


def tai_to_mjd(tai_ns: int) -> float:
    """Write a TAI instant as a Modified Julian Date in UTC; good to a microsecond."""
    return UNIX_EPOCH_MJD + tai_to_utc_ns(tai_ns) / (86_400 * NS)


def iso_utc(tai_ns: int) -> str:
    """Write a TAI instant as UTC, `YYYY-MM-DDThh:mm:ss.sss`."""
    instant = np.datetime64(tai_to_utc_ns(tai_ns), "ns")
    return str(np.datetime_as_string(instant, unit="ms"))


def parse_iso_utc(text: str) -> int:
    """Read `YYYY-MM-DD[Thh:mm[:ss[.frac]]]` in UTC as TAI [ns].

    Raises
    ------
    ValueError
        If the text is no such date; numpy says what is wrong with it.
    """
    instant = np.datetime64(text.strip().removesuffix("Z").replace(" ", "T"), "ns")
    if np.isnat(instant):
        raise ValueError(f"{text!r} is no date")
    return utc_to_tai_ns(int(instant.astype(np.int64)))
