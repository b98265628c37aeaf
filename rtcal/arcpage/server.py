"""The page's server, on this machine alone; its address holds a secret, so that nobody else's page reaches it."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from refcache import RefcacheError
from rtcal.arcpage.editor import ArcEditor
from rtcal.arcpage.edits import Edit
from rtcal.arcpage.told import detail, overview, rows, summary
from rtcal.errors import RtcalError, UsageError
from streams.errors import StreamsError

log = logging.getLogger(__name__)

STATIC = Path(__file__).with_name("static")
ADDRESS = "127.0.0.1"
MAX_REQUEST_BYTES = 65_536
_edits: msgspec.json.Decoder[Edit] = msgspec.json.Decoder(Edit)


class Save(Struct, frozen=True, forbid_unknown_fields=True):
    """Write the solution as a reference."""

    path: str
    replace: bool = False
    add: bool = False
    """Enter it into the cache of references too."""


_saves: msgspec.json.Decoder[Save] = msgspec.json.Decoder(Save)
Saver = Callable[[ArcEditor, Save], list[str]]
"""Writes what the editor holds, and returns what was done, in sentences."""


class ArcPage:
    """A listening server and the editor that it serves, on the event loop of the thread that makes it.

    Parameters
    ----------
    editor
        The arc.
    save
        Called on a thread of its own.
    proposed
        Path that the page proposes to save to.
    port
        0 lets the system choose.

    Raises
    ------
    UsageError
        If the port is in use.
    """

    def __init__(self, editor: ArcEditor, save: Saver, proposed: Path, port: int = 0) -> None:
        try:
            listening = socket.create_server((ADDRESS, port))
        except OSError as error:
            text = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise UsageError(f"cannot listen on port {port}: {text}; choose another with --port, or none") from error
        listening.setblocking(False)
        secret = secrets.token_urlsafe(16)
        self.url = f"http://{ADDRESS}:{listening.getsockname()[1]}/{secret}/"
        self.editor = editor
        self.save = save
        self.proposed = proposed
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="save")
        given = {"page": self}
        answers = (("arc.json", _Overview), ("trace.json", _Trace), ("edit", _Edit), ("save", _Save))
        files = (f"/{secret}/(.*)", _Files, {"path": str(STATIC), "default_filename": "index.html"})
        application = Application([*((f"/{secret}/{name}", kind, given) for name, kind in answers), files])
        self._http = HTTPServer(application, max_body_size=MAX_REQUEST_BYTES)
        self._http.add_sockets([listening])

    def close(self) -> None:
        """Close the port; a file that is being written is finished."""
        self._http.stop()
        self.pool.shutdown()


class _Files(StaticFileHandler):
    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Referrer-Policy", "no-referrer")


class _Answer(RequestHandler):
    def initialize(self, page: ArcPage) -> None:
        self.page = page

    def tell(self, content: dict[str, Any]) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(msgspec.json.encode(content))


class _Overview(_Answer):
    def get(self) -> None:
        self.tell(overview(self.page.editor) | {"proposed": str(self.page.proposed)})


class _Trace(_Answer):
    def get(self) -> None:
        try:
            index = self.page.editor.index_of(int(self.get_query_argument("id", "")[:20]))
        except (ValueError, UsageError):
            raise HTTPError(404) from None
        self.tell(detail(self.page.editor, index, light=True))


class _Edit(_Answer):
    def post(self) -> None:
        editor = self.page.editor
        try:
            touched = editor.apply(_edits.decode(self.request.body))
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise HTTPError(400, str(error)) from None
        except UsageError as refused:
            self.tell({"why": str(refused)})
            return
        answer: dict[str, Any] = {"rows": rows(editor, touched), "summary": summary(editor)}
        if len(touched) == 1:
            answer["trace"] = detail(editor, touched[0], light=False)
        self.tell(answer)


class _Save(_Answer):
    async def post(self) -> None:
        try:
            wish = _saves.decode(self.request.body)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise HTTPError(400, str(error)) from None
        page = self.page
        try:
            done = await asyncio.get_running_loop().run_in_executor(page.pool, page.save, page.editor, wish)
        except (RtcalError, StreamsError, RefcacheError) as error:
            self.tell({"why": str(error)})
            return
        self.tell({"done": done})
