"""Telemetry in time: joins against closed forms, times that lie, statuses, and how little it remembers."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcal import telemetry as module
from rtcal.telemetry import Joined, TelemetryHistory
from streams.clock import NS
from streams.messages import Telemetry, TelemetryHeader
from streams.telemetry_keys import Key, Value, load_keys

TABLE = load_keys("")
START_NS = 1_926_000_000 * NS
PA = TABLE.named("PA")[0]
R0 = TABLE.named("LGSR0")[0]
LOOP = TABLE.named("AOLOOPHO")[0]
DM = TABLE.named("AODM0TM")[0]
TEMPERATURE = TABLE.named("IMGDTEMP")[0]
DEC = TABLE.named("DEC")[0]


def event(key: Key, at_s: float, value: Value, valid: Any = None, issued_s: float | None = None) -> Telemetry:
    parameter = "sensor" if key.parameter == "*" else key.parameter
    values = {parameter: value} | ({} if valid is None else {"timestamp": START_NS + round(valid * NS)})
    header = TelemetryHeader(
        instrument="IRIS",
        detector="ALL",
        sequence=0,
        time_ns=START_NS + round((at_s if issued_s is None else issued_s) * NS),
        event=key.event,
        values=values,
        units={} if valid is None else {"timestamp": "tai_ns"},
    )
    return Telemetry(header)


def history(*events: Telemetry, history_s: float = 3600.0) -> TelemetryHistory:
    made = TelemetryHistory(TABLE, history_s)
    for one in events:
        made.take(one)
    return made


def at(made: TelemetryHistory, key: Key, instant_s: float, cut_s: float = math.inf, *, between: bool = True) -> Joined:
    cut_ns = 2**62 if cut_s == math.inf else START_NS + round(cut_s * NS)
    (joined,) = made.at([key], START_NS + round(instant_s * NS), cut_ns, between=between)
    return joined


def test_a_line_at_1_hz_is_joined_exactly() -> None:
    air = TABLE.named("ENVTAIR")[0]
    made = history(*(event(air, float(second), 2.0 - 0.25 * second) for second in range(12)))
    for instant_s in np.linspace(0.0, 10.9, 40):
        instant_ns = START_NS + round(instant_s * NS)
        joined = at(made, air, instant_s)
        assert joined.value == pytest.approx(2.0 - 0.25 * (instant_ns - START_NS) / NS, abs=1e-9)
        assert joined.status == "OK"
        assert joined.age_s is not None
        assert 0 <= joined.age_s <= 1


def test_the_live_join_holds_the_latest_value() -> None:
    made = history(event(DEC, 0.0, 1.0), event(DEC, 0.1, 2.0), event(DEC, 0.2, 3.0))
    assert at(made, DEC, 0.15, between=False).value == 2.0
    assert at(made, DEC, 0.15).value == pytest.approx(2.5)
    assert at(made, DEC, 0.2).value == 3.0


@pytest.mark.parametrize(
    ("one", "other", "part", "mean"),
    [
        (179.0, -179.0, 0.5, 180.0),
        (179.0, -179.0, 0.75, -179.5),
        (-179.0, 179.0, 0.25, -179.5),
        (350.0, 10.0, 0.25, 355.0),
        (350.0, 10.0, 0.75, 5.0),
        (10.0, 20.0, 0.5, 15.0),
        (-10.0, 10.0, 0.25, -5.0),
    ],
)
def test_angles_take_the_short_way_round(one: float, other: float, part: float, mean: float) -> None:
    made = history(event(PA, 0.0, one), event(PA, 0.05, other))
    assert at(made, PA, 0.05 * part).value == pytest.approx(mean, abs=1e-6)


@given(st.floats(-179, 179), st.floats(-170, 170), st.floats(0.01, 0.99))
def test_an_angle_lies_on_the_shorter_arc(one: float, turn: float, part: float) -> None:
    other = (one + turn + 180) % 360 - 180
    made = history(event(PA, 0.0, one), event(PA, 0.05, other))
    joined = at(made, PA, 0.05 * part)
    assert isinstance(joined.value, float)
    actual_part = round(0.05 * part * NS) / (0.05 * NS)
    assert math.cos(math.radians(joined.value - (one + turn * actual_part))) == pytest.approx(1, abs=1e-12)


def test_neighbours_too_far_apart_are_not_joined() -> None:
    made = history(event(DEC, 0.0, 1.0), event(DEC, 0.7, 8.0))
    assert at(made, DEC, 0.35).value == 1.0
    assert at(made, DEC, 0.35).status == "OK"


def test_a_value_holds_from_its_valid_time_not_from_when_it_came() -> None:
    made = history(event(PA, 0.0, 1.0), event(PA, 0.01, 5.0, valid=2.0))
    assert at(made, PA, 1.9, between=False).value == 1.0
    assert at(made, PA, 2.0, between=False).value == 5.0


def test_what_was_published_after_the_cut_is_not_looked_at() -> None:
    made = history(event(DEC, 0.0, 1.0), event(DEC, 0.1, 2.0), event(DEC, 0.2, 3.0, valid=0.2, issued_s=0.5))
    assert at(made, DEC, 0.15, cut_s=0.3).value == 2.0
    assert at(made, DEC, 0.15, cut_s=0.5).value == pytest.approx(2.5)
    assert at(made, DEC, 0.15, cut_s=0.05).value == 1.0
    assert at(made, DEC, 0.15, cut_s=-1).status == "MISSING"


@given(st.permutations(range(12)), st.floats(0.0, 1.1))
def test_the_order_of_arrival_changes_nothing(order: list[int], instant_s: float) -> None:
    events = [event(DEC, 0.1 * step, float(step)) for step in range(12)]
    shuffled = history(*(events[step] for step in order), *(events[order[0]],))
    assert at(shuffled, DEC, instant_s) == at(history(*events), DEC, instant_s)


@pytest.mark.parametrize(
    ("key", "value", "age_s", "status"),
    [
        (PA, 1.0, 2.9, "OK"),
        (PA, 1.0, 3.1, "STALE"),
        (PA, 1.0, 30.1, "MISSING"),
        (R0, 0.15, 29.0, "OK"),
        (R0, 0.15, 31.0, "STALE"),
        (R0, 0.15, 301.0, "MISSING"),
        (R0, 0.01, 1.0, "SUSPECT"),
        (LOOP, "LOCK", 3500.0, "AGE"),
        (LOOP, "OPEN", 1.0, "SUSPECT"),
    ],
)
def test_statuses(key: Key, value: Value, age_s: float, status: str) -> None:
    joined = at(history(event(key, 0.0, value)), key, age_s)
    assert joined.status == status
    assert joined.value == value
    assert joined.usable == (value if status in ("OK", "AGE") else None)


def test_a_value_out_of_range_is_no_neighbour() -> None:
    made = history(event(DEC, 0.0, 1.0), event(DEC, 0.1, 100.0), event(DEC, 0.2, 3.0))
    assert at(made, DEC, 0.05).value == 1.0
    assert at(made, DEC, 0.15).status == "SUSPECT"


def test_lists_are_joined_item_by_item() -> None:
    inside = TABLE.named("AOENCLTM")[0]
    made = history(
        event(inside, 0.0, [-30.0, -31.0]), event(inside, 10.0, [-29.0, -30.0]), event(inside, 20.0, [-28.0])
    )
    assert at(made, inside, 5.0).value == pytest.approx([-29.5, -30.5])
    assert at(made, inside, 15.0).value == [-29.0, -30.0]


def test_an_hour_is_kept_and_no_more() -> None:
    made = history(*(event(TEMPERATURE, 10.0 * step, 77.0 + step % 2) for step in range(1000)), history_s=3600.0)
    track = made._tracks[TEMPERATURE]
    assert 360 <= len(track) <= 451
    assert at(made, TEMPERATURE, 9000.0).value == 77.0


def test_a_flood_of_one_key_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SAMPLES", 100)
    made = history(*(event(TEMPERATURE, 0.001 * step, 77.0) for step in range(1000)))
    assert 75 <= len(made._tracks[TEMPERATURE]) <= 100


def test_one_time_that_leaps_costs_nothing_and_two_are_a_new_clock() -> None:
    made = history(event(DEC, 0.0, 1.0), event(DEC, 1e6, 9.0), event(DEC, 0.1, 2.0))
    assert made.counters["telemetry_leaps"] == 1
    assert at(made, DEC, 0.15).value == 2.0
    made.take(event(DEC, 2e6, 5.0))
    made.take(event(DEC, 2e6 + 0.1, 6.0))
    assert at(made, DEC, 2e6 + 0.1).value == 6.0
    assert at(made, DEC, 0.15).status == "MISSING"


def test_what_cannot_be_used_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    made = history(event(PA, 0.0, "north"))
    header = TelemetryHeader(
        instrument="X", detector="ALL", sequence=0, time_ns=START_NS, event="X.y", values={"a": 1.0}
    )
    with caplog.at_level("INFO"):
        for _ in range(5):
            made.take(Telemetry(header))
    assert made.counters == {"telemetry_events": 6, "telemetry_values_refused": 1, "telemetry_unknown": 5}
    assert [record.getMessage() for record in caplog.records] == ["event X.y is not in the key table"]
    assert made.known() == []
    assert at(made, PA, 0.0).status == "MISSING"
