"""A handful of observatory and instrument events, slowly changing."""

from collections.abc import Iterator

import numpy as np

from streams.messages import Telemetry, TelemetryHeader
from streams.simulator.instrument import random_for
from streams.simulator.settings import SimulatorSettings
from streams.simulator.setup import INSTRUMENT

_NS = 1_000_000_000
_UNITS: dict[str, dict[str, str]] = {
    "TCS.cmIRIS.positionAngle": {"positionAngle": "degree"},
    "IRIS.imager.adc.PRISM_current": {"rotationA": "degree", "rotationB": "degree"},
    "ESEN.ESEN Publisher Assembly.air-temperatures": {"temperature": "degC"},
    "ESEN.ESEN Publisher Assembly.pressures": {"pressure": "hPa"},
    "ESEN.ESEN Publisher Assembly.humidities": {"humidity": "percent"},
    "NFIRAOS.rtc.turbLgs": {"r0": "m", "theta0": "mas", "L0": "m", "tau0": "s"},
}
_SLOW = "NFIRAOS.rtc.turbLgs"
"""The one event that comes every 10 s; the others come every second."""


def telemetry_messages(settings: SimulatorSettings, epoch_ns: int, end_s: float) -> Iterator[tuple[float, Telemetry]]:
    """Yield (due time since the start [s], event) up to `end_s`."""
    random = random_for(settings.seed, "telemetry")
    second, sequence = 0, 0
    while second <= end_s:
        values = _values(settings, second, random)
        for event, units in _UNITS.items():
            if event == _SLOW and second % 10:
                continue
            header = TelemetryHeader(
                instrument=INSTRUMENT,
                detector="ALL",
                sequence=sequence,
                time_ns=epoch_ns + second * _NS,
                event=event,
                values={name: round(float(values[name]), 6) for name in units},
                units=units,
            )
            yield float(second), Telemetry(header)
            sequence += 1
        second += 1


def _values(settings: SimulatorSettings, second: int, random: np.random.Generator) -> dict[str, float]:
    """Return each parameter's value: a field at 30 degrees past the meridian, a calm night."""
    noise = random.standard_normal(5)
    hour_angle = np.radians(15 * (0.5 + second / 3600))
    parallactic = float(np.degrees(np.arctan2(np.sin(hour_angle), 0.6 - 0.3 * np.cos(hour_angle))))
    return {
        "positionAngle": 30.0,
        "rotationA": parallactic + 60 + 0.02 * noise[0],
        "rotationB": parallactic - 60 + 0.02 * noise[1],
        "temperature": 2.0 - second / 7200 + 0.05 * noise[2],
        "pressure": 615.0 + 0.3 * np.sin(second / 1800) + 0.02 * noise[3],
        "humidity": 20.0 + 2 * np.sin(second / 900) + 0.1 * noise[4],
        "r0": settings.r0_m * (1 + 0.1 * np.sin(second / 240)),
        "theta0": 2100.0 + 100 * np.sin(second / 300),
        "L0": 30.0,
        "tau0": 0.005 + 0.0005 * np.sin(second / 200),
    }
