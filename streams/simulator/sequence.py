"""The whole instrument: all detectors and the telemetry, merged in the order of time."""

import heapq
from collections.abc import Iterator
from operator import itemgetter

from streams.clock import NS, Clock, parse_iso_utc
from streams.errors import SettingsError
from streams.simulator.detector import Detector
from streams.simulator.exposures import DetectorStream, Due
from streams.simulator.guiding import WindowStream
from streams.simulator.instrument import band_um
from streams.simulator.scene import Scene
from streams.simulator.settings import SimulatorSettings
from streams.simulator.telemetry import telemetry_messages
from streams.simulator.truth import TruthSink
from streams.telemetry_keys import load_keys


class Simulator:
    """IRIS as a stream.

    Parameters
    ----------
    settings
        The table `[simulator]`.
    clock
        Tells the time of the start where the settings do not.
    on_truth
        Called with what was put in, after each exposure of each detector.
    keys
        File of the key table, whose events are published; empty: that of IRIS.

    Raises
    ------
    SettingsError
        If the filter, the epoch or the key table cannot be used.
    """

    def __init__(
        self, settings: SimulatorSettings, clock: Clock, on_truth: TruthSink | None = None, keys: str = ""
    ) -> None:
        _check(settings)
        self._table = load_keys(keys)
        self.settings = settings
        self.scene = Scene(settings)
        self._clock = clock
        self._on_truth = on_truth

    def start_ns(self) -> int:
        """Return when a stream begun now would start: the settings' epoch, or the clock's time (TAI)."""
        return parse_iso_utc(self.settings.epoch) if self.settings.epoch else self._clock.tai_ns()

    def messages(self) -> Iterator[Due]:
        """Yield all messages in the order of their due times, each time from the beginning.

        A read is made while its predecessor is under way: one read for each detector waits, ready, in
        the merger. The pixels of a read belong to who takes it.
        """
        settings, epoch_ns = self.settings, self.start_ns()
        streams: list[Iterator[Due]] = []
        for place, name in enumerate(settings.detectors):
            detector = Detector(settings, name, self.scene.chips[name], self.scene.tile)
            stream = DetectorStream(settings, place, detector, self.scene, epoch_ns, self._on_truth)
            streams.append(stream.messages())
            if stream.window is not None:
                guide = WindowStream(settings, name, stream.window, self.scene, stream.late_ns, epoch_ns)
                streams.append(guide.messages())
        end_s = settings.exposures * settings.exposure_ns / NS if settings.exposures else float("inf")
        streams.append(telemetry_messages(settings, self._table, epoch_ns, end_s))
        return heapq.merge(*streams, key=itemgetter(0))


def _check(settings: SimulatorSettings) -> None:
    band_um(settings.filter)
    if len(set(settings.detectors)) != len(settings.detectors):
        raise SettingsError(f"[simulator] detectors {settings.detectors} names one twice")
    if settings.guide_window and settings.guide_frame_time_s > settings.frame_time_s:
        raise SettingsError("[simulator] guide_frame_time_s is above frame_time_s: a window is read faster than all")
    if settings.guide_window > settings.size // 2:
        raise SettingsError(f"[simulator] guide_window = {settings.guide_window} is more than half of size")
    if settings.faintest_e_per_s > settings.brightest_e_per_s:
        raise SettingsError("[simulator] faintest_e_per_s is above brightest_e_per_s")
    if settings.epoch:
        try:
            parse_iso_utc(settings.epoch)
        except ValueError as error:
            raise SettingsError(f"[simulator] epoch: {error}; write YYYY-MM-DDThh:mm:ss (UTC)") from error
