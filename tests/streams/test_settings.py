from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from streams.array_1_0 import Array10Settings
from streams.endpoints import StreamsSettings, open_reads, open_reads_sink
from streams.errors import EndpointError, SettingsError
from streams.settings import load, shipped_config
from tests.rigs import ring_endpoint
from tests.samples import make_read


class Ramp(Struct, frozen=True):
    mode: Literal["utr", "cds", "mcds", "auto"]
    saturation_fraction: Annotated[float, Meta(gt=0)]


class Detector(Struct, frozen=True, forbid_unknown_fields=True):
    gain_e_per_dn: Annotated[float, Meta(gt=0)] | None = None
    read_noise_e: float | None = None
    saturation_dn: float | None = None
    reference_border: int | None = None
    channels: int | None = None


class Settings(Struct, frozen=True):
    streams: StreamsSettings
    ramp: Ramp
    detectors: dict[str, Detector]


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def refused(user_file: Path, text: str) -> str:
    user_file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        load(user_file, Settings)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(user_file))
    return message.removeprefix(str(user_file))


def test_the_shipped_file_is_complete_and_local() -> None:
    settings = load(None, Settings)
    for endpoint in (settings.streams.reads, settings.streams.frames, settings.streams.previews):
        assert isinstance(endpoint, str)
        assert endpoint.startswith("tcp://127.0.0.1:")
    assert isinstance(settings.streams.array_1_0, Array10Settings)


def test_every_key_of_the_table_streams_has_its_comment() -> None:
    lines = shipped_config().read_text(encoding="utf-8").split("[streams]")[1].split("\n[daemon]")[0].splitlines()
    keys = [line for line in lines if " = " in line.split("#")[0]]
    assert len(keys) == len(StreamsSettings.__struct_fields__) + len(Array10Settings.__struct_fields__) - 1
    assert [line for line in keys if "#" not in line] == []


def test_a_user_s_file_changes_what_it_names(user_file: Path) -> None:
    user_file.write_text('[streams]\npattern = "pull"\n[detectors.IMG1]\ngain_e_per_dn = 2.5\n', encoding="utf-8")
    settings, shipped = load(user_file, Settings), load(None, Settings)
    assert settings.streams.pattern == "pull"
    assert settings.streams.frames == shipped.streams.frames
    assert settings.detectors["IMG1"].gain_e_per_dn == 2.5
    assert settings.detectors["DEFAULT"] == shipped.detectors["DEFAULT"]


def test_options_change_what_the_files_say(user_file: Path) -> None:
    user_file.write_text('[ramp]\nmode = "cds"\n', encoding="utf-8")
    assert load(user_file, Settings, {"ramp": {"mode": "mcds"}}).ramp.mode == "mcds"
    with pytest.raises(SettingsError, match=r"^command line: ramp\.mode: 'up' is none of utr, cds, mcds, auto$"):
        load(user_file, Settings, {"ramp": {"mode": "up"}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\n[streams]\nread = "x"\n', ":3: unknown key 'read' in [streams]; did you mean 'reads'?"),
        ("[stream]\nreads = 1\n", ":1: unknown key 'stream'; did you mean 'streams'?"),
        ("[detectors.IMG1]\n\ngain_e_dn = 1.0\n", ":3: unknown key 'gain_e_dn' in [detectors.IMG1]; did you mean"),
        ("[streams.array_1_0]\nnoise = 1\n", ":2: unknown key 'noise' in [streams.array_1_0]; known are detector, "),
    ],
)
def test_a_key_that_does_not_exist_is_named_with_its_line_and_the_nearest(
    user_file: Path, text: str, message: str
) -> None:
    assert refused(user_file, text).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[streams]\npattern = "subb"\n', ":2: streams.pattern: 'subb' is none of sub, pull"),
        ("[streams]\nsend_high_water = 0\n", ":2: streams.send_high_water: Expected `int` >= 1"),
        ("[streams]\nsend_high_water = true\n", ":2: streams.send_high_water: Expected `int`, got `bool`"),
        ("[streams]\nreads = []\n", ":2: streams.reads: Expected `array` of length >= 1"),
        ('[streams]\nreads = ["tcp://a:1", "b"]\n', ":2: streams.reads: Expected `str` matching regex"),
        ('[streams]\nreads = "shm://a/../b"\n', ":2: streams.reads: Expected `str` matching regex"),
        ('[streams]\nreads = "shm://"\n', ":2: streams.reads: Expected `str` matching regex"),
        ('[streams]\nframes = "shm://a"\n', ":2: streams.frames: Expected `str` matching regex"),
        ("[streams]\nring_mb = 0\n", ":2: streams.ring_mb: Expected `int` >= 1"),
        ("# all\nstreams = 3\n", ":2: streams: Expected `object`, got `int`"),
        ("[ramp]\nsaturation_fraction = nan\n", ":2: ramp.saturation_fraction: nan is no value"),
        ("[ramp]\nsaturation_fraction = inf\n", ":2: ramp.saturation_fraction: inf is no value"),
        ("[detectors.A]\n[detectors.B]\ngain_e_per_dn = -1.0\n", ":3: detectors.B.gain_e_per_dn: Expected `float` > 0"),
        ('[streams]\narray_1_0 = { detector = "a b" }\n', ":2: streams.array_1_0.detector: Expected `str` matching"),
        ("[streams.array_1_0.setup]\nA = 1\nB = [1]\n", ":3: streams.array_1_0.setup.B: Expected `bool | int"),
        ('[streams.array_1_0]\nstart_utc = "soon"\n', ":1: streams.array_1_0: start_utc = 'soon' is no date; write 2"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_what_is_right(user_file: Path, text: str, message: str) -> None:
    assert refused(user_file, text).startswith(message)


def test_what_is_not_toml_is_said_with_its_line(user_file: Path) -> None:
    message = refused(user_file, "[streams]\nreads = \n")
    assert message.startswith(": not TOML: ")
    assert "line 2" in message


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, user_file: Path) -> None:
    with pytest.raises(SettingsError, match="no such file; give --config FILE"):
        load(user_file, Settings)
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path, Settings)
    user_file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(user_file, Settings)


def test_the_settings_open_the_sockets_they_describe(user_file: Path) -> None:
    user_file.write_text(
        '[streams]\nreads = "tcp://127.0.0.1:0"\nbind_reads = true\npattern = "pull"\n', encoding="utf-8"
    )
    settings = load(user_file, Settings).streams
    with open_reads(settings) as source:
        publisher = load(user_file, Settings, {"streams": {"reads": source.endpoint}}).streams
        with open_reads_sink(publisher, wait_s=10.0) as sink:
            assert sink.send(make_read(3))
            received = source.receive(10.0)
    assert received is not None
    assert received.header.sequence == 3


def test_reads_come_by_rings_and_sockets_at_once() -> None:
    rings = [ring_endpoint(), ring_endpoint()]
    changes = {"ring_mb": 1, "telemetry": ""}
    with ExitStack() as stack:
        tcp = load(None, Settings, {"streams": changes | {"reads": "tcp://127.0.0.1:0"}}).streams
        sinks = [stack.enter_context(open_reads_sink(tcp, wait_s=10.0))]
        for endpoint in rings:
            settings = load(None, Settings, {"streams": changes | {"reads": endpoint}}).streams
            sinks.append(stack.enter_context(open_reads_sink(settings)))
        endpoints = [sink.endpoint for sink in sinks]
        assert endpoints[1:] == rings
        settings = load(None, Settings, {"streams": changes | {"reads": endpoints}}).streams
        source = stack.enter_context(open_reads(settings))
        assert source.endpoint == endpoints[0]
        for sink in sinks:
            assert sink.wait_for_receiver(10.0)
        for number in range(3):
            for sink in sinks:
                assert sink.send(make_read(number))
        came = [source.receive(10.0) for _ in range(9)]
        assert sorted(message.header.sequence for message in came if message) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert source.counters == {"received": 9}


@pytest.mark.parametrize("change", [{"pattern": "pull"}, {"bind_reads": True}])
def test_what_a_ring_cannot_do_is_said(change: dict[str, object]) -> None:
    settings = load(None, Settings, {"streams": {"reads": ["tcp://127.0.0.1:0", ring_endpoint()], **change}}).streams
    with pytest.raises(EndpointError, match='a ring goes with pattern = "sub" and bind_reads = false'):
        open_reads(settings)
    settings = load(None, Settings, {"streams": {"reads": ring_endpoint(), **change}}).streams
    with pytest.raises(EndpointError, match='a ring goes with pattern = "sub" and bind_reads = false'):
        open_reads_sink(settings)
