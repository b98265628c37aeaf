"""The image pane's own websocket: renders once for all pages, sends the latest to each at its own pace.

A page says what it wants (`Wish`), acknowledges each message before it gets the next, and may ask
for the pixel under its cursor. So a page that stops reading holds one message and nobody else's.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from dashboards.compose import Cut, Layer, Wish, base_cut, detail_cut, key, message
from dashboards.feed import Feed, Snapshot
from dashboards.panels import probe, state
from dashboards.picture import MIB
from dashboards.scene import Layout, Scene, build
from dashboards.settings import DashboardSettings

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 4096
TRY_AGAIN_LATER = 1013


class Ack(Struct, frozen=True, forbid_unknown_fields=True, tag="ack"):
    """The page has dealt with the last message and is ready for another."""


class Probe(Struct, frozen=True, forbid_unknown_fields=True, tag="probe"):
    """The page asks for the pixel under a point of its scene."""

    x: Annotated[float, Meta(ge=-1e9, le=1e9)]
    y: Annotated[float, Meta(ge=-1e9, le=1e9)]


_requests: msgspec.json.Decoder[Wish | Ack | Probe] = msgspec.json.Decoder(Wish | Ack | Probe)


class Cache:
    """Rendered messages, bounded in bytes; one that is asked for while in the making is not made twice."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._ready: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._making: dict[tuple[object, ...], asyncio.Future[bytes]] = {}
        self.made = 0

    async def get(self, wanted: tuple[object, ...], make: Callable[[], asyncio.Future[bytes]]) -> bytes:
        """Return the message of a key, from `make` if it is new."""
        if wanted in self._ready:
            self._ready.move_to_end(wanted)
            return self._ready[wanted]
        if wanted not in self._making:
            self._making[wanted] = make()
            self._making[wanted].add_done_callback(lambda done: self._keep(wanted, done))
        return await asyncio.shield(self._making[wanted])

    def _keep(self, wanted: tuple[object, ...], done: asyncio.Future[bytes]) -> None:
        del self._making[wanted]
        if done.cancelled() or done.exception() is not None:
            return
        self.made += 1
        self._ready[wanted] = done.result()
        self._bytes += len(done.result())
        while self._bytes > self._limit and len(self._ready) > 1:
            self._bytes -= len(self._ready.popitem(last=False)[1])


class Hub:
    """What all pages share: the feed, the renderer and its cache, the list of pages.

    Parameters
    ----------
    feed
        Where snapshots come from.
    settings
        Table `[dashboard]`.
    build_id
        Names this version of the page; a page of another version loads itself anew.
    """

    def __init__(self, feed: Feed, settings: DashboardSettings, build_id: str) -> None:
        self.feed = feed
        self.settings = settings
        self.build_id = build_id
        self.layout = Layout(tuple(tuple(row) for row in settings.mosaic), settings.mosaic_gap)
        self.viewers: set[Viewer] = set()
        self.cache = Cache(settings.cache_mb * MIB)
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="render")
        self._offered = (-1, -1)
        self._state: tuple[tuple[int, int], bytes] = ((-1, -1), b"")

    def tick(self) -> None:
        """Offer what is new to every page."""
        current = self.version()
        if current != self._offered:
            self._offered = current
            for viewer in tuple(self.viewers):
                viewer.advance()

    def version(self) -> tuple[int, int]:
        """Return what decides the state message: the snapshot and the number of pages."""
        return self.feed.latest().version, len(self.viewers)

    def state(self) -> bytes:
        """Return the state message of now, encoded once for all pages."""
        current = self.version()
        if self._state[0] != current:
            self._state = (current, msgspec.json.encode(state(self.feed.latest(), self.layout, len(self.viewers))))
        return self._state[1]

    def scene(self, snapshot: Snapshot, wish: Wish) -> Scene | None:
        """Lay out what a page wishes."""
        return build(snapshot, self.layout, wish.detector, wish.view)

    async def render(
        self, wanted: tuple[object, ...], scene: Scene, wish: Wish, cut: Cut | None, layer: Layer
    ) -> bytes:
        """Return a layer's message, rendered on a thread of the pool unless it is known."""
        loop = asyncio.get_running_loop()
        contrast = self.settings.zscale_contrast

        def make() -> asyncio.Future[bytes]:
            return loop.run_in_executor(self._pool, message, scene, wish, cut, layer, contrast)

        return await self.cache.get(wanted, make)

    def close(self) -> None:
        """Close every page's connection and end the threads."""
        for viewer in tuple(self.viewers):
            viewer.close()
        self._pool.shutdown(cancel_futures=True)


class Viewer(WebSocketHandler):
    """One page: a slot for the latest of each layer, at most one message on its way."""

    def initialize(self, hub: Hub, origins: frozenset[str]) -> None:
        """Take what Tornado passes to every handler."""
        self._hub = hub
        self._origins = origins
        self._wish: Wish | None = None
        self._waiting = False
        self._sent_state: tuple[int, int] | None = None
        self._sent: dict[Layer, tuple[object, ...]] = {}
        self._probe: Probe | None = None
        self._answering = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def max_message_size(self) -> int:
        """Longest request taken [bytes]; Tornado closes the connection beyond it."""
        return MAX_REQUEST_BYTES

    def check_origin(self, origin: str) -> bool:
        """Accept pages of this server alone: another site open in the same browser may not listen."""
        return origin.partition("://")[2] in self._origins

    def open(self, *_args: str, **_kwargs: str) -> None:
        """Greet a page with the clock; it says next what it wants to see."""
        if len(self._hub.viewers) >= self._hub.settings.max_viewers:
            self.close(TRY_AGAIN_LATER, f"{self._hub.settings.max_viewers} viewers are connected")
            return
        self.set_nodelay(True)
        self._hub.viewers.add(self)
        self._waiting = True
        hello = {"kind": "hello", "build": self._hub.build_id, "now_ms": time.monotonic() * 1000.0}
        self._start(self._send(msgspec.json.encode(hello)))

    def on_close(self) -> None:
        """Forget the page."""
        self._hub.viewers.discard(self)

    def on_message(self, text: str | bytes) -> None:
        """Take a request; one that cannot be believed ends the connection."""
        try:
            request = _requests.decode(text)
        except (msgspec.MsgspecError, UnicodeError) as error:
            log.warning("request of %s refused: %s", self.request.remote_ip, error)
            self.close(1008, "not a request")
            return
        match request:
            case Wish():
                self._wish = request
            case Ack():
                self._waiting = False
            case Probe():
                self._probe = request
                if not self._answering:
                    self._answering = True
                    self._start(self._answer())
        self.advance()

    def advance(self) -> None:
        """Send the next thing that the page lacks, unless one is on its way."""
        if not self._waiting and self.ws_connection is not None:
            self._waiting = True
            self._start(self._next())

    async def _next(self) -> None:
        version = self._hub.version()
        if version != self._sent_state:
            self._sent_state = version
            await self._send(self._hub.state())
            return
        scene = self._hub.scene(self._hub.feed.latest(), self._wish) if self._wish else None
        if self._wish is None or scene is None or not await self._send_layers(scene, self._wish):
            self._waiting = False

    async def _send_layers(self, scene: Scene, wish: Wish) -> bool:
        """Send what changed of a scene; the page shows base and detail together and then acknowledges."""
        base = base_cut(scene, self._hub.settings.display_pixels)
        cuts: dict[Layer, Cut | None] = {"base": base, "detail": detail_cut(scene, wish, base)}
        keys = {layer: key(scene, wish, cut, layer) for layer, cut in cuts.items()}
        if keys == self._sent:
            return False
        changed = [layer for layer in cuts if layer == "detail" or keys[layer] != self._sent.get(layer)]
        self._sent = keys
        contents = [await self._hub.render(keys[layer], scene, wish, cuts[layer], layer) for layer in changed]
        for content in contents:
            await self._send(content, binary=True)
        return True

    async def _answer(self) -> None:
        """Answer the latest question; those that came while the last answer was on its way are passed over."""
        while self._probe is not None:
            question, self._probe = self._probe, None
            scene = self._hub.scene(self._hub.feed.latest(), self._wish) if self._wish else None
            await self._send(msgspec.json.encode(probe(scene, question.x, question.y)))
        self._answering = False

    async def _send(self, content: bytes, binary: bool = False) -> None:
        try:
            await self.write_message(content if binary else content.decode(), binary=binary)
        except WebSocketClosedError:
            self._hub.viewers.discard(self)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself keeps no strong reference to a task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("page of %s dropped", self.request.remote_ip, exc_info=task.exception())
            self.close(1011, "could not be rendered")
