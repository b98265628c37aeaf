"""The page's server: what it tells, what it refuses, what it saves."""

import asyncio
import json
import threading
import urllib.error
import urllib.request

import pytest

from rtcal.arcpage.server import ArcPage
from rtcal.commands.arc_edit import save
from rtcal.errors import RtcalError, UsageError
from rtcal.spectrograph.solvedarc import read_solved


@pytest.fixture
def page(editor, path):
    """A listening page whose loop runs on a thread."""
    ready, loop, held = threading.Event(), asyncio.new_event_loop(), {}

    def run():
        asyncio.set_event_loop(loop)

        async def serve():
            held["page"] = ArcPage(editor, lambda one, wish: save(one, wish, entered), path.with_name("new.fits"))
            ready.set()
            await stop.wait()
            held["page"].close()

        stop = held["stop"] = asyncio.Event()
        loop.run_until_complete(serve())
        loop.close()

    def entered(written):
        if written.name == "refused.fits":
            raise RtcalError("the cache has no such type")
        return [f"{written.name} is in the rules"]

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(20)
    yield held["page"]
    loop.call_soon_threadsafe(held["stop"].set)
    thread.join(20)


def ask(page, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(page.url + path, data, timeout=20) as answer:
        return json.load(answer)


def code_of(url, data=None):
    try:
        with urllib.request.urlopen(url, data, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_page_tells_all_traces_and_one_in_full(page):
    told = ask(page, "arc.json")
    assert told["summary"]["solved"] == 11
    assert told["facts"]["GRATING"] == "H4000"
    assert told["proposed"].endswith("new.fits")
    assert len(told["rows"]) == 12
    first = told["rows"][0]
    assert len(first["x"]) == len(first["away"]) == len(first["kept"])
    trace = ask(page, "trace.json?id=10")
    assert len(trace["light"]) == trace["length"] == 1600
    used = [line for line in trace["lines"] if line["used"]]
    assert len(used) == first["used"]
    assert all(abs(line["away"]) < 0.3 for line in used)
    places = {one[0]: one[3] for one in trace["list"]}
    assert all(abs(places[line["wave"]] - line["x"]) < 0.5 for line in used)


def test_an_edit_answers_with_what_it_touched_and_a_refusal_with_why(page):
    told = ask(page, "edit", {"type": "mask", "trace": 11, "lines": [0]})
    assert [row["id"] for row in told["rows"]] == [11]
    assert told["trace"]["lines"][0]["mark"] == 1
    assert told["summary"]["edited"] == 1
    assert "there is no trace 3" in ask(page, "edit", {"type": "mask", "trace": 3, "lines": [0]})["why"]
    assert len(ask(page, "edit", {"type": "order", "order": 3})["rows"]) == 11


def test_strangers_and_nonsense_are_turned_away(page):
    host = page.url.rsplit("/", 2)[0]
    for path in ("/", "/arc.json", "/wrong/arc.json", "/wrong/edit"):
        assert code_of(host + path) == 404
    assert code_of(page.url) == 200
    assert code_of(page.url + "../server.py") == 403
    assert code_of(page.url + "trace.json?id=abc") == 404
    for body in (b"", b"{}", b'{"type": "mask"}', b'{"type": "order", "order": 99}', b"\xff" * 40):
        assert code_of(page.url + "edit", body) == 400
    assert code_of(page.url + "save", b'{"path": 3}') == 400


def test_what_is_saved_is_what_was_edited(page, path, tmp_path):
    ask(page, "edit", {"type": "mask", "trace": 11, "lines": [2]})
    out = tmp_path / "edited.fits"
    told = ask(page, "save", {"path": str(out), "add": True})
    assert told["done"] == [f"{out} is written", "edited.fits is in the rules"]
    saved, before = read_solved(out), read_solved(path)
    assert saved.solution.traces[1].marks[2] == 1
    one = saved.solution.traces[1].matched
    assert not one.used[one.lines == 2].any()
    assert one.count < before.solution.traces[1].matched.count
    assert saved.arc.header["GRATING"] == "H4000"
    assert saved.arc.header["USEAFTER"] == before.arc.header["USEAFTER"]
    assert saved.history == ("from a test", "edited by hand from arc.fits: 1 of 12 traces changed")
    assert "is there already" in ask(page, "save", {"path": str(out)})["why"]
    assert "done" in ask(page, "save", {"path": str(out), "replace": True})
    assert (
        "is written, but not entered: the cache has no such type"
        in ask(page, "save", {"path": str(tmp_path / "refused.fits"), "add": True})["why"]
    )
    assert "name a file" in ask(page, "save", {"path": " "})["why"]
    assert "cannot be written" in ask(page, "save", {"path": str(tmp_path / "nowhere" / "a.fits")})["why"]


def test_a_port_that_is_taken_is_said(page, editor, path):
    port = int(page.url.split(":")[2].split("/")[0])

    async def second():
        ArcPage(editor, lambda _one, _wish: [], path, port)

    with pytest.raises(UsageError, match=f"cannot listen on port {port}"):
        asyncio.run(second())
