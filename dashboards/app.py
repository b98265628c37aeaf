"""The server: the page, its files, and the websocket of the image pane.

Everything that moves reaches a page through that websocket, and the Bokeh models are mutated in the
browser alone: there is no Bokeh server. So a page works on after the server was started again.
"""

import hashlib
import os
import socket
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bokeh.util.paths import bokehjs_path
from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.web import Application, RequestHandler, StaticFileHandler

from dashboards.board import Board
from dashboards.desk import Desk
from dashboards.feed import Feed
from dashboards.hub import Hub
from dashboards.image import Viewer
from dashboards.panels.strip import thumbnail
from dashboards.panels.telemetry import telemetry_pages
from dashboards.settings import DashboardSettings
from streams.errors import EndpointError
from streams.optics import Optics

STATIC = Path(__file__).with_name("static")
PING_S = 10
PIECE_BYTES = 1 << 20


class Page(RequestHandler):
    """The page itself, made once: a hundred people who open it at once cost no image."""

    def initialize(self, content: Callable[[], str]) -> None:
        """Take what Tornado passes to every handler."""
        self._content = content

    def get(self) -> None:
        """Write it."""
        self.set_header("Cache-Control", "no-cache")
        self.finish(self._content())


class PageFiles(StaticFileHandler):
    """The page's scripts and styles, asked for anew each time so that an update is seen at once."""

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002
        """Let no browser keep an old version."""
        self.set_header("Cache-Control", "no-cache")


class Thumbnail(RequestHandler):
    """A picture of the past, small; it never changes, so browsers may keep it."""

    def initialize(self, hub: Hub) -> None:
        """Take what Tornado passes to every handler."""
        self._hub = hub

    def get(self, session: str, number: str) -> None:
        """Draw one; an earlier run's numbers mean other pictures."""
        picture = self._hub.feed.latest().history.numbered(int(number)) if session == self._hub.session else None
        if picture is None:
            self.send_error(404)
            return
        self.set_header("Content-Type", "image/png")
        self.set_header("Cache-Control", "private, max-age=86400, immutable")
        self.finish(thumbnail(picture))


class FrameFile(RequestHandler):
    """A picture as a FITS file."""

    def initialize(self, hub: Hub) -> None:
        """Take what Tornado passes to every handler."""
        self._hub = hub

    async def get(self, session: str, number: str) -> None:
        """Write the file."""
        with tempfile.TemporaryFile(prefix="quicklook-") as file:
            name = await self._hub.write_fits(session, int(number), file)
            if name is None:
                self.send_error(404)
                return
            self.set_header("Content-Type", "application/fits")
            self.set_header("Content-Disposition", f'attachment; filename="{name}"')
            self.set_header("Content-Length", str(file.tell()))
            file.seek(0)
            while piece := file.read(PIECE_BYTES):
                self.write(piece)
                await self.flush()  # a browser that reads slowly holds one piece in memory


class LogFile(RequestHandler):
    """The night's log as CSV."""

    def initialize(self, hub: Hub) -> None:
        """Take what Tornado passes to every handler."""
        self._hub = hub

    def get(self) -> None:
        """Write what is found."""
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="exposures.csv"')
        self.finish(self._hub.desk.night.csv(self.get_query_argument("search", "")[:200]))


class Dashboard:
    """A listening server and what it serves, on the event loop of the thread that makes it.

    Parameters
    ----------
    feed
        Where snapshots come from; it stays the caller's.
    settings
        Table `[dashboard]`.
    optics
        Angles and bands.
    desk
        The log, alarms, targets; it stays the caller's.
    port
        Overrides the settings' port; 0 lets the system choose.
    board
        All telemetry, for its page; None: there is no such page. It stays the caller's.
    page
        The page, where it is made already; else it is when somebody asks for it.

    Raises
    ------
    EndpointError
        If the port is in use or the address is not this machine's.
    """

    def __init__(
        self,
        feed: Feed,
        settings: DashboardSettings,
        optics: Optics,
        desk: Desk,
        port: int | None = None,
        board: Board | None = None,
        page: str = "",
    ) -> None:
        listening = _bind(settings.address, settings.port if port is None else port)
        self.port = int(listening.getsockname()[1])
        self.url = f"http://{_host(settings.address)}:{self.port}/"
        self.hub = Hub(feed, settings, optics, desk, build_id(), board)
        application = Application(
            [
                ("/", Page, {"content": cache(lambda: page or page_of(settings))}),
                ("/stream", Viewer, {"hub": self.hub, "origins": _origins(settings, self.port)}),
                ("/static/(.*)", StaticFileHandler, {"path": str(bokehjs_path())}),
                ("/quicklook/(.*)", PageFiles, {"path": str(STATIC)}),
                ("/frame/([0-9a-f]{8})-([0-9]{1,15}).fits", FrameFile, {"hub": self.hub}),
                ("/log.csv", LogFile, {"hub": self.hub}),
                *telemetry_pages(board, feed),
                ("/thumb/([0-9a-f]{8})-([0-9]{1,15}).png", Thumbnail, {"hub": self.hub}),
            ],
            websocket_ping_interval=PING_S,
            websocket_ping_timeout=PING_S,
        )
        self._http = HTTPServer(application)
        self._http.add_sockets([listening])
        self._ticker = PeriodicCallback(self.hub.tick, settings.tick_s * 1000.0)

    def start(self) -> None:
        """Begin to offer what is new; pages are served from the beginning."""
        self._ticker.start()

    def stop(self) -> None:
        """Close the port and every page's connections."""
        self._ticker.stop()
        self.hub.close()
        self._http.stop()


def page_of(settings: DashboardSettings) -> str:
    """Make the page."""
    from dashboards.page import make_page  # Bokeh takes 100 MB that a process with its page made has no use for

    return make_page(settings, build_id())


def build_id() -> str:
    """Name the version of the page's own files by their content."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family)
    except OSError as error:
        remedy = "is another dashboard running? choose another with --port, or --port 0"
        text = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise EndpointError(f"cannot listen on {address} port {port}: {text}; {remedy}") from error
    listening.setblocking(False)
    return listening


def _host(address: str) -> str:
    """Return what to write in a URL for an address to listen on."""
    if address in ("", "0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{address}]" if ":" in address else address


def _origins(settings: DashboardSettings, port: int) -> frozenset[str]:
    own = {f"{host}:{port}" for host in ("127.0.0.1", "localhost", _host(settings.address))}
    return frozenset(own.union(settings.allow_origins))
