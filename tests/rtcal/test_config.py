"""The tables of the configuration, and what a wrong one says."""

import msgspec
import pytest

from refcache import FRAME_TYPES
from rtcal.config import DetectorSettings, Settings, detector_of
from streams import settings as settings_file
from streams.errors import SettingsError
from tests.fakes import READ_HEADER


def load(tmp_path, text):
    path = tmp_path / "night.toml"
    path.write_text(text)
    return settings_file.load(path, Settings)


def header(**changes):
    return msgspec.structs.replace(READ_HEADER, **changes)


def test_the_shipped_file_has_every_key(settings):
    assert settings.ramp.mode == "utr"
    assert settings.instrument == "IRIS"
    assert set(settings.calibration.stale_s) == set(FRAME_TYPES)
    assert settings.calibration.stale_s["sky"] == settings.calibration.sky_stale_s == 1800.0


def test_a_file_changes_only_what_it_names(tmp_path, settings):
    changed = load(tmp_path, '[ramp]\nmode = "cds"\n[daemon]\nidle_s = 9\n')
    assert changed.ramp.mode == "cds"
    assert changed.ramp.reads_per_end == settings.ramp.reads_per_end
    assert msgspec.structs.replace(changed.daemon, idle_s=settings.daemon.idle_s) == settings.daemon


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[daemon]\nqueue_read = 3\n", ":2: unknown key 'queue_read' in [daemon]; did you mean 'queue_reads'?"),
        ("[ramps]\nmode = 1\n", ":1: unknown key 'ramps'; did you mean 'ramp'?"),
        (
            "[detectors.X]\n\ngain_e_per_adu = 2\n",
            ":3: unknown key 'gain_e_per_adu' in [detectors.X]; did you mean 'gain_e",
        ),
        ('[ramp]\nmode = "UTR"\n', ":2: ramp.mode: 'UTR' is none of auto, utr, cds, mcds"),
        ("[daemon]\nqueue_reads = 0\n", ":2: daemon.queue_reads: "),
        ("[daemon]\nidle_s = nan\n", ":2: daemon.idle_s: nan is no value"),
        ("[calibration]\nsky_scale_min = 3.0\n", "sky_scale_min = 3 is above sky_scale_max = 2"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_is_right(tmp_path, text, said):
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text)
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "night.toml"))


@pytest.mark.parametrize(
    ("configured", "read_mode", "mode"),
    [
        ("auto", "UTR", "utr"),
        ("auto", " mcds ", "mcds"),
        ("auto", "MCD", "mcds"),
        ("auto", "MDS", "mcds"),
        ("auto", "OLS", "utr"),
        ("auto", "CDS", "cds"),
        ("auto", "FOWLER", "utr"),
        ("cds", "UTR", "cds"),
    ],
)
def test_the_mode_is_the_configured_one_or_the_one_the_reads_ask_for(settings, configured, read_mode, mode):
    ramp = msgspec.structs.replace(settings.ramp, mode=configured)
    assert ramp.mode_of(header(setup={"READMODE": read_mode})) == mode


def test_without_a_read_mode_it_is_utr(settings):
    assert msgspec.structs.replace(settings.ramp, mode="auto").mode_of(header(setup={})) == "utr"


def test_a_detector_is_what_its_reads_say_else_its_table_else_the_default():
    tables = {
        "DEFAULT": DetectorSettings(
            gain_e_per_dn=3.0, read_noise_e=9.0, saturation_dn=3e4, reference_border=4, channels=64
        ),
        "IMG1": DetectorSettings(gain_e_per_dn=2.5, read_noise_e=7.0),
    }
    full = {"SUBARRAY": "FULL"}
    detector = detector_of(header(gain_e_per_dn=2.0, read_noise_e=None, saturation_dn=None, setup=full), tables)
    assert (detector.gain_e_per_dn, detector.read_noise_e, detector.saturation_dn) == (2.0, 7.0, 3e4)
    assert detector_of(header(detector="IMG2", gain_e_per_dn=None, setup=full), tables).gain_e_per_dn == 3.0


@pytest.mark.parametrize(("channels", "taken"), [(8, 8), (None, 64), (True, 64), (-1, 64), ("8", 64), (5000, 64)])
def test_the_outputs_are_those_that_the_setup_counts(settings, channels, taken):
    setup = {} if channels is None else {"CHANNELS": channels}
    assert detector_of(header(setup=setup), settings.detectors).channels == taken


@pytest.mark.parametrize(
    ("subarray", "border"), [("FULL", 4), ("full_frame", 4), ("N/A", 4), (None, 4), ("WINDOW", 0), ("IMG1-2", 0)]
)
def test_only_a_full_frame_has_the_reference_border(settings, subarray, border):
    setup = {} if subarray is None else {"SUBARRAY": subarray}
    assert detector_of(header(setup=setup), settings.detectors).reference_border == border
