import pytest
from hypothesis import given
from hypothesis import strategies as st

from refcache.matchers import alternatives, is_special, matcher, normalise_key
from refcache.values import normalise, with_aliases

# (key, header value, 1 matches / 0 does not matter / -1 does not match), worked out from the rules in docs/crds.md
MATCHES = [
    ("IMG1", "IMG1", 1),
    ("IMG1", "IMG2", -1),
    ("IMG1", "*", 1),
    ("IMG1", "N/A", 0),
    ("N/A", "IMG1", 0),
    ("*", "IMG1", 1),
    ("A|B", "B", 1),
    ("A|B", "AB", -1),
    ("R4000*|X", "R4000_K", 1),
    ("R8000_?", "R8000_H", -1),  # CRDS takes a glob only for what has * or |
    ("{A|B}", "A|B", 1),
    ("{A|B}", "A", -1),
    ("(R(4|8)000)", "R8000_LONG", 1),  # from the start, not to the end
    ("(lower.*)", "LOWER", -1),  # regular expressions keep their case
    ("# >1 AND <=20 #", "20.0", 1),
    ("# >1 AND <=20 #", "1.0", -1),
    ("#>100 OR <-5#", "-5.1", 1),
    ("#>=50#", "50.0", 1),
    ("#>=50#", "FIFTY", -1),
    ("BETWEEN 0 20", "0.0", 1),
    ("BETWEEN 0 20", "20.0", -1),
    ("NOT BETWEEN 0 20", "20.0", 1),
    ("NOT K", "H", 1),
    ("NOT K", "K", -1),
    ("NOT K", "N/A", 0),
    (">20", "21.0", 1),
    (">20", "N/A", 0),
    (">20", "*", 1),
]


@pytest.mark.parametrize(("key", "value", "expected"), MATCHES)
def test_each_form_of_key(key: str, value: str, expected: int) -> None:
    assert matcher(key)(value) == expected


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("BETWEEN 5 3", "is no range; write BETWEEN low high, with low <= high"),
        ("BETWEEN 5", "is no range; write BETWEEN low high"),
        ("(R[)", "is no regular expression"),
        (">ten", "is no relation; write one like >1.5"),
        ("NOT " * 9 + "K", "inside more than 8 NOTs"),
        ("#" * 40, "inside more than 8 NOTs or #"),
    ],
)
def test_a_malformed_key_says_what_would_be_right(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=text.replace("(", r"\(")):
        matcher(key)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" img1 ", "IMG1"),
        (4, "4.0"),
        ("50.", "50.0"),
        ("1e3", "1000.0"),
        (True, "T"),
        ("false", "F"),
        ("any", "*"),
        ("not applicable", "N/A"),
        ("4294967295", "-1.0"),
        ("2027-01-01", "2027-01-01"),
    ],
)
def test_header_values_are_normalised_as_crds_does(value: object, expected: str) -> None:
    assert normalise(value) == expected


@given(st.one_of(st.text(max_size=30), st.floats(), st.integers(), st.booleans()))
def test_normalising_twice_changes_nothing(value: object) -> None:
    # ANY becomes * and TRUE becomes T: both stay. Upper case of upper case may differ outside ASCII.
    once = normalise(value)
    assert normalise(once) == once or not once.isascii()


def test_or_lists_of_numbers_are_normalised_each() -> None:
    assert normalise_key("4|9|25") == "25.0|4.0|9.0"
    assert normalise_key(("7", "8.0")) == "7.0|8.0"
    assert normalise_key("(keep|Me)") == "(keep|Me)"


def test_special_keys_are_not_split() -> None:
    assert alternatives("{A|B}") == ["{A|B}"]
    assert alternatives("B | A|") == ["A", "B"]
    assert is_special("not k")
    assert not is_special("K|H")


def test_aliases_leave_the_rules_own_keys_alone_and_split_the_date() -> None:
    aliases = {"META.INSTRUMENT.DETECTOR": "DETECTOR", "META.OBSERVATION.DATE": "DATE-OBS"}
    setup = {"detector": "IMG1", "DATE-OBS": "2027-03-01T08:00:00.5", "META.X": 1}
    keys = ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")
    named = with_aliases(setup, aliases, keys)
    assert named["META.INSTRUMENT.DETECTOR"] == "IMG1"
    assert (named["META.OBSERVATION.DATE"], named["META.OBSERVATION.TIME"]) == ("2027-03-01", "08:00:00.5")
    assert with_aliases({"META.INSTRUMENT.DETECTOR": "IMG2", "DETECTOR": "IMG1"}, aliases)[
        "META.INSTRUMENT.DETECTOR"
    ] == "IMG2"  # fmt: skip
    assert with_aliases(setup, aliases, ("META.DATE",), "2026-01-01T00:00:00")["META.DATE"] == "2026-01-01T00:00:00"


@pytest.mark.parametrize(
    "key", ["((A+)+$)", "((A|A)*B)", "(((A*))+)", "(x(A{2,}B)*)", "((?:[(]A|.)+)", r"((\(|A)*)", "((A(B|C)D)+)"]
)
def test_a_regular_expression_that_may_take_for_ever_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="repeats a group that holds a repeat or alternatives"):
        matcher(key)


@pytest.mark.parametrize(
    "key", ["(something(0|1|2)f?tricky)", "((AB)+C)", "(A.*B.*|C)", r"(\(A|B\)*)", "([(*)]+)", "((K1?)?0)"]
)
def test_other_groups_are_allowed(key: str) -> None:
    assert matcher(key)("nothing") == -1


def test_a_value_longer_than_any_card_matches_no_regular_expression() -> None:
    assert matcher("(.*A.*B.*C.*D.*E)")("A" * 100_000) == -1
    assert matcher("(A*)")("A" * 1000) == 1
