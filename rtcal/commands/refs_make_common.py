"""What the commands of `rtcal refs make` share: options, inputs, and the file that comes out."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from astropy.io import fits

from refcache import ReferenceStore
from rtcal.bands import Bands
from rtcal.buffers import FlagImage, FloatImage
from rtcal.commands.common import ConfigOption, doubtful, load_settings, progress_bar, say
from rtcal.commands.reduce import open_input
from rtcal.config import Settings
from rtcal.errors import RtcalError, UsageError
from rtcal.reduce import Reducer
from rtcal.refmake.cards import Origin, reference_cards
from rtcal.refmake.ramps import RampStack
from rtcal.refmake.stacks import Advance
from streams.clock import SystemClock
from streams.closing import Closing
from streams.dq import Dq
from streams.fits_images import write_image
from streams.messages import Frame, Message, Read, Scalar
from streams.ordering import Resequencer
from streams.sources import Source

Inputs = Annotated[
    list[Path], typer.Argument(help="Directories or files of FITS reads, or a recording (.mcap).", show_default=False)
]
DetectorOption = Annotated[
    str | None, typer.Option("--detector", metavar="NAME", help="Take the reads of this detector alone.")
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="The reference file to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")]
Pedigree = Annotated[str, typer.Option(help="INFLIGHT, GROUND, SIMULATION or DUMMY.")]
PEDIGREES = ("INFLIGHT", "GROUND", "SIMULATION", "DUMMY")
COUNTED = (
    Dq.DO_NOT_USE,
    Dq.HOT,
    Dq.WARM,
    Dq.DEAD,
    Dq.LOW_QE,
    Dq.TELEGRAPH,
    Dq.CROSS_BAD,
    Dq.CROSS_BAD_NEIGH,
    Dq.OTHER_BAD_PIXEL,
    Dq.NO_LIN_CORR,
    Dq.UNRELIABLE_BIAS,
)


def check_output(out: Path, overwrite: bool, pedigree: str) -> None:
    """Say what is wrong before minutes of work, not after.

    Raises
    ------
    UsageError
        If the file is there, its directory is not, or the pedigree is none.
    """
    if pedigree.upper() not in PEDIGREES:
        raise UsageError(f"--pedigree {pedigree}: choose {', '.join(PEDIGREES)}")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already; give --overwrite to replace it")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no directory {out.parent}; make it first")


class OneDetector(Closing):
    """The messages of another source that are of one detector.

    Parameters
    ----------
    source
        The other.
    detector
        Its name; None for every detector.
    """

    def __init__(self, source: Source, detector: str | None) -> None:
        self.counters = source.counters
        self._source = source
        self._detector = detector

    @property
    def exhausted(self) -> bool:
        """True when nothing can come any more."""
        return self._source.exhausted

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message, or None if it is of another detector."""
        message = self._source.receive(timeout_s)
        return message if message is None or self._detector in (None, message.header.detector) else None

    def close(self) -> None:
        """Close the other source."""
        self._source.close()


@dataclass(frozen=True)
class Input:
    """Where reads come from, and how they are to be understood.

    Parameters
    ----------
    paths
        Directories or files of FITS reads, or one recording.
    detector
        The one to take; None where there is one only.
    config
        The user's configuration.
    """

    paths: Sequence[Path]
    detector: str | None
    config: Path | None

    def settings(self, override: Sequence[str] = ()) -> Settings:
        """Return the configuration for reducing calibrations: bad pixels stay as they are."""
        ramp = {"mode": "utr"}
        calibration, night = {"bad_pixels": "keep"}, {"use": False}  # each exposure once, by what it is given
        return load_settings(self.config, override=[*override], calibration=calibration, ramp=ramp, night=night)

    def opened(self, settings: Settings) -> Source:
        """Open what there is to read."""
        return OneDetector(open_input(self.paths, settings), self.detector)


def reduced(
    given: Input, override: Sequence[str], take: Callable[[Frame], None], on_read: Callable[[Read], None] | None = None
) -> None:
    """Reduce the inputs, and hand over the frame of each finished exposure.

    Parameters
    ----------
    given
        The inputs.
    override
        `TYPE=FILE` or `TYPE=N/A` for references.
    take
        Given each frame that has a rate anywhere.
    on_read
        Given each read first.
    """
    settings = given.settings(override)
    references = ReferenceStore(settings.refcache, settings.calibration.stale_s)
    for problem in references.preload():
        say(f"references: {problem}")
    with given.opened(settings) as source, Bands(settings.daemon.threads) as bands, progress_bar() as progress:
        task = progress.add_task("messages", total=None)

        def note(message: Message) -> None:
            progress.advance(task)
            if on_read is not None and isinstance(message, Read):
                on_read(message)

        for frame in Reducer(settings, references, bands, SystemClock()).frames(source, note):
            if frame.header.final:
                _tell_references(frame)
                if _has_rates(frame):
                    take(frame)


def _tell_references(frame: Frame) -> None:
    for reference in doubtful(frame.header.references):
        say(f"{frame.header.exposure_id}: {reference.reftype} {reference.status} {reference.note}")


def _has_rates(frame: Frame) -> bool:
    """Tell whether any pixel has a rate; a ramp of one read has none, and nothing can be made of it."""
    if np.isfinite(frame.data).any():
        return True
    say(f"{frame.header.exposure_id}: no pixel has a rate (reads used: {frame.header.reads_used}); left out")
    return False


@contextmanager
def raw_ramps(given: Input, directory: Path, bias_dn: FloatImage | None = None) -> Iterator[RampStack]:
    """Give the ramps of the inputs as they were read, in order, until the block ends.

    Parameters
    ----------
    given
        The inputs.
    directory
        Takes the reads while they are worked on.
    bias_dn
        See `RampStack`.
    """
    settings = given.settings()
    order = Resequencer(settings.daemon.hold_reads)
    with RampStack(directory, settings.detectors, bias_dn) as ramps:
        with given.opened(settings) as source, progress_bar() as progress:
            task = progress.add_task("messages", total=None)
            while not source.exhausted:
                message = source.receive(0.0)
                progress.advance(task)
                if isinstance(message, Read):
                    for read in order.push(message):
                        ramps.append(read)
            for read in order.flush():
                ramps.append(read)
        yield ramps


@contextmanager
def rows_bar(what: str, rows: int) -> Iterator[Advance]:
    """Show how many of the rows are done."""
    with progress_bar() as progress:
        task = progress.add_task(what, total=rows)
        yield lambda done: progress.advance(task, done)


@dataclass(frozen=True)
class Job:
    """A reference that is to be made: of what, and the file.

    Parameters
    ----------
    given
        The inputs.
    out
        The file.
    overwrite
        Whether files that are there may be replaced.
    pedigree
        Where the reference comes from.
    """

    given: Input
    out: Path
    overwrite: bool
    pedigree: str

    def write(
        self,
        reftype: str,
        origins: Sequence[Origin],
        dq: FlagImage,
        *,
        data: np.ndarray | None = None,
        err: np.ndarray | None = None,
        extra: Sequence[fits.ImageHDU] = (),
        cards: Mapping[str, tuple[Scalar, str]] | None = None,
        notes: str = "",
    ) -> None:
        """Write the reference, and say what it is and how many pixels it flags."""
        header = reference_cards(reftype, origins, self.pedigree.upper(), cards)
        try:
            write_image(self.out, header, data, err, dq, extra=extra, overwrite=True)
        except OSError as error:
            raise RtcalError(str(error)) from error
        active = dq[dq & np.uint32(Dq.REFERENCE_PIXEL) == 0]
        flagged = {str(bit.name): int(np.count_nonzero(active & np.uint32(bit))) for bit in COUNTED}
        counts = [f"{count} {name}" for name, count in flagged.items() if count]
        of = f"{reftype} of {origins[0].detector} from {len(origins)} inputs"
        say(", ".join([f"{self.out}: {of}", *([notes] if notes else []), *counts]))


def makes_reference(make: Callable[..., None]) -> Callable[..., None]:
    """Return the command of a function that makes a reference: the options that all of them have, beside its own.

    Parameters
    ----------
    make
        Takes a `Job`, then options of its own; its docstring is the command's.
    """

    def command(
        inputs: Inputs,
        out: Out,
        detector: DetectorOption = None,
        config: ConfigOption = None,
        overwrite: Overwrite = False,
        pedigree: Pedigree = "GROUND",
        **options: object,
    ) -> None:
        check_output(out, overwrite, pedigree)
        make(Job(Input(inputs, detector, config), out, overwrite, pedigree), **options)

    common = list(inspect.signature(command).parameters.values())[:-1]
    own = [one.replace(kind=one.KEYWORD_ONLY) for one in list(inspect.signature(make).parameters.values())[1:]]
    command.__signature__ = inspect.Signature([*common, *own])  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in [*common, *own]}
    command.__name__, command.__doc__ = make.__name__, make.__doc__
    return command


def float_image(name: str, array: np.ndarray, **cards: Any) -> fits.ImageHDU:
    """Return an extension of float32 values."""
    hdu = fits.ImageHDU(np.array(array, dtype=">f4", order="C"), name=name)
    hdu.header.update(cards)
    return hdu
