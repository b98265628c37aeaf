"""The tables of the configuration that a pipeline needs."""

from dataclasses import dataclass, field

from rtcal.config import CalibrationSettings, DetectorSettings, NightSettings, RampSettings
from rtcal.quality import Meter


@dataclass(frozen=True)
class PipelineSettings:
    """What a pipeline and its parts are told once."""

    ramp: RampSettings
    calibration: CalibrationSettings
    detectors: dict[str, DetectorSettings]
    hold_reads: int
    preview_pixels: int
    meter: Meter | None = None
    """Measures each frame before it leaves."""
    night: NightSettings | None = None
    """None: exposures of the night become no references."""
    announce: dict[str, str] = field(default_factory=dict)
    """Setup key by the telemetry that tells of its change: references are loaded ahead."""
