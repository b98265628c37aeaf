"""Rules: the language, three-valued truth, and what is refused with what would be right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcal.errors import UsageError
from rtcal.rules import Moment, parse_rule, parse_rules
from streams.telemetry_keys import Value, load_keys

TABLE = load_keys("")
R0 = "NFIRAOS.rtc.turbLgs.r0"
LOOP = "NFIRAOS.rtc.loop.ho"


def moment(values: dict[str, Value] | None = None, read: int = 0, ramp: int = 0) -> Moment:
    known = values or {}
    return Moment(ramp, read, lambda key: known.get(key.name))


@pytest.mark.parametrize(
    ("text", "values", "held"),
    [
        ("LGSR0 < 0.08", {R0: 0.07}, True),
        ("LGSR0 < 0.08", {R0: 0.08}, False),
        ("LGSR0<=8e-2", {R0: 0.08}, True),
        (f"{R0} > .1", {R0: 0.2}, True),
        ("AOLOOPHO != LOCK", {LOOP: "LOST"}, True),
        ("AOLOOPHO != 'LOCK'", {LOOP: "LOCK"}, False),
        ("ADCONTGT == false", {"IRIS.imager.adc.PRISM_state.onTarget": False}, True),
        ("ADCONTGT == false", {"IRIS.imager.adc.PRISM_state.onTarget": True}, False),
        ("LGSR0 < 0.08 or AOLOOPHO != LOCK", {R0: 0.07}, True),
        ("LGSR0 < 0.08 or AOLOOPHO != LOCK", {R0: 0.2}, None),
        ("LGSR0 < 0.08 and AOLOOPHO != LOCK", {R0: 0.2}, False),
        ("LGSR0 < 0.08 and AOLOOPHO != LOCK", {R0: 0.07}, None),
        ("not LGSR0 < 0.08", {R0: 0.07}, False),
        ("not LGSR0 < 0.08", {}, None),
        ("LGSR0 < 0.08 or AOLOOPHO == LOST and LGSR0 > 1", {R0: 0.07}, True),  # `and` binds closer
        ("(LGSR0 < 0.08 or AOLOOPHO == LOST) and LGSR0 > 1", {R0: 0.07}, False),
        ("ODGWIMS1 > 3", {"NFIRAOS.rtc.odgwImage.size1": [1.0, 1.0, 4.0, 1.0]}, True),
        ("ENVTAIR > 5", {"SCMS.scmsAssembly.AirTemperature": 6.0}, True),  # the first of the keyword's keys is silent
        (
            "'ESEN.ESEN Publisher Assembly.air-temperatures' > 5",
            {"ESEN.ESEN Publisher Assembly.air-temperatures": 4.0},
            False,
        ),
    ],
)
def test_comparisons(text: str, values: dict[str, Value], held: bool | None) -> None:
    rule = parse_rule(text, TABLE)
    assert rule.term.holds(moment(values)) is held
    assert rule.excludes(moment(values)) is (held is True)
    assert rule.keys


def test_reads_by_their_numbers() -> None:
    rule = parse_rule("reads 3, 7-9,12 -13", TABLE)
    assert [read for read in range(20) if rule.excludes(moment(read=read))] == [3, 7, 8, 9, 12, 13]
    second = parse_rule("ramps 1 and reads 0-1", TABLE)
    assert second.excludes(moment(read=1, ramp=1))
    assert not second.excludes(moment(read=1, ramp=0))
    assert not rule.keys


def test_names_of_the_configuration_and_rules_side_by_side() -> None:
    first, second = parse_rules({"seeing": "LGSR0 < 0.08"}, ["seeing", "reads  1"], TABLE)
    assert (first.name, first.text) == ("seeing", "LGSR0 < 0.08")
    assert (second.name, second.text) == ("reads 1", "reads 1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the rule ends; a key"),
        ("LGSR0", "one of == != < <= > >= after LGSR0 is missing"),
        ("LGSR0 <", "a value after LGSR0 < is missing"),
        ("LGSR1 < 3", "did you mean 'LGSR0'"),
        ("LGSR0 < high", "is compared with numbers"),
        ("AOLOOPHO != OPEN", "'OPEN' is none of IDLE, LOST, ACQUIRE, LOCK"),
        ("AOLOOPHO < LOCK", "< is for numbers"),
        ("ADCONTGT == 1", "is compared with true or false"),
        ("LGSR0 < 0.08 LGSR0 < 1", "'LGSR0' is too much"),
        ("(LGSR0 < 0.08", r"a '\)' is missing"),
        ("LGSR0 = 0.08", "'= 0.08' is not understood"),
        ("__import__('os').system('x')", "is not understood"),
        ("__import__ == 1", "'__import__' is no key"),
        ("LGSR0 < __import__", "is compared with numbers"),
        ("reads", "a number of a read"),
        ("reads x", "'x' is no number of a read"),
        ("reads 3.5", "'3.5' is no number of a read"),
        ("reads 9-7", "the range 9-7 runs backwards"),
        ("reads -3", "'-3' is no number of a read"),
        ("(" * 40 + "LGSR0 < 1" + ")" * 40, "more than 20 levels"),
        ("LGSR0 < 1 or " * 400, "at most 2000 are read"),
        ("LGSR0 < (", "is no value"),
        ("3 < LGSR0", "'3' is no key"),
    ],
)
def test_what_cannot_be_read(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_rule(text, TABLE)


@given(st.text(alphabet="LGSR0 AOLOOPHO!=<>()',-.0123reads notandor", max_size=60))
def test_any_text_is_a_rule_or_a_usage_error(text: str) -> None:
    said = ""
    try:
        rule = parse_rule(text, TABLE)
    except UsageError as error:
        said = str(error)
    else:
        assert rule.term.holds(moment({R0: 0.1, LOOP: "LOCK"})) in (True, False, None)
    assert "\n" not in said


@given(st.lists(st.sampled_from([True, False, None]), min_size=2, max_size=4), st.sampled_from(["or", "and"]))
def test_truth_does_not_depend_on_the_order_of_terms(truths: list[bool | None], word: str) -> None:
    values = {True: "reads 0", False: "reads 1", None: "LGSR0 < 1"}
    held = {
        parse_rule(f" {word} ".join(values[one] for one in order), TABLE).term.holds(moment())
        for order in (truths, truths[::-1])
    }
    assert len(held) == 1
