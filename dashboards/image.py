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
        self._busy = False
        self._unacknowledged = False
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
        self._unacknowledged = True
        forwarded = "X-Forwarded-For" in self.request.headers or "Forwarded" in self.request.headers
        self._may_act = self._hub.desk.may_act(str(self.request.remote_ip), forwarded)
        hello = {
            "kind": "hello",
            "may_act": self._may_act,
            "build": self._hub.build_id,
            "now_ms": time.monotonic() * 1000.0,
        }
        self._start(self._send(msgspec.json.encode(hello).decode()))

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
                self._unacknowledged = False
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
            self._start(self._deliver(msgspec.json.encode(answer).decode()))

    async def _deliver(self, content: str) -> None:
        try:
            await self._send(content)
        finally:
            self._replies -= 1

    def advance(self) -> None:
        """Send the next thing that the page lacks, unless one is on its way or not acknowledged."""
        if not self._busy and not self._unacknowledged and self.ws_connection is not None:
            self._busy = True
            self._start(self._next())

    async def _next(self) -> None:
        """Send what is due. A page that reads slowly holds what was rendered for it, never the frames that it is of."""
        news = self._news()
        due = await self._due()
        self._unacknowledged = bool(due)
        for content in due:
            await self._send(content)  # the page may acknowledge before this returns
        self._busy = False
        if due or news != self._news():
            self.advance()

    def _news(self) -> tuple[object, ...]:
        """Return what decides whether anything is due."""
        return self._hub.version(), self._wish, self._tools

    async def _due(self) -> list[bytes | str]:
        """Return the next messages that the page lacks: the state, else images, else the past, else measurements."""
        version = self._hub.version()
        if version != self._sent_state:
            self._sent_state = version
            return [self._hub.state().decode()]
        snapshot, wish = self._hub.feed.latest(), self._wish
        scene = self._hub.scene(snapshot, wish, whole=self._tools.wanted) if wish else None
        if wish is None or scene is None:
            return []
        return (
            await self._layers_due(scene, wish)
            or self._strip_due(snapshot, scene)
            or await self._measures_due(snapshot, scene, wish)
        )

    def _strip_due(self, snapshot: Snapshot, scene: Scene) -> list[bytes | str]:
        """Return the list of the past if it has changed."""
        wanted, content = self._hub.strip(snapshot, scene)
        if wanted == self._sent_strip:
            return []
        self._sent_strip = wanted
        return [content.decode()]

    async def _measures_due(self, snapshot: Snapshot, scene: Scene, wish: Wish) -> list[bytes | str]:
        """Return what the page measures on the scene that it has just been shown."""
        tools = self._tools
        if not tools.wanted or self._measured == measures_key(scene, self._hub.other(snapshot, wish), wish, tools):
            return []
        self._measured, content = await self._hub.measures(snapshot, scene, wish, tools)
        return [content.decode()]

    async def _layers_due(self, scene: Scene, wish: Wish) -> list[bytes | str]:
        """Return what changed of a scene; the page shows base and detail together and then acknowledges."""
        base = base_cut(scene, self._hub.settings.display_pixels)
        cuts: dict[Layer, Cut | None] = {"base": base, "detail": detail_cut(scene, wish, base)}
        # Flags are painted in the finer of the two layers alone: they are half transparent.
        wishes: dict[Layer, Wish] = {"base": replace(wish, marks=()) if cuts["detail"] else wish, "detail": wish}
        keys = {layer: key(scene, wishes[layer], cut, layer) for layer, cut in cuts.items()}
        if keys == self._sent:
            return []
        changed = [layer for layer in cuts if layer == "detail" or keys[layer] != self._sent.get(layer)]
        self._sent = keys
        return [await self._hub.render(keys[layer], scene, wishes[layer], cuts[layer], layer) for layer in changed]

    async def _answer(self) -> None:
        """Answer the latest question; those that came while the last answer was on its way are passed over."""
        while self._probe is not None:
            question, self._probe = self._probe, None
            await self._send(self._probed(question))
        self._answering = False

    def _probed(self, question: Probe) -> str:
        snapshot, wish = self._hub.feed.latest(), self._wish
        scene = self._hub.scene(snapshot, wish, whole=self._tools.wanted) if wish else None
        return msgspec.json.encode(probe(scene, question.x, question.y)).decode()

    async def _send(self, content: bytes | str) -> None:
        """Send pixels, bytes, or JSON, text; returns when the system has taken it."""
        try:
            await self.write_message(content, binary=isinstance(content, bytes))
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
