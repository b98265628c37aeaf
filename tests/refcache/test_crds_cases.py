"""The sample of questions that CRDS itself answered (client 14.0.3)."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from refcache import CrdsContext, File, Files, NotApplicable, Omitted, SelectionError, Table
from tests.data import shared_data

pytestmark = pytest.mark.real_data

# CRDS crashes; here the header or the rules are to blame.
CRASHES = {"bad_input", "bad_rules"}


@cache
def _context(cache_path: Path, name: str, check_sha1: bool) -> CrdsContext:
    return CrdsContext.load(cache_path, name, check_sha1)


def _answer(cache_path: Path, case: dict[str, Any]) -> tuple[str, object, str]:
    try:
        loaded = _context(cache_path, case["context"], not case["ignore_checksum"])
        found = loaded.select(case["header"], case["reftype"], strict=True)
    except SelectionError as error:
        return "error", error.family, str(error)
    match found:
        case File(name):
            return "file", name, ""
        case Files(names):
            return "files", list(names), ""
        case Table(names):
            return "dict", dict(names), ""
        case NotApplicable():
            return "na", "N/A", ""
        case Omitted():
            return "omit", "OMIT", ""


def test_the_answers_are_those_of_crds() -> None:
    folder = shared_data("crds")
    cases = json.loads((folder / "cases_sample.json").read_text())["cases"]
    wrong = []
    for case in cases:
        kind, value, text = _answer(folder / "cache", case)
        expected = (case["kind"], case["error_family"] if case["kind"] == "error" else case["expected"])
        crashed = case.get("error_family") == "internal" and kind == "error" and value in CRASHES
        if (kind, value) != expected and not crashed:
            wrong.append((case["id"], expected, kind, value, text))
    assert wrong == []
    assert len(cases) == 240
