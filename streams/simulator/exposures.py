"""What comes when: exposures, ramps and reads of one detector, and the events around them.

An exposure is one or more ramps; a ramp is a reset, one frame time long, and its reads back to back.
The reset clocks the pixels as a read does, so that at its first read each pixel has gathered light
for one frame time. Times are counted in nanoseconds from the start and are exact.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from streams.clock import NS
from streams.messages import Message, Observe, ObserveHeader, ObserveName, Read, ReadHeader
from streams.simulator.detector import Detector
from streams.simulator.guiding import guide_window
from streams.simulator.scene import Scene
from streams.simulator.settings import SCAN_STEPS, Kind, SimulatorSettings
from streams.simulator.setup import INSTRUMENT, exposure_id, setup_keys
from streams.simulator.truth import TruthRecorder, TruthSink
from streams.windows import WINDOWS, listed

Due = tuple[float, Message]
"""When a message is complete [s since the start], and the message."""


@dataclass(frozen=True)
class _Exposure:
    """One exposure of one detector; times [ns since the epoch]."""

    id: str
    kind: Kind
    start_ns: int
    step: int
    setup: dict[str, str | int | float | bool]


class DetectorStream:
    """The messages of one detector, in order.

    Parameters
    ----------
    settings
        The table `[simulator]`.
    place
        Which of its detectors.
    detector
        Makes the reads.
    scene
        Tells what it looks at.
    epoch_ns
        Start of the simulation (TAI).
    on_truth
        Called after each exposure with what was put in.
    """

    def __init__(
        self,
        settings: SimulatorSettings,
        place: int,
        detector: Detector,
        scene: Scene,
        epoch_ns: int,
        on_truth: TruthSink | None,
    ) -> None:
        self._settings = settings
        self._name = settings.detectors[place]
        # The detectors' clocks are not locked; spreading them also spreads the work.
        self.late_ns = place * settings.frame_time_ns // len(settings.detectors)
        self.window = guide_window(settings, scene, self._name)
        self._detector = detector
        self._scene = scene
        self._epoch_ns = epoch_ns
        self._on_truth = on_truth
        self._events = itertools.count()
        self._reads = itertools.count()

    def messages(self) -> Iterator[Due]:
        """Yield every message of the sequence; reads are made when they are asked for."""
        settings = self._settings
        numbers = range(settings.exposures) if settings.exposures else itertools.count()
        last, scans = None, itertools.count()
        for number, kind in zip(numbers, itertools.cycle(settings.sequence), strict=False):
            start_ns = self.late_ns + number * settings.exposure_ns
            name = exposure_id(settings, self._name, kind, number + 1)
            setup = setup_keys(settings, self._name, kind, self._epoch_ns + start_ns)
            if self.window is not None:
                setup[WINDOWS] = listed([self.window])
            step = next(scans) % SCAN_STEPS if kind == "scan" else 0
            last = _Exposure(name, kind, start_ns, step, setup)
            yield from self._expose(last)
        if last:
            yield self._event("ObserveEnd", last, last.start_ns + settings.exposure_ns)

    def _expose(self, exposure: _Exposure) -> Iterator[Due]:
        settings = self._settings
        rate_e_per_s = self._scene.rate(self._name, exposure.kind, step=exposure.step)
        recorder = TruthRecorder(settings, rate_e_per_s) if self._on_truth else None
        yield self._event("PrepareStart", exposure, exposure.start_ns)
        yield self._event("ExposureStart", exposure, exposure.start_ns)
        for ramp in range(settings.ramps_per_exposure):
            self._detector.reset()
            reset_ns = exposure.start_ns + ramp * settings.ramp_ns + settings.frame_time_ns
            for read in range(settings.reads_per_ramp):
                at_s = (reset_ns + read * settings.frame_time_ns) / NS
                seen = self._scene.seen(self._name, exposure.kind, at_s, rate_e_per_s)
                raw_dn, hits = self._detector.read(seen, settings.frame_time_s)
                if self.window is not None:
                    raw_dn[self.window.slices] = 0  # read by itself, and missing here
                if recorder:
                    recorder.add(ramp, read, hits, raw_dn)
                header = self._read_header(exposure, ramp, read, reset_ns)
                yield (reset_ns + (read + 1) * settings.frame_time_ns) / NS, Read(header, raw_dn)
        end_ns = exposure.start_ns + settings.exposure_ns
        yield self._event("ReadoutEnd", exposure, end_ns)
        yield self._event("ExposureEnd", exposure, end_ns)
        if self._on_truth and recorder:
            start_ns = self._epoch_ns + exposure.start_ns
            self._on_truth(recorder.finish(exposure.id, self._name, exposure.kind, start_ns))

    def _read_header(self, exposure: _Exposure, ramp: int, read: int, reset_ns: int) -> ReadHeader:
        settings = self._settings
        return ReadHeader(
            instrument=INSTRUMENT,
            detector=self._name,
            sequence=next(self._reads),
            time_ns=self._epoch_ns + reset_ns + read * settings.frame_time_ns,
            exposure_id=exposure.id,
            ramp=ramp,
            read=read,
            ramps_planned=settings.ramps_per_exposure,
            reads_planned=settings.reads_per_ramp,
            reset_ns=self._epoch_ns + reset_ns,
            frame_time_ns=settings.frame_time_ns,
            gain_e_per_dn=settings.gain_e_per_dn,
            read_noise_e=settings.read_noise_e or None,
            saturation_dn=settings.saturation_dn,
            setup=exposure.setup,
        )

    def _event(self, name: ObserveName, exposure: _Exposure, at_ns: int) -> Due:
        header = ObserveHeader(
            instrument=INSTRUMENT,
            detector=self._name,
            sequence=next(self._events),
            time_ns=self._epoch_ns + at_ns,
            name=name,
            exposure_id=exposure.id,
            setup=exposure.setup,
        )
        return at_ns / NS, Observe(header)
