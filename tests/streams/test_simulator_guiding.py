"""Guide windows of the simulator: their own pace, and a hole in the full frame."""

import numpy as np
import pytest

from streams.clock import NS
from streams.errors import SettingsError
from streams.messages import Read
from streams.simulator import Simulator
from streams.simulator.faults import Fault, Faults
from streams.simulator.guiding import guide_window
from streams.windows import window_of, windows_in
from tests.fakes import FakeClock
from tests.simulated import simulated

GAIN = 3.04
IDEAL = {
    "gain_e_per_dn": GAIN,
    "nonlinearity": 0.0,
    "drift_dn": 0.0,
    "read_noise_e": 0.0,
    "ktc_noise_e": 0.0,
    "hot_fraction": 0.0,
}
GUIDED = {"guide_window": 64, "guide_frame_time_s": 0.1, "detectors": ["IMG1", "IFS"], "exposures": 2}


@pytest.fixture(scope="module")
def messages():
    return list(Simulator(simulated(**GUIDED), FakeClock()).messages())


def reads(messages, detector):
    return [message for _, message in messages if isinstance(message, Read) and message.header.detector == detector]


def test_a_window_has_ramps_of_its_own_through_its_detectors_exposure(messages):
    assert [due for due, _ in messages] == sorted(due for due, _ in messages)
    own = reads(messages, "IMG1.W1")
    full = reads(messages, "IMG1")
    # 5 frame times of 0.72 s hold 7 ramps of a reset and 4 reads of 0.1 s.
    assert [(read.header.ramp, read.header.read) for read in own] == 2 * [(k, n) for k in range(7) for n in range(4)]
    assert [read.header.sequence for read in own] == list(range(56))
    assert {read.header.exposure_id for read in own} == {f"{read.header.exposure_id}-01" for read in full}
    assert own[1].header.time_ns - own[0].header.time_ns == 0.1 * NS
    assert own[-1].header.time_ns + 0.1 * NS <= full[-1].header.time_ns + 0.72 * NS
    assert not [message for _, message in messages if message.header.detector == "IFS.W1"]


def test_it_lies_where_both_say_and_the_full_frame_lacks_it(messages):
    own, full = reads(messages, "IMG1.W1")[-1], reads(messages, "IMG1")[-1]
    window = window_of(own.header, own.data.shape)
    assert windows_in(full.header.setup) == [window]
    assert not full.data[window.slices].any()
    assert np.count_nonzero(full.data) == full.data.size - 64 * 64
    assert own.header.setup["DETECTOR"] == "IMG1"


def test_it_sees_the_star_that_the_detector_sees(messages):
    simulator = Simulator(simulated(**GUIDED), FakeClock())
    window = guide_window(simulator.settings, simulator.scene, "IMG1")
    rate = simulator.scene.rate("IMG1", "science")[window.slices]
    ramp = [read.data.astype(float) for read in reads(messages, "IMG1.W1")[:4]]
    gathered = (ramp[3] - ramp[0]) * simulator.settings.gain_e_per_dn / 0.3
    bright = (rate > 500) & (rate < 20_000)
    assert bright.sum() > 5
    assert np.median(gathered[bright] / rate[bright]) == pytest.approx(1.0, abs=0.05)


def gathered_e_per_s(ramp):
    """Mean rate between the first and the last read of a ramp, from 0.1 s to 0.4 s after its reset."""
    return (ramp[-1].data.astype(float) - ramp[0].data) * GAIN / 0.3


@pytest.mark.parametrize(
    "fault", [Fault("seeing", 3.6, 7.2, value=0.05), Fault("shake", 3.6, 7.2, value=20.0), Fault("loop", 3.6, 7.2)]
)
def test_its_star_suffers_what_the_detector_s_stars_suffer(fault):
    settings = simulated(**GUIDED, **IDEAL, faults=[fault])
    simulator = Simulator(settings, FakeClock())
    own = reads(list(simulator.messages()), "IMG1.W1")
    window = guide_window(settings, simulator.scene, "IMG1")
    usual = simulator.scene.rate("IMG1", "science")[window.slices]
    optics = Faults([fault], settings.r0_m, settings.wavefront_error_nm).optics(5.0)
    spoilt = simulator.scene.rate("IMG1", "science", optics)[window.slices]
    y, x = np.unravel_index(np.argmax(usual), usual.shape)
    star = np.s_[y - 4 : y + 5, x - 4 : x + 5]
    before, during = gathered_e_per_s(own[:4]), gathered_e_per_s(own[28:32])
    assert before[star].sum() == pytest.approx(usual[star].sum(), rel=0.05)
    assert during[star].sum() == pytest.approx(spoilt[star].sum(), rel=0.05)
    assert during[y, x] == pytest.approx(spoilt[y, x], rel=0.1)
    assert during[y, x] < 0.8 * before[y, x]
    assert [read.header.exposure_id[-7:] for read in own[27:29]] == ["0001-01", "0002-01"]


def test_without_the_key_nothing_changes():
    plain = [message for _, message in Simulator(simulated(), FakeClock()).messages() if isinstance(message, Read)]
    assert {message.header.detector for message in plain} == {"IMG1"}
    assert "WINDOWS" not in plain[0].header.setup
    guided = Simulator(simulated(guide_window=64), FakeClock())
    full = reads(list(guided.messages()), "IMG1")[0]
    window = windows_in(full.header.setup)[0]
    same = plain[0].data == full.data
    assert np.count_nonzero(~same) == 64 * 64  # the random numbers of the detector are untouched
    assert not same[window.slices].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guide_window": 192}, "more than half of size"),
        ({"guide_window": 64, "guide_frame_time_s": 2.0}, "is above f"),
    ],
)
def test_windows_that_cannot_be_are_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        Simulator(simulated(**changes), FakeClock())
