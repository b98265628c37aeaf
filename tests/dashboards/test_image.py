"""The websocket: latest wins, one message on its way to each page, hostile and frozen pages."""

import asyncio
import gc
import json
import struct
import weakref
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from dashboards.app import Dashboard
from dashboards.cache import Cache
from dashboards.feed import Feed
from dashboards.image import Viewer
from dashboards.settings import Settings
from streams.clock import SystemClock
from streams.settings import load
from tests.desks import made_desk
from tests.quicklook import SATURATED_AT, make_binned, make_frame, make_status

LIMIT_S = 20.0
WISH = {
    "type": "view", "detector": "", "view": "reduced", "limits": "zscale", "percentile": 99.0, "low": 0.0,
    "high": 1.0, "stretch": "linear", "mark_bad": True,
}  # fmt: skip


class Page:
    """A page without a browser."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection

    async def receive(self) -> tuple[dict[str, Any] | None, bytes]:
        content = await asyncio.wait_for(self.connection.read_message(), LIMIT_S)
        if content is None:
            return None, b""
        if isinstance(content, str):
            return json.loads(content), b""
        (length,) = struct.unpack_from("<I", content)
        return json.loads(content[4 : 4 + length]), content[4 + length :]

    async def send(self, request: dict[str, Any]) -> None:
        await self.connection.write_message(json.dumps(request))

    async def until(self, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Acknowledge what comes until a message fits."""
        while True:
            header, _ = await self.receive()
            assert header is not None, "the server closed the connection"
            if header["kind"] != "probe" and header.get("layer") != "base":
                await self.send({"type": "ack"})
            if found(header):
                return header

    async def until_sequence(self, sequence: int) -> dict[str, Any]:
        return await self.until(lambda header: sequence_of(header) == sequence)


def sequence_of(header: dict[str, Any]) -> int | None:
    tiles = [tile["shown"] for tile in header.get("tiles", []) if tile["shown"]]
    return tiles[0]["sequence"] if tiles else None


class Bench:
    """A running server and a way to open pages of it."""

    def __init__(self, dashboard: Dashboard, feed: Feed) -> None:
        self.dashboard = dashboard
        self.feed = feed
        self.connections: list[WebSocketClientConnection] = []

    async def page(self, headers: dict[str, str] | None = None, **wish: Any) -> Page:
        request = HTTPRequest(
            f"ws://127.0.0.1:{self.dashboard.port}/stream",
            headers={"Origin": f"http://127.0.0.1:{self.dashboard.port}"} | (headers or {}),
        )
        connection = await websocket_connect(request, max_message_size=1 << 26)
        self.connections.append(connection)
        page = Page(connection)
        await page.send(WISH | wish)
        return page


def run(test: Callable[[Bench], Awaitable[None]], **changes: Any) -> None:
    async def whole() -> None:
        async with bench(**changes) as made:
            await asyncio.wait_for(test(made), 3 * LIMIT_S)

    asyncio.run(whole())


@asynccontextmanager
async def bench(**changes: Any):
    loaded = load(None, Settings)
    settings = msgspec.structs.replace(loaded.dashboard, tick_s=0.005, **changes)
    feed = Feed(SystemClock(), settings.budget(0), settings.display_pixels)
    desk = made_desk(loaded, SystemClock())
    dashboard = Dashboard(feed, settings, loaded.instrument_optics, desk, port=0)
    dashboard.start()
    made = Bench(dashboard, feed)
    try:
        yield made
    finally:
        streams = [connection.protocol.stream for connection in made.connections if connection.protocol]
        for connection in made.connections:
            connection.close()
        dashboard.stop()
        for stream in streams:
            stream.close()  # without the server nobody answers the closing, and the socket would stay open


def test_a_page_is_told_the_state_and_sent_the_frame():
    async def test(bench: Bench) -> None:
        bench.feed.take(make_frame("IMG1", 5, side=64))
        page = await bench.page()
        kinds = []
        while not kinds or kinds[-1] != "base":
            header, pixels = await page.receive()
            kinds.append(header.get("layer", header["kind"]))
            await page.send({"type": "ack"})
        assert kinds == ["hello", "state", "base"]
        assert len(pixels) == 64 * 64

    run(test)


def test_pages_receive_what_comes_later():
    async def test(bench: Bench) -> None:
        page = await bench.page()
        for sequence in range(3):
            bench.feed.take(make_frame("IMG1", sequence, side=64))
            await page.until_sequence(sequence)

    run(test)


def test_the_detail_follows_its_base_before_anything_newer():
    async def test(bench: Bench) -> None:
        bench.feed.take(make_frame("IMG1", 5, side=512))
        page = await bench.page(region=[0.0, 100.0, 0.0, 100.0], screen_pixels=400)
        base = await page.until_sequence(5)
        bench.feed.take(make_frame("IMG1", 6, side=512))
        detail, pixels = await page.receive()
        assert (base["layer"], detail["layer"]) == ("base", "detail")
        assert len(pixels) == detail["images"][0]["rows"] * detail["images"][0]["columns"] > 0

    run(test, display_pixels=128)


def test_a_slow_page_skips_to_the_latest():
    async def test(bench: Bench) -> None:
        bench.feed.take(make_frame("IMG1", 0, side=64))
        page = await bench.page()
        await page.until_sequence(0)
        detail, _ = await page.receive()
        other = await bench.page()
        await other.until_sequence(0)
        for sequence in range(1, 20):
            bench.feed.take(make_frame("IMG1", sequence, side=64))
            await other.until_sequence(sequence)
        await page.send({"type": "ack"})
        assert detail["layer"] == "detail"
        seen = await page.until(lambda header: sequence_of(header) is not None)
        assert sequence_of(seen) == 19

    run(test)


def test_a_frozen_page_holds_up_nobody():
    async def test(bench: Bench) -> None:
        frozen = [await bench.page() for _ in range(5)]
        fast = await bench.page()
        for sequence in range(10):
            bench.feed.take(make_frame("IMG1", sequence, side=256))
            await fast.until_sequence(sequence)
        assert len(bench.dashboard.hub.viewers) == len(frozen) + 1

    run(test)


def test_a_page_that_acknowledges_before_the_system_has_taken_all_goes_on(monkeypatch):
    send = Viewer._send

    async def slow(self, content):
        await send(self, content)
        await asyncio.sleep(0.05)

    monkeypatch.setattr(Viewer, "_send", slow)

    async def test(bench: Bench) -> None:
        page = await bench.page()
        for sequence in range(4):
            bench.feed.take(make_frame("IMG1", sequence, side=64))
            await page.until_sequence(sequence)
            await page.until(lambda header: header["kind"] == "strip")

    run(test)


def test_a_page_that_stops_reading_holds_no_frame(monkeypatch):
    send, stopped = Viewer._send, asyncio.Event()

    async def blocked(self, content):
        await send(self, content)
        if isinstance(content, bytes):
            stopped.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(Viewer, "_send", blocked)

    async def test(bench: Bench) -> None:
        page = await bench.page()
        frame = make_frame("IMG1", 0, side=64)
        held = weakref.ref(frame.data)
        bench.feed.take(frame)
        del frame
        await page.until_sequence(0)
        await stopped.wait()
        bench.feed.take(make_frame("IMG1", 1, side=64))
        await asyncio.sleep(0.1)
        gc.collect()
        assert held() is None

    run(test, history_frames=1)


def test_many_pages_with_one_wish_are_rendered_once():
    async def test(bench: Bench) -> None:
        pages = [await bench.page() for _ in range(10)]
        for sequence in range(3):
            bench.feed.take(make_frame("IMG1", sequence, side=64))
            for page in pages:
                await page.until_sequence(sequence)
                await page.until(lambda header: header.get("layer") == "detail")
        assert bench.dashboard.hub.cache.made == 2 * 3  # a base and an (empty) detail for each frame

    run(test)


def test_the_value_under_the_cursor_is_answered():
    async def test(bench: Bench) -> None:
        frame = make_frame("IMG1", 5, side=64)
        bench.feed.take(frame)
        page = await bench.page()
        await page.until_sequence(5)
        x, y = SATURATED_AT
        await page.send({"type": "probe", "x": x, "y": y})
        answer = await page.until(lambda header: header["kind"] == "probe")
        assert answer["value"] == pytest.approx(float(frame.data[y, x]))
        assert answer["dq"] == ["SATURATED", "JUMP_DET"]

    run(test)


@pytest.mark.parametrize(
    "request_",
    [
        "",
        "{",
        "[]",
        "\x00",
        json.dumps({"type": "other"}),
        json.dumps(WISH | {"stretch": "cubic"}),
        json.dumps(WISH | {"low": "0"}),
        json.dumps(WISH | {"more": 1}),
        json.dumps(WISH | {"screen_pixels": 10**9}),
        json.dumps(WISH | {"region": [0, 1, 2]}),
        json.dumps(WISH).replace("99.0", "NaN"),
        json.dumps(WISH).replace("1.0", "1e999"),
        "x" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_request_that_cannot_be_believed_ends_its_own_connection(request_):
    async def test(bench: Bench) -> None:
        good, bad = await bench.page(), await bench.page()
        await bad.connection.write_message(request_, binary=isinstance(request_, bytes))
        while (await bad.receive())[0] is not None:
            pass
        bench.feed.take(make_frame("IMG1", 1, side=64))
        await good.until_sequence(1)

    run(test)


def test_odd_but_valid_wishes_are_served():
    async def test(bench: Bench) -> None:
        bench.feed.take(make_frame("IMG1", 1, data=np.full((64, 64), np.nan)))
        page = await bench.page()
        for changes in (
            {"limits": "manual", "low": 5.0, "high": 5.0},
            {"limits": "manual", "low": 1e30, "high": -1e30},
            {"limits": "percentile", "percentile": 100},
            {"detector": "NOBODY"},
            {"detector": "MOSAIC", "view": "raw"},
            {"region": [1e30, -1e30, 0.0, 0.0]},
            {"region": [-1e30, 1e30, -1e30, 1e30]},
            {"region": [5.0, 5.0, 5.0, 5.0]},
            {"region": [1.0, 1.0000001, 1.0, 1.0000001], "screen_pixels": 8192},
        ):
            await page.send(WISH | changes)
        await page.send(WISH | {"stretch": "log"})
        bench.feed.take(make_frame("IMG1", 2, side=64))
        await page.until_sequence(2)

    run(test)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
def test_pages_of_other_sites_may_not_listen(origin):
    async def test(bench: Bench) -> None:
        url = f"ws://127.0.0.1:{bench.dashboard.port}/stream"
        with pytest.raises(HTTPClientError) as refused:
            await websocket_connect(HTTPRequest(url, headers={"Origin": origin}))
        assert refused.value.code == 403

    run(test)


def test_viewers_beyond_the_limit_are_told_to_come_again():
    async def test(bench: Bench) -> None:
        first = await bench.page()
        await first.until(lambda header: header["kind"] == "hello")
        second = await bench.page()
        assert (await second.receive())[0] is None
        assert second.connection.close_code == 1013

    run(test, max_viewers=1)


def test_a_page_that_leaves_is_forgotten():
    async def test(bench: Bench) -> None:
        stays, leaves = await bench.page(), await bench.page()
        bench.feed.take(make_status(1))
        await stays.until(lambda header: header.get("display", {}).get("viewers") == 2)
        leaves.connection.close()
        await stays.until(lambda header: header.get("display", {}).get("viewers") == 1)

    run(test)


def test_the_cache_is_bounded_and_survives_a_failed_rendering():
    async def test() -> None:
        cache = Cache(100)
        loop = asyncio.get_running_loop()

        def making(content: bytes | None) -> Callable[[], asyncio.Future[bytes]]:
            def render() -> bytes:
                if content is None:
                    raise ValueError("odd")
                return content

            return lambda: loop.run_in_executor(None, render)

        with pytest.raises(ValueError, match="odd"):
            await cache.get(("a",), making(None))
        assert await cache.get(("a",), making(b"a" * 60)) == b"a" * 60
        assert await cache.get(("a",), making(b"other")) == b"a" * 60
        await cache.get(("b",), making(b"b" * 60))
        assert await cache.get(("a",), making(b"made again")) == b"made again"

    asyncio.run(test())


async def reply(page: Page, request: dict[str, Any]) -> dict[str, Any]:
    """Send a request and return its answer; what comes meanwhile is acknowledged."""
    await page.send(request)
    wanted = ("reply", "night")
    while True:
        header, _ = await page.receive()
        assert header is not None, "the server closed the connection"
        if header["kind"] in wanted:
            return header
        if header["kind"] != "probe" and header.get("layer") != "base":
            await page.send({"type": "ack"})


def test_a_page_on_this_machine_may_act_and_asks_the_log():
    async def test(bench: Bench) -> None:
        bench.feed.take(make_frame("IMG1", 5, side=64))
        page = await bench.page()
        answer = await reply(page, {"type": "propose", "x": 10.0, "y": 12.0, "centroid": False})
        assert answer["ok"]
        assert (await reply(page, {"type": "confirm", "key": answer["key"]}))["why"].startswith("no endpoint")
        night = await reply(page, {"type": "night", "search": "IMG1", "quantity": "reads_lost", "detector": "*"})
        assert night["rows"][0]["exposure"] == "2026B-0005"
        assert night["chart"]["value"] == [1.0]

    run(test)


def test_a_page_behind_a_proxy_may_only_look_until_it_gives_the_token():
    async def test(bench: Bench) -> None:
        bench.dashboard.hub.desk.token = "correct horse battery"
        bench.feed.take(make_frame("IMG1", 5, side=64))
        page = await bench.page(headers={"X-Forwarded-For": "10.1.1.1"})
        ask = {"type": "propose", "x": 10.0, "y": 12.0, "centroid": False}
        assert "may only look" in (await reply(page, ask))["why"]
        assert not (await reply(page, {"type": "login", "token": "wrong"}))["ok"]
        assert (await reply(page, {"type": "login", "token": "correct horse battery"}))["ok"]
        assert (await reply(page, ask))["ok"]
        other = await bench.page(headers={"X-Forwarded-For": "10.1.1.1"})
        assert "may only look" in (await reply(other, ask))["why"]
        for _ in range(5):
            await other.send({"type": "login", "token": "guess"})
        while (await other.receive())[0] is not None:
            pass
        assert other.connection.close_code == 1008

    run(test)


def test_two_hundred_connections_at_once_leave_the_served_ones_served():
    async def test(bench: Bench) -> None:
        bench.feed.take(make_frame("IMG1", 5, side=64))
        pages = [await bench.page() for _ in range(200)]
        served = pages[:20]
        for page in served:
            await page.until_sequence(5)
        for page in pages[20:]:
            while (await page.receive())[0] is not None:
                pass
            assert page.connection.close_code == 1013
        bench.feed.take(make_frame("IMG1", 6, side=64))
        for page in served:
            await page.until_sequence(6)

    run(test, max_viewers=20)


def test_a_page_that_sees_single_pixels_stays_with_the_frame_that_has_them():
    async def test(bench: Bench) -> None:
        far, near = await bench.page(), await bench.page(region=[0, 32, 0, 32], screen_pixels=1024)
        bench.feed.take(make_frame("IMG1", 1, side=256))
        for page in (far, near):
            await page.until_sequence(1)
        second = make_frame("IMG1", 2, side=256)
        bench.feed.take(make_binned(second, 128))
        assert (await far.until_sequence(2))["images"][0]["rows"] == 128
        await near.send({"type": "probe", "x": 5, "y": 7})
        probed = await near.until(lambda header: header["kind"] == "probe")
        assert probed["binning"] == 1  # of the first frame still
        bench.feed.take(second)
        assert await near.until_sequence(2)
        await near.send({"type": "probe", "x": 5, "y": 7})
        probed = await near.until(lambda header: header["kind"] == "probe")
        assert probed["value"] == pytest.approx(float(second.data[7, 5]))

    run(test, display_pixels=128)


def test_the_whole_scene_is_not_sent_again_when_the_full_pixels_come():
    async def test(bench: Bench) -> None:
        page = await bench.page()
        frame = make_frame("IMG1", 1, side=256)
        bench.feed.take(make_binned(frame, 128))
        await page.until_sequence(1)
        bench.feed.take(frame)
        await page.send({"type": "probe", "x": 5, "y": 7})
        bases = []

        def is_last(header: dict[str, Any]) -> bool:
            bases.append(header.get("layer") == "base")
            return header["kind"] == "state" and header["display"].get("frames") == 1

        await page.until(is_last)
        bench.feed.take(make_frame("IMG1", 2, side=256))
        await page.until(lambda header: bases.append(header.get("layer") == "base") or sequence_of(header) == 2)
        assert sum(bases) == 1  # that of the second frame

    run(test, display_pixels=128)
