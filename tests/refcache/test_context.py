from pathlib import Path

import pytest

from refcache import CrdsContext, File, Files, NotApplicable, Omitted, SelectionError, Table
from refcache.errors import BadInputError, BadRulesError, NoMatchError, UnknownError
from tests.crds_cache import rmap_text, write_cache

PARKEY = "(('META.INSTRUMENT.DETECTOR',), ('META.OBSERVATION.DATE', 'META.OBSERVATION.TIME'))"
RULES = "Match({ 'IMG1' : UseAfter({ '2026-01-01 00:00:00' : 'a.fits' }), 'IMG2' : 'TEMP_N/A', 'IMG3' : 'OMIT' })"
HEADER = {
    "meta.instrument.name": "Iris",
    "META.INSTRUMENT.DETECTOR": " img1 ",
    "META.OBSERVATION.DATE": "2027-03-01",
    "META.OBSERVATION.TIME": "08:00:00",
}


def context(root: Path, extra: str = "", rules: str = RULES, **more: str) -> CrdsContext:
    rmaps = {"DARK": rmap_text(rules, PARKEY, extra=extra), **more}
    write_cache(root, rmaps, {"DFLAT": "N/A", "SKY": "OMIT"})
    return CrdsContext.load(root, "tmt_0001.pmap", check_sha1=True)


def test_a_file_is_chosen_through_all_three_levels(tmp_path: Path) -> None:
    loaded = context(tmp_path)
    assert loaded.select(HEADER, "dark") == File("a.fits", "2026-01-01 00:00:00")
    assert loaded.select(HEADER, "Dark") == loaded.select({**HEADER, "X": True}, "DARK")
    assert (loaded.name, loaded.checked, loaded.observatory) == ("tmt_0001.pmap", True, "tmt")
    assert len(loaded.sha1) == 40


def test_special_words_are_results(tmp_path: Path) -> None:
    loaded = context(tmp_path)
    assert isinstance(loaded.select(HEADER, "dflat"), NotApplicable)
    assert isinstance(loaded.select(HEADER, "sky"), Omitted)
    assert isinstance(loaded.select({**HEADER, "META.INSTRUMENT.DETECTOR": "IMG2"}, "dark"), NotApplicable)
    assert isinstance(loaded.select({**HEADER, "META.INSTRUMENT.DETECTOR": "IMG3"}, "dark"), Omitted)


def test_several_files_and_tables_are_results(tmp_path: Path) -> None:
    loaded = context(tmp_path, rules="Match({ 'IMG1' : ('a.fits', 'b.fits'), 'IMG2' : { 'x' : 'c.fits' } })")
    assert loaded.select(HEADER, "dark") == Files(("a.fits", "b.fits"))
    assert loaded.select({**HEADER, "META.INSTRUMENT.DETECTOR": "IMG2"}, "dark") == Table({"x": "c.fits"})


def test_what_the_context_does_not_name_is_unknown(tmp_path: Path) -> None:
    loaded = context(tmp_path)
    with pytest.raises(UnknownError, match=r"unknown reference type 'arc' in tmt_iris_0001\.imap; it covers dark"):
        loaded.select(HEADER, "arc")
    with pytest.raises(UnknownError, match=r"unknown instrument 'WFOS' in tmt_0001\.pmap; it covers iris"):
        loaded.select({"META.INSTRUMENT.NAME": "WFOS"}, "dark")
    with pytest.raises(BadInputError, match=r"the header has no META\.INSTRUMENT\.NAME"):
        loaded.select({}, "dark")


def test_a_broken_rmap_spoils_only_its_own_type(tmp_path: Path) -> None:
    loaded = context(tmp_path, FLAT="header = {", ARC=rmap_text("Match({})", PARKEY) + "# changed\n")
    assert loaded.select(HEADER, "dark") == File("a.fits", "2026-01-01 00:00:00")
    for reftype, text in (("flat", "is no mapping"), ("arc", "sha1sum is")):
        with pytest.raises(BadRulesError, match=text):
            loaded.select(HEADER, reftype)
    assert sorted(problem.name for problem in loaded.problems()) == [
        "tmt_iris_arc_0001.rmap",
        "tmt_iris_flat_0001.rmap",
    ]


def test_a_dangling_name_spoils_only_what_it_stands_for(tmp_path: Path) -> None:
    context(tmp_path, FLAT="x")
    (tmp_path / "mappings" / "tmt" / "tmt_iris_flat_0001.rmap").unlink()
    loaded = CrdsContext.load(tmp_path, "tmt_0001.pmap", check_sha1=True)
    assert isinstance(loaded.select(HEADER, "dark"), File)
    with pytest.raises(BadRulesError, match="no such file"):
        loaded.select(HEADER, "flat")
    (tmp_path / "mappings" / "tmt" / "tmt_iris_0001.imap").unlink()
    loaded = CrdsContext.load(tmp_path, "tmt_0001.pmap", check_sha1=True)
    with pytest.raises(BadRulesError, match=r"tmt_iris_0001\.imap: no such file"):
        loaded.select(HEADER, "dark")
    with pytest.raises(BadRulesError, match=r"tmt_0002\.pmap: no such file in .*; it holds tmt_0001\.pmap"):
        CrdsContext.load(tmp_path, "tmt_0002.pmap", check_sha1=True)


def test_a_loaded_context_does_not_change_with_the_files(tmp_path: Path) -> None:
    loaded = context(tmp_path)
    for path in (tmp_path / "mappings" / "tmt").iterdir():
        path.write_text("gone")
    assert loaded.select(HEADER, "dark") == File("a.fits", "2026-01-01 00:00:00")


def test_a_type_that_is_not_required_is_not_applicable_when_nothing_is_found(tmp_path: Path) -> None:
    early = {**HEADER, "META.OBSERVATION.DATE": "2020-01-01"}
    with pytest.raises(NoMatchError):
        context(tmp_path).select(early, "dark")
    found = context(tmp_path, "    'reffile_required' : 'NO',\n").select(early, "dark")
    assert isinstance(found, NotApplicable)
    assert "does not require a file" in found.why


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("'rmap_relevance' : '(META.INSTRUMENT.DETECTOR != \"IMG1\")'", NotApplicable),
        ("'rmap_relevance' : '(META.INSTRUMENT.DETECTOR in (\"IMG1\", \"IMG2\"))'", File),
        ("'rmap_relevance' : 'always'", File),
        ("'rmap_relevance' : '(NOSUCHKEY == 1)'", File),  # cannot be judged: as if it were not there
        ("'rmap_relevance' : '(META.INSTRUMENT.DETECTOR < 5)'", File),
        ("'rmap_omit' : '(META.INSTRUMENT.DETECTOR == \"IMG1\")'", Omitted),
        ("'rmap_omit' : '(NOSUCHKEY == 1)'", File),
        ("'rmap_omit' : '(not META.INSTRUMENT.DETECTOR or -1 > 0 if True else False)'", File),
        # the omission is judged before the relevance
        ("'rmap_omit' : '(True)', 'rmap_relevance' : '(False)'", Omitted),
        # without parentheses CRDS lower-cases the text, so that no value fits any more
        ("'extra_keys' : ('SWITCH',), 'rmap_omit' : 'SWITCH == \"UNDEFINED\"'", File),
        ("'extra_keys' : ('SWITCH',), 'rmap_omit' : '(SWITCH == \"UNDEFINED\")'", Omitted),
    ],
)
def test_conditions_of_the_header(tmp_path: Path, extra: str, expected: type) -> None:
    assert isinstance(context(tmp_path, f"    {extra},\n").select(HEADER, "dark"), expected)


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ("'rmap_relevance' : '(META.INSTRUMENT.DETECTOR.lower())'", "rmap_relevance: Call is not allowed"),
        ("'rmap_omit' : '(__import__(\"os\"))'", "rmap_omit: Call is not allowed"),
        ("'rmap_omit' : '(1 +)'", "rmap_omit: .* is no expression"),
        ("'parkey_relevance' : 5", "parkey_relevance is 5"),
        ("'parkey_relevance' : { 'META.INSTRUMENT.DETECTOR' : '(NOSUCH == 1)' }", "the expression names NOSUCH"),
    ],
)
def test_a_condition_that_cannot_be_used_spoils_the_type(tmp_path: Path, extra: str, text: str) -> None:
    with pytest.raises(SelectionError, match=text) as raised:
        context(tmp_path, f"    {extra},\n").select(HEADER, "dark")
    assert raised.value.family == "bad_rules"


def test_irrelevant_and_comment_keys_count_as_not_applicable(tmp_path: Path) -> None:
    asked = {**HEADER, "META.INSTRUMENT.DETECTOR": "IMG9"}
    with pytest.raises(BadInputError):
        context(tmp_path).select(asked, "dark")
    for extra in (
        "'comment_parkeys' : ('META.INSTRUMENT.DETECTOR',)",
        "'parkey_relevance' : { 'META.INSTRUMENT.DETECTOR' : '(META.INSTRUMENT.DETECTOR != \"IMG9\")' }",
    ):
        rules = "Match({ 'IMG1' : UseAfter({ '2026-01-01 00:00:00' : 'a.fits' }) })"
        assert context(tmp_path, f"    {extra},\n", rules).select(asked, "dark") == File(
            "a.fits", "2026-01-01 00:00:00"
        )


def test_an_imap_or_an_rmap_can_be_asked_alone(tmp_path: Path) -> None:
    context(tmp_path)
    for name in ("tmt_iris_0001.imap", "tmt_iris_dark_0001.rmap"):
        alone = CrdsContext.load(tmp_path, name, check_sha1=True)
        assert alone.select(HEADER, "dark") == File("a.fits", "2026-01-01 00:00:00")
        with pytest.raises(UnknownError):
            alone.select(HEADER, "arc")
