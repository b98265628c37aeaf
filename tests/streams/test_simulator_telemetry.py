"""The simulated night: every event at its rate, angles that fit together, faults on demand."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams import wire
from streams.clock import NS, parse_iso_utc
from streams.errors import SettingsError
from streams.key_files import shipped_keys
from streams.messages import Telemetry
from streams.simulator import Simulator
from streams.simulator.faults import Fault, Faults, parse_fault
from streams.simulator.scene import Scene
from streams.simulator.settings import SimulatorSettings
from streams.simulator.telemetry import TICK_S, telemetry_messages
from streams.telemetry_keys import load_keys
from tests.fakes import FakeClock
from tests.simulated import simulated

EPOCH_NS = parse_iso_utc("2031-01-15T06:00:00")
TABLE = load_keys("")
ANGLE, R0, LOOP = "TCS.cmIRIS.positionAngle", "NFIRAOS.rtc.turbLgs", "NFIRAOS.rtc.loop"


def night(end_s: float = 20.0, *faults: Fault, **changes: Any) -> list[tuple[float, Telemetry]]:
    settings: SimulatorSettings = simulated(faults=list(faults), **changes)
    return list(telemetry_messages(settings, TABLE, EPOCH_NS, end_s))


@pytest.fixture(scope="module")
def quiet() -> list[tuple[float, Telemetry]]:
    return night()


def of(events: list[tuple[float, Telemetry]], name: str) -> list[tuple[float, dict[str, Any]]]:
    return [(due, one.header.values) for due, one in events if one.header.event == name]


def test_every_event_comes_at_its_rate_in_the_order_of_time(quiet: list[tuple[float, Telemetry]]) -> None:
    counts = Counter(one.header.event for _, one in quiet)
    for event, keys in TABLE.keys.items():
        about = TABLE.event(event)
        assert about is not None
        if keys:
            assert counts[event] == math.floor(20 * about.rate_hz + 1e-9) + 1, event
    dues = [due for due, _ in quiet]
    assert dues == sorted(dues)
    for source in {one.header.source for _, one in quiet}:
        numbers = [one.header.sequence for _, one in quiet if one.header.source == source]
        assert numbers == list(range(len(numbers)))


def test_every_value_is_of_its_key_s_type_and_range_and_travels(quiet: list[tuple[float, Telemetry]]) -> None:
    seen = set()
    for due, message in quiet:
        assert wire.decode(wire.encode(message)) == message
        assert 0 <= EPOCH_NS + round(due * NS) - message.header.time_ns < TICK_S * NS  # it leaves with its neighbours
        for key, value in TABLE.values(message.header):
            assert value is not None, key.name
            assert key.in_range(value), (key.name, value)
            seen.add(key.name)
    assert seen == {key.name for key in TABLE.all()}


def test_the_same_seed_gives_the_same_night(quiet: list[tuple[float, Telemetry]]) -> None:
    assert night() == quiet
    assert night(seed=8) != quiet


def test_the_rate_is_scaled_and_may_be_nothing() -> None:
    assert len(of(night(2.0, telemetry_rate=3.0), ANGLE)) == 121
    assert night(telemetry_rate=0.0) == []


def test_the_angles_fit_together(quiet: list[tuple[float, Telemetry]]) -> None:
    for _, one in of(quiet, "TCS.pk.currentPosition"):
        assert one["z"] == pytest.approx(90 - one["el"], abs=1e-6)
        assert one["airmass"] == pytest.approx(1 / math.cos(math.radians(one["z"])), rel=1e-6)
        # Sines of the triangle of pole, zenith and star.
        latitude = math.radians(19.826)
        left = math.sin(math.radians(one["parallactic"])) * math.sin(math.radians(one["z"]))
        assert left == pytest.approx(math.cos(latitude) * math.sin(math.radians(one["ha"])), abs=1e-8)
    pupil = [(one["timestamp"], one["pupilRotation"]) for _, one in of(quiet, "TCS.cmIRIS.pupilRotation")]
    assert pupil[0][0] == EPOCH_NS + 2 * NS  # announced two seconds ahead
    later = [one["parallactic"] for due, one in of(quiet, "TCS.pk.currentPosition") if due == 2.0]
    assert pupil[0][1] == pytest.approx(later[0], abs=1e-8)


def test_the_prisms_follow_the_atmosphere(quiet: list[tuple[float, Telemetry]]) -> None:
    dispersion = of(quiet, "TCS.cmIRIS.imgAtmDispersion")[0][1]
    prisms = of(quiet, "IRIS.imager.adc.PRISM_current")[2][1]
    mean = np.angle(sum(np.exp(1j * np.radians(prisms[name])) for name in ("rotationA", "rotationB")), deg=True)
    assert (mean - dispersion["orientation"]) % 360 == pytest.approx(180, abs=0.1)
    assert sum(dispersion["weight"]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("fault", "event", "parameter", "during", "after"),
    [
        (Fault("seeing", 5, 15, value=0.06), R0, "r0", [0.06, 0.06], [pytest.approx(0.15, rel=0.1)]),
        (Fault("loop", 5, 10), LOOP, "ho", ["LOST"], ["LOCK"]),
        (Fault("slew", 5, 10), "TCS.pk.pointingStatus", "pointingstate", ["SLEWING"], ["TRACKING"]),
        (Fault("adc", 5, 10), "IRIS.is.sciAdcFollow", "mode", ["NOT_FOLLOWING"], ["FOLLOWING"]),
    ],
)
def test_what_changes_is_told_when_it_changes(
    fault: Fault, event: str, parameter: str, during: list[Any], after: list[Any]
) -> None:
    told = of(night(20.0, fault), event)
    assert [one[parameter] for due, one in told if fault.at(due)] == during
    assert [one[parameter] for due, one in told if due >= fault.end_s][:1] == after


def test_events_that_are_missing_frozen_stale_or_out_of_range() -> None:
    position = "TCS.pk.currentPosition"
    quiet = [due for due, _ in of(night(10.0), position)]
    missing = [due for due, _ in of(night(10.0, Fault("missing", 3, 6, position)), position)]
    assert missing == [due for due in quiet if not 3 <= due < 6]
    frozen = [one for due, one in of(night(10.0, Fault("frozen", 3, 6, position)), position) if 3 <= due < 6]
    assert len({one["ha"] for one in frozen}) == 1
    assert len({one["timestamp"] for one in frozen}) == len(frozen)
    stale = [one for due, one in of(night(10.0, Fault("stale", 3, 6, position)), position) if 3 <= due < 6]
    assert {one["timestamp"] for one in stale} == {EPOCH_NS + 3 * NS}
    wild = [one for due, one in of(night(10.0, Fault("range", 3, 6, position)), position) if 3 <= due < 6]
    assert all(one["el"] > 89 and one["airmass"] > 2.4 for one in wild)


def test_bad_seeing_widens_the_stars_and_keeps_their_light() -> None:
    settings = simulated(stars_per_mpx=100.0, sky_e_per_s=0.0)
    scene = Scene(settings)
    optics = Faults([Fault("seeing", 0, 9, value=0.06)], settings.r0_m, settings.wavefront_error_nm).optics(5.0)
    usual, bad = scene.light("IMG1", "science"), scene.light("IMG1", "science", optics)
    assert bad.max() < 0.4 * usual.max()
    assert 0.5 * usual.sum() < bad.sum() < usual.sum()  # the halo is wider than this detector
    assert scene.rate("IMG1", "science", optics) is scene.rate("IMG1", "science", optics)


def test_what_adaptive_optics_leaves() -> None:
    faults = Faults([Fault("loop", 0, 5), Fault("seeing", 3, 9, value=0.075)], 0.15, 200.0)
    assert faults.optics(1.0) == (0.15, 1500.0, 0.0)
    assert faults.optics(4.0) == (0.075, 1500.0, 0.0)
    assert faults.optics(9.0) == faults.usual == (0.15, 200.0, 0.0)
    bad = faults.optics(6.0)
    added = 200**2 * (2 ** (5 / 3) - 1)  # to the variance, three tenths of it by tilts in two axes
    assert bad == (0.075, pytest.approx(math.sqrt(200**2 + 0.7 * added)), pytest.approx(bad.jitter_mas))
    tilt_nm = math.radians(bad.jitter_mas / 3.6e6) * 30e9 / 4
    assert tilt_nm == pytest.approx(math.sqrt(0.15 * added))
    better = Faults([Fault("seeing", 0, 9, value=0.3)], 0.15, 200.0).optics(1.0)
    assert better == (0.3, pytest.approx(200 / 2 ** (5 / 6)), 0.0)
    shaken = Faults([Fault("shake", 0, 9, value=6.0), Fault("seeing", 0, 9, value=0.075)], 0.15, 200.0).optics(1.0)
    assert shaken.jitter_mas == pytest.approx(math.hypot(6.0, bad.jitter_mas))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("seeing 10 20 0.05", Fault("seeing", 10, 20, value=0.05)),
        ("loop 1 2.5", Fault("loop", 1, 2.5)),
        ("missing 0 9 TCS.TCS M3 Assembly.M3 Position", Fault("missing", 0, 9, "TCS.TCS M3 Assembly.M3 Position")),
    ],
)
def test_faults_are_read_from_the_command_line(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write KIND START END"),
        ("seeing 10", "write KIND START END"),
        ("seeing ten 20 1", "could not convert"),
        ("seeing 10 20", "needs a value"),
        ("loop 20 10", "ends at 10 s, before it begins"),
        ("missing 1 2", "needs event"),
        ("loop 1 2 TCS.x", "has no event"),
        ("explode 1 2", "the kinds are missing, frozen"),
    ],
)
def test_faults_that_cannot_be_read(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_fault(text)


def test_the_events_are_those_of_the_table_that_is_configured(tmp_path: Path) -> None:
    shipped = shipped_keys().read_text(encoding="utf-8")
    mine = tmp_path / "keys.toml"
    mine.write_text(shipped.replace(f'"{ANGLE}"', '"OTHER.place.angle"'), encoding="utf-8")
    simulator = Simulator(simulated(exposures=1), FakeClock(), keys=str(mine))
    events = {message.header.event for _, message in simulator.messages() if isinstance(message, Telemetry)}
    assert "OTHER.place.angle" in events
    assert ANGLE not in events
    with pytest.raises(SettingsError, match="nowhere"):
        Simulator(simulated(), FakeClock(), keys=str(tmp_path / "nowhere"))
