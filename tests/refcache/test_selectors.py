import random
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refcache.compiler import build_selector
from refcache.dates import crds_text
from refcache.errors import AmbiguousError, BadInputError, BadRulesError, NoMatchError
from refcache.mappings import parse_mapping
from refcache.selectors import Found, Selector
from tests.crds_cache import rmap_text

ONE = "(('DETECTOR',), ('DATE-OBS', 'TIME-OBS'))"
TWO = "(('DETECTOR', 'FILTER'), ('DATE-OBS', 'TIME-OBS'))"
DATES = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2040, 1, 1)).map(
    lambda date: date.replace(microsecond=0)
)


def selector(rules: str, parkey: str = ONE, extra: str = "") -> Selector:
    text = rmap_text(rules, parkey, extra=extra)
    return build_selector(parse_mapping(text, "tmt_iris_dark_0001.rmap", check_sha1=True))


def header(detector: str = "IMG1", date: str = "2027-03-01", time: str = "08:00:00", **more: str) -> dict[str, str]:
    return {"DETECTOR": detector, "DATE-OBS": date, "TIME-OBS": time, **more}


def after(*names: str, start: int = 2026) -> str:
    rules = ", ".join(f"'{start + year}-01-01 00:00:00' : '{name}'" for year, name in enumerate(names))
    return f"UseAfter({{ {rules} }})"


@given(st.lists(DATES, min_size=1, max_size=20, unique=True), DATES)
def test_use_after_takes_the_latest_rule_that_is_not_later(rule_dates: list[datetime], date: datetime) -> None:
    rules = "UseAfter({" + ", ".join(f"'{crds_text(d)}' : '{crds_text(d)}.fits'" for d in rule_dates) + "})"
    chooser = selector(rules, "(('DATE-OBS', 'TIME-OBS'),)")
    day, _, clock = crds_text(date).partition(" ")
    expected = max((d for d in rule_dates if d <= date), default=None)
    if expected is None:
        with pytest.raises(NoMatchError, match="or before; its first is of"):
            chooser.choose(header(date=day, time=clock))
    else:
        found = chooser.choose(header(date=day, time=clock))
        assert (found.value, found.date) == (f"{crds_text(expected)}.fits", crds_text(expected))


@given(
    st.randoms(use_true_random=False), st.sampled_from(["IMG1", "IMG2", "IMG3", "N/A", "*"]), st.integers(2025, 2032)
)
def test_the_order_of_rules_has_no_influence(shuffle: random.Random, detector: str, year: int) -> None:
    lines = [
        f"('IMG1', 'K') : {after('a1.fits', 'a2.fits')}",
        f"('IMG1|IMG2', 'K') : {after('b1.fits', 'b2.fits', start=2027)}",
        f"('IMG1', 'N/A') : {after('c1.fits')}",
        f"('*', 'K|H') : {after('d1.fits', 'd2.fits', start=2028)}",
        f"('NOT IMG1', 'N/A') : {after('e1.fits')}",
    ]
    asked = header(detector, f"{year}-06-01", FILTER="K")
    expected = outcome(selector("Match({" + ", ".join(lines) + "})", TWO), asked)
    shuffle.shuffle(lines)
    assert outcome(selector("Match({" + ", ".join(lines) + "})", TWO), asked) == expected


def outcome(chooser: Selector, asked: dict[str, str]) -> object:
    try:
        return chooser.choose(asked)
    except NoMatchError:
        return "no match"


def test_the_rule_that_fits_in_most_columns_wins_and_falls_through_by_date() -> None:
    rules = f"Match({{ ('IMG1', 'K') : {after('k.fits', start=2027)}, ('IMG1', 'N/A') : {after('any.fits')} }})"
    chooser = selector(rules, TWO)
    assert chooser.choose(header(FILTER="K")).value == "k.fits"
    assert chooser.choose(header(FILTER="H")).value == "any.fits"
    assert chooser.choose(header(date="2026-06-01", FILTER="K")).value == "any.fits"
    with pytest.raises(NoMatchError, match="matches DETECTOR=IMG1, FILTER=K at the given date"):
        chooser.choose(header(date="2025-06-01", FILTER="K"))


def test_a_value_that_no_rule_lists_is_bad_input() -> None:
    chooser = selector(f"Match({{ 'IMG1|IMG2' : {after('a.fits')} }})")
    with pytest.raises(BadInputError, match=r"DETECTOR='IFU' is not known to .*; its rules cover IMG1, IMG2"):
        chooser.choose(header("IFU"))
    assert chooser.choose(header("N/A")).value == "a.fits"


@pytest.mark.parametrize(
    ("key", "matches"),
    [
        *(("*", True), ("ANY", True), ("N/A", True), ("(W.*)", True), ("NOT X", True)),
        *(("#>5#", False), ("BETWEEN 1 2", False), ("{X}", False)),
    ],
)
def test_a_column_with_a_special_key_is_not_checked(key: str, matches: bool) -> None:
    chooser = selector(f"Match({{ 'IMG1' : {after('a.fits')}, '{key}' : {after('b.fits')} }})")
    found = outcome(chooser, header("WEIRD"))
    assert found == (Found("b.fits", "2026-01-01 00:00:00") if matches else "no match")


def test_a_bad_date_does_not_fall_through() -> None:
    chooser = selector(f"Match({{ 'IMG1' : {after('a.fits')}, 'N/A' : {after('b.fits')} }})")
    with pytest.raises(BadInputError, match=r"DATE-OBS is undefined; .* needs the date of the exposure"):
        chooser.choose(header(date="UNDEFINED"))
    with pytest.raises(BadInputError, match=r"DATE-OBS and TIME-OBS for .* is no date; write YYYY-MM-DD"):
        chooser.choose(header(date="yesterday"))


def test_equal_weights_are_merged_and_the_greater_name_wins_at_one_date() -> None:
    rules = f"Match({{ ('IMG1', 'K|H') : {after('a1.fits', 'b2.fits')}, ('IMG1|IMG2', 'K') : {after('b1.fits')} }})"
    chooser = selector(rules, TWO)
    assert chooser.choose(header(date="2026-06-01", FILTER="K")).value == "b1.fits"
    assert chooser.choose(header(date="2027-06-01", FILTER="K")).value == "b2.fits"


def test_equal_weights_are_an_error_where_merging_is_forbidden() -> None:
    rules = f"Match({{ ('IMG1', 'K|H') : {after('a.fits')}, ('IMG1|IMG2', 'K') : {after('b.fits')} }})"
    chooser = selector(rules, TWO, extra="    'merge_overlaps' : 'False',\n")
    with pytest.raises(AmbiguousError, match="fit equally well and it has merge_overlaps = False"):
        chooser.choose(header(FILTER="K"))


def test_files_of_equal_weight_without_dates_are_all_given() -> None:
    rules = "Match({ ('IMG1', 'K|H') : 'a.fits', ('IMG1|IMG2', 'K') : 'b.fits', ('IMG1', 'J') : UseAfter({}) })"
    chooser = selector(rules, TWO)
    assert chooser.choose(header(FILTER="K")).value == ("a.fits", "b.fits")
    with pytest.raises(AmbiguousError, match="fit equally well; cannot merge"):
        chooser.choose(header(FILTER="*"))


def test_generic_is_not_applicable_unless_the_mapping_has_its_own_table() -> None:
    parkey = "(('DETECTOR', 'SUBARRAY'), ('DATE-OBS', 'TIME-OBS'))"
    rules = f"Match({{ ('IMG1', 'GENERIC') : {after('a.fits')}, ('IMG1', 'WHOLE') : {after('b.fits')} }})"
    assert selector(rules, parkey).choose(header(SUBARRAY="SUB128")).value == "a.fits"
    own = "    'substitutions' : { 'SUBARRAY' : { 'WHOLE' : 'FULL', 'LOOP' : 'LOOP2', 'LOOP2' : 'LOOP' } },\n"
    chooser = selector(rules, parkey, own)
    assert chooser.choose(header(SUBARRAY="FULL")).value == "b.fits"
    for value in ("SUB128", "LOOP"):
        with pytest.raises(BadInputError, match="its rules cover FULL, GENERIC"):
            chooser.choose(header(SUBARRAY=value))


@pytest.mark.parametrize(
    ("rules", "parkey", "text"),
    [
        ("ClosestTime({})", ONE, r"\.rmap:\d+: ClosestTime is not supported here; Match and UseAfter are"),
        ("Match({ ('IMG1', 'X') : 'a.fits' })", ONE, "has 2 values for the 1 of"),
        ("Match({ (4,) : 'a.fits', ('4.0',) : 'b.fits' })", ONE, r"key \('4.0',\) stands there twice"),
        ("Match({ 'between 5 3' : 'a.fits' })", ONE, "is no range"),
        ("Match({ 'IMG1' : UseAfter({ 5 : 'a.fits' }) })", ONE, "5 is no date"),
        ("Match({ 'IMG1' : UseAfter({}) })", "(('DETECTOR',),)", "UseAfter has no group of header keys in 'parkey'"),
        ("Match({ 'IMG1' : 'a.fits' })", "('DETECTOR')", "each group is a tuple of header keys"),
        ("Match({ 'IMG1' : 5 })", ONE, "a rule leads to 5"),
    ],
)
def test_bad_rules_are_found_when_they_are_built(rules: str, parkey: str, text: str) -> None:
    with pytest.raises(BadRulesError, match=text):
        selector(rules, parkey)
