"""The instrument as a stream: scene, detector, telemetry, sequence, and the truth that was put in."""

from streams.simulator.publish import RunCounters, run
from streams.simulator.sequence import Simulator
from streams.simulator.settings import SimulatorSettings
from streams.simulator.truth import ExposureTruth

__all__ = ["ExposureTruth", "RunCounters", "Simulator", "SimulatorSettings", "run"]
