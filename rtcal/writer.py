"""Frames to disk on a thread of their own: a slow or full disk never holds up the reduction."""

import logging
import queue
import threading
from collections import Counter
from pathlib import Path

from rtcal.products import make_directory, write_frame
from rtcal.spectrograph.cubefile import write_cube, write_spectrum
from streams.messages import Cube, Frame, Spectrum

log = logging.getLogger(__name__)

WAITING_FRAMES = 8


Product = Frame | Cube | Spectrum


class FrameWriter:
    """Writes frames, cubes and spectra as FITS.

    Parameters
    ----------
    directory
        Where to; made if it is not there.
    every_ramp
        False leaves out frames that a later ramp of the exposure will replace.

    Attributes
    ----------
    counters
        `frames_written` and `frames_not_written`.
    problem
        Why the latest frame is not on disk, in a sentence; empty while all is well.

    Raises
    ------
    ImageError
        If the directory cannot be made.
    """

    def __init__(self, directory: Path, *, every_ramp: bool) -> None:
        make_directory(directory)
        # All keys are there from the start: other threads iterate over it.
        self.counters: Counter[str] = Counter(frames_written=0, frames_not_written=0)
        self.problem = ""
        self._directory = directory
        self._every_ramp = every_ramp
        self._queue: queue.Queue[Product | None] = queue.Queue(WAITING_FRAMES)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def put(self, frame: Product) -> None:
        """Queue a product; never waits. With the queue full it is not written, which is counted and said."""
        if not (frame.header.final or self._every_ramp):
            return
        try:
            self._queue.put_nowait(frame)
        except queue.Full:
            self._fail(f"disk too slow: frame {frame.header.exposure_id} was not written")

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and end; False if that took too long."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return False
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (frame := self._queue.get()) is not None:
            try:
                path = write_product(frame, self._directory)
            except OSError as error:
                self._fail(f"frame {frame.header.exposure_id} was not written: {error}")
            except Exception as error:
                log.exception("fault while writing a frame")
                self._fail(f"frame {frame.header.exposure_id} was not written: {error!r}")
            else:
                self.counters["frames_written"] += 1
                self.problem = ""
                log.info("wrote %s", path)

    def _fail(self, text: str) -> None:
        self.counters["frames_not_written"] += 1
        self.problem = text
        log.error(text)


def write_product(product: Product, directory: Path) -> Path:
    """Write a product as FITS, return its path (`write_frame`, `write_cube`, `write_spectrum`)."""
    match product:
        case Cube():
            return write_cube(product, directory)
        case Spectrum():
            return write_spectrum(product, directory)
        case _:
            return write_frame(product, directory)
