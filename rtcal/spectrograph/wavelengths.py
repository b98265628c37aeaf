"""Which traces, wavelengths and profiles are in force for a frame, and the maker of cubes that follows from them."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from refcache import Chosen, ReferenceSet
from rtcal.errors import RtcalError
from rtcal.spectrograph.arcfile import read_arc
from rtcal.spectrograph.cube import CubeMaker
from rtcal.spectrograph.lensletscan import LensletScan, read_scan
from rtcal.spectrograph.nightarcs import NightArcs
from rtcal.spectrograph.settings import SpectrographSettings
from streams.clock import NS
from streams.errors import StreamsError
from streams.messages import Provenance

log = logging.getLogger(__name__)

Status = Literal["OK", "APPROX", "UNRELIABLE"]


@dataclass(frozen=True)
class Map:
    """The wavelengths in force: the maker of cubes, and where they came from."""

    maker: CubeMaker
    provenance: Provenance
    status: Status
    notes: tuple[str, ...]


class Wavelengths:
    """Chooses what is in force: tonight's arc, the rules', or the layout; what follows from it is made once.

    Parameters
    ----------
    settings
        The table `[spectrograph]`.
    threads
        Threads that share the traces.
    night
        Knows the arcs of the night; None: there are none.
    """

    def __init__(self, settings: SpectrographSettings, threads: int, night: NightArcs | None) -> None:
        self._settings = settings
        self._threads = threads
        self._night = night
        self._map: tuple[tuple[str, str, str], Map] | None = None
        self._failed: tuple[tuple[str, str, str], str] | None = None

    def current(self, references: ReferenceSet, setup: dict[str, Any], time_ns: int) -> Map | None:
        """Return the maker for an arc, made once; None where there is none that can be used."""
        arc, scan = references.arc, references.lensletscan
        tonight = self._night.best(setup, time_ns, arc) if self._night is not None else None
        if tonight is not None:
            age_s = (time_ns - tonight.start_ns) / NS
            given = Provenance(
                reftype="ARC", status="OK", name=tonight.path.name, sha256=tonight.sha256, age_s=age_s, note="tonight's"
            )
            return self._made(tonight.path, given, scan, nominal=False)
        path = self.known(arc, setup, time_ns)
        if path is None:
            return None
        return self._made(path, _provenance(arc, path), scan, nominal=arc.reference is None)

    def known(self, arc: Chosen, setup: dict[str, Any], time_ns: int) -> Path | None:
        """Return the file with traces and wavelengths of a mode: tonight's, the rules', or the layout."""
        tonight = self._night.best(setup, time_ns, arc) if self._night is not None else None
        if tonight is not None:
            return tonight.path
        return arc.reference.path if arc.reference is not None else self._layout_of(setup)

    def _made(self, path: Path, given: Provenance, scan: Chosen, *, nominal: bool) -> Map | None:
        key = str(path), given.sha256, scan.sha256 if scan.reference is not None else ""
        if self._map is not None and self._map[0] == key:
            return replace(self._map[1], provenance=given)
        if self._failed is not None and self._failed[0] == key:
            return None
        self._map = None  # before the next one takes its memory
        profiles, note = _read_scan(scan)
        try:
            maker = CubeMaker(read_arc(path), self._threads, self._settings.separate_steps, profiles)
        except (RtcalError, StreamsError) as error:
            self._failed = key, str(error)
            log.warning("arc %s cannot be used: %s", path, error)
            return None
        notes = [*([note] if note else []), *maker.notes]
        whole = not maker.profiles.weighted or (maker.measured and not notes)
        status: Status = "OK" if whole else "APPROX"
        made = Map(maker, given, "UNRELIABLE" if nominal else status, tuple(notes))
        self._map = key, made
        return made

    def _layout_of(self, setup: dict[str, Any]) -> Path | None:
        """Return the file of nominal traces and wavelengths, for where no arc fits."""
        path = Path(self._settings.layout).expanduser() if self._settings.layout else None
        if path is None:
            return None
        try:
            arc = read_arc(path)
        except (RtcalError, StreamsError):
            return path  # says what is wrong with it where it is used
        mode = str(arc.header.get("INSTMODE", setup.get("INSTMODE", ""))).upper()
        return path if mode == str(setup.get("INSTMODE", "")).upper() else None


def _read_scan(scan: Chosen) -> tuple[LensletScan | None, str]:
    """Return the measured profiles that were chosen; None, and why, where they cannot be used."""
    if scan.reference is None:
        return None, ""
    try:
        return read_scan(scan.reference.path), ""
    except (RtcalError, StreamsError) as error:
        log.warning("%s", error)
        return None, str(error)[:1000]


def _provenance(arc: Chosen, path: Path) -> Provenance:
    if arc.reference is None:
        note = f"nominal wavelengths of {path.name}: {arc.note or 'no arc fits'}"
        return Provenance(reftype="ARC", status=arc.status, name=path.name, note=note[:1000])
    return Provenance(
        reftype="ARC", status=arc.status, name=arc.name, sha256=arc.sha256, age_s=arc.age_s, note=arc.note
    )
