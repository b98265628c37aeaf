"""What the night means for one detector's frames: better references for each, and those that are issued again."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from refcache import Choice, ReferenceSet
from refcache.choosing import SPECTRAL
from refcache.chosen import not_applicable
from rtcal.bands import Bands
from rtcal.calibration import Calibration
from rtcal.config import CalibrationSettings, Detector, NightSettings
from rtcal.errors import RtcalError
from rtcal.night.kept import Bare, Kept, KeptFrames, finish, identity_of
from rtcal.night.kinds import Kind, fitting
from rtcal.night.references import NightReferences
from rtcal.snapshots import complete
from streams.errors import ImageError
from streams.messages import Frame, FrameHeader

log = logging.getLogger(__name__)

CALIBRATIONS: tuple[Kind, ...] = ("sky", "dark", "arc")
"""Kinds of exposures that become references."""


@dataclass(frozen=True, eq=False)
class Published:
    """A final frame that has just gone out, and what it was made with."""

    frame: Frame
    bare: Bare
    calibration: Calibration
    choice: Choice
    detector: Detector
    noise_e: tuple[float, ...] = ()


class Desk:
    """References of the night and frames that wait for them; the thread of one detector alone may use it.

    Parameters
    ----------
    settings
        The `[night]` table.
    calibration
        The `[calibration]` table.
    bands
        The pool of threads.
    counters
        Takes `night_references`, `night_left_out` and `night_failed` (calibration exposures that became part of a
        reference, or did not), and `reissued` (frames).
    """

    def __init__(
        self, settings: NightSettings, calibration: CalibrationSettings, bands: Bands, counters: Counter[str]
    ) -> None:
        self._settings = settings
        self._calibration = calibration
        self._plain = replace(calibration, bad_pixels="keep")
        self._bands = bands
        self._counters = counters
        self._references = NightReferences(settings, calibration.sky_stale_s)
        self._kept = KeptFrames(settings.reissue_mb)
        self._merged: Calibration | None = None

    def choose(self, choice: Choice, kind: Kind, middle_ns: int) -> ReferenceSet:
        """Return the references of an exposure: those of the rules, and what the night has better."""
        references = fitting(choice.select(), kind)
        if kind != "science":
            return references
        exposure = choice.exposure
        return self._references.improve(references, exposure.setup, exposure.shape, middle_ns)

    def wants(self, frame: Frame, kind: Kind, references: ReferenceSet) -> bool:
        """Tell whether anything is to be made of a final frame besides its first issue."""
        if kind in CALIBRATIONS:
            return True
        shape = frame.data.shape[0], frame.data.shape[1]
        return kind == "science" and self._may_improve(frame.header, shape, references)

    def _may_improve(self, header: FrameHeader, shape: tuple[int, int], references: ReferenceSet) -> bool:
        """Tell whether a frame could be made better: files are on their way, or its sky is not the best there is."""
        if references.loading or self._calibration.sky == "off":
            return references.loading
        return references.sky.status not in ("OK", "NA") or self._references.has_sky(header.setup, shape)

    def take(self, published: Published, kind: Kind) -> bool:
        """Make of a final frame what it is good for; tell whether frames that are kept may be better now."""
        header, references = published.frame.header, published.calibration.references
        if kind in CALIBRATIONS:
            return self._add(published, kind)
        self._references.interrupt()
        kept = Kept(
            header,
            published.frame.saturated_from,
            published.bare,
            references,
            published.choice,
            published.detector,
            published.calibration.border,
            published.noise_e,
            identity_of(references),
            references.loading,
        )
        self._kept.keep(kept)
        if references.sky.reference is not None or references.sky.loading or not header.complete:
            return False
        return self._guarded(lambda: self._references.add_science(self._rates(published, "science")))

    def reissue(self, now_ns: int, sequence: Callable[[], int]) -> Iterator[tuple[Frame, Kept]]:
        """Finish the frames anew for which there are better references now; forget those that are as good as they get.

        Parameters
        ----------
        now_ns
            Time of the latest read, TAI [ns].
        sequence
            Gives the number of a frame that goes out.

        Yields
        ------
        tuple
            The frame, without its quality and time of publication, and what it was made of.
        """
        for kept in self._kept.all():
            exposure = kept.choice.exposure
            references = self.choose(kept.choice, "science", kept.middle_ns).keeping(kept.opening)
            identity = identity_of(references)
            if identity != kept.identity and len(identity) >= len(kept.identity):
                header, frame = self._finished(kept, references, sequence())
                kept = dataclasses.replace(kept, header=header, identity=identity, loading=references.loading)
                self._kept.keep(kept)
                self._counters["reissued"] += 1
                yield frame, kept
            settled = self._references.is_settled(exposure.setup, exposure.shape, kept.middle_ns, now_ns)
            if not references.loading and (settled or not self._may_improve(kept.header, exposure.shape, references)):
                self._kept.drop(kept)

    @property
    def loading(self) -> bool:
        """Whether a frame that is kept waits for a file."""
        return any(kept.loading for kept in self._kept.all())

    def _add(self, published: Published, kind: Kind) -> bool:
        if not published.frame.header.complete:
            self._counters["night_left_out"] += 1
            return False
        added = self._guarded(lambda: self._references.add(kind, self._rates(published, kind)) is not None)
        self._counters["night_references"] += added
        return added

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """Do something that needs space on disk; what fails costs a reference, never a frame."""
        try:
            return work()
        except (RtcalError, ImageError, OSError) as error:
            self._counters["night_failed"] += 1
            self._references.fail()
            log.warning("references of the night: %s", error)
            return False

    def _rates(self, published: Published, kind: Kind) -> Frame:
        """Return the rates that a reference is made of: with the dark taken out, but for a dark."""
        left_out = ("dark", "sky", "flat") if kind == "dark" else ("sky", "flat")
        full = published.calibration
        references = full.references.changed({name: not_applicable(name, "") for name in left_out})
        shape = published.bare.rate.shape
        calibration = Calibration.build(references, shape, full.border)
        rate, err, dq, _ = finish(published.bare, calibration, self._plain, self._bands)
        return dataclasses.replace(published.frame, data=rate, err=err, dq=dq)

    def _finished(self, kept: Kept, references: ReferenceSet, sequence: int) -> tuple[FrameHeader, Frame]:
        self._merged = Calibration.build(references, kept.bare.rate.shape, kept.border, self._merged)
        spectral = str(kept.header.setup.get("INSTMODE", "IMG")).upper() in SPECTRAL
        rate, err, dq, sky = finish(kept.bare, self._merged, self._calibration, self._bands, spectral=spectral)
        header = replace(
            kept.header,
            sequence=sequence,
            revision=kept.header.revision + 1,
            sky_scale=float(sky.part.scale) if sky is not None else None,
            references=self._merged.provenance(kept.detector, sky),
        )
        header = replace(header, references=complete(header))
        return header, Frame(header, rate, err, dq, kept.saturated_from)
