"""Fixtures of the reduction's tests."""

import signal
from collections.abc import Callable, Iterator

import pytest

from rtcal.bands import Bands
from rtcal.cli import main
from rtcal.config import CalibrationSettings, RampSettings, Settings
from rtcal.pipeline_settings import PipelineSettings
from streams import settings as settings_file
from tests.fakes import FakeClock

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The shipped configuration."""
    return settings_file.load(None, Settings)


@pytest.fixture
def ramp_settings(settings: Settings) -> RampSettings:
    return settings.ramp


@pytest.fixture
def calibration_settings(settings: Settings) -> CalibrationSettings:
    return settings.calibration


@pytest.fixture
def pipeline_settings(settings: Settings) -> PipelineSettings:
    return PipelineSettings(settings.ramp, settings.calibration, settings.detectors, 2, 1024)


@pytest.fixture
def bands() -> Iterator[Bands]:
    with Bands(2) as pool:
        yield pool


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """The command line in this process: give words, get exit code, standard output and standard error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("CRDS_PATH", "CRDS_CONTEXT"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["rtcal", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
