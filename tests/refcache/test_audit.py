from pathlib import Path

import pytest

from refcache.audit import Audit, Problem
from tests.crds_cache import rmap_text, settings, signed, write_cache, write_reference

PARKEY = "(('DETECTOR',), ('META.DATE',))"
RULES = "Match({ 'IMG1' : UseAfter({ '2026-01-01' : 'a.fits' }) })"


def cache(root: Path, **more: str) -> Path:
    write_cache(root, {"DARK": rmap_text(RULES, PARKEY), **more}, {"SKY": "N/A"})
    write_reference(root / "references" / "tmt" / "iris" / "a.fits", "dark")
    return root


def found(root: Path, context: str = "tmt_0001.pmap") -> list[Problem]:
    audit = Audit(root, settings(path=str(root)), context)
    return sorted([*(problem for path in audit.files for problem in audit.check(path)), *audit.missing()])


def test_a_sound_cache_has_no_problems(tmp_path: Path) -> None:
    cache(tmp_path)
    (tmp_path / "references" / "tmt" / "iris" / "notes.json").write_text("{}")
    assert found(tmp_path) == []
    assert len(Audit(tmp_path, settings(path=str(tmp_path)), "").files) == 5


def rewrite(root: Path, name: str, old: str, new: str) -> None:
    """Change a mapping and sign it again."""
    path = root / "mappings" / "tmt" / name
    text = path.read_text()
    assert old in text
    stated = text.partition("'sha1sum' : '")[2][:40]
    path.write_text(signed(text.replace(old, new).replace(stated, "SUM")))


@pytest.mark.parametrize(
    ("name", "old", "new", "key", "text"),
    [
        ("tmt_0001.pmap", "tmt_iris_0001.imap", "tmt_iris_0009.imap", "IRIS", "which is not there; fetch it"),
        ("tmt_0001.pmap", "tmt_iris_0001.imap", "tmt_0001.pmap", "IRIS", "it must be a .imap file, N/A or OMIT"),
        ("tmt_iris_0001.imap", "tmt_iris_dark_0001.rmap", "tmt_iris_0001.imap", "DARK", "it must be a .rmap file"),
        ("tmt_iris_0001.imap", "tmt_iris_dark_0001.rmap", "../x.rmap", "DARK", "which is not there"),
        ("tmt_0001.pmap", "'by hand'", "'tmt_0001.pmap'", "derived_from", "goes round in a circle: tmt_0001.pmap from"),
        ("tmt_0001.pmap", "'tmt_0001.pmap'", "'tmt_0002.pmap'", "name", "it must be the file's name"),
        ("tmt_iris_dark_0001.rmap", "'IMG1' :", "('IMG1', 'K') :", "", "has 2 values for the 1 of"),
    ],
)
def test_what_is_wrong_with_a_mapping(tmp_path: Path, name: str, old: str, new: str, key: str, text: str) -> None:
    cache(tmp_path)
    rewrite(tmp_path, name, old, new)
    problems = [problem for problem in found(tmp_path, "") if problem.file == name]
    assert [(problem.key, text in problem.text) for problem in problems] == [(key, True)]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"header = {", "is no mapping"),
        (b"import os\n", "only header, selector and comment may be set"),
        (b"\xff\xfe", "cannot be read"),
        (b"x = " + b"(" * 5000, "is no mapping"),
        (b"# " + b"x" * (17 << 20), "at most"),
    ],
)
def test_a_hostile_mapping_is_a_problem_and_the_others_are_checked(tmp_path: Path, content: bytes, text: str) -> None:
    cache(tmp_path, FLAT="x")
    (tmp_path / "mappings" / "tmt" / "tmt_iris_flat_0001.rmap").write_bytes(content)
    problems = found(tmp_path)
    assert [problem.file for problem in problems] == ["tmt_iris_flat_0001.rmap"]
    assert text in problems[0].text


def test_a_wrong_checksum_is_named_with_both_values(tmp_path: Path) -> None:
    cache(tmp_path)
    path = tmp_path / "mappings" / "tmt" / "tmt_iris_dark_0001.rmap"
    path.write_text(path.read_text() + "# changed\n")
    (problem,) = found(tmp_path)
    assert (problem.file, problem.key) == ("tmt_iris_dark_0001.rmap", "sha1sum")
    assert "the text has" in problem.text


def test_what_is_wrong_with_references(tmp_path: Path) -> None:
    cache(tmp_path)
    folder = tmp_path / "references" / "tmt" / "iris"
    whole = write_reference(folder / "cut.fits", "dark").read_bytes()
    (folder / "cut.fits").write_bytes(whole[:-3000])
    (folder / "empty.json").write_bytes(b"")
    (folder / "lfs.asdf").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "lfs.fits").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "text.fits").write_text("hello")
    (folder / "gone.fits").symlink_to(folder / "nowhere.fits")
    write_reference(folder / "a.fits", "badpix")  # a DARK by the rules
    texts = {problem.file: problem.text for problem in found(tmp_path)}
    assert list(texts) == ["a.fits", "cut.fits", "empty.json", "gone.fits", "lfs.asdf", "lfs.fits", "text.fits"]
    for name, text in zip(
        texts, ("no such extension", "truncated", "is empty", "no such file", "LFS", "LFS", "is not FITS"), strict=True
    ):
        assert text in texts[name]


def test_references_that_a_context_names_must_be_there(tmp_path: Path) -> None:
    cache(tmp_path)
    (tmp_path / "references" / "tmt" / "iris" / "a.fits").unlink()
    (problem,) = found(tmp_path)
    assert (problem.file, problem.key) == ("a.fits", "tmt_iris_dark_0001.rmap")
    assert "is not there; fetch it" in problem.text
    assert found(tmp_path, "") == []
    assert found(tmp_path, "tmt_0009.pmap")[0].file == "tmt_0009.pmap"
