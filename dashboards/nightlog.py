"""The night's log of exposures: a SQLite file that other programs may read while it grows (WAL)."""

import csv
import io
import json
import logging
import sqlite3
import threading
from typing import Any

from dashboards.quantities import quantities, telemetry
from streams.clock import iso_utc
from streams.errors import SettingsError
from streams.messages import FrameHeader

log = logging.getLogger(__name__)

MOST_FOUND = 200
MOST_POINTS = 600
COLUMNS = (
    *("time_ns", "utc", "instrument", "detector", "exposure", "revision", "type", "object", "filter", "mode", "ramps"),
    *("effective_s", "reads_used", "reads_lost", "reads_rejected", "complete", "final", "fwhm_mas", "strehl", "sky"),
    *("saturated_fraction", "numbers", "telemetry"),
)
_SEARCHED = ("exposure", "detector", "type", "object", "filter", "mode", "utc")
_CREATE = f"""CREATE TABLE IF NOT EXISTS frames (
    {", ".join(COLUMNS)}, PRIMARY KEY (instrument, detector, exposure))"""
_PUT = f"INSERT OR REPLACE INTO frames VALUES ({', '.join('?' * len(COLUMNS))})"


class NightLog:
    """One row for each exposure and detector, the latest frame of it.

    Parameters
    ----------
    path
        The file; "" keeps the log in memory, until the display stops.

    Raises
    ------
    SettingsError
        If the file cannot be opened, or is no such log.

    Notes
    -----
    A disk that is full costs the row, which is counted in `failed`, never the frame.
    """

    def __init__(self, path: str) -> None:
        self.failed = 0
        self._lock = threading.Lock()
        try:
            self._file = sqlite3.connect(path or ":memory:", check_same_thread=False, timeout=0.5)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.execute(_CREATE)
            self._file.execute("CREATE INDEX IF NOT EXISTS by_time ON frames (time_ns)")
            self._file.execute(f"SELECT {', '.join(COLUMNS)} FROM frames LIMIT 1")
        except sqlite3.Error as error:
            raise SettingsError(f"{path}: no log of exposures can be kept there ({error})") from error

    def add(self, header: FrameHeader) -> None:
        """Write or replace a row."""
        numbers = quantities(header)
        setup = {key: str(header.setup.get(key, "")) for key in ("EXPTYPE", "OBJECT", "FILTER")}
        row = (
            header.time_ns, iso_utc(header.time_ns)[:23], header.instrument, header.detector, header.exposure_id,
            header.revision, setup["EXPTYPE"], setup["OBJECT"], setup["FILTER"], header.mode, header.ramps,
            header.effective_s, header.reads_used, header.reads_lost, header.reads_rejected, header.complete,
            header.final, numbers.get("fwhm_mas"), numbers.get("strehl"), numbers.get("sky"),
            numbers.get("saturated_fraction"), json.dumps(numbers), json.dumps(telemetry(header)),
        )  # fmt: skip
        try:
            with self._lock, self._file:
                self._file.execute(_PUT, row)
        except sqlite3.Error:
            self.failed += 1
            log.exception("an exposure is missing in the log")

    def find(self, text: str, most: int = MOST_FOUND) -> list[dict[str, Any]]:
        """Return the newest rows that have every word of `text` somewhere, the newest first."""
        words = text.split()[:8]
        where = " AND ".join(f"({' OR '.join(f'instr(lower({name}), ?)' for name in _SEARCHED)})" for _ in words)
        values = [word.lower() for word in words for _ in _SEARCHED]
        query = f"SELECT {', '.join(COLUMNS)} FROM frames {'WHERE ' + where if where else ''}"
        return self._rows(f"{query} ORDER BY time_ns DESC LIMIT ?", [*values, most])

    def series(self, quantity: str, detector: str) -> dict[str, Any]:
        """Return a quantity of a detector against time, oldest first; all detectors for "*"."""
        rows = self._rows(
            "SELECT time_ns, detector, exposure, numbers, telemetry FROM frames WHERE ? IN ('*', detector)"
            " ORDER BY time_ns DESC LIMIT ?",
            [detector, MOST_POINTS],
        )
        points = [
            (row, (json.loads(row["numbers"]) | json.loads(row["telemetry"])).get(quantity)) for row in rows[::-1]
        ]
        known = [(row, value) for row, value in points if value is not None]
        return {
            "quantity": quantity,
            "time_ms": [row["time_ns"] / 1e6 for row, _ in known],
            "value": [value for _, value in known],
            "detector": [row["detector"] for row, _ in known],
            "exposure": [row["exposure"] for row, _ in known],
        }

    def telemetry_names(self) -> list[str]:
        """Return the keywords of telemetry that the newest exposure has."""
        rows = self._rows("SELECT telemetry FROM frames ORDER BY time_ns DESC LIMIT 1", [])
        return sorted(json.loads(rows[0]["telemetry"])) if rows else []

    def csv(self, text: str) -> str:
        """Return what `find` finds as CSV, all of it, the oldest first."""
        content = io.StringIO()
        writer = csv.writer(content)
        writer.writerow(COLUMNS[:-2])
        for row in reversed(self.find(text, 10**6)):
            writer.writerow([_harmless(row[name]) for name in COLUMNS[:-2]])
        return content.getvalue()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _rows(self, query: str, values: list[Any]) -> list[dict[str, Any]]:
        with self._lock:
            try:
                cursor = self._file.execute(query, values)
                names = [one[0] for one in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            except sqlite3.Error:
                self.failed += 1
                log.exception("the log could not be read")
                return []


def _harmless(value: Any) -> Any:
    """Keep a spreadsheet from taking a text that came from the network for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
