"""What all pages share: the feed, the renderer and its cache, the list of pages.

Everything is rendered and measured once for all pages that want the same.
"""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, BinaryIO, Protocol

import msgspec

from dashboards.analysis import Tools, measure
from dashboards.board import Board
from dashboards.cache import Cache
from dashboards.compose import Cut, Layer, Wish, base_cut, detail_cut, identity, message
from dashboards.cubes import Collapse
from dashboards.desk import Desk
from dashboards.feed import Feed, Snapshot
from dashboards.panels import state
from dashboards.panels.strip import shelf_of, strip
from dashboards.picture import Level, Picture, sliced
from dashboards.saving import Samp, file_name, write_fits
from dashboards.scene import Layout, Moment, Scene, build
from dashboards.settings import MIB, DashboardSettings
from streams.messages import FrameHeader
from streams.optics import Optics

MOST_SLICES = 24
LONGEST_WAIT_S = 3.0
"""How long a page that needs a frame's own pixels stays with the frame before when only its binned image has come."""


def measures_key(scene: Scene, other: Scene | None, wish: Wish, tools: Tools) -> tuple[object, ...]:
    """Return what decides a page's measurements."""
    look = (wish.limits, wish.percentile, wish.low, wish.high, wish.stretch) if tools.histogram else ()
    area = wish.region if tools.contours or tools.histogram else None
    return ("measures", identity(scene), identity(other) if other else None, tools, look, area)


class Page(Protocol):
    """A connected page, as the hub sees it."""

    def advance(self) -> None:
        """Send what is new, as soon as the page is ready for it."""

    def close(self) -> None:
        """End the connection."""


class Hub:
    """What all pages share: the feed, the renderer and its cache, the list of pages.

    Parameters
    ----------
    feed
        Where snapshots come from.
    settings
        Table `[dashboard]`.
    optics
        Angles and bands.
    desk
        The log, alarms, targets.
    build_id
        Names this version of the page; a page of another version loads itself anew.
    board
        All telemetry, which frames tell of, too.
    """

    def __init__(
        self,
        feed: Feed,
        settings: DashboardSettings,
        optics: Optics,
        desk: Desk,
        build_id: str,
        board: Board | None = None,
    ) -> None:
        self.desk = desk
        self.board = board
        feed.on_frame = self._take
        self.feed = feed
        self.settings = settings
        self.optics = optics
        self.build_id = build_id
        self.layout = Layout(tuple(tuple(row) for row in settings.mosaic), settings.mosaic_gap)
        self.viewers: set[Page] = set()
        self.cache = Cache(settings.cache_mb * MIB)
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="render")
        self.session = secrets.token_hex(4)
        """Names this run of the server: numbers of pictures count from 0 in each."""
        self._slices: dict[tuple[int, Collapse], tuple[Level, ...]] = {}
        self._strip: tuple[object, bytes] = (None, b"")
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="aside")  # files: no image waits for one
        self._samp = Samp()
        self._offered = (-1, -1)
        self._state: tuple[tuple[int, int], bytes] = ((-1, -1), b"")

    def _take(self, header: FrameHeader) -> None:
        """Look at a frame that has come; called on the feed's thread."""
        self.desk.take(header)
        if self.board is not None:
            self.board.know(header)

    def tick(self) -> None:
        """Offer what is new to every page."""
        current = self.version()
        if current != self._offered:
            self._offered = current
            for viewer in tuple(self.viewers):
                viewer.advance()

    def version(self) -> tuple[int, int]:
        """Return what decides the state message: the snapshot and what the desk has noted; the number of pages."""
        return self.feed.latest().version + self.desk.version, len(self.viewers)

    def state(self) -> bytes:
        """Return the state message of now, encoded once for all pages."""
        current = self.version()
        if self._state[0] != current:
            self._state = (current, msgspec.json.encode(self._described()))
        return self._state[1]

    def _described(self) -> dict[str, Any]:
        told = state(self.feed.latest(), self.layout, len(self.viewers))
        return told | {"alarms": self.desk.alarms.raised(), "night": self.desk.version, "arrived": self.desk.arrived}

    def strip(self, snapshot: Snapshot, scene: Scene) -> tuple[object, bytes]:
        """Return what names a scene's strip and the message that describes it."""
        shelf = shelf_of(snapshot, scene)
        wanted = (scene.name, scene.view, *((one.number, one.held) for one in shelf))
        if self._strip[0] != wanted:
            self._strip = (wanted, msgspec.json.encode(strip(snapshot, scene, self.session)))
        return self._strip

    def scene(self, snapshot: Snapshot, wish: Wish, *, whole: bool = False) -> Scene | None:
        """Lay out what a page wishes; where it needs a frame's own pixels, the last frame of which they are there.

        `whole`: it does, even if it sees the scene from far. So does one that looks at some wavelengths of a cube.
        """
        scene = build(snapshot, self.layout, wish.detector, wish.view, wish.moment)
        whole = whole or wish.collapse is not None
        if scene is not None and (whole or detail_cut(scene, wish, base_cut(scene, self.settings.display_pixels))):
            moment = replace(wish.moment, whole_since_s=time.monotonic() - LONGEST_WAIT_S)
            scene = build(snapshot, self.layout, wish.detector, wish.view, moment)
        return self._collapsed(scene, wish.collapse)

    def other(self, snapshot: Snapshot, wish: Wish) -> Scene | None:
        """Lay out the moment that a page compares with."""
        if wish.other is None:
            return None
        scene = build(snapshot, self.layout, wish.detector, wish.view, Moment(wish.other))
        return self._collapsed(scene, wish.collapse)

    def _collapsed(self, scene: Scene | None, collapse: Collapse | None) -> Scene | None:
        """Collapse a cube as a page wishes, each way once."""
        if scene is None or collapse is None or len(scene.tiles) != 1:
            return scene
        tile = scene.tiles[0]
        picture, against = self._slice(tile.picture, collapse), self._slice(tile.against, collapse)
        return replace(scene, tiles=(replace(tile, picture=picture, against=against),))

    def _slice(self, picture: Picture | None, collapse: Collapse) -> Picture | None:
        if picture is None or picture.cube is None:
            return picture
        key = (picture.number, collapse)
        if key not in self._slices:
            while len(self._slices) >= MOST_SLICES:
                self._slices.pop(next(iter(self._slices)))
            # Levels alone are kept: the cube itself is the history's, and goes with it.
            self._slices[key] = sliced(picture, collapse).levels
        return replace(picture, levels=self._slices[key], collapse=collapse)

    async def measures(self, snapshot: Snapshot, scene: Scene, wish: Wish, tools: Tools) -> tuple[object, bytes]:
        """Return a page's measurements of a scene, worked out on a thread of the pool unless they are known."""
        other = self.other(snapshot, wish)
        shelf = snapshot.history.shelves.get((scene.tiles[0].detector, "reduced"), ()) if len(scene.tiles) == 1 else ()
        past = tuple(picture for picture in shelf if wish.at is None or picture.number <= wish.at)
        wanted = measures_key(scene, other, wish, tools)
        loop = asyncio.get_running_loop()
        arguments = (scene, other, wish, tools, self.optics, self.settings.zscale_contrast, past)
        return wanted, await self.cache.get(wanted, lambda: loop.run_in_executor(self._pool, measure, *arguments))

    async def render(
        self, wanted: tuple[object, ...], scene: Scene, wish: Wish, cut: Cut | None, layer: Layer
    ) -> bytes:
        """Return a layer's message, rendered on a thread of the pool unless it is known."""
        loop = asyncio.get_running_loop()
        contrast = self.settings.zscale_contrast

        def make() -> asyncio.Future[bytes]:
            return loop.run_in_executor(self._pool, message, scene, wish, cut, layer, contrast)

        return await self.cache.get(wanted, make)

    async def send(self, number: int) -> dict[str, Any]:
        """Send a picture by SAMP, on a thread: the hub may be slow to answer."""
        picture = self.feed.latest().history.numbered(number)
        if picture is None:
            return {"ok": False, "why": "that frame is not kept any more"}
        return await asyncio.get_running_loop().run_in_executor(self._aside, self._samp.send, picture)

    async def write_fits(self, session: str, number: int, file: BinaryIO) -> str | None:
        """Write a picture as a FITS file and return its name; None if it is not kept."""
        picture = self.feed.latest().history.numbered(number) if session == self.session else None
        if picture is None:
            return None
        await asyncio.get_running_loop().run_in_executor(self._aside, write_fits, picture, file)
        return file_name(picture)

    def close(self) -> None:
        """Close every page's connection and end the threads."""
        self._aside.shutdown(cancel_futures=True)
        self._samp.close()
        for viewer in tuple(self.viewers):
            viewer.close()
        self._pool.shutdown(cancel_futures=True)
