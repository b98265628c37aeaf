"""Between the reads of a detector and its desk: exposures are handed in, and what is issued again is fetched."""

from collections.abc import Iterator

from rtcal.errors import RtcalError
from rtcal.exposure import Exposure
from rtcal.issuing import Issuer
from rtcal.night.bare import Harvest
from rtcal.night.desk import PUT_S, Desk
from rtcal.night.kept import Kept
from rtcal.selection import References, Selection
from streams.messages import Frame, Message


class Handover:
    """What the pipeline of a detector has to do with the night.

    Parameters
    ----------
    desk
        The detector's.
    issuer
        Numbers what goes out again.
    """

    def __init__(self, desk: Desk, issuer: Issuer) -> None:
        self._desk = desk
        self._issuer = issuer
        self._harvest: Harvest | None = None
        self._landed = 0

    def take(self, exposure: Exposure, frame: Frame, selection: Selection) -> Iterator[Message]:
        """See what an exposure is good for whose final frame is out, and which others are better by it."""
        if self._desk.wants(frame, selection.kind, exposure.calibration.references):
            self._hand_in(exposure, frame, selection)
        else:
            self._desk.pass_by()
        yield from self._issuer.again(self._desk.results())

    def revisit(self, references: References) -> Iterator[Message]:
        """Issue frames again for which there are better references by now."""
        landed = references.landed
        if landed != self._landed and self._desk.loading:
            self._desk.look_again()
        self._landed = landed
        yield from self._issuer.again(self._desk.results())

    def settle(self, timeout_s: float) -> Iterator[Message]:
        """Wait for what the night is still making of what was handed in; yield the frames that it issues again."""
        for _ in range(round(timeout_s / PUT_S)):
            if self._desk.idle:
                return
            yield from self._issuer.again(self._desk.wait_for_result(PUT_S))

    def free_sums(self) -> None:
        """Have the rates of the last exposure out of the sums before these change."""
        if self._harvest is not None:
            self._harvest.hurry()
            self._harvest = None

    def forget(self) -> None:
        """Leave the sums as they are, after a fault inside."""
        self._harvest = None

    def _hand_in(self, exposure: Exposure, frame: Frame, selection: Selection) -> None:
        """Let the night have an exposure; its sums stay as they are until the next read."""
        calibration = exposure.calibration
        assert selection.choice is not None  # the exposure was opened with it
        try:
            sums = self._desk.new_sums(calibration.shape)
        except RtcalError as error:
            self._desk.fail(error)
            return
        kept = Kept(
            selection.kind,
            frame.header,
            sums,
            opening=calibration.references,
            references=calibration.references,
            choice=selection.choice,
            detector=exposure.plan.detector,
            border=calibration.border,
            windows=selection.windows.places,
            noise_e=tuple(exposure.channel_noise_e),
            always=exposure.always,
            glow=self._issuer.survey.glowing,
        )
        self._harvest = self._desk.take(kept, exposure.sums, calibration)
