"""The same pipeline offline: a recording or FITS reads in, frames out, nothing dropped."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from rtcal.bands import Bands
from rtcal.config import Settings
from rtcal.joined import Monitor
from rtcal.pipeline import Pipeline
from rtcal.pipeline_settings import PipelineSettings
from rtcal.quality import Meter
from rtcal.routing import Key, Router
from rtcal.selection import References
from rtcal.spectrograph.nightarcs import NightArcs
from rtcal.spectrograph.stage import CubeStage
from rtcal.telemetry import TelemetryHistory
from rtcal.writer import Product
from streams.clock import Clock
from streams.messages import Frame, Message, Telemetry
from streams.optics import Optics
from streams.sources import Source
from streams.telemetry_keys import load_keys


def pipeline_settings(settings: Settings) -> PipelineSettings:
    """Return the part of the configuration that a pipeline needs."""
    return PipelineSettings(
        ramp=settings.ramp,
        calibration=settings.calibration,
        detectors=settings.detectors,
        hold_reads=settings.daemon.hold_reads,
        preview_pixels=settings.daemon.preview_pixels,
        meter=meter_of(settings),
        night=settings.night if settings.night.use else None,
        announce=settings.refcache.announce,
    )


def meter_of(settings: Settings) -> Meter | None:
    """Return what measures frames, unless that is switched off."""
    return Meter(settings.quality, Optics(settings.optics, settings.filters)) if settings.quality.enabled else None


def cube_stage(settings: Settings, clock: Clock, night: NightArcs | None = None) -> CubeStage | None:
    """Return what makes cubes for one detector; None where they are switched off."""
    if not settings.spectrograph.cubes:
        return None
    threads = settings.daemon.threads or os.cpu_count() or 1
    return CubeStage(settings.spectrograph, clock, threads, night, settings.wcs)


class Reducer:
    """Reduces whatever a source gives, until it is exhausted.

    Parameters
    ----------
    settings
        The whole configuration.
    references
        The store.
    bands
        The pool of threads.
    clock
        For `published_ns` alone.
    exclude
        Rules that leave reads out, besides those of the configuration.

    Raises
    ------
    UsageError
        If a rule cannot be read.

    Notes
    -----
    Messages go to the pipelines by the rules of the daemon (`routing`), whose counters are among these.
    """

    def __init__(
        self, settings: Settings, references: References, bands: Bands, clock: Clock, exclude: Sequence[str] = ()
    ) -> None:
        self._router = Router()
        self.pipelines: dict[Key, Pipeline] = {}
        self._settings = pipeline_settings(settings)
        self._new_cubes = partial(cube_stage, settings, clock)
        self._references = references
        self._bands = bands
        self._clock = clock
        self._telemetry = TelemetryHistory(load_keys(settings.telemetry.keys), settings.telemetry.history_s)
        self._new_monitor = partial(Monitor, settings, self._telemetry, exclude)
        self._new_monitor()  # a rule that cannot be read is said at once

    def frames(self, source: Source, on_message: Callable[[Message], None] | None = None) -> Iterator[Frame]:
        """Yield the frames of a source's reads, as `products` does."""
        return (product for product in self.products(source, on_message) if isinstance(product, Frame))

    def products(self, source: Source, on_message: Callable[[Message], None] | None = None) -> Iterator[Product]:
        """Yield frames, spectra and cubes of a source's reads; ramps that are open at its end come out as they are.

        Parameters
        ----------
        source
            Read until it is exhausted.
        on_message
            Called with each message before it is reduced, for a progress bar.
        """
        while not source.exhausted:
            message = source.receive(0.0)
            if message is not None:
                if on_message is not None:
                    on_message(message)
                yield from self._products_of(message)
        for pipeline in self.pipelines.values():
            yield from _only_products(pipeline.finish(aborted=False))

    @property
    def counters(self) -> Counter[str]:
        """The counters of all detectors together."""
        total = self._router.counters + self._telemetry.counters
        for pipeline in self.pipelines.values():
            total.update(pipeline.status().counters)
        return total

    def _products_of(self, message: Message) -> Iterator[Product]:
        if isinstance(message, Telemetry):
            self._telemetry.take(message)
        for key, item in self._router.route(message):
            if key not in self.pipelines:
                self.pipelines[key] = Pipeline(
                    self._settings, self._references, self._bands, self._clock, self._new_monitor(), self._new_cubes()
                )
            yield from _only_products(self.pipelines[key].process(item, preview=False))


def _only_products(messages: Iterator[Message]) -> Iterator[Product]:
    return (message for message in messages if isinstance(message, Product))
