"""What the night means for one detector's frames: better references for each, and those that are issued again."""

import dataclasses
import logging
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from refcache import Choice, ReferenceSet
from rtcal.bands import Bands
from rtcal.calibration import Calibration
from rtcal.config import CalibrationSettings, NightSettings
from rtcal.errors import RtcalError
from rtcal.finishing import ExposureSums
from rtcal.night.bare import BareFile, BareSums, Harvest
from rtcal.night.groups import Setup, setup_of
from rtcal.night.kept import Kept, identity_of
from rtcal.night.kinds import Kind, fitting
from rtcal.night.night import Night, run_harvest
from rtcal.night.references import NightReferences
from rtcal.quality import Meter
from rtcal.snapshots import complete
from rtcal.survey import Survey, certain_glow
from streams.errors import ImageError
from streams.messages import Frame, FrameHeader, ReadHeader

log = logging.getLogger(__name__)

CALIBRATIONS: tuple[Kind, ...] = ("sky", "dark", "arc")
"""Kinds of exposures that become references."""
MOST_WAITING = 16
"""Exposures of one detector that may wait to be looked at; further ones are left out."""
PUT_S = 0.1
PUT_ROUNDS = 300


@dataclass(frozen=True, eq=False)
class Taken:
    """An exposure whose frame has just gone out, and its rates on their way to disk."""

    kept: Kept
    harvest: Harvest


class Anew(NamedTuple):
    """A frame that was finished anew, what was seen of it, and what it was made of."""

    frame: Frame
    survey: Survey
    kept: Kept


class Desk:
    """References of the night and frames that wait for them, of one detector.

    The detector's thread asks what serves (`choose`) and hands exposures in (`take`); the work on them (`work`) is the
    night's thread's, or offline the same one's. What comes of it goes out through `results`.

    Parameters
    ----------
    settings
        The `[night]` table.
    calibration
        The `[calibration]` table.
    night
        Room and thread, shared with other detectors.
    bands
        The pool of threads for work that is done at once.
    preview_pixels
        Of a side of the screen that frames are binned for.
    meter
        Measures frames that are issued again; None: nobody does.

    Attributes
    ----------
    counters
        `night_references`, `night_left_out` and `night_failed` (calibration exposures that became part of a reference,
        or did not).
    """

    def __init__(
        self,
        settings: NightSettings,
        calibration: CalibrationSettings,
        night: Night,
        bands: Bands,
        preview_pixels: int,
        meter: Meter | None = None,
    ) -> None:
        # All keys are there from the start: another thread iterates over it.
        self.counters: Counter[str] = Counter(night_references=0, night_left_out=0, night_failed=0)
        self.loading = False
        """Whether a frame that is kept waits for a file."""
        self._calibration = calibration
        self._night = night
        self._bands = night.bands if night.live else bands
        self._preview_pixels = preview_pixels
        self._meter = meter
        self._references = NightReferences(settings, calibration.sky_stale_s, night.references, night.directory)
        self._skies: set[Setup] = set()
        """Setups of which a sky was taken, whether it serves already or not."""
        self._inbox: deque[Taken | None] = deque()
        self._results: queue.SimpleQueue[Anew] = queue.SimpleQueue()  # never more than one
        self._fetched = threading.Event()
        self._now_ns = 0
        self._begun: tuple[str, str, int] | None = None
        """The detector and the time of its first exposure, until what an earlier run has left is taken up."""
        self._known = not night.live  # offline nothing of an earlier run is taken up: it would be of the same messages
        self._asked = self._answered = 0

    def begin(self, header: ReadHeader) -> None:
        """Note that an exposure begins; with the first one, what an earlier run has left is taken up again."""
        if not self._known:
            self._known = True
            self._begun = header.instrument, header.detector, header.time_ns
            self._ask()

    def choose(
        self, choice: Choice, kind: Kind, middle_ns: int, opening: ReferenceSet | None = None, *, between: bool = False
    ) -> ReferenceSet:
        """Return the references of an exposure: those of the rules, and what the night has better.

        Parameters
        ----------
        choice
            What it asks the rules.
        kind
            What it is of.
        middle_ns
            Its middle, TAI [ns].
        opening
            The references that it began with, if its reads were corrected with some of them.
        between
            Whether two skies may be averaged, which takes time.
        """
        references = fitting(choice.select(), kind)
        if kind == "science":
            exposure = choice.exposure
            references = self._references.improve(
                references, exposure.setup, exposure.shape, middle_ns, between=between
            )
        return references if opening is None else references.keeping(opening)

    def wants(self, frame: Frame, kind: Kind, references: ReferenceSet) -> bool:
        """Tell whether anything is to be made of a final frame besides its first issue."""
        if kind in CALIBRATIONS:
            return True
        shape = frame.data.shape[0], frame.data.shape[1]
        return kind == "science" and self._may_improve(frame.header, shape, references)

    def take(self, kept: Kept, sums: ExposureSums, calibration: Calibration) -> Harvest | None:
        """Take an exposure whose final frame is out; return what takes its rates out of the sums, while that goes on.

        Parameters
        ----------
        kept
            What is known of it; its rates are not in its file yet.
        sums, calibration
            Its own.
        """
        if kept.kind in CALIBRATIONS and not kept.header.complete:
            self.counters["night_left_out"] += 1
            return None
        if len(self._inbox) >= MOST_WAITING:
            self.counters["night_left_out"] += 1
            return None
        if kept.kind == "sky":
            self._skies.add(setup_of("sky", kept.header.setup, kept.shape))
        harvest = Harvest(sums, calibration, kept.sums.file, self._night.hurried)
        self._inbox.append(Taken(kept, harvest))
        if self._night.live:
            self._night.soon(harvest)
        self._ask()
        return harvest

    def new_sums(self, shape: tuple[int, int]) -> BareSums:
        """Return a place for the rates of an exposure.

        Raises
        ------
        RtcalError
            If the disk has none.
        """
        return BareSums(BareFile(shape, self._night.scratch))

    def fail(self, error: Exception) -> None:
        """Count what could not be kept, and say why."""
        self.counters["night_failed"] += 1
        self._night.tell(f"references of the night: {error}")

    def pass_by(self) -> None:
        """Note that something else was exposed, which ends a group."""
        self._inbox.append(None)
        self._ask()

    def look_again(self) -> None:
        """Let the frames that wait for a file be looked at: one has been loaded."""
        self._ask()

    def results(self) -> Iterator[Anew]:
        """Yield the frames that are to be issued again, without numbers and time; offline they are made here."""
        if not self._night.live:
            if not self.idle:
                asked = self._asked
                yield from self.work()
                self._answered = asked
            return
        yield from self._fetch(0.0)

    def wait_for_result(self, timeout_s: float) -> Iterator[Anew]:
        """Yield one frame, if one comes in time."""
        yield from self._fetch(timeout_s)

    def _fetch(self, timeout_s: float) -> Iterator[Anew]:
        try:
            result = self._results.get(timeout=timeout_s) if timeout_s else self._results.get_nowait()
        except queue.Empty:
            return
        self._fetched.set()
        yield result

    @property
    def idle(self) -> bool:
        """Whether nothing waits, on this desk or to go out."""
        return self._answered == self._asked and self._results.empty()

    def catch_up(self) -> None:
        """Do the work, and keep each frame until it is fetched; for the night's thread."""
        asked = self._asked
        try:
            for result in self.work():
                self._hand_out(result)
                del result  # a frame is large: it goes before the next is made
        except Exception as error:
            log.exception("fault in the references of the night")
            self.fail(error)
        self._answered = asked

    def work(self) -> Iterator[Anew]:
        """Do all that waits: take exposures in, make references of them, finish frames anew that are better by them.

        Yields
        ------
        Anew
            A frame, without its sequence number and time of publication.
        """
        if self._begun is not None:
            self._skies.update(self._references.take_up_earlier(*self._begun, self._night.tell_broken))
            self._begun = None
        while self._inbox:
            taken = self._inbox.popleft()
            if taken is None:
                self._references.interrupt()
            else:
                self._take_in(taken)
        while self._references.due:
            self._guarded(self._make)
        self._guarded(lambda: self._references.make_median(self._let_by))
        yield from self._reissue()
        self._references.forget_mean()

    def _ask(self) -> None:
        self._asked += 1
        if self._night.live:
            self._night.later(self)

    def _hand_out(self, result: Anew) -> None:
        """Give a frame to the detector's thread, and wait until it has taken it."""
        self._results.put(result)
        for _ in range(PUT_ROUNDS):
            if self._fetched.wait(PUT_S):
                self._fetched.clear()
                return
            self._let_by()
        try:
            self._results.get_nowait()
            self.fail(RtcalError(f"nobody fetched {result.frame.header.exposure_id} issued again"))
        except queue.Empty:
            self._fetched.clear()

    def _let_by(self, _rows: int = 0) -> None:
        if self._night.live:
            self._night.let_by()

    def _may_improve(self, header: FrameHeader, shape: tuple[int, int], references: ReferenceSet) -> bool:
        """Tell whether a frame could be made better: files are on their way, or its sky is not the best there is."""
        if references.loading or self._calibration.sky == "off":
            return references.loading
        if self._begun is not None:
            return True
        return references.sky.status not in ("OK", "NA") or setup_of("sky", header.setup, shape) in self._skies

    def _take_in(self, taken: Taken) -> None:
        kept = taken.kept
        if not taken.harvest.whole:
            run_harvest(taken.harvest, self._night)
        if not taken.harvest.whole:
            self.counters["night_failed"] += 1
            self._references.interrupt()
            return
        self._now_ns = max(self._now_ns, kept.header.time_ns)
        if kept.kind in CALIBRATIONS:
            self._references.add(kept)
            return
        self._references.interrupt()
        self._keep(kept)
        sky = kept.references.sky
        if sky.reference is None and not sky.loading and kept.header.complete:
            self._references.add_science(kept)

    def _keep(self, kept: Kept) -> None:
        self._night.kept.put(self, kept.header.exposure_id, kept, kept.sums.file.nbytes)

    def _make(self) -> None:
        self.counters["night_references"] += self._references.make(self._let_by)

    def _guarded(self, work: Callable[[], object]) -> None:
        """Do something that needs space on disk; what fails costs a reference, never a frame."""
        try:
            work()
        except (RtcalError, ImageError, OSError) as error:
            self.fail(error)

    def _reissue(self) -> Iterator[Anew]:
        """Finish the frames anew for which there are better references; forget those that are as good as they get."""
        loading, merged = False, None
        for kept in self._night.kept.of(self):
            exposure, before = kept.choice.exposure, identity_of(kept.references)
            references = self.choose(kept.choice, "science", kept.middle_ns, kept.opening, between=True)
            identity = identity_of(references)
            if identity != before and len(identity) >= len(before):
                merged = kept.calibration(references, merged)
                try:
                    frame, survey = self._finished(kept, merged)
                except RtcalError as error:
                    self.fail(error)
                    self._night.kept.drop(self, kept.header.exposure_id)
                    continue
                kept = dataclasses.replace(kept, header=frame.header, references=references)
                self._keep(kept)
                yield Anew(frame, survey, kept)
                del frame
            loading = loading or references.loading
            settled = self._references.is_settled(exposure.setup, exposure.shape, kept.middle_ns, self._now_ns)
            if not references.loading and (settled or not self._may_improve(kept.header, exposure.shape, references)):
                self._night.kept.drop(self, kept.header.exposure_id)
        self.loading = loading

    def _finished(self, kept: Kept, calibration: Calibration) -> tuple[Frame, Survey]:
        """Finish a frame anew; its number and time are those of its first issue."""
        survey = Survey(kept.shape, self._preview_pixels, certain_glow(kept.glow))
        out, sky = kept.finish(calibration, self._calibration, self._bands, survey)
        header = replace(
            kept.header,
            revision=kept.header.revision + 1,
            sky_scale=float(sky.part.scale) if sky is not None else None,
            references=calibration.provenance(kept.detector, sky),
        )
        header = replace(header, references=complete(header))
        frame = Frame(header, out.rate, out.err, out.dq, out.saturated_from)
        if self._meter is None:
            return frame, survey
        quality = self._meter.measure(frame, survey.blocks, kept.noise_e, int(kept.glow.size))
        return dataclasses.replace(frame, header=replace(header, quality=quality)), survey
