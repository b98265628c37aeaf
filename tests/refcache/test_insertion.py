from pathlib import Path
from typing import Any

import pytest

from refcache.errors import InsertionError
from refcache.insertion import Candidate, insert
from refcache.mapping_text import MappingText
from refcache.mappings import parse_mapping
from refcache.rmaps import File, Rmap
from tests.crds_cache import rmap_text

PARKEY = "(('META.INSTRUMENT.DETECTOR', 'META.INSTRUMENT.FILTER'), ('META.OBSERVATION.DATE', 'META.OBSERVATION.TIME'))"
ALIASES = {
    "META.INSTRUMENT.DETECTOR": "DETECTOR",
    "META.INSTRUMENT.FILTER": "FILTER",
    "META.OBSERVATION.DATE": "DATE-OBS",
}
RULES = "Match({ ('IMG1', 'K|H') : UseAfter({ '2026-01-01 00:00:00' : 'a.fits' }), ('IMG2', 'N/A') : 'b.fits' })"
CARDS = {"DETECTOR": "IMG1", "FILTER": "H|K", "USEAFTER": "2027-01-01T00:00:00", "DATE-OBS": "1999-01-01"}


def added(rules: str = RULES, parkey: str = PARKEY, extra: str = "", **cards: Any) -> tuple[MappingText, str]:
    text = MappingText.parse(rmap_text(rules, parkey, extra=extra), "tmt_iris_dark_0001.rmap")
    given = {key: value for key, value in {**CARDS, **cards}.items() if value is not None}
    done = insert(text, Candidate(Path("new.fits"), given), ALIASES)
    return text, done


def test_a_further_date_in_the_rule_that_is_there() -> None:
    text, done = added()
    assert "('IMG1', 'K|H') : UseAfter({\n        '2026-01-01 00:00:00' : 'a.fits',\n" in text.format()
    assert "        '2027-01-01 00:00:00' : 'new.fits',\n    }),\n    ('IMG2', 'N/A') : 'b.fits',\n" in text.format()
    assert done == "('IMG1', 'K|H') : '2027-01-01 00:00:00' : new.fits"


def test_the_same_date_has_another_file() -> None:
    text, done = added(USEAFTER="2026-01-01 00:00:00")
    assert "a.fits" not in text.format()
    assert done.endswith("'2026-01-01 00:00:00' : new.fits instead of 'a.fits'")


def test_a_new_rule_and_dates_in_the_place_of_a_file_without() -> None:
    text, _ = added(DETECTOR="IMG3")
    assert "    ('IMG3', 'H|K') : UseAfter({\n        '2027-01-01 00:00:00' : 'new.fits',\n    }),\n" in text.format()
    text, _ = added(DETECTOR="img2", FILTER="N/A")
    assert "    ('IMG2', 'N/A') : UseAfter({\n        '2027-01-01 00:00:00' : 'new.fits',\n    }),\n" in text.format()


def test_what_is_inserted_is_chosen() -> None:
    text, _ = added(DETECTOR="IMG3", FILTER="ANY")
    rmap = Rmap(parse_mapping(text.format(), "tmt_iris_dark_0001.rmap", check_sha1=True))
    asked = {"META.INSTRUMENT.DETECTOR": "IMG3", "META.INSTRUMENT.FILTER": "K"}
    asked |= {"META.OBSERVATION.DATE": "2027-01-01", "META.OBSERVATION.TIME": "00:00:00"}
    assert rmap.select(asked) == File("new.fits", "2027-01-01 00:00:00")


def test_keys_that_do_not_count_are_not_needed() -> None:
    relevance = "    'parkey_relevance' : { 'META.INSTRUMENT.FILTER' : '(META.INSTRUMENT.DETECTOR != \"IMG3\")' },\n"
    text, _ = added(extra=relevance, DETECTOR="IMG3", FILTER=None)
    assert "('IMG3', 'N/A') : UseAfter" in text.format()
    comment = "    'comment_parkeys' : ('META.INSTRUMENT.FILTER',),\n"
    text, _ = added(extra=comment, FILTER=None)
    assert text.format().count("UseAfter") == 1  # the rule of the same detector, whatever the comment says
    switch = "    'reffile_switch' : 'META.INSTRUMENT.FILTER',\n    'extra_keys' : ('X',),\n"
    text, _ = added(extra=switch, DETECTOR="IMG3")
    assert "('IMG3', 'N/A') : UseAfter" in text.format()


def test_a_mapping_may_translate_its_own_keys() -> None:
    text, _ = added(
        extra="    'reference_to_dataset' : { 'BAND' : 'META.INSTRUMENT.FILTER' },\n", FILTER=None, BAND="J"
    )
    assert "('IMG1', 'J') : UseAfter" in text.format()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"FILTER": None}, r"new\.fits: its header has no value for META\.INSTRUMENT\.FILTER, .* set the card, or ANY"),
        ({"USEAFTER": None}, "USEAFTER: 'UNDEFINED' is no date; write YYYY"),
        ({"USEAFTER": "soon"}, "USEAFTER: 'soon' is no date"),
        ({"FILTER": "K"}, r"special case of \('IMG1', 'K|H'\) in .* with equal weight"),
        ({"rules": RULES.replace("a.fits", "new.fits")}, "names it already; give a changed file another name"),
        ({"rules": "Match({ 'IMG1' : Bracket({ 1.0 : 'a.fits' }) })"}, "rules of Match, Bracket are not extended here"),
        (
            {"rules": "UseAfter({})", "extra": "    'classes' : ('Match', 'UseAfter'),\n"},
            "has UseAfter where its classes",
        ),
        (
            {"rules": "Match({})", "extra": "    'classes' : ('Match',),\n", "parkey": "(('A',), ('B',), ('C',))"},
            "not extended",
        ),
    ],
)
def test_what_cannot_be_inserted_says_why(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InsertionError, match=text):
        added(**changes)
