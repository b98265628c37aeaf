"""Stand-ins for time, peers and hardware; everything else in the tests is real."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from refcache import (
    FRAME_TYPES,
    BadPixels,
    Bias,
    Chosen,
    Dark,
    Flags,
    Flat,
    Gain,
    Linearity,
    ReadNoise,
    Reference,
    ReferenceSet,
    Saturation,
    Sky,
)
from refcache.choosing import exposure_of
from refcache.chosen import Exposure
from streams.messages import Message, Read, ReadHeader

SECOND_NS = 10**9


class FakeClock:
    """A clock that a test turns."""

    def __init__(self, tai_ns: int = 1_900_000_000 * SECOND_NS) -> None:
        self.now_s = 0.0
        self._start_ns = tai_ns

    def monotonic_s(self) -> float:
        return self.now_s

    def tai_ns(self) -> int:
        return self._start_ns + round(self.now_s * SECOND_NS)

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class ListSource:
    """Gives the messages of a list, then is exhausted."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._left = list(messages)
        self.counters: Counter[str] = Counter()

    @property
    def exhausted(self) -> bool:
        return not self._left

    def receive(self, timeout_s: float) -> Message | None:  # noqa: ARG002
        return self._left.pop(0) if self._left else None

    def close(self) -> None:
        self._left.clear()

    def __enter__(self) -> "ListSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ListSink:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message) -> bool:
        self.sent.append(message)
        return True

    def close(self) -> None:
        pass

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.sent if isinstance(message, kind)]


class FixedReferences:
    """Answers every question with the same references."""

    crds_context = "test_0001.pmap"
    problems = ()
    landed = 0

    def __init__(self, **references: Reference) -> None:
        self.asked: list[tuple[Mapping[str, Any], tuple[int, int], str, int]] = []
        chosen = {name: Chosen(name, "MISSING", None, None, "none given") for name in FRAME_TYPES}
        for name, reference in references.items():
            chosen[name] = Chosen(name, "OK", reference, 60.0, "", reference.name, reference.sha256)
        self._set = ReferenceSet(self.crds_context, "0" * 40, chosen)

    def open(self, setup: Mapping[str, Any], shape: tuple[int, int], mode: Any, exposure_time_ns: int) -> "FixedChoice":
        self.asked.append((setup, shape, mode, exposure_time_ns))
        return FixedChoice(self, exposure_of(setup, shape, mode, exposure_time_ns))

    def select(self, *_: Any) -> ReferenceSet:
        return self._set

    def prepare(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class FixedChoice:
    """What an exposure asks of `FixedReferences`."""

    references: FixedReferences
    exposure: Exposure

    def select(self) -> ReferenceSet:
        return self.references.select()


def reference(kind: type[Reference], name: str, dq: np.ndarray, **planes: Any) -> Any:
    """Make a reference in memory, read-only as the real ones are."""
    for plane in (dq, *planes.values()):
        if isinstance(plane, np.ndarray):
            plane.setflags(write=False)
    common: dict[str, Any] = {
        "name": name,
        "path": Path(name),
        "sha256": "f" * 64,
        "useafter": "2030-01-01 00:00:00",
        "pedigree": "SIMULATION",
        "header": {},
        "dq": Flags.of(dq),
    }
    return kind(**(common | planes))


def dark_reference(rate: np.ndarray, err: np.ndarray, dq: np.ndarray | None = None) -> Dark:
    return reference(Dark, "dark.fits", _flags(rate, dq), rate=rate.astype("f4"), err=err.astype("f4"))


def sky_reference(rate: np.ndarray, err: np.ndarray, dq: np.ndarray | None = None) -> Sky:
    return reference(Sky, "sky.fits", _flags(rate, dq), rate=rate.astype("f4"), err=err.astype("f4"))


def flat_reference(flat: np.ndarray, err: np.ndarray, dq: np.ndarray | None = None) -> Flat:
    return reference(Flat, "flat.fits", _flags(flat, dq), flat=flat.astype("f4"), err=err.astype("f4"))


def badpix_reference(dq: np.ndarray) -> BadPixels:
    return reference(BadPixels, "badpix.fits", dq.astype("u4"))


def bias_reference(level: np.ndarray) -> Bias:
    return reference(Bias, "bias.fits", _flags(level, None), level=level.astype("f4"))


def gain_reference(gain_e_per_dn: float) -> Gain:
    return reference(Gain, "gain.fits", np.zeros((1, 1), "u4"), gain_e_per_dn=gain_e_per_dn)


def read_noise_reference(noise_e: float, **header: float) -> ReadNoise:
    return reference(ReadNoise, "noise.fits", np.zeros((1, 1), "u4"), noise_e=noise_e, header=header)


def saturation_reference(level: np.ndarray) -> Saturation:
    return reference(Saturation, "saturation.fits", _flags(level, None), level=level.astype("f4"))


def linearity_reference(coefficients: np.ndarray, valid_dn: float = np.inf) -> Linearity:
    dq, c = _flags(coefficients[:, 0], None), coefficients.astype("f4")
    return reference(Linearity, "linearity.fits", dq, coefficients=c, valid_dn=valid_dn)


def _flags(like: np.ndarray, dq: np.ndarray | None) -> np.ndarray:
    return np.zeros(like.shape, "u4") if dq is None else dq.astype("u4")


READ_HEADER = ReadHeader(
    instrument="IRIS",
    detector="IMG1",
    sequence=0,
    time_ns=1_900_000_000 * SECOND_NS,
    exposure_id="E-1",
    ramp=0,
    read=0,
    ramps_planned=1,
    reads_planned=0,
    frame_time_ns=SECOND_NS,
    gain_e_per_dn=2.0,
    read_noise_e=9.0,
    saturation_dn=60_000.0,
    setup={"SUBARRAY": "WINDOW", "READMODE": "UTR"},
)
"""A window has no reference border: every pixel of a small test image counts."""


def ramp_reads(
    data: np.ndarray, *, times_s: Iterable[float] | None = None, first_sequence: int = 0, **fields: Any
) -> list[Read]:
    """Turn a cube `(read, y, x)` into the reads of a ramp, `reads_planned` included."""
    times = list(range(len(data))) if times_s is None else list(times_s)
    header = {"reads_planned": len(data), **fields}
    return [
        Read(_header(index, time_s, first_sequence, header), np.ascontiguousarray(plane))
        for index, (plane, time_s) in enumerate(zip(data, times, strict=True))
    ]


def _header(index: int, time_s: float, first_sequence: int, fields: Mapping[str, Any]) -> ReadHeader:
    ramp = fields.get("ramp", 0)
    start_ns = READ_HEADER.time_ns + ramp * 3600 * SECOND_NS
    return replace(
        READ_HEADER,
        read=index,
        sequence=first_sequence + index,
        time_ns=start_ns + round(time_s * SECOND_NS),
        **fields,
    )
