"""`rtcal reduce`: the daemon's pipeline offline."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from refcache import ReferenceStore
from rtcal.bands import Bands
from rtcal.commands.common import (
    ConfigOption,
    JsonOption,
    ModeOption,
    OverrideOption,
    VerboseOption,
    doubtful,
    irregularities,
    load_settings,
    progress_bar,
    say,
    say_gaps,
    start_logging,
)
from rtcal.config import Settings
from rtcal.errors import RtcalError, UsageError
from rtcal.products import make_directory, write_frame
from rtcal.reduce import Reducer
from rtcal.writer import write_product
from streams.clock import SystemClock
from streams.fits_reads import FitsSource
from streams.messages import Cube, Frame, Spectrum
from streams.playback import RecordingSource
from streams.sources import Source

InputsArgument = Annotated[
    list[Path], typer.Argument(help="Recordings (.mcap), FITS reads, or directories of FITS reads.", show_default=False)
]


def open_input(inputs: Sequence[Path], settings: Settings) -> Source:
    """Open one recording, or any number of FITS files and directories, as a source.

    Raises
    ------
    UsageError
        If recordings are mixed with FITS files, or there are several.
    StreamsError
        If an input cannot be read.
    """
    recordings = [path for path in inputs if path.suffix == ".mcap"]
    if not recordings:
        return FitsSource(inputs, settings.fits_keys)
    if len(inputs) > 1:
        raise UsageError("a recording is reduced alone: give one .mcap file, or FITS files and directories")
    return RecordingSource(recordings[0], decode=settings.streams.decode_recorded)


def reduce(
    inputs: InputsArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the frames go; made if it is not there.")],
    config: ConfigOption = None,
    override: OverrideOption = None,
    mode: ModeOption = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="Leave out the reads of which RULE is true, e.g. 'LGSR0 < 0.08' or 'reads 3,7-9', or a rule's name in "
            "[telemetry.rules]. Repeatable.",
        ),
    ] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Reduce a recording or FITS reads through the daemon's own pipeline; frames go to DIR as FITS.

    The frames are those that the daemon makes of the same reads, bit for bit.

    Examples:

        rtcal reduce night.mcap --out frames

        rtcal reduce ramps/sci_D --override dark=dark.fits --override sky=N/A --mode utr --out frames

        rtcal reduce night.mcap --exclude poor_seeing --exclude 'reads 0' --out frames
    """
    start_logging(verbose)
    settings = load_settings(config, override=override, mode=mode)
    written: list[dict[str, object]] = []
    made: list[dict[str, object]] = []
    with open_input(inputs, settings) as source, Bands(settings.daemon.threads) as bands, progress_bar() as progress:
        make_directory(out)  # a mistake is said before minutes of reduction, not after
        references = ReferenceStore(settings.refcache, settings.calibration.stale_s)
        for problem in references.preload():
            say(f"references: {problem}")
        task = progress.add_task("messages", total=None)
        reducer = Reducer(settings, references, bands, SystemClock(), exclude or ())
        for product in reducer.products(source, lambda _: progress.advance(task)):
            if not (product.header.final or settings.products.every_ramp):
                continue
            if isinstance(product, Frame):
                written.append(_write(product, out))
            else:
                made.append(_write_spectral(product, out))
        counters = dict(sorted((source.counters + reducer.counters).items()))
        if isinstance(source, RecordingSource):
            say_gaps(source.reader)
    if irregular := irregularities(counters):
        say(f"reads that were not in order: {irregular}")
    if as_json:
        answer = {"frames": written, "counters": counters} | ({"spectra": made} if made else {})
        json.dump(answer, sys.stdout, indent=1)
        sys.stdout.write("\n")
    if not written:
        hint = (
            "; [products] every_ramp = true writes the frames of unfinished exposures" if "frames" in counters else ""
        )
        raise RtcalError(f"no frame came out{hint}; counters: {counters}")


def _write(frame: Frame, out: Path) -> dict[str, object]:
    header = frame.header
    path = write_frame(frame, out)
    lost = f", {header.reads_lost} LOST" if header.reads_lost else ""
    lost += f", {header.reads_rejected} REJECTED" if header.reads_rejected else ""
    excluded = f", {header.reads_excluded} left out" if header.reads_excluded else ""
    say(f"{path}: {header.detector}, {header.mode.upper()}, {header.reads_used} reads{lost}{excluded}")
    for note in header.notes:
        say(f"  {note}")
    for reference in doubtful(header.references):
        say(f"  {reference.reftype}: {reference.status} {reference.note}".rstrip())
    return {
        "detector": header.detector,
        "exposure_id": header.exposure_id,
        "ramps": header.ramps,
        "path": str(path),
        "reads_used": header.reads_used,
        "reads_lost": header.reads_lost,
        "reads_rejected": header.reads_rejected,
        "reads_excluded": header.reads_excluded,
        "references": {one.reftype: one.status for one in header.references},
    }


def _write_spectral(product: Cube | Spectrum, out: Path) -> dict[str, object]:
    header = product.header
    path = write_product(product, out)
    bins, (ny, nx) = header.bins, header.field
    what = f"cube of {bins} x {ny} x {nx}" if isinstance(product, Cube) else f"spectrum of {bins} bins"
    say(f"{path}: {what}, {header.status}, arc {header.arc.name} {header.arc.status}, sky {header.sky}")
    for note in header.notes:
        say(f"  {note}")
    return {"exposure_id": header.exposure_id, "kind": header.kind, "path": str(path), "status": header.status}
