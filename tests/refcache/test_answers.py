import json
from pathlib import Path
from typing import Any

import pytest

from refcache.answers import MAX_LINE, Questions
from tests.crds_cache import rmap_text, write_cache

PARKEY = "(('DETECTOR',), ('META.DATE',))"
RULES = (
    "Match({ 'IMG1' : UseAfter({ '2026-01-01' : 'a.fits' }), 'IMG2' : 'N/A', 'IMG3' : 'OMIT', "
    "'IMG4' : ('a.fits', 'b.fits'), 'IFS' : { 'x' : 'c.fits' } })"
)
HEADER = {"META.INSTRUMENT.NAME": "IRIS", "DETECTOR": "IMG1", "META.DATE": "2027-01-01"}


@pytest.fixture
def asked(tmp_path: Path) -> Questions:
    write_cache(tmp_path, {"DARK": rmap_text(RULES, PARKEY)})
    return Questions(tmp_path, "tmt_0001.pmap")


def line(**question: Any) -> str:
    return json.dumps({"id": 1, "header": HEADER, "reftype": "dark", **question})


@pytest.mark.parametrize(
    ("detector", "kind", "value"),
    [
        ("IMG1", "file", "a.fits"),
        ("IMG2", "na", "N/A"),
        ("IMG3", "omit", "OMIT"),
        ("IMG4", "files", ["a.fits", "b.fits"]),
        ("IFS", "dict", {"x": "c.fits"}),
    ],
)
def test_each_kind_of_answer(asked: Questions, detector: str, kind: str, value: object) -> None:
    answer = json.loads(next(asked.answer_lines([line(header={**HEADER, "DETECTOR": detector})])))
    assert (answer["id"], answer["kind"], answer["value"], answer["family"]) == (1, kind, value, None)


@pytest.mark.parametrize(
    ("question", "family", "message"),
    [
        ({"header": {**HEADER, "META.DATE": "2025-01-01"}}, "no_match", "at the given date"),
        ({"header": {**HEADER, "DETECTOR": "IMG9"}}, "bad_input", "is not known to"),
        ({"reftype": "arc"}, "unknown", "unknown reference type 'arc'"),
        ({"reftype": None}, "unknown", "unknown reference type ''"),
        ({"reftype": 5}, "bad_input", "reftype is 5; it must be text"),
        ({"context": "tmt_0009.pmap"}, "bad_rules", "no such file"),
        ({"context": "../../tmt_0001.pmap"}, "bad_rules", "is no mapping's name"),
        ({"context": "tmt\x00.pmap"}, "bad_rules", "cannot be read"),
        ({"context": ["tmt_0001.pmap"]}, "bad_input", "it must be text"),
        ({"header": None}, "bad_input", "a question needs its header"),
        ({"header": []}, "bad_input", "a question needs its header"),
        ({"header": {"META.INSTRUMENT.NAME": {"a": 1}}}, "unknown", "unknown instrument"),
    ],
)
def test_each_way_of_failing(asked: Questions, question: dict[str, Any], family: str, message: str) -> None:
    answer = asked.answer_line(line(**question))
    assert (answer["id"], answer["kind"], answer["value"], answer["family"]) == (1, "error", None, family)
    assert message in answer["message"]


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", "5", '"x"', "[" * 5000, "\x00", '{"id": 1' + " " * MAX_LINE + "}", "1" * 5000]
)
def test_a_line_that_is_no_question_is_an_error_and_the_next_is_answered(asked: Questions, text: str) -> None:
    first, second = map(json.loads, asked.answer_lines([text, line(id="next")]))
    assert (first["id"], first["kind"], first["family"]) == (None, "error", "bad_input")
    assert (second["id"], second["value"]) == ("next", "a.fits")


def test_a_broken_mapping_is_an_error_for_all_types_of_its_instrument_as_in_crds(tmp_path: Path) -> None:
    sound = rmap_text(RULES, PARKEY)
    write_cache(tmp_path, {"DARK": sound, "FLAT": sound + "# changed\n"}, {"SKY": "N/A"})
    asked = Questions(tmp_path, "tmt_0001.pmap")
    for reftype in ("dark", "flat", "sky", "arc"):
        answer = asked.answer_line(line(reftype=reftype))
        assert answer["family"] == "bad_rules"
        assert "tmt_iris_flat_0001.rmap: sha1sum is" in answer["message"]
    assert asked.answer_line(line(reftype="flat", ignore_checksum=True))["value"] == "a.fits"
    assert asked.answer_line(line(ignore_checksum=False))["kind"] == "error"
    assert Questions(tmp_path, "tmt_0001.pmap", ignore_checksum=True).answer_line(line())["value"] == "a.fits"


def test_without_a_context_the_question_must_name_one(tmp_path: Path) -> None:
    write_cache(tmp_path, {"DARK": rmap_text(RULES, PARKEY)})
    assert "no context" in Questions(tmp_path).answer_line(line())["message"]
    assert Questions(tmp_path).answer_line(line(context="tmt_0001.pmap"))["value"] == "a.fits"


def test_a_context_is_read_once(tmp_path: Path) -> None:
    write_cache(tmp_path, {"DARK": rmap_text(RULES, PARKEY)})
    asked = Questions(tmp_path, "tmt_0001.pmap")
    assert asked.answer_line(line())["value"] == "a.fits"
    for path in (tmp_path / "mappings" / "tmt").iterdir():
        path.unlink()
    assert asked.answer_line(line())["value"] == "a.fits"
