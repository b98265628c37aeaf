"""Simulations small enough for tests."""

from typing import Any

import msgspec

from streams.settings import load
from streams.simulator import SimulatorSettings


class _Tables(msgspec.Struct, frozen=True):
    simulator: SimulatorSettings


def simulated(**changes: Any) -> SimulatorSettings:
    """Return the shipped table, shrunk to one detector of 256 pixels at a fixed epoch, with `changes`."""
    small: dict[str, Any] = {
        "detectors": ["IMG1"],
        "size": 256,
        "exposures": 1,
        "reads_per_ramp": 4,
        "epoch": "2031-01-15T06:00:00",
        "seed": 7,
    }
    return msgspec.structs.replace(load(None, _Tables).simulator, **(small | changes))
