"""The instrument as a stream: scene, detector, telemetry, sequence, and the truth that was put in."""

from streams.simulator.publish import RunCounters, run
from streams.simulator.references import write_references
from streams.simulator.sequence import Simulator
from streams.simulator.settings import SimulatorSettings
from streams.simulator.truth import ExposureTruth
from streams.simulator.truth_files import write_truth

__all__ = [
    "ExposureTruth",
    "RunCounters",
    "Simulator",
    "SimulatorSettings",
    "run",
    "write_references",
    "write_truth",
]
