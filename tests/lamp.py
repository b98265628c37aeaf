"""Ramps of a simulated detector under an even lamp or in the dark, as calibrations are made of them."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from rtcal.config import DetectorSettings, Settings
from rtcal.refmake.ramps import RampStack
from rtcal.refmake.stacks import FrameStack
from streams import settings as settings_file
from streams.clock import NS
from streams.messages import Frame, FrameHeader, Read, ReadHeader
from streams.simulator.detector import Chip, Detector, make_chip, make_tile
from tests.simulated import simulated

GAIN, READ_NOISE, BEND_PER_E, FULL_WELL_E = 3.04, 9.0, 1e-7, 100_000.0
"""Of the simulator; the signal is q - BEND q^2."""
START_NS = 2_000_000_000 * NS


@dataclass(frozen=True)
class Lamp:
    """A detector and its ramps."""

    chip: Chip
    ramps: dict[str, list[np.ndarray]]
    """By exposure: each read, uint16, (y, x)."""


@cache
def lamp(size: int = 256, reads: int = 12) -> Lamp:
    """Return three darks, three flats up to 80 000 e-, two dimmer ones, and two that saturate."""
    settings = simulated(size=size, seed=5)
    tile = make_tile(settings.seed, size)
    chip = make_chip(settings, "IMG1", tile)
    detector = Detector(settings, "IMG1", chip, tile)
    ramps = {}
    for name, electrons in [
        *((f"dark{number}", 0.0) for number in range(3)),
        *((f"flat{number}", 80_000.0) for number in range(4)),
        *((f"dim{number}", 25_000.0) for number in range(2)),
        *((f"bright{number}", 180_000.0) for number in range(2)),
    ]:
        rate = chip.flat * np.float32(electrons / (reads * settings.frame_time_s)) + chip.dark_e_per_s
        detector.reset()
        ramps[name] = [detector.read(rate.astype("f4"), settings.frame_time_s)[0] for _ in range(reads)]
    return Lamp(chip, ramps)


def read(name: str, number: int, data: np.ndarray, **changes: Any) -> Read:
    """Return a read of an exposure of one ramp."""
    fields: dict[str, Any] = {
        "instrument": "IRIS",
        "detector": "IMG1",
        "sequence": number,
        "time_ns": START_NS + round((number + 1) * 0.72 * NS),
        "exposure_id": name,
        "ramp": 0,
        "read": number,
        "reset_ns": START_NS,
        "frame_time_ns": round(0.72 * NS),
        "gain_e_per_dn": GAIN,
        "read_noise_e": READ_NOISE,
        "saturation_dn": 5000 + 90_000 * (1 - BEND_PER_E * 90_000) / GAIN,
        "setup": {"SUBARRAY": "FULL", "CHANNELS": data.shape[1] // 64},
    }
    return Read(ReadHeader(**{**fields, **changes}), data)


class Held(ExitStack):
    """Makes stacks as `rtcal refs make` holds them, and closes them with itself.

    Parameters
    ----------
    directory
        Takes their files.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def frames(self, *frames: Frame) -> FrameStack:
        """Return frames."""
        stack = self.enter_context(FrameStack(self._directory))
        for one in frames:
            stack.append(one)
        return stack

    def ramps(self, exposures: dict[str, Sequence[np.ndarray]], **changes: Any) -> RampStack:
        """Return exposures of one ramp each."""
        stack = self.enter_context(RampStack(self._directory, detector_tables()))
        for name, reads in exposures.items():
            for number, data in enumerate(reads):
                stack.append(read(name, number, data, **changes))
        return stack

    def lamp(self, *names: str) -> RampStack:
        """Return some exposures of the lamp."""
        return self.ramps({name: lamp().ramps[name] for name in names})


@cache
def detector_tables() -> dict[str, DetectorSettings]:
    """Return the shipped tables of the detectors."""
    return settings_file.load(None, Settings).detectors


def frame(data: np.ndarray, err: float = 0.1, dq: np.ndarray | None = None, detector: str = "IMG1") -> Frame:
    """Return a frame with an even error."""
    header = FrameHeader(
        instrument="IRIS",
        detector=detector,
        sequence=0,
        time_ns=20 * NS,
        exposure_id="E-1",
        ramps=1,
        mode="utr",
        effective_s=9.0,
        first_read_ns=10 * NS,
        published_ns=21 * NS,
        reads_used=10,
        reads_lost=0,
        reads_rejected=0,
        complete=True,
        final=True,
        gain_e_per_dn=2.0,
        read_noise_e=9.0,
        saturation_dn=6e4,
    )
    data = np.asarray(data, "f4")
    dq = np.zeros(data.shape, "u4") if dq is None else dq.astype("u4")
    return Frame(header, data, np.full(data.shape, err, "f4"), dq, np.full(data.shape, 65535, "u2"))


def write_lamp(directory: Path, *names: str) -> list[Path]:
    """Write exposures of the lamp as cubes (read, y, x)."""
    paths = []
    for name in names:
        reads = lamp().ramps[name]
        header = fits.Header()
        header["INSTRUME"], header["DETECTOR"] = "IRIS", "IMG1"
        header["DATE-OBS"] = f"2031-01-15T06:{sorted(lamp().ramps).index(name):02d}:00"
        header["NGROUPS"], header["TGROUP"], header["TFRAME"] = len(reads), 0.72, 0.72
        header["GAIN"], header["RDNOISE"] = GAIN, READ_NOISE
        header["SATURATE"] = 5000 + 90_000 * (1 - BEND_PER_E * 90_000) / GAIN
        header["SUBARRAY"], header["READMODE"], header["FILTER"] = "FULL", "UTR", "H"
        header["EXPTYPE"] = "DARK" if name.startswith("dark") else "FLAT"
        path = directory / f"{name}.fits"
        fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(np.array(reads), name="SCI")]).writeto(path)
        paths.append(path)
    return paths


def active_pixels() -> np.ndarray:
    """Return where the lamp's detector is as it should be."""
    return lamp().chip.dq == 0
