from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refcache.errors import BadRulesError
from refcache.mappings import MAX_BYTES, SelectorRules, load_mapping, mapping_sha1, parse_mapping
from tests.crds_cache import rmap_text, signed

NAME = "tmt_iris_dark_0001.rmap"
PARKEY = "(('DETECTOR',), ('DATE-OBS', 'TIME-OBS'))"
SOUND = rmap_text("Match({ 'IMG1' : UseAfter({ '2026-01-01 00:00:00' : 'a.fits' }) })", PARKEY)


def test_a_mapping_is_read_as_data() -> None:
    mapping = parse_mapping(SOUND, NAME, check_sha1=True)
    assert isinstance(mapping.selector, SelectorRules)
    assert mapping.selector.kind == "Match"
    assert mapping.parkey == (("DETECTOR",), ("DATE-OBS", "TIME-OBS"))
    assert mapping.sha1 == mapping.header["sha1sum"]
    with pytest.raises(TypeError):
        mapping.header["name"] = "x"  # type: ignore[index]


def test_the_checksum_leaves_out_every_line_that_names_it() -> None:
    assert mapping_sha1("a\n'sha1sum' : 'x',\nb\n# about sha1sum\n") == mapping_sha1("a\nb\n")


def test_a_wrong_checksum_names_both_and_the_switch() -> None:
    broken = SOUND.replace("a.fits", "b.fits")
    with pytest.raises(BadRulesError, match=r"sha1sum is \w{40}, the text has \w{40}; .*check_sha1 = false") as raised:
        parse_mapping(broken, NAME, check_sha1=True)
    assert raised.value.family == "bad_rules"
    assert parse_mapping(broken, NAME, check_sha1=False).header["filekind"] == "DARK"


def test_a_missing_checksum_is_a_wrong_one() -> None:
    text = "".join(line for line in SOUND.splitlines(keepends=True) if "sha1sum" not in line)
    with pytest.raises(BadRulesError, match="sha1sum is missing"):
        parse_mapping(text, NAME, check_sha1=True)


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ("Match({ 'IMG1' : open('x') })", "open is no selector; known are Bracket"),
        ("Match({ 'IMG1' : __import__('os').system('x') })", "Attribute is no selector"),
        ("Frobnicate({ 'IMG1' : 'x.fits' })", "Frobnicate is no selector"),
        ("Match({k: v for k, v in ()})", "Match takes one dictionary"),
        ("Match('a')", "Match takes one dictionary"),
        ("Match(**{})", "Match takes one dictionary"),
        ("Match({ **{} : 1 })", "is no mapping"),
        ("Match({ **{} })", "a key is text, a number"),
        ("Match({ 'IMG1' : lambda: 1 })", "Lambda is no literal"),
        ("Match({ 'IMG1' : NAME })", "Name is no literal"),
        ("Match({ ({},) : 'a' })", "a key is text, a number, or a tuple"),
        ("Match({ 'IMG1' : 'a.fits' }", "is no mapping"),
        ("Match({ 'IMG1' : " + "(" * 30 + "1" + ",)" * 30 + " })", "nested deeper than"),
        ("Match({ 'a' : " * 30 + "1" + "})" * 30, "nested deeper than"),
        ("Match({})\nimport os", "only header, selector and comment may be set"),
        ("Match({})\nother = {}", "only header, selector and comment may be set"),
        ("5", "has no selector = Match"),
    ],
)
def test_anything_but_rules_is_refused_with_its_line(selector: str, text: str) -> None:
    with pytest.raises(BadRulesError, match=text) as raised:
        parse_mapping(rmap_text(selector, PARKEY), NAME, check_sha1=True)
    assert str(raised.value).startswith(NAME)
    assert raised.value.line is None or f"{NAME}:{raised.value.line}:" in str(raised.value)


def test_a_syntax_error_names_the_line() -> None:
    with pytest.raises(BadRulesError, match=r"tmt_iris_dark_0001\.rmap:3: is no mapping"):
        parse_mapping("header = {\n 'a' : 1,\n 'b' 2,\n}\n", NAME, check_sha1=False)


@pytest.mark.parametrize(("text", "message"), [("", "has no header"), ("header = 5\nselector = Match({})\n", "header")])
def test_a_mapping_without_header_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadRulesError, match=message):
        parse_mapping(text, NAME, check_sha1=False)


def test_a_header_that_lacks_a_key_names_it() -> None:
    with pytest.raises(BadRulesError, match="its header has no 'instrument'"):
        parse_mapping(signed(SOUND.replace("'instrument'", "'instr'")), NAME, check_sha1=False)


def test_an_imap_must_name_files() -> None:
    head = "header = {'mapping':'I','parkey':('R',),'name':'n','derived_from':'','observatory':'T','instrument':'I'}\n"
    with pytest.raises(BadRulesError, match="both must be text"):
        parse_mapping(head + "selector = {'DARK' : 5}\n", "tmt_iris_0001.imap", check_sha1=False)
    with pytest.raises(BadRulesError, match="of mapping names"):
        parse_mapping(head + "selector = Match({})\n", "tmt_iris_0001.imap", check_sha1=False)


def test_a_missing_file_names_the_folder_and_what_is_there(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(SOUND)
    with pytest.raises(BadRulesError, match=f"no such file in .*; it holds {NAME}"):
        load_mapping(tmp_path, "tmt_iris_dark_0002.rmap", check_sha1=True)


@pytest.mark.parametrize("name", ["../tmt_0001.pmap", "sub/tmt_0001.pmap", "tmt_0001.txt"])
def test_a_mapping_is_a_file_name_in_the_cache(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRulesError, match=r"is no mapping's name; write a file name that ends in \.pmap"):
        load_mapping(tmp_path, name, check_sha1=True)


def test_a_file_that_is_too_large_or_not_text_is_refused(tmp_path: Path) -> None:
    with (tmp_path / NAME).open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(BadRulesError, match=f"at most {MAX_BYTES} are read"):
        load_mapping(tmp_path, NAME, check_sha1=True)
    (tmp_path / NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(BadRulesError, match="cannot be read"):
        load_mapping(tmp_path, NAME, check_sha1=True)


@given(st.text(max_size=200))
def test_any_text_is_a_mapping_or_bad_rules(text: str) -> None:
    with pytest.raises(BadRulesError):
        parse_mapping(text, NAME, check_sha1=False)
