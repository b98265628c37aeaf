"""Frames to disk on a thread of their own: a slow or full disk never holds up the reduction."""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rtcal.products import write_frame
from streams.messages import Frame

log = logging.getLogger(__name__)

WAITING_FRAMES = 8


class FrameWriter:
    """Writes frames as FITS.

    Parameters
    ----------
    directory
        Where to; made if it is not there.
    every_ramp
        False leaves out frames that a later ramp of the exposure will replace.
    report
        Called with a sentence when a file cannot be written.
    """

    def __init__(self, directory: Path, *, every_ramp: bool, report: Callable[[str], None]) -> None:
        self.counters: Counter[str] = Counter()
        self._directory = directory
        self._every_ramp = every_ramp
        self._report = report
        self._queue: queue.Queue[Frame | None] = queue.Queue(WAITING_FRAMES)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Queue a frame; never waits. With the queue full it is not written, which is counted and said."""
        if not (frame.header.final or self._every_ramp):
            return
        try:
            self._queue.put_nowait(frame)
        except queue.Full:
            self._fail(f"disk too slow: frame {frame.header.exposure_id} was not written")

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and end; False if that took too long."""
        threading.Thread(target=self._queue.put, args=(None,), daemon=True).start()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (frame := self._queue.get()) is not None:
            try:
                path = write_frame(frame, self._directory)
            except OSError as error:
                self._fail(f"frame {frame.header.exposure_id} was not written: {error}")
            except Exception as error:
                log.exception("fault while writing a frame")
                self._fail(f"frame {frame.header.exposure_id} was not written: {error}")
            else:
                self.counters["frames_written"] += 1
                log.info("wrote %s", path)

    def _fail(self, text: str) -> None:
        self.counters["frames_not_written"] += 1
        log.error(text)
        self._report(text)
