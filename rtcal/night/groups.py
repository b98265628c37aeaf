"""Calibration exposures that follow each other become one reference, better with each of them."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from astropy.io import fits

from refcache import Dark, Flags, OtherReference, Reference, Sky
from rtcal.night.kept import Kept, Rates
from rtcal.night.kinds import Kind
from rtcal.refmake.cards import Origin, reference_cards
from rtcal.refmake.combine import Combined
from rtcal.refmake.dark import make_dark
from rtcal.refmake.sky import make_sky
from rtcal.refmake.stacks import Advance
from streams.clock import iso_utc
from streams.dq import Dq
from streams.fits_images import write_image
from streams.messages import FrameHeader, Scalar

SETUP_KEYS: Final[dict[Kind, tuple[str, ...]]] = {
    "sky": ("INSTMODE", "FILTER", "GRATING", "SCALE", "LLMSKST", "SLMSKST", "SUBARRAY", "XSTART", "YSTART"),
    "dark": ("INSTMODE", "READMODE", "SUBARRAY", "XSTART", "YSTART"),
    "arc": ("INSTMODE", "FILTER", "GRATING", "SCALE", "LLMSKST", "SLMSKST", "SUBARRAY", "XSTART", "YSTART"),
}
"""What a reference of the night and an exposure must have alike, besides the detector and the shape."""
REFTYPES: Final[dict[Kind, str]] = {"sky": "SKY", "dark": "DARK", "arc": "ARC"}
PEDIGREE = "INFLIGHT"
MIDDLE = "DATE-AVG"
FILL_ROWS = 256

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
    exposures
        Their rates wait on disk.
    made_of
        How many of them the reference that there is was made of.
    """

    kind: Kind
    setup: Setup
    exposures: list[Kept] = field(default_factory=list)
    made_of: int = 0

    @property
    def middle_ns(self) -> int:
        """Mean of the middles of its exposures, TAI [ns]."""
        return sum(one.middle_ns for one in self.exposures) // len(self.exposures)

    def make(self, directory: Path | None, advance: Advance) -> Made:
        """Make the reference of all exposures that there are.

        Parameters
        ----------
        directory
            Where it is also written as a FITS file; None for nowhere.
        advance
            Told of the rows that are done.

        Raises
        ------
        RtcalError, ImageError
            If there is no space for it.
        """
        rates = Rates(self.exposures)
        combined = make_dark(rates, advance) if self.kind == "dark" else make_sky(rates, advance)[0]
        name, middle_ns = file_name(self.kind, rates.headers[0]), self.middle_ns
        cards = self._cards(rates.headers, middle_ns)
        if directory is not None:
            path = directory / name
            write_image(path, cards, combined.rate, combined.err, combined.dq, overwrite=True)
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            path, sha256 = Path(name), _digest(combined)
        self.made_of = len(rates)
        reference = _reference(self.kind, path, sha256, cards, combined, len(rates))
        return Made(reference, self.kind, self.setup, middle_ns, len(rates))

    def _cards(self, headers: Sequence[FrameHeader], middle_ns: int) -> fits.Header:
        cards = reference_cards(REFTYPES[self.kind], [Origin.of_frame(one) for one in headers], PEDIGREE)
        del cards["DATE"]  # the same exposures give the same file
        for key in SETUP_KEYS[self.kind]:  # what the daemon needs to take it up again
            if key in headers[0].setup:
                cards.setdefault(key, headers[0].setup[key])
        cards["REFVER"] = str(len(headers))
        cards[MIDDLE] = (iso_utc(middle_ns), "UTC, mean of the middles of its exposures")
        return cards


def file_pattern(kind: Kind, instrument: str, detector: str, when: str = "*") -> str:
    """Return the names of a detector's references of the night."""
    return f"night_{kind}_{instrument}_{detector}_{when}.fits".lower()


def of_this_night(exposures: int) -> str:
    """Say what a reference is of."""
    return f"of this night, {exposures} exposure{'s' if exposures > 1 else ''}"


def file_name(kind: Kind, first: FrameHeader) -> str:
    """Return the name of a reference of the night: the same however many exposures it is made of by now."""
    when = iso_utc(first.first_read_ns)[:19].replace("-", "").replace(":", "")
    return file_pattern(kind, first.instrument, first.detector, when)


def as_sky(combined: Combined, name: str, middle_ns: int, headers: Sequence[FrameHeader]) -> Sky:
    """Return a combination that is kept in memory alone as a sky."""
    cards = {"DETECTOR": headers[0].detector, "USEAFTER": iso_utc(middle_ns)[:19]}
    made = _reference("sky", Path(name), _digest(combined), cards, combined, len(headers))
    assert isinstance(made, Sky)
    return made


def _reference(
    kind: Kind, path: Path, sha256: str, cards: Mapping[str, Any], combined: Combined, exposures: int
) -> Reference:
    """Return the combination as the loader would read its file: pixels without a rate are 0 and flagged.

    Its own planes are taken, and filled in place.
    """
    flag = np.uint32(Dq.UNRELIABLE_DARK if kind == "dark" else Dq.DO_NOT_USE)
    rate, err, dq = combined.rate, combined.err, combined.dq
    for start in range(0, rate.shape[0], FILL_ROWS):
        rows = slice(start, start + FILL_ROWS)
        none = ~np.isfinite(rate[rows])
        dq[rows][none] |= flag
        err[rows][none | ~np.isfinite(err[rows])] = 0
        rate[rows][none] = 0
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
        "notes": (of_this_night(exposures),),
    }
    if kind == "arc":  # wavelengths are not solved here
        return OtherReference(**{**common, "dq": Flags.of(np.zeros((0, 0), np.uint32))})
    return (Dark if kind == "dark" else Sky)(**common, rate=rate, err=err)


def _digest(combined: Combined) -> str:
    digest = hashlib.sha256()
    for plane in (combined.rate, combined.err, combined.dq):
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
