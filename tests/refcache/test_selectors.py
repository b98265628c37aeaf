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
NUMBER = "(('DETECTOR',), ('WAVE',))"
VERSION = "(('DETECTOR',), ('SWVER',))"
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
        ("Match({ 'IMG1' : UseAfter({ 5 : 'a.fits', '2026-01-01' : 'b.fits' }) })", ONE, "UseAfter: '<' not supported"),
        ("Match({ 'IMG1' : VersionAfter({ 'new' : 'a.fits' }) })", ONE, "'new' is no version"),
        ("Match({ 'IMG1' : VersionAfter({ '1' : 'a', '1.0' : 'b' }) })", ONE, "two keys of 1, 1.0 are the same"),
        ("Match({ 'IMG1' : SelectVersion({ '<x' : 'a.fits' }) })", ONE, "'<x' is no version; write <5, =4 or default"),
        ("Match({ 'IMG1' : SelectVersion({ '=5' : 'a.fits', 5 : 'b.fits' }) })", ONE, "two keys of =5, 5 are the same"),
        ("Match({ 'IMG1' : GeometricallyNearest({ 1.5 : 'a' }) })", ONE, "GeometricallyNearest: is for one header"),
        ("Match({ ('IMG1', 'X') : 'a.fits' })", ONE, "has 2 values for the 1 of"),
        ("Match({ (4,) : 'a.fits', ('4.0',) : 'b.fits' })", ONE, r"key \('4.0',\) stands there twice"),
        ("Match({ 'between 5 3' : 'a.fits' })", ONE, "is no range"),
        ("Match({ 'IMG1' : UseAfter({}) })", "(('DETECTOR',),)", "UseAfter has no group of header keys in 'parkey'"),
        ("Match({ 'IMG1' : 'a.fits' })", "('DETECTOR')", "each group is a tuple of header keys"),
    ],
)
def test_bad_rules_are_found_when_they_are_built(rules: str, parkey: str, text: str) -> None:
    with pytest.raises(BadRulesError, match=text):
        selector(rules, parkey)


@pytest.mark.parametrize(
    ("rules", "parkey", "text"),
    [
        ("UseAfter({ 5 : 'a.fits' })", ONE, "5 is no date; write 'YYYY-MM-DD"),
        ("5", ONE, "a rule leads to 5"),
        ("ClosestTime({ 'soon' : 'a.fits' })", ONE, "ClosestTime: 'soon' is no date"),
        ("ClosestTime({})", ONE, "ClosestTime has no rules"),
        ("GeometricallyNearest({ 'near' : 'a.fits' })", NUMBER, "a key of NEAR is no number"),
        ("GeometricallyNearest({})", NUMBER, "has no rules"),
        ("Bracket({ 'near' : 'a.fits' })", NUMBER, "Bracket needs one header key and numbers"),
        ("Bracket({})", NUMBER, "has no rules"),
        ("SelectVersion({ '<5' : 'a.fits' })", ONE, "SelectVersion needs one header key"),
    ],
)
def test_a_rule_that_cannot_be_followed_spoils_only_those_who_reach_it(rules: str, parkey: str, text: str) -> None:
    chooser = selector(f"Match({{ 'IMG1' : {rules}, 'IMG2' : 'b.fits' }})", parkey)
    assert chooser.choose(header("IMG2")).value == "b.fits"
    with pytest.raises(BadRulesError, match=text):
        chooser.choose(header(WAVE="1.5"))


SKIES = "{ '2027-03-01 06:00:00' : 'a.fits', '2027-03-01 10:00:00' : 'b.fits', '2027-03-01 14:00:00' : 'c.fits' }"


@pytest.mark.parametrize(
    ("time", "nearest", "past"),
    [
        ("05:00:00", "a.fits", None),
        ("07:59:59", "a.fits", "a.fits"),
        ("08:00:00", "a.fits", "a.fits"),  # as far from both: the earlier
        ("08:00:01", "b.fits", "a.fits"),
        ("12:00:01", "c.fits", "b.fits"),
        ("23:00:00", "c.fits", "c.fits"),
    ],
)
def test_closest_time_takes_the_nearest_or_the_nearest_before(time: str, nearest: str, past: str | None) -> None:
    mapping = parse_mapping(rmap_text(f"Match({{ 'IMG1' : ClosestTime({SKIES}) }})", ONE), "x.rmap", check_sha1=False)
    assert build_selector(mapping).choose(header(time=time)).value == nearest
    found = outcome(build_selector(mapping, past_only=True), header(time=time))
    assert (found.value if isinstance(found, Found) else None) == past


def test_closest_times_of_equal_weight_are_merged() -> None:
    rules = (
        "Match({ ('IMG1', 'K|H') : ClosestTime({ '2027-03-01 06:00:00' : 'a.fits' }), "
        "('IMG1|IMG2', 'K') : ClosestTime({ '2027-03-01 06:00:00' : 'b.fits', '2027-03-01 09:00:00' : 'c.fits' }) })"
    )
    chooser = selector(rules, TWO)
    assert [chooser.choose(header(time=time, FILTER="K")).value for time in ("05:00:00", "10:00:00")] == [
        "b.fits",
        "c.fits",
    ]


@pytest.mark.parametrize(
    ("version", "name"),
    [("0.0.2", "a.json"), ("0.50", "a.json"), ("0.50.1rc2", "b.json"), ("5.2", "c.json"), ("10.0.0", "c.json")],
)
def test_version_after_compares_numbers(version: str, name: str) -> None:
    rules = "VersionAfter({ '0.0.2' : 'a.json', '0.50.1' : 'b.json', '5.2' : 'c.json', '50.1' : 'd.json' })"
    chooser = selector(f"Match({{ 'IMG1' : {rules} }})", VERSION)
    assert chooser.choose(header(SWVER=version)).value == name


def test_version_after_needs_a_version_that_a_rule_covers() -> None:
    chooser = selector("Match({ 'IMG1' : VersionAfter({ '1.0' : 'a.json' }) })", VERSION)
    with pytest.raises(BadInputError, match=r"SWVER for .* 'UNDEFINED' is no version; write one like"):
        chooser.choose(header())
    with pytest.raises(NoMatchError):
        chooser.choose(header(SWVER="0.9.9"))


def test_versions_of_equal_weight_are_merged_and_dates_are_not_merged_with_them() -> None:
    one, other = "VersionAfter({ '1' : 'a.fits' })", "VersionAfter({ '1.0.0' : 'b.fits', '2' : 'c.fits' })"
    parkey = "(('DETECTOR', 'FILTER'), ('SWVER',))"
    rules = "Match({{ ('IMG1', 'K|H') : {}, ('IMG1|IMG2', 'K') : {} }})"
    chooser = selector(rules.format(one, other), parkey)
    assert [chooser.choose(header(FILTER="K", SWVER=v)).value for v in ("1.5", "3")] == ["b.fits", "c.fits"]
    chooser = selector(rules.format(one, "UseAfter({ '2026-01-01' : 'b.fits' })"), parkey)
    with pytest.raises(AmbiguousError, match=r"fit equally well, and one has no (versions|dates) to merge them by"):
        chooser.choose(header(FILTER="K", SWVER="1.0"))


@pytest.mark.parametrize(
    ("version", "name"),
    [("2.0", "a.fits"), ("3.1", "b.fits"), ("4.5", "b.fits"), ("5.0", "d.fits"), ("6.0", "d.fits"), ("-1.0", "a.fits")],
)
def test_select_version_takes_the_first_bound_that_holds(version: str, name: str) -> None:
    rules = "SelectVersion({ 'default' : 'd.fits', '<5' : 'b.fits', '<3.1' : 'a.fits' })"
    assert selector(f"Match({{ 'IMG1' : {rules} }})", VERSION).choose(header(SWVER=version)).value == name


def test_select_version_without_default_may_find_nothing() -> None:
    chooser = selector("Match({ 'IMG1' : SelectVersion({ '<3.1' : 'a.fits', '=4' : 'b.fits' }) })", VERSION)
    assert chooser.choose(header(SWVER="4.0")).value == "b.fits"
    with pytest.raises(BadInputError, match=r"SWVER=4\.1 is above every rule"):
        chooser.choose(header(SWVER="4.1"))
    for version in ("DEFAULT", "NAN", "INF"):
        with pytest.raises(BadInputError, match=r"SWVER=.* is no (number|version)"):
            chooser.choose(header(SWVER=version))


@pytest.mark.parametrize(
    ("wave", "bracket", "nearest"),
    [
        ("0.5", ("a.fits", "a.fits"), "a.fits"),
        ("0.9", ("a.fits", "a.fits"), "a.fits"),
        ("1.1", ("a.fits", "b.fits"), "a.fits"),
        ("1.9", ("b.fits", "c.fits"), "c.fits"),
        ("99.0", ("c.fits", "c.fits"), "c.fits"),
        ("NAN", ("a.fits", "a.fits"), "a.fits"),
    ],
)
def test_bracket_and_nearest_go_by_a_number(wave: str, bracket: tuple[str, str], nearest: str) -> None:
    table = "({ 1.5 : 'b.fits', 2.2 : 'c.fits', 0.9 : 'a.fits' })"
    asked = header(WAVE=wave)
    assert selector(f"Match({{ 'IMG1' : Bracket{table} }})", NUMBER).choose(asked).value == bracket
    assert selector(f"Match({{ 'IMG1' : GeometricallyNearest{table} }})", NUMBER).choose(asked).value == nearest
    with pytest.raises(BadInputError, match="WAVE='UNDEFINED' is no number"):
        selector(f"Match({{ 'IMG1' : Bracket{table} }})", NUMBER).choose(header())


def test_selectors_nest_as_deeply_as_parkey_has_groups() -> None:
    rules = (
        "Match({ 'IMG1' : Bracket({ 1.0 : UseAfter({ '2026-01-01' : 'a.fits' }), "
        "2.0 : UseAfter({ '2026-06-01' : 'b.fits' }) }) })"
    )
    chooser = selector(rules, "(('DETECTOR',), ('WAVE',), ('DATE-OBS', 'TIME-OBS'))")
    assert chooser.choose(header(WAVE="1.5")).value == ("a.fits", "b.fits")
    assert chooser.choose(header(WAVE="0.5")).value == ("a.fits", "a.fits")
    with pytest.raises(NoMatchError):  # what one of the two does not find, the pair does not
        chooser.choose(header(date="2026-03-01", WAVE="1.5"))
    assert [found.value for found in chooser.outcomes()] == ["a.fits", "b.fits"]


def test_a_single_key_with_a_colon_is_a_range() -> None:
    chooser = selector("Match({ '1:5' : 'a.fits' })")
    with pytest.raises(NoMatchError):  # inside, but no rule is written as 3.0
        chooser.choose(header("3.0"))
    for detector in ("7.0", "IMG1"):
        with pytest.raises(BadInputError, match="is not in the range 1:5"):
            chooser.choose(header(detector))
