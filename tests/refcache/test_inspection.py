from pathlib import Path

import pytest

from refcache.errors import BadRulesError
from refcache.inspection import Rule, differences, rules_of, where_named
from tests.crds_cache import rmap_text, write_cache

PARKEY = "(('DETECTOR',), ('META.DATE',))"


def folder(root: Path) -> Path:
    """Two contexts: in the second the dark of IMG1 is another, and IMG2 has one."""
    first = "Match({ 'IMG1' : UseAfter({ '2026-01-01' : 'a.fits' }), 'IFS' : ('x.fits', 'y.fits') })"
    second = (
        "Match({ 'IMG1' : UseAfter({ '2026-01-01' : 'b.fits' }), 'IFS' : ('x.fits', 'y.fits'), 'IMG2' : 'c.fits' })"
    )
    write_cache(root, {"DARK": rmap_text(first, PARKEY)}, {"SKY": "N/A"})
    write_cache(root, {"DARK": rmap_text(second, PARKEY)}, {"SKY": "OMIT"}, serial=2)
    return root / "mappings" / "tmt"


def test_every_rule_is_one_line(tmp_path: Path) -> None:
    rules = list(rules_of(folder(tmp_path), "tmt_0001.pmap", check_sha1=True))
    assert rules == [
        Rule("IRIS", "DARK", ("IMG1", "2026-01-01"), "a.fits", "tmt_iris_dark_0001.rmap"),
        Rule("IRIS", "DARK", ("IFS",), "('x.fits', 'y.fits')", "tmt_iris_dark_0001.rmap"),
        Rule("IRIS", "SKY", (), "N/A", "tmt_iris_0001.imap"),
    ]
    assert rules[0].line() == "IRIS DARK IMG1 2026-01-01 : a.fits"
    assert where_named(iter(rules), "y.fits") == [rules[1]]
    assert where_named(iter(rules), "a") == []


def test_two_contexts_are_compared_rule_by_rule(tmp_path: Path) -> None:
    maps = folder(tmp_path)
    for pair in (("tmt_0001.pmap", "tmt_0002.pmap"), ("tmt_iris_0001.imap", "tmt_iris_0002.imap")):
        found = differences(*(rules_of(maps, name, check_sha1=True) for name in pair))
        assert [f"{sign} {rule.line()}" for sign, rule in found] == [
            "- IRIS DARK IMG1 2026-01-01 : a.fits",
            "+ IRIS DARK IMG1 2026-01-01 : b.fits",
            "+ IRIS DARK IMG2 : c.fits",
            "- IRIS SKY : N/A",
            "+ IRIS SKY : OMIT",
        ]
    same = [rules_of(maps, "tmt_iris_dark_0001.rmap", check_sha1=True) for _ in range(2)]
    assert differences(*same) == []


def test_a_broken_mapping_below_is_told_or_raised(tmp_path: Path) -> None:
    maps = folder(tmp_path)
    (maps / "tmt_iris_dark_0001.rmap").unlink()
    problems: list[str] = []
    assert [rule.reftype for rule in rules_of(maps, "tmt_0001.pmap", True, problems)] == ["SKY"]
    assert "tmt_iris_dark_0001.rmap: no such file" in problems[0]
    with pytest.raises(BadRulesError):
        list(rules_of(maps, "tmt_0001.pmap", True))


def test_a_context_that_names_itself_is_no_endless_loop(tmp_path: Path) -> None:
    maps = folder(tmp_path)
    path = maps / "tmt_0001.pmap"
    path.write_text(path.read_text().replace("'tmt_iris_0001.imap'", "'tmt_0001.pmap'"))
    problems: list[str] = []
    assert list(rules_of(maps, "tmt_0001.pmap", False, problems)) == []
    assert "a mapping of its own kind" in problems[0]
