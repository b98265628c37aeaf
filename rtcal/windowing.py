"""The windows of an exposure of the full detector: their pixels are not the full frame's."""

from collections import Counter

from rtcal.routing import WindowSeen
from streams.errors import WindowError
from streams.messages import ReadHeader
from streams.windows import Window, windows_in

MAX_NOTES = 8
MAX_AHEAD = 100


class Windows:
    """Gathers where an exposure has windows, and says what is wrong with them.

    Parameters
    ----------
    counters
        Of the pipeline; this counts `windows_bad` (a list that cannot be read), `windows_outside` (not all on
        the detector) and `windows_overlapping`.
    """

    def __init__(self, counters: Counter[str]) -> None:
        self.places: frozenset[Window] = frozenset()
        self.notes: list[str] = []
        self._counters = counters
        self._exposure_id = ""
        self._shape = (0, 0)
        self._ahead: list[WindowSeen] = []

    def begin(self, header: ReadHeader, shape: tuple[int, int]) -> None:
        """Begin an exposure, with the windows that its setup lists and those that were seen ahead of its first read."""
        self.places, self.notes = frozenset(), []
        self._exposure_id, self._shape = header.exposure_id, shape
        try:
            for window in windows_in(header.setup):
                self._add(window)
        except WindowError as error:
            self._note("windows_bad", str(error))
        ahead, self._ahead = self._ahead, []
        for seen in ahead:
            self.see(seen)

    def see(self, seen: WindowSeen) -> None:
        """Take note of a window; a place that it leaves stays marked, for the exposure lacks its pixels there."""
        if seen.exposure_id == self._exposure_id:
            self._add(seen.window)
        elif len(self._ahead) < MAX_AHEAD:
            self._ahead.append(seen)  # the reads of its exposure are held back, for one before them

    def _add(self, window: Window) -> None:
        if window in self.places:
            return
        rows, columns = self._shape
        if not window.lies_in(self._shape):
            self._note("windows_outside", f"window ({window}) is not all on the detector of {columns} x {rows}")
        if any(window.overlaps(other) for other in self.places):
            self._note("windows_overlapping", f"window ({window}) overlaps another, or has moved")
        self.places |= {window}

    def _note(self, counter: str, text: str) -> None:
        self._counters[counter] += 1
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)
