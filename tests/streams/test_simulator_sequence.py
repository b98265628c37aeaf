import itertools

import numpy as np
import pytest

from streams import wire
from streams.clock import NS, iso_utc, parse_iso_utc
from streams.errors import SettingsError
from streams.messages import Observe, Read
from streams.simulator import Simulator
from streams.simulator.truth import NEVER
from tests.simulated import simulated

EPOCH_NS = parse_iso_utc("2031-01-15T06:00:00")


class StoppedClock:
    def __init__(self, tai_ns=0):
        self._tai_ns = tai_ns

    def monotonic_s(self):
        raise AssertionError("making messages needs no pace")

    def tai_ns(self):
        return self._tai_ns


def messages(settings, **arguments):
    return list(Simulator(settings, StoppedClock(), **arguments).messages())


def of(due_messages, kind, detector):
    return [(due, m) for due, m in due_messages if isinstance(m, kind) and m.header.detector == detector]


def test_a_detector_goes_through_its_sequence():
    settings = simulated(sequence=["sky", "science"], exposures=3, ramps_per_exposure=2, reads_per_ramp=2)
    own = [(due, m) for due, m in messages(settings) if m.header.detector == "IMG1"]
    words = [m.header.name if isinstance(m, Observe) else (m.header.ramp, m.header.read) for _, m in own]
    one = ["PrepareStart", "ExposureStart", (0, 0), (0, 1), (1, 0), (1, 1), "ReadoutEnd", "ExposureEnd"]
    assert words == [*one, *one, *one, "ObserveEnd"]
    ids = list(dict.fromkeys(m.header.exposure_id for _, m in own))
    assert ids == [f"2031A-001-001-IRIS-IMG1-{name}" for name in ("SKY0-0001", "SCI0-0002", "SKY0-0003")]
    for kind in (Read, Observe):
        assert [m.header.sequence for _, m in own if isinstance(m, kind)] == list(range(12 if kind is Read else 13))


def test_reads_are_dated_by_their_first_pixel_and_due_after_their_last():
    settings = simulated(ramps_per_exposure=2, reads_per_ramp=3)
    frame_ns = 720_000_000
    for due, read in of(messages(settings), Read, "IMG1"):
        header = read.header
        reset_ns = EPOCH_NS + header.ramp * 4 * frame_ns + frame_ns
        assert header.reset_ns == reset_ns
        assert header.time_ns == reset_ns + header.read * frame_ns
        assert due == pytest.approx((header.time_ns + frame_ns - EPOCH_NS) / NS)
        assert (header.ramps_planned, header.reads_planned, header.frame_time_ns) == (2, 3, frame_ns)


def test_detectors_are_spread_over_a_frame_time_and_all_in_order():
    settings = simulated(detectors=["IMG1", "IMG2", "IMG3", "IFS"], reads_per_ramp=2)
    stream = messages(settings)
    dues = [due for due, _ in stream]
    assert dues == sorted(dues)
    firsts = [of(stream, Read, name)[0] for name in settings.detectors]
    np.testing.assert_allclose(np.diff([due for due, _ in firsts]), 0.18)
    np.testing.assert_array_equal(np.diff([read.header.time_ns for _, read in firsts]), 180_000_000)


def test_headers_carry_what_chooses_references():
    settings = simulated(detectors=["IMG1", "IFS"], reads_per_ramp=1, filter="Ks")
    stream = messages(settings)
    imager, ifs = (of(stream, Read, name)[0][1].header for name in ("IMG1", "IFS"))
    expected = {"INSTRUME": "IRIS", "DETECTOR": "IMG1", "INSTMODE": "IMG", "READMODE": "UTR", "FILTER": "Ks"}
    expected |= {"SUBARRAY": "FULL", "EXPTYPE": "SCI", "DATE-OBS": "2031-01-15", "TIME-OBS": "06:00:00.000"}
    assert expected.items() <= imager.setup.items()
    assert (ifs.setup["DETECTOR"], ifs.setup["INSTMODE"], ifs.setup["GRATING"]) == ("IFU", "SLICER", "4000-Ks")
    assert (imager.gain_e_per_dn, imager.read_noise_e) == (3.04, 9.0)
    # 90 000 e-, bent by 1 per cent x 0.9, over the gain, above a reset level of 5000 DN.
    assert imager.saturation_dn == pytest.approx(5000 + 89_190 / 3.04)


def test_every_message_travels():
    settings = simulated(detectors=["IMG1", "IFS"], reads_per_ramp=1)
    for _, message in messages(settings):
        back = wire.decode([bytes(part) for part in wire.encode(message)])
        assert back.header == message.header
        if isinstance(message, Read):
            assert message.data.dtype == np.uint16
            np.testing.assert_array_equal(back.data, message.data)


def test_a_seed_gives_the_same_stream_twice_and_from_one_simulator():
    settings = simulated(detectors=["IMG1", "IMG4"], reads_per_ramp=2)
    simulator = Simulator(settings, StoppedClock())
    streams = [list(simulator.messages()), list(simulator.messages()), messages(settings)]
    for other in streams[1:]:
        for (due, one), (due_other, two) in zip(streams[0], other, strict=True):
            assert (due, one.header) == (due_other, two.header)
            if isinstance(one, Read):
                np.testing.assert_array_equal(one.data, two.data)


def test_without_an_epoch_the_clock_tells_the_start():
    now_ns = parse_iso_utc("2030-06-01T12:00:00")
    simulator = Simulator(simulated(epoch="", exposures=0, telemetry_rate=0.0), StoppedClock(now_ns))
    firsts = list(itertools.islice(simulator.messages(), 20))  # endless: only some are taken
    (_, read) = of(firsts, Read, "IMG1")[0]
    assert iso_utc(read.header.reset_ns) == "2030-06-01T12:00:00.720"


def test_pixels_belong_to_who_takes_them():
    reads = of(messages(simulated()), Read, "IMG1")
    assert not any(np.shares_memory(a.data, b.data) for (_, a), (_, b) in itertools.pairwise(reads))


def test_truth_says_when_pixels_saturate():
    truths = []
    stars = {
        "stars_per_mpx": 800.0,
        "brightest_e_per_s": 5e6,
        "faintest_e_per_s": 1e5,
        "cosmic_rays_per_s_per_cm2": 3000.0,
    }
    settings = simulated(reads_per_ramp=6, ramps_per_exposure=2, hot_fraction=0.01, **stars)
    reads = [read for _, read in of(messages(settings, on_truth=truths.append), Read, "IMG1")]
    (truth,) = truths
    assert (truth.exposure_id, truth.start_ns) == (reads[0].header.exposure_id, EPOCH_NS)
    full = np.stack([read.data >= settings.saturation_dn for read in reads]).reshape(2, 6, 256, 256)
    expected = np.where(full.any(axis=(0, 1)), np.argmax(full.any(axis=0), axis=0), NEVER)
    np.testing.assert_array_equal(truth.saturated_from, expected)
    assert {0, 3, 5} <= set(np.unique(truth.saturated_from).tolist())


def test_truth_says_which_read_shows_a_cosmic_ray_first():
    truths = []
    quiet = {"stars_per_mpx": 0.0, "sky_e_per_s": 0.0, "hot_fraction": 0.0, "drift_dn": 0.0, "read_noise_e": 1.0}
    settings = simulated(reads_per_ramp=6, cosmic_rays_per_s_per_cm2=300.0, **quiet)
    reads = [read for _, read in of(messages(settings, on_truth=truths.append), Read, "IMG1")]
    steps_e = np.diff(np.stack([read.data for read in reads]).astype(np.float64), axis=0) * settings.gain_e_per_dn
    told_e = np.zeros_like(steps_e)
    later = truths[0].cosmics[truths[0].cosmics["read"] > 0]
    np.add.at(told_e, (later["read"] - 1, later["y"], later["x"]), later["charge_e"])
    assert later.size > 20
    np.testing.assert_allclose(steps_e, told_e, atol=15, rtol=0.02)


def test_truth_comes_for_each_exposure_of_each_detector():
    truths = []
    settings = simulated(detectors=["IMG1", "IFS"], exposures=2, sequence=["science", "dark"], reads_per_ramp=1)
    messages(settings, on_truth=truths.append)
    assert sorted((truth.detector, truth.kind) for truth in truths) == sorted(
        itertools.product(("IFS", "IMG1"), ("dark", "science"))
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"filter": "L"}, "filter 'L' is not known; known are"),
        ({"detectors": ["IMG1", "IMG1"]}, "names one twice"),
        ({"epoch": "tomorrow"}, "write YYYY-MM-DDThh:mm:ss"),
        ({"faintest_e_per_s": 1e9}, "faintest_e_per_s is above brightest_e_per_s"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, text):
    with pytest.raises(SettingsError, match=text):
        Simulator(simulated(**changes), StoppedClock())
