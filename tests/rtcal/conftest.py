"""Fixtures of the reduction's tests."""

from collections.abc import Iterator

import pytest

from rtcal.bands import Bands
from rtcal.config import CalibrationSettings, RampSettings, Settings
from rtcal.pipeline import PipelineSettings
from streams import settings as settings_file
from tests.fakes import FakeClock


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
