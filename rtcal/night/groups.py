"""Calibration exposures that follow each other become one reference, better with each of them."""

import hashlib
import re
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from refcache import Dark, Flags, OtherReference, Reference, Sky
from rtcal.night.kinds import Kind
from rtcal.refmake.cards import Origin, reference_cards
from rtcal.refmake.combine import Combined
from rtcal.refmake.dark import make_dark
from rtcal.refmake.sky import make_sky
from rtcal.refmake.stacks import FrameStack
from streams.clock import iso_utc
from streams.dq import Dq
from streams.fits_images import write_image
from streams.messages import Frame, FrameHeader, Scalar

SETUP_KEYS: Final[dict[Kind, tuple[str, ...]]] = {
    "sky": ("INSTMODE", "FILTER", "GRATING", "SCALE", "LLMSKST", "SLMSKST", "SUBARRAY", "XSTART", "YSTART"),
    "dark": ("INSTMODE", "READMODE", "SUBARRAY", "XSTART", "YSTART"),
    "arc": ("INSTMODE", "FILTER", "GRATING", "SCALE", "LLMSKST", "SLMSKST", "SUBARRAY", "XSTART", "YSTART"),
}
"""What a reference of the night and an exposure must have alike, besides the detector and the shape."""
REFTYPES: Final[dict[Kind, str]] = {"sky": "SKY", "dark": "DARK", "arc": "ARC"}
PEDIGREE = "INFLIGHT"

Setup = tuple[tuple[str, str], ...]


def setup_of(kind: Kind, setup: Mapping[str, Scalar], shape: tuple[int, int]) -> Setup:
    """Return what two exposures must share for one to calibrate the other."""
    values = [(key, re.sub(r"[^A-Z0-9.+]", "", str(setup.get(key, "")).upper())) for key in SETUP_KEYS[kind]]
    return (*values, ("SHAPE", f"{shape}"))


@dataclass(frozen=True, eq=False)
class Made:
    """A reference of the night.

    Attributes
    ----------
    reference
        The reference itself.
    kind, setup
        What it is of.
    middle_ns
        Mean of the middles of its exposures, TAI [ns].
    exposures
        How many they are.
    """

    reference: Reference
    kind: Kind
    setup: Setup
    middle_ns: int
    exposures: int


@dataclass(eq=False)
class Group:
    """Exposures of one kind and setup that follow each other.

    Attributes
    ----------
    kind, setup
        What they are of.
    frames
        Their rates, on disk.
    """

    kind: Kind
    setup: Setup
    frames: FrameStack
    middles_ns: list[int] = field(default_factory=list)

    @classmethod
    def begin(cls, kind: Kind, setup: Setup, directory: Path | None) -> "Group":
        """Begin a group whose frames wait in a directory, without names; None for the system's own."""
        group = cls(kind, setup, FrameStack(directory or Path(tempfile.gettempdir())))
        weakref.finalize(group, group.frames.close)  # a pipeline that is dropped gives its files back too
        return group

    def add(self, frame: Frame, directory: Path | None) -> Made:
        """Add an exposure and make the reference anew.

        Parameters
        ----------
        frame
            Rates with the dark taken out, but for darks.
        directory
            Where it is also written as a FITS file; None for nowhere.

        Raises
        ------
        RtcalError, ImageError
            If there is no space for it.
        """
        self.frames.append(frame)
        self.middles_ns.append((frame.header.first_read_ns + frame.header.time_ns) // 2)
        combined = make_dark(self.frames) if self.kind == "dark" else make_sky(self.frames)[0]
        name = file_name(self.kind, self.frames.headers[0])
        cards = reference_cards(REFTYPES[self.kind], [Origin.of_frame(one) for one in self.frames.headers], PEDIGREE)
        del cards["DATE"]  # the same exposures give the same file
        cards["REFVER"] = str(len(self.frames))
        if directory is not None:
            path = directory / name
            write_image(path, cards, combined.rate, combined.err, combined.dq, overwrite=True)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            path, sha256 = Path(name), _digest(combined)
        reference = _reference(self.kind, path, sha256, cards, combined, len(self.frames))
        middle_ns = sum(self.middles_ns) // len(self.middles_ns)
        return Made(reference, self.kind, self.setup, middle_ns, len(self.frames))


def file_name(kind: Kind, first: FrameHeader) -> str:
    """Return the name of a reference of the night: the same however many exposures it is made of by now."""
    when = iso_utc(first.first_read_ns)[:19].replace("-", "").replace(":", "")
    return f"night_{kind}_{first.instrument}_{first.detector}_{when}.fits".lower()


def as_sky(combined: Combined, name: str, middle_ns: int, headers: Sequence[FrameHeader]) -> Sky:
    """Return a combination that is kept in memory alone as a sky."""
    cards = {"DETECTOR": headers[0].detector, "USEAFTER": iso_utc(middle_ns)[:19]}
    made = _reference("sky", Path(name), _digest(combined), cards, combined, len(headers))
    assert isinstance(made, Sky)
    return made


def _reference(
    kind: Kind, path: Path, sha256: str, cards: Mapping[str, Any], combined: Combined, exposures: int
) -> Reference:
    """Return the combination as the loader would read its file: pixels without a rate are 0 and flagged."""
    none = ~np.isfinite(combined.rate)
    flag = Dq.UNRELIABLE_DARK if kind == "dark" else Dq.DO_NOT_USE
    dq = combined.dq | np.where(none, np.uint32(flag), np.uint32(0))
    rate = np.where(none, np.float32(0), combined.rate)
    err = np.where(none | ~np.isfinite(combined.err), np.float32(0), combined.err)
    for plane in (rate, err):
        plane.setflags(write=False)
    common: dict[str, Any] = {
        "name": path.name,
        "path": path,
        "sha256": sha256,
        "useafter": str(cards["USEAFTER"]),
        "pedigree": PEDIGREE,
        "header": MappingProxyType({key: cards[key] for key in cards if key not in ("HISTORY", "COMMENT")}),
        "dq": Flags.of(dq),
        "notes": (f"of this night, {exposures} exposure{'s' if exposures > 1 else ''}",),
    }
    if kind == "arc":  # wavelengths are not solved here
        return OtherReference(**{**common, "dq": Flags.of(np.zeros((0, 0), np.uint32))})
    return (Dark if kind == "dark" else Sky)(**common, rate=rate, err=err)


def _digest(combined: Combined) -> str:
    digest = hashlib.sha256()
    for plane in (combined.rate, combined.err, combined.dq):
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
