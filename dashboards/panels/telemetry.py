"""What the page of telemetry asks for: every key and its status, the past of one, exposures, residual dispersion."""

import json
from typing import Any

from tornado.web import RedirectHandler, RequestHandler

from dashboards.board import Board
from dashboards.feed import Feed
from dashboards.sky import residual
from streams.clock import NS, tai_to_utc_ns
from streams.messages import FrameHeader

MAX_VALUES = 8
MAX_EXPOSURES = 200


def board_state(board: Board, feed: Feed) -> dict[str, Any]:
    """Return all that the page shows at one instant; times are UTC, seconds since 1970."""
    now_s = board.now_s()
    rows = [
        {
            "name": one.key.name,
            "fits": one.key.fits,
            "value": one.value[:MAX_VALUES] if isinstance(one.value, list) else one.value,
            "unit": one.key.unit,
            "age": round(now_s - one.time_s, 3),
            "status": one.status(now_s),
        }
        for one in board.latest()
    ]
    frames = _frames(feed)
    return {
        "now": now_s,
        "rows": rows,
        "counters": dict(board.counters),
        "exposures": [_exposure(header) for header in frames],
        "adc": {header.detector: residual(header.adc) for header in frames if header.adc is not None},
    }


def _frames(feed: Feed) -> list[FrameHeader]:
    """Return the headers of the frames that are kept, the newest of a detector last."""
    shelves = feed.latest().history.shelves.items()
    headers = [one.header for (_, view), shelf in shelves if view == "reduced" for one in shelf]
    found = [header for header in headers if isinstance(header, FrameHeader)]
    return sorted(found, key=lambda header: header.time_ns)[-MAX_EXPOSURES:]


def _exposure(header: FrameHeader) -> dict[str, Any]:
    times = (header.first_read_ns, header.time_ns)
    return {
        "detector": header.detector,
        "id": header.exposure_id,
        "start": tai_to_utc_ns(times[0]) / NS,
        "end": tai_to_utc_ns(times[1]) / NS,
        "excluded": header.reads_excluded,
    }


def telemetry_pages(board: Board | None, feed: Feed) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """Return the addresses of the page of telemetry and what answers there; none without a board."""
    if board is None:
        return []
    return [
        ("/telemetry", RedirectHandler, {"url": "/quicklook/telemetry.html", "permanent": False}),
        ("/telemetry.json", State, {"board": board, "feed": feed}),
        ("/telemetry/past.json", Past, {"board": board}),
    ]


class State(RequestHandler):
    """`/telemetry.json`."""

    def initialize(self, board: Board, feed: Feed) -> None:
        """Take what Tornado passes to every handler."""
        self._board, self._feed = board, feed

    def get(self) -> None:
        """Write the state of now."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(board_state(self._board, self._feed)))


class Past(RequestHandler):
    """`/telemetry/past.json?key=NAME`."""

    def initialize(self, board: Board) -> None:
        """Take what Tornado passes to every handler."""
        self._board = board

    def get(self) -> None:
        """Write times and numbers of one key."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(self._board.past(self.get_query_argument("key", "")[:300])))
