"""The image pane's own websocket: renders once for all pages, sends the latest to each at its own pace.

A page says what it wants (`Wish`), acknowledges each message before it gets the next, and may ask
for the pixel under its cursor. So a page that stops reading holds one message and nobody else's.
"""

import asyncio
import logging
import time
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from dashboards.analysis import Tools
from dashboards.compose import Cut, Layer, Wish, base_cut, detail_cut, key
from dashboards.desk import Acknowledge, Action, Confirm, Login, Night, Propose, Send
from dashboards.feed import Snapshot
from dashboards.hub import Hub, measures_key
from dashboards.panels import probe
from dashboards.scene import Scene

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 4096
TRY_AGAIN_LATER = 1013
MOST_WRONG_TOKENS = 5
LOOK_ONLY = "this page may only look: give the token, or use a browser on the display's machine"
MOST_REPLIES = 8
"""Answers on their way to one page; what it asks beyond is passed over."""


class Ack(Struct, frozen=True, forbid_unknown_fields=True, tag="ack"):
    """The page has dealt with the last message and is ready for another."""


class Probe(Struct, frozen=True, forbid_unknown_fields=True, tag="probe"):
    """The page asks for the pixel under a point of its scene."""

    x: Annotated[float, Meta(ge=-1e9, le=1e9)]
    y: Annotated[float, Meta(ge=-1e9, le=1e9)]


Request = Wish | Tools | Ack | Probe | Action
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


class Viewer(WebSocketHandler):
    """One page: a slot for the latest of each layer, at most one message on its way."""

    def initialize(self, hub: Hub, origins: frozenset[str]) -> None:
        """Take what Tornado passes to every handler."""
        self._hub = hub
        self._origins = origins
        self._wish: Wish | None = None
        self._tools = Tools()
        self._measured: object = None
        self._sent_strip: object = None
        self._may_act = False
        self._wrong_tokens = 0
        self._replies = 0
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
        forwarded = "X-Forwarded-For" in self.request.headers or "Forwarded" in self.request.headers
        self._may_act = self._hub.desk.may_act(str(self.request.remote_ip), forwarded)
        hello = {
            "kind": "hello",
            "may_act": self._may_act,
            "build": self._hub.build_id,
            "now_ms": time.monotonic() * 1000.0,
        }
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
            case Login(token=token):
                self._login(token)
            case Night():
                self._reply(self._hub.desk.night_of(request))
            case Acknowledge() | Propose() | Confirm():
                self._act(request)
            case Send(number=number):
                self._start(self._send_away(number))
            case Wish():
                self._wish = request
            case Tools():
                self._tools = request
                self._measured = None
            case Ack():
                self._waiting = False
            case Probe():
                self._probe = request
                if not self._answering:
                    self._answering = True
                    self._start(self._answer())
        self.advance()

    def _login(self, token: str) -> None:
        """Let the page act if the token fits; after some that do not, its connection ends."""
        self._may_act = self._may_act or self._hub.desk.token_fits(token)
        self._wrong_tokens += not self._may_act
        if self._wrong_tokens >= MOST_WRONG_TOKENS:
            log.warning("%s gave %d wrong tokens", self.request.remote_ip, self._wrong_tokens)
            self.close(1008, "wrong token")
            return
        self._reply({"kind": "reply", "to": "login", "ok": self._may_act})

    def _act(self, action: Acknowledge | Propose | Confirm) -> None:
        kind = type(action).__struct_config__.tag
        if not self._may_act:
            answer = {"ok": False, "why": LOOK_ONLY}
        else:
            snapshot, wish = self._hub.feed.latest(), self._wish
            answer = self._hub.desk.act(action, snapshot, self._hub.scene(snapshot, wish) if wish else None)
        self._reply({"kind": "reply", "to": kind, **answer})

    async def _send_away(self, number: int) -> None:
        answer = await self._hub.send(number) if self._may_act else {"ok": False, "why": LOOK_ONLY}
        self._reply({"kind": "reply", "to": "samp", **answer})

    def _reply(self, answer: dict[str, Any]) -> None:
        """Send at once what was asked for; what a page asks faster than it reads is passed over."""
        if self._replies < MOST_REPLIES:
            self._replies += 1
            self._start(self._deliver(msgspec.json.encode(answer)))

    async def _deliver(self, content: bytes) -> None:
        try:
            await self._send(content)
        finally:
            self._replies -= 1

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
        snapshot, wish = self._hub.feed.latest(), self._wish
        scene = self._hub.scene(snapshot, wish, whole=self._tools.wanted) if wish else None
        self._waiting = (
            wish is not None
            and scene is not None
            and (
                await self._send_layers(scene, wish)
                or await self._send_strip(snapshot, scene)
                or await self._send_measures(snapshot, scene, wish)
            )
        )

    async def _send_strip(self, snapshot: Snapshot, scene: Scene) -> bool:
        """Send the list of the past if it has changed."""
        wanted, content = self._hub.strip(snapshot, scene)
        if wanted == self._sent_strip:
            return False
        self._sent_strip = wanted
        await self._send(content)
        return True

    async def _send_measures(self, snapshot: Snapshot, scene: Scene, wish: Wish) -> bool:
        """Send what the page measures on the scene that it has just been shown."""
        tools = self._tools
        if not tools.wanted or self._measured == measures_key(scene, self._hub.other(snapshot, wish), wish, tools):
            return False
        self._measured, content = await self._hub.measures(snapshot, scene, wish, tools)
        await self._send(content)
        return True

    async def _send_layers(self, scene: Scene, wish: Wish) -> bool:
        """Send what changed of a scene; the page shows base and detail together and then acknowledges."""
        base = base_cut(scene, self._hub.settings.display_pixels)
        cuts: dict[Layer, Cut | None] = {"base": base, "detail": detail_cut(scene, wish, base)}
        # Flags are painted in the finer of the two layers alone: they are half transparent.
        wishes: dict[Layer, Wish] = {"base": replace(wish, marks=()) if cuts["detail"] else wish, "detail": wish}
        keys = {layer: key(scene, wishes[layer], cut, layer) for layer, cut in cuts.items()}
        if keys == self._sent:
            return False
        changed = [layer for layer in cuts if layer == "detail" or keys[layer] != self._sent.get(layer)]
        self._sent = keys
        contents = [await self._hub.render(keys[layer], scene, wishes[layer], cuts[layer], layer) for layer in changed]
        for content in contents:
            await self._send(content, binary=True)
        return True

    async def _answer(self) -> None:
        """Answer the latest question; those that came while the last answer was on its way are passed over."""
        while self._probe is not None:
            question, self._probe = self._probe, None
            snapshot, wish = self._hub.feed.latest(), self._wish
            scene = self._hub.scene(snapshot, wish, whole=self._tools.wanted) if wish else None
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
