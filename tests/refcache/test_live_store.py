"""A store while reads flow: nobody waits for a file, and contexts and files are exchanged whole or not at all."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refcache import Dark, ReferenceSet, ReferenceStore, Watcher, load_reference
from refcache.chosen import TOO_LATE
from refcache.holding import Holding
from refcache.references import Reference
from tests.crds_cache import SHAPE, STALE_S, rmap_text, settings, write_cache, write_reference
from tests.refcache_night import HOUR, NOON, PARKEY, SETUP, cache, rules

WAIT_S = 30.0


class Gate:
    """Loads files only once it is open, and notes which."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.begun, self.open = threading.Event(), threading.Event()
        monkeypatch.setattr("refcache.holding.load_reference", self._load)

    def _load(self, path: Path, reftype: str) -> Reference:
        self.asked.append(path.name)
        self.begun.set()
        assert self.open.wait(WAIT_S)
        return load_reference(path, reftype)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def live(root: Path, **changes: Any) -> ReferenceStore:
    return ReferenceStore(settings(path=str(root), **changes), STALE_S, {}, wait=False)


def asked(store: ReferenceStore, time_ns: int = NOON, **changes: Any) -> ReferenceSet:
    return store.select({**SETUP, **changes}, SHAPE, "utr", time_ns)


def wait_for_files(store: ReferenceStore) -> None:
    """Return once nothing is being loaded; a task of the one thread comes after all before it."""
    store._pool.submit(int).result(WAIT_S)


def test_a_file_that_is_not_in_memory_is_said_to_be_loading_and_taken_next_time(tmp_path: Path, gate: Gate) -> None:
    store = live(cache(tmp_path), load_threads=1)
    first = asked(store)  # returns while the gate is shut: nothing waits for a file
    assert first.loading
    assert (first.dark.status, first.dark.note, first.dark.name) == ("MISSING", "is being loaded", "dark_2.fits")
    assert asked(store).loading
    gate.open.set()
    wait_for_files(store)
    wait_for_files(store)
    then = asked(store)
    assert not then.loading
    assert [then.badpix.status, then.dark.status, then.flat.status] == ["OK", "OK", "OK"]
    assert sorted(gate.asked) == ["dark_2.fits", "flat_1.fits", "mask_1.fits"]  # each once, however often asked
    assert store.landed == 3


def test_a_bad_file_is_loading_first_and_then_says_what_is_wrong(tmp_path: Path) -> None:
    store = live(cache(tmp_path), load_threads=1)
    (tmp_path / "references/tmt/iris/dark_2.fits").write_text("no FITS")
    assert asked(store).dark.loading
    wait_for_files(store)
    wait_for_files(store)
    dark = asked(store).dark
    assert (dark.status, dark.loading) == ("MISSING", False)
    assert "dark_2.fits: is not FITS" in dark.note


def test_a_window_of_what_is_in_memory_is_there_at_once(tmp_path: Path) -> None:
    store = live(cache(tmp_path))
    assert store.preload() == []
    window = {"SUBARRAY": "SUB1", "XSTART": 3, "YSTART": 2}
    assert store.select({**SETUP, **window}, (3, 4), "utr", NOON).dark.status == "OK"


def test_what_works_on_reads_stays_as_the_exposure_began(tmp_path: Path) -> None:
    write_cache(tmp_path, {"BIAS": rules("BIAS", "2026-12-01 00:00:00"), "DARK": rules("DARK", "2026-12-01 00:00:00")})
    for kind, reftype in (("bias", "bias"), ("dark", "dark")):
        write_reference(tmp_path / f"references/tmt/iris/{kind}_1.fits", reftype)
    store = live(tmp_path, load_threads=1)
    choice = store.open(SETUP, SHAPE, "utr", NOON)
    opening = choice.select()
    assert opening.bias.loading
    wait_for_files(store)
    wait_for_files(store)
    frame = choice.select().keeping(opening)
    assert frame.dark.reference is not None
    assert (frame.bias.reference, frame.bias.note) == (None, TOO_LATE)
    assert not frame.loading


def test_what_is_announced_is_loaded_before_it_is_asked_for(tmp_path: Path) -> None:
    store, done, made = live(cache(tmp_path)), threading.Event(), []

    def ready(references: ReferenceSet) -> None:
        made.append(references)
        done.set()

    store.prepare(SETUP, SHAPE, "utr", NOON, ready)
    assert done.wait(WAIT_S)
    assert not made[0].loading
    assert asked(store).dark.reference is made[0].dark.reference is not None


def test_two_who_want_a_file_wait_for_one_and_the_same(tmp_path: Path, gate: Gate) -> None:
    path = write_reference(tmp_path / "d.fits")
    holding, found = Holding(100), []
    threads = [threading.Thread(target=lambda: found.append(holding.get((path, "dark", None)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert gate.begun.wait(WAIT_S)
    assert holding.peek((path, "dark", None)) is None  # the lock is free meanwhile
    gate.open.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert gate.asked == ["d.fits"]
    assert len({id(reference) for reference in found}) == 1


def newer(root: Path, dark: str, serial: int = 2) -> None:
    """Write a context whose dark is another file."""
    text = rmap_text(f"Match({{ 'IMG1' : UseAfter({{ '2026-12-20 00:00:00' : '{dark}' }}) }})", PARKEY)
    write_cache(root, {"DARK": text, "FLAT": rules("FLAT", "2026-12-15 00:00:00")}, serial=serial)


def test_a_newer_context_is_taken_and_an_open_exposure_keeps_its_own(tmp_path: Path) -> None:
    store = live(cache(tmp_path))
    assert store.preload() == []
    open_exposure = store.open(SETUP, SHAPE, "utr", NOON)
    before = open_exposure.select()
    write_reference(tmp_path / "references/tmt/iris/dark_9.fits", value=9.0)
    newer(tmp_path, "dark_9.fits")
    store.refresh()
    assert store.problems == ()
    assert store.crds_context == "tmt_0002.pmap"
    after = asked(store)
    assert (after.dark.name, after.dark.status) == ("dark_9.fits", "OK")  # loaded before the exchange
    assert after.crds_context == "tmt_0002.pmap"
    again = open_exposure.select()
    assert (again.crds_context, again.crds_sha1) == (before.crds_context, before.crds_sha1)
    assert again.dark.reference is before.dark.reference


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda folder: (folder / "dark_9.fits").unlink(), "dark_9.fits: no such file"),
        (lambda folder: (folder / "dark_9.fits").write_text("x"), "dark_9.fits: is not FITS"),
        (
            lambda folder: (folder.parents[2] / "mappings/tmt/tmt_iris_dark_0002.rmap").write_text("import os"),
            "tmt_iris_dark_0002.rmap:1: ",
        ),
        (lambda folder: (folder.parents[2] / "mappings/tmt/tmt_0002.pmap").write_text("x = 1"), "tmt_0002.pmap"),
    ],
)
def test_a_newer_context_that_does_not_serve_the_setups_in_use_is_not_taken(
    tmp_path: Path, spoil: Any, text: str
) -> None:
    store = live(cache(tmp_path))
    store.preload()
    before = asked(store)
    folder = tmp_path / "references/tmt/iris"
    write_reference(folder / "dark_9.fits", value=9.0)
    newer(tmp_path, "dark_9.fits")
    spoil(folder)
    for _ in range(2):
        store.refresh()
        assert len(store.problems) == 1
        assert text in store.problems[0]
        assert "tmt_0001.pmap stays in use" in store.problems[0]
        assert asked(store).dark.reference is before.dark.reference
    write_reference(folder / "dark_10.fits")
    newer(tmp_path, "dark_10.fits", serial=3)
    store.refresh()
    assert (store.crds_context, store.problems) == ("tmt_0003.pmap", ())


@pytest.mark.parametrize("pin", [{"context": "tmt_0001.pmap"}, {"environ": {"CRDS_CONTEXT": "tmt_0001.pmap"}}])
def test_a_context_that_was_named_stays(tmp_path: Path, pin: dict[str, Any]) -> None:
    environ = pin.pop("environ", {})
    store = ReferenceStore(settings(path=str(cache(tmp_path)), **pin), STALE_S, environ, wait=False)
    newer(tmp_path, "dark_2.fits")
    store.refresh()
    assert (store.crds_context, store.problems) == ("tmt_0001.pmap", ())


def test_a_file_that_is_replaced_is_exchanged_and_a_bad_one_is_not(tmp_path: Path) -> None:
    store = live(cache(tmp_path))
    store.preload()
    path = tmp_path / "references/tmt/iris/dark_2.fits"
    before = asked(store).applied(Dark)
    write_reference(path, value=7.0, DETECTOR="IMG1")
    store.refresh()
    changed = asked(store).applied(Dark)
    assert before is not None
    assert changed is not None
    assert (before.rate[0, 0], changed.rate[0, 0]) == (2, 7)
    assert changed.sha256 != before.sha256
    path.write_bytes(path.read_bytes()[:3000])
    store.refresh()
    assert asked(store).applied(Dark) is changed
    assert "dark_2.fits: is truncated" in store.problems[0]
    assert store.problems[0].endswith("the one in memory stays in use")


def test_a_cache_that_vanishes_in_the_night_leaves_what_is_in_memory(tmp_path: Path) -> None:
    store = live(cache(tmp_path / "crds"))
    store.preload()
    before = asked(store)
    shutil.rmtree(tmp_path / "crds")
    store.refresh()
    assert asked(store).dark.reference is before.dark.reference
    assert any("no context in" in problem and "stays in use" in problem for problem in store.problems)
    assert any("dark_2.fits: no such file" in problem for problem in store.problems)
    late = asked(store, DETECTOR="IMG9").dark
    assert late.status == "MISSING"


def test_memory_stays_bounded_over_many_setups_and_the_least_recent_leave(tmp_path: Path) -> None:
    names = [f"F{number}" for number in range(8)]
    parts = ", ".join(f"'{name}' : UseAfter({{ '2026-12-01 00:00:00' : 'sky_{name}.fits' }})" for name in names)
    parkey = "(('FILTER',), ('META.DATE',))"
    write_cache(tmp_path, {"SKY": rmap_text(f"Match({{ {parts} }})", parkey, "SKY")})
    shape = (192, 256)  # 384 KiB each
    for name in names:
        write_reference(tmp_path / f"references/tmt/iris/sky_{name}.fits", "sky", shape=shape)
    store = ReferenceStore(settings(path=str(tmp_path), memory_mb=1), STALE_S, {})
    for name in names * 2:
        assert store.select({"FILTER": name}, shape, "utr", NOON).sky.reference is not None
        assert store._holding.nbytes <= 1 << 20
    assert [key[0].name for key in store._holding._held] == ["sky_F6.fits", "sky_F7.fits"]


def test_the_watcher_looks_on_a_thread_of_its_own_until_its_block_ends(tmp_path: Path) -> None:
    store, looked = live(cache(tmp_path)), threading.Event()
    store.refresh = looked.set  # type: ignore[method-assign]
    with Watcher(store, 0.001) as watcher:
        assert looked.wait(WAIT_S)
    watcher._thread.join(WAIT_S)
    assert not watcher._thread.is_alive()
    with Watcher(store, 0) as idle:
        assert not idle._thread.is_alive()


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "references-watch"]


def test_a_choice_from_memory_is_for_the_time_asked(tmp_path: Path) -> None:
    store = live(cache(tmp_path))
    store.preload()
    assert [asked(store, NOON + shift).dark.name for shift in (-2 * HOUR, 0)] == ["dark_1.fits", "dark_2.fits"]
