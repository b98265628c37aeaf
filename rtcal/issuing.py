"""What one detector gives out: previews, frames with telemetry and quality, and what the spectrograph makes of them."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from rtcal.bands import Bands
from rtcal.exposure import Exposure
from rtcal.joined import Monitor, with_telemetry
from rtcal.night.desk import Anew
from rtcal.persistence import Persistence
from rtcal.pipeline_settings import PipelineSettings
from rtcal.ramp import Ramp
from rtcal.snapshots import complete, is_spectral
from rtcal.spectrograph.stage import CubeStage, Look
from rtcal.survey import Survey, screen_binning
from streams.clock import Clock
from streams.messages import Frame, Message, Preview, PreviewHeader, ReadHeader


class Issuer:
    """Makes the messages that go out, and numbers them.

    Parameters
    ----------
    settings
        The tables of the configuration.
    bands
        The pool of threads.
    clock
        For `published_ns` alone.
    monitor
        What telemetry says of the reads; None: there is none.
    cubes
        Makes the spectrograph's cubes; None: none are made.
    counters
        Takes `frames` and `reissued`.

    Attributes
    ----------
    final
        Whether the exposure's final frame is out.
    survey
        What was seen of the latest frame.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        bands: Bands,
        clock: Clock,
        monitor: Monitor | None,
        cubes: CubeStage | None,
        counters: Counter[str],
    ) -> None:
        self.final = False
        self.survey = Survey((0, 0), settings.preview_pixels)
        self._settings = settings
        self._meter = settings.meter
        self._persistence = None if settings.meter is None else Persistence(settings.meter.settings)
        self._monitor = monitor
        self._cubes = cubes
        self._bands = bands
        self._clock = clock
        self._counters = counters
        self._revision = 0
        self._sequences: Counter[str] = Counter()

    def begin(self) -> None:
        """Begin an exposure."""
        self._revision, self.final = 0, False

    def frame(self, exposure: Exposure, *, final: bool) -> tuple[Frame, Look | None]:
        """Return the frame of the ramps that are closed, and what the spectrograph makes of it at once."""
        spectral = is_spectral(exposure.opening.setup)
        look, self.survey = None, self._new_survey(exposure)
        with self._bands.turn.take(urgent=spectral):
            frame = exposure.frame(
                self._settings.calibration,
                self.survey,
                sequence=self._next("frame"),
                revision=self._revision,
                final=final,
                published_ns=self._clock.tai_ns(),
            )
            if spectral:  # white light is waited for like a frame
                frame = self._judged(frame, exposure)
                look = self._cubes.look(frame, exposure.calibration.references) if self._cubes is not None else None
        if not spectral:  # this needs one thread
            frame = self._judged(frame, exposure)
        self._revision += 1
        self.final = final
        self._counters["frames"] += 1
        return frame, look

    def _judged(self, frame: Frame, exposure: Exposure) -> Frame:
        """Say in a frame's header what telemetry and references say of it, and how good it is."""
        if self._monitor is not None:
            frame = with_telemetry(frame, self._monitor, exposure.calibration.references.types.get("adc"))
        frame = dataclasses.replace(frame, header=replace(frame.header, references=complete(frame.header)))
        return self._measured(frame, exposure)

    def again(self, results: Iterable[Anew]) -> Iterator[Message]:
        """Give the frames that are issued again their numbers and times."""
        for frame, survey, kept in results:
            header = replace(frame.header, sequence=self._next("frame"), published_ns=self._clock.tai_ns())
            self._counters["frames"] += 1
            self._counters["reissued"] += 1
            anew = dataclasses.replace(frame, header=header)
            look = None if self._cubes is None else self._cubes.look(anew, kept.opening)
            yield from self.products(anew, survey, look)

    def products(self, frame: Frame, survey: Survey, look: Look | None) -> Iterator[Message]:
        """Yield what there is: white light, a spectrum, the frame binned, small and waited for; the frame; its cube."""
        if look is not None:
            yield from look.quick
        binned = survey.binned(frame)
        if binned is not None:
            yield binned
        yield frame
        if look is not None and self._cubes is not None:
            self._bands.turn.let_by()  # frames of other detectors are waited for more than a cube
            yield from self._cubes.cube(look)

    def preview(self, exposure: Exposure, header: ReadHeader, ramp: Ramp) -> Preview:
        """Return the preview of a read."""
        shape = exposure.calibration.shape
        binning = screen_binning(shape, self._settings.preview_pixels)
        raw, rate = exposure.preview(binning, ramp)
        return Preview(
            PreviewHeader(
                instrument=header.instrument,
                detector=header.detector,
                sequence=self._next("preview"),
                time_ns=header.time_ns,
                exposure_id=header.exposure_id,
                ramp=header.ramp,
                read=header.read,
                ramps_planned=header.ramps_planned,
                reads_planned=header.reads_planned,
                reads_used=len(ramp.reads),
                reads_lost=ramp.lost,
                effective_s=ramp.length_s,
                binning=binning,
                full_shape=shape,
                published_ns=self._clock.tai_ns(),
                setup=header.setup,
            ),
            raw,
            rate,
        )

    def cube_so_far(self, exposure: Exposure, header: ReadHeader, ramp: Ramp) -> Iterator[Message]:
        """Yield the cube of an open ramp, if one is due."""
        if self._cubes is None or not self._cubes.wants_preview(header):
            return
        _, rate = exposure.preview(1, ramp)
        calibration = exposure.calibration
        cube = self._cubes.preview(rate, calibration.static_dq, header, calibration.references, ramp.length_s)
        if cube is not None:
            yield cube

    def _new_survey(self, exposure: Exposure) -> Survey:
        """Return what is to see the exposure's frame."""
        shape, glow = exposure.calibration.shape, None
        if self._persistence is not None:
            opening = exposure.opening
            glow = self._persistence.glow(opening.exposure_id, exposure.first_ns, exposure.last_ns, shape)
        return Survey(shape, self._settings.preview_pixels, glow)

    def _measured(self, frame: Frame, exposure: Exposure) -> Frame:
        """Say in a frame's header how good it is."""
        if self._meter is None or self._persistence is None:
            return frame
        blocks, glowing = self.survey.blocks, self.survey.glowing.size
        quality = self._meter.measure(frame, blocks, exposure.channel_noise_e, glowing)
        self._persistence.remember(frame, blocks)
        header = replace(frame.header, quality=quality, published_ns=self._clock.tai_ns())
        return dataclasses.replace(frame, header=header)

    def _next(self, kind: str) -> int:
        """Return the sequence number of the next message of a kind."""
        number = self._sequences[kind]
        self._sequences[kind] += 1
        return number
