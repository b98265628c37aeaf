"""`rtcal refs` as its user sees it: what it prints, and the exit code."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from refcache import REFTYPES, ReferenceStore, Watcher
from rtcal import cli
from tests.crds_cache import STALE_S, rmap_text, settings, write_cache, write_reference
from tests.rigs import published_reads, running, settings_with

PARKEY = "(('META.INSTRUMENT.DETECTOR',), ('META.OBSERVATION.DATE', 'META.OBSERVATION.TIME'))"
RULES = "Match({ 'IMG1' : UseAfter({ '2026-01-01 00:00:00' : 'old.fits' }) })"
ASKED = {
    "META.INSTRUMENT.NAME": "IRIS",
    "META.INSTRUMENT.DETECTOR": "IMG1",
    "META.OBSERVATION.DATE": "2027-06-01",
    "META.OBSERVATION.TIME": "00:00:00",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CRDS_PATH", "CRDS_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "cache"
    write_cache(root, {"DARK": rmap_text(RULES, PARKEY)}, {"SKY": "N/A"})
    write_reference(root / "references" / "tmt" / "iris" / "old.fits", "dark", DETECTOR="IMG1")
    return root


class Outcome:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def rtcal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    def run(*words: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["rtcal", "refs", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 0
        return Outcome(code, *capfd.readouterr())

    return run


def options(header: dict[str, str]) -> list[str]:
    return [word for key, value in header.items() for word in ("--header", f"{key}={value}")]


def test_one_question_from_options(cache: Path, rtcal: Any) -> None:
    done = rtcal("select", "--cache", cache, "--reftype", "dark", *options(ASKED))
    assert done.code == 0
    answer = json.loads(done.out)
    assert (answer["kind"], answer["value"], list(answer)) == (
        "file",
        "old.fits",
        ["kind", "value", "family", "message"],
    )
    done = rtcal("select", "--cache", cache, "--reftype", "arc", *options(ASKED))
    assert (done.code, json.loads(done.out)["family"]) == (1, "unknown")


def test_many_questions_as_lines(cache: Path, rtcal: Any) -> None:
    question = {"context": "tmt_0001.pmap", "header": ASKED, "reftype": "dark"}
    lines = [
        json.dumps({"id": 1, **question}),
        "no json",
        "\udcff",
        json.dumps({"id": "two", **question, "reftype": "sky"}),
    ]
    done = rtcal("select", "--cache", cache, "--jsonl", stdin="\n".join(lines).encode("utf-8", "surrogateescape"))
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0
    assert [(answer["id"], answer["kind"]) for answer in answers] == [
        (1, "file"),
        (None, "error"),
        (None, "error"),
        ("two", "na"),
    ]


def test_the_environment_is_honoured_and_overridden(
    cache: Path, rtcal: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_cache(cache, {"DARK": rmap_text(RULES.replace("old", "new"), PARKEY)}, serial=2)
    line = json.dumps({"header": ASKED, "reftype": "dark"}).encode()

    def value(*words: object) -> object:
        return json.loads(rtcal("select", "--jsonl", *words, stdin=line).out)["value"]

    monkeypatch.setenv("CRDS_PATH", str(cache))
    assert value() == "new.fits"  # the newest
    monkeypatch.setenv("CRDS_CONTEXT", "tmt_0001.pmap")
    assert value() == "old.fits"
    assert value("--context", "tmt_0002.pmap") == "new.fits"
    monkeypatch.setenv("CRDS_CONTEXT", "tmt-latest")
    assert value() == "new.fits"
    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "elsewhere"))
    assert value("--cache", cache) == "new.fits"
    assert rtcal("select", "--jsonl").code == 2
    monkeypatch.setenv("CRDS_CONTEXT", "tmt_iris_0001.imap")
    done = rtcal("list", "--cache", cache)
    assert (done.code, "CRDS_CONTEXT must name a .pmap" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["select", "--reftype", "dark"], "no CRDS cache: give --cache DIR, or set CRDS_PATH"),
        (["select", "--cache", "/nowhere", "--jsonl"], "is no CRDS cache: it has no directory mappings/"),
        (["select", "--cache", "CACHE"], "give --reftype TYPE and --header KEY=VALUE, or --jsonl"),
        (["select", "--cache", "CACHE", "--jsonl", "--reftype", "x"], "leave --header and --reftype out"),
        (["select", "--cache", "CACHE", "--reftype", "dark", "--header", "DETECTOR"], "write KEY=VALUE"),
        (["diff", "tmt_0001.pmap", "tmt_iris_0001.imap", "--cache", "CACHE"], "are of different kinds"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(cache: Path, rtcal: Any, words: list[str], text: str) -> None:
    done = rtcal(*(str(cache) if word == "CACHE" else word for word in words))
    assert done.code == 2
    assert text in done.err


def test_a_reference_is_added_chosen_shown_and_compared(cache: Path, rtcal: Any, tmp_path: Path) -> None:
    cards = {"DETECTOR": "IMG1", "INSTRUME": "IRIS", "USEAFTER": "2027-01-01 00:00:00"}
    new = write_reference(tmp_path / "new.fits", "dark", **cards)
    dry = rtcal("add", new, "--cache", cache, "--dry-run")
    assert dry.code == 0
    assert "+        '2027-01-01 00:00:00' : 'new.fits'," in dry.out.splitlines()
    assert not (cache / "mappings" / "tmt" / "tmt_0002.pmap").exists()
    done = rtcal("add", new, "--cache", cache)
    assert (done.code, done.out) == (0, "tmt_0002.pmap\n")
    assert (
        json.loads(rtcal("select", "--cache", cache, "--reftype", "dark", *options(ASKED)).out)["value"] == "new.fits"
    )
    assert rtcal("diff", "tmt_0001.pmap", "tmt_0002.pmap", "--cache", cache).out == (
        "+ IRIS DARK IMG1 2027-01-01 00:00:00 : new.fits\n"
    )
    compared = json.loads(rtcal("diff", "tmt_0001.pmap", "tmt_0002.pmap", "--cache", cache, "--json").out)
    assert [(row["change"], row["value"], row["rmap"]) for row in compared] == [
        ("+", "new.fits", "tmt_iris_dark_0002.rmap")
    ]
    shown = json.loads(rtcal("show", "new.fits", "--cache", cache, "--json").out)
    assert shown["rules"] == ["tmt_iris_dark_0002.rmap: IMG1 2027-01-01 00:00:00"]
    assert shown["cards"]["USEAFTER"] == "2027-01-01 00:00:00"
    rules = rtcal("show", "tmt_iris_dark_0002.rmap", "--cache", cache).out
    assert "derived_from : 'tmt_iris_dark_0001.rmap'" in rules
    assert "'2027-01-01 00:00:00' : 'new.fits'," in rules
    again = rtcal("add", new, "--cache", cache)
    assert (again.code, "names it already" in again.err) == (1, True)
    third = write_reference(tmp_path / "third.fits", "dark", **{**cards, "DETECTOR": "IMG2"})
    older = rtcal("add", third, "--cache", cache, "--context", "tmt_0001.pmap")
    assert older.out == "tmt_0003.pmap\n"
    assert "tmt_0002.pmap is newer" not in older.err  # the new one is the newest
    assert rtcal("show", "nothing.fits", "--cache", cache).code == 1


@pytest.fixture
def priorities(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The priorities that the command takes, which the tests' own process does not; threads take theirs by number."""
    taken: list[int] = []

    def take(_which: int, who: int, nice: int) -> None:
        if who == 0:
            taken.append(nice)

    monkeypatch.setattr("rtcal.commands.refs_add.os.setpriority", take)
    return taken


def test_a_running_daemon_takes_what_was_added(cache: Path, rtcal: Any, tmp_path: Path, priorities: list[int]) -> None:
    table = settings(path=str(cache))
    store = ReferenceStore(table, STALE_S, {}, wait=False)
    new = write_reference(tmp_path / "new.fits", DETECTOR="IMG1", INSTRUME="IRIS")
    with (
        published_reads() as (_, source),
        running(settings_with(refcache={"path": str(cache)}), store, source) as rig,
        Watcher(store, 0.05),
    ):
        config = tmp_path / "night.toml"
        config.write_text(f'[streams]\npreviews = "{rig.previews_endpoint}"\n')
        done = rtcal("add", new, "--cache", cache, "--activate", "--config", config)
    assert (done.code, done.out) == (0, "tmt_0002.pmap\n")
    assert "tmt_0002.pmap is in use by the daemon at" in done.err
    assert priorities == [10]  # it gives way to the daemon


@pytest.mark.usefixtures("priorities")
def test_a_daemon_whose_context_is_named_is_said_to_stay(cache: Path, rtcal: Any, tmp_path: Path) -> None:
    store = ReferenceStore(settings(path=str(cache), context="tmt_0001.pmap"), STALE_S, {}, wait=False)
    new = write_reference(tmp_path / "new.fits", DETECTOR="IMG1", INSTRUME="IRIS")
    with (
        published_reads() as (_, source),
        running(settings_with(refcache={"path": str(cache)}), store, source) as rig,
        Watcher(store, 0.05),
    ):
        config = tmp_path / "night.toml"
        config.write_text(f'[streams]\npreviews = "{rig.previews_endpoint}"\n')
        done = rtcal("add", new, "--cache", cache, "--activate", "--config", config, "--timeout", 0.5)
    assert done.code == 1
    assert "still uses tmt_0001.pmap after 0.5 s" in done.err
    assert rtcal("add", new, "--cache", cache, "--activate", "--dry-run").code == 2


def test_the_types_of_a_setup_are_listed(cache: Path, rtcal: Any) -> None:
    rows = json.loads(rtcal("list", "--cache", cache, "--setup", "DETECTOR=IMG1", "--json").out)
    assert [(row["type"], row["status"], row["reference"]) for row in rows] == [
        ("DARK", "OK", "old.fits"),
        ("SKY", "NA", ""),
    ]
    early = json.loads(
        rtcal(
            "list", "--cache", cache, "--setup", "DETECTOR=IMG1", "--setup", "DATE-OBS=2020-01-01T00:00:00", "--json"
        ).out
    )
    assert (early[0]["status"], early[0]["note"][:9]) == ("MISSING", "no_match:")
    (cache / "references" / "tmt" / "iris" / "old.fits").unlink()
    gone = json.loads(rtcal("list", "--cache", cache, "--setup", "DETECTOR=IMG1", "--json").out)
    assert (gone[0]["status"], gone[0]["note"]) == ("MISSING", "the file is not in the cache")
    held = json.loads(rtcal("list", "--cache", cache, "--json").out)
    assert [(row["type"], row["rmap"], row["files"], row["there"]) for row in held[:2]] == [
        ("DARK", "tmt_iris_dark_0001.rmap", 1, 0),
        ("SKY", "", 0, 0),
    ]
    assert {row["note"] for row in held[2:]} == {"not in the rules"}
    known = {row["type"]: row["what"] for row in held}
    assert len(known) == len(REFTYPES)
    assert (known["DARK"], known["PINHOLE"]) == ("signal without light", "image of a grid of pinholes")


def test_references_are_loaded_as_the_daemon_loads_them(cache: Path, rtcal: Any) -> None:
    write_cache(cache, {"DARK": rmap_text(RULES, PARKEY)}, {"SKY": "N/A", "DQ": "N/A", "FLAT": "N/A"})
    done = rtcal("preload", "--cache", cache, "--json")
    answer = json.loads(done.out)
    assert (done.code, answer["context"], answer["problems"]) == (0, "tmt_0001.pmap", [])
    assert answer["files"] == 1
    assert answer["bytes"] == 2 * 6 * 8 * 4  # no pixel has a flag
    (cache / "references" / "tmt" / "iris" / "old.fits").write_text("no FITS")
    bad = rtcal("preload", "--cache", cache)
    assert bad.code == 1
    assert "old.fits: is not FITS" in bad.err


def test_the_types_of_rules_that_are_wrong_are_told(cache: Path, rtcal: Any) -> None:
    table = rtcal("list", "--cache", cache, "--setup", "DETECTOR=IMG1").out
    assert "tmt_0001.pmap, IRIS" in table
    wrong = rtcal("list", "--cache", cache, "--setup", "INSTRUME=WFOS")
    assert (wrong.code, "unknown instrument 'WFOS' in tmt_0001.pmap; it covers iris" in wrong.err) == (1, True)


def test_the_observatory_is_that_of_the_mapping_that_is_named(cache: Path, rtcal: Any) -> None:
    (cache / "mappings" / "tmt").rename(cache / "mappings" / "liger")
    for path in list((cache / "mappings" / "liger").iterdir()):
        path.rename(path.with_name(path.name.replace("tmt_", "liger_")))
    assert "IRIS : 'tmt_iris_0001.imap'" in rtcal("show", "liger_0001.pmap", "--cache", cache).out
    assert "liger_0009.pmap: no such file in" in rtcal("list", "--cache", cache, "--context", "liger_0009.pmap").err


def test_a_cache_is_verified(cache: Path, rtcal: Any) -> None:
    done = rtcal("verify", "--cache", cache)
    assert (done.code, done.out) == (0, "")
    assert "4 files of" in done.err
    (cache / "references" / "tmt" / "iris" / "old.fits").write_text("version https://git-lfs.github.com/spec/v1\n")
    done = rtcal("verify", "--cache", cache, "--json")
    assert (done.code, [problem["file"] for problem in json.loads(done.out)]) == (1, ["old.fits"])
    assert "is a Git LFS pointer" in rtcal("verify", "--cache", cache).out
    for path in (cache / "mappings" / "tmt").iterdir():
        path.unlink()
    assert "no context in" in rtcal("verify", "--cache", cache).out


def test_make_is_still_there(rtcal: Any) -> None:
    assert rtcal("make", "dark", "--help").code == 0
