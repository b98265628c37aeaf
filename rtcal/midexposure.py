"""The telemetry of a frame's mid-exposure by FITS keyword, for what computes with it."""

from collections.abc import Iterable

from streams.messages import Scalar, TelemetryRow

Found = Scalar | list[Scalar]


class MidExposure:
    """Values at mid-exposure that can be used, or are at least only stale.

    Parameters
    ----------
    rows
        Of a frame; of several with one FITS keyword the first that is in time counts, else the first with a value.

    Notes
    -----
    `stale` tells whether any value that was asked for was held for too long.
    """

    def __init__(self, rows: Iterable[TelemetryRow]) -> None:
        self.stale = False
        self._rows: dict[str, TelemetryRow] = {}
        for row in rows:
            if row.fits and row.read is None and row.status in ("OK", "AGE", "STALE") and row.value is not None:
                before = self._rows.get(row.fits)
                if before is None or (before.status == "STALE" and row.status != "STALE"):
                    self._rows[row.fits] = row

    def get(self, keyword: str) -> Found | None:
        """Return the value of a keyword; None if it is not known."""
        row = self._rows.get(keyword)
        if row is None:
            return None
        self.stale = self.stale or row.status == "STALE"
        return row.value

    def number(self, keyword: str) -> float | None:
        """Return the value of a keyword as a number."""
        value = self.get(keyword)
        return None if isinstance(value, bool | str | list) or value is None else float(value)

    def numbers(self, keyword: str) -> list[float]:
        """Return the values of a keyword that has a list; empty if it is not known."""
        value = self.get(keyword)
        items = value if isinstance(value, list) else [] if value is None else [value]
        return [float(item) for item in items if isinstance(item, int | float) and not isinstance(item, bool)]

    def text(self, keyword: str) -> str:
        """Return the value of a keyword as a text; empty if it is not known."""
        value = self.get(keyword)
        return value if isinstance(value, str) else ""

    @property
    def pointing(self) -> tuple[float, float, float] | None:
        """Right ascension, declination and position angle [deg]; None unless all three are known."""
        ra, dec, angle = self.number("RA"), self.number("DEC"), self.number("PA")
        return None if ra is None or dec is None or angle is None else (ra, dec, angle)
