"""`rtcal refs make`: references made here."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from astropy.io import fits

import rtcal
from refcache import ReferenceStore
from rtcal import refmake
from rtcal.bands import Bands
from rtcal.commands.common import ConfigOption, OverrideOption, doubtful, load_settings, progress_bar, say
from rtcal.errors import RtcalError, UsageError
from rtcal.reduce import Reducer
from streams.clock import SystemClock, iso_utc
from streams.dq import Dq
from streams.fits_images import write_image
from streams.fits_reads import FitsSource
from streams.messages import Frame, FrameHeader

make = typer.Typer(help="Make a reference file from ramps of one detector.", no_args_is_help=True)

Inputs = Annotated[list[Path], typer.Argument(help="Directories or files of FITS reads.", show_default=False)]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="The reference file to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")]
Pedigree = Annotated[str, typer.Option(help="INFLIGHT, GROUND, SIMULATION or DUMMY.")]
PEDIGREES = ("INFLIGHT", "GROUND", "SIMULATION", "DUMMY")
MATCH_KEYS = ("INSTERA", "INSTMODE", "READMODE", "FILTER", "GRATING", "SCALE", "SUBARRAY")


@make.command("dark")
def dark(
    inputs: Inputs, out: Out, config: ConfigOption = None, overwrite: Overwrite = False, pedigree: Pedigree = "GROUND"
) -> None:
    """Make a master dark: the mean rate without outliers, its error, hot and warm pixels flagged.

    Examples:

        rtcal refs make dark ramps/dark_D1 ramps/dark_D2 --out dark.fits
    """
    _check_output(out, overwrite, pedigree)
    frames = _reduce(inputs, config, ["dark=N/A", "badpix=N/A", "sky=N/A", "flat=N/A"])
    made = refmake.make_dark(frames)
    _write(out, "DARK", frames, made.rate, made.err, made.dq, pedigree)


@make.command("badpix")
def badpix(
    inputs: Inputs, out: Out, config: ConfigOption = None, overwrite: Overwrite = False, pedigree: Pedigree = "GROUND"
) -> None:
    """Make a bad-pixel map: hot and noisy pixels from dark ramps, dead ones from any illuminated ramps.

    A ramp is a dark if its EXPTYPE (OBSTYPE) says so.

    Examples:

        rtcal refs make badpix ramps/dark_D1 ramps/dark_D2 ramps/sky_D --out badpix.fits
    """
    _check_output(out, overwrite, pedigree)
    frames = _reduce(inputs, config, ["dark=N/A", "badpix=N/A", "sky=N/A", "flat=N/A"])
    darks = [frame for frame in frames if _is_dark(frame.header)]
    lit = [frame for frame in frames if not _is_dark(frame.header)]
    dq = refmake.make_badpix(darks, lit)
    say(f"{len(darks)} dark and {len(lit)} illuminated exposures")
    _write(out, "DQ", frames, None, None, dq, pedigree)


@make.command("sky")
def sky(
    inputs: Inputs,
    out: Out,
    config: ConfigOption = None,
    override: OverrideOption = None,
    overwrite: Overwrite = False,
    pedigree: Pedigree = "GROUND",
) -> None:
    """Make a sky: the dark-subtracted rate of blank-field ramps, combined without registering them.

    Examples:

        rtcal refs make sky ramps/sky_D --override dark=dark.fits --override badpix=badpix.fits --out sky.fits
    """
    _check_output(out, overwrite, pedigree)
    frames = _reduce(inputs, config, [*(override or []), "sky=N/A", "flat=N/A"])
    made = refmake.make_sky(frames)
    _write(out, "SKY", frames, made.rate, made.err, made.dq, pedigree)


def _check_output(out: Path, overwrite: bool, pedigree: str) -> None:
    """Say what is wrong before minutes of reduction, not after."""
    if pedigree.upper() not in PEDIGREES:
        raise UsageError(f"--pedigree {pedigree}: choose {', '.join(PEDIGREES)}")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already; give --overwrite to replace it")


def _reduce(inputs: Sequence[Path], config: Path | None, override: list[str]) -> list[Frame]:
    """Reduce the inputs with bad pixels kept as they are; only finished exposures count."""
    settings = load_settings(config, override=override, calibration={"bad_pixels": "keep"}, ramp={"mode": "utr"})
    references = ReferenceStore(settings.refcache, settings.calibration.stale_s)
    for problem in references.preload():
        say(f"references: {problem}")
    with (
        FitsSource(inputs, settings.fits_keys) as source,
        Bands(settings.daemon.threads) as bands,
        progress_bar() as progress,
    ):
        task = progress.add_task("reads", total=None)
        reducer = Reducer(settings, references, bands, SystemClock())
        frames = [frame for frame in reducer.frames(source, lambda _: progress.advance(task)) if frame.header.final]
    for frame in frames:
        for reference in doubtful(frame.header.references):
            say(f"{frame.header.exposure_id}: {reference.reftype} {reference.status} {reference.note}")
    return [frame for frame in frames if _has_rates(frame)]


def _has_rates(frame: Frame) -> bool:
    """Tell whether any pixel has a rate; a ramp of one read has none, and nothing can be made of it."""
    if np.isfinite(frame.data).any():
        return True
    say(f"{frame.header.exposure_id}: no pixel has a rate (reads used: {frame.header.reads_used}); left out")
    return False


def _is_dark(header: FrameHeader) -> bool:
    kind = str(header.setup.get("EXPTYPE", header.setup.get("OBSTYPE", ""))).upper()
    return "DARK" in kind or kind in ("DRK", "MDK")


def _write(
    out: Path,
    reftype: str,
    frames: Sequence[Frame],
    data: np.ndarray | None,
    err: np.ndarray | None,
    dq: np.ndarray,
    pedigree: str,
) -> None:
    cards = _cards(reftype, [frame.header for frame in frames], pedigree.upper())
    try:
        write_image(out, cards, data, err, dq, overwrite=True)
    except OSError as error:
        raise RtcalError(str(error)) from error
    flagged = {bit.name: int(np.count_nonzero(dq & bit)) for bit in (Dq.DO_NOT_USE, Dq.HOT, Dq.WARM, Dq.DEAD)}
    say(f"{out}: {reftype} of {frames[0].header.detector} from {len(frames)} exposures, {_counts(flagged)}")


def _counts(flagged: Mapping[str | None, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in flagged.items() if count)


def _cards(reftype: str, headers: Sequence[FrameHeader], pedigree: str) -> fits.Header:
    """Return what a reference needs to be chosen: who it is for, from when on, and where it came from."""
    first = min(headers, key=lambda header: header.first_read_ns)
    cards = fits.Header()
    cards["INSTRUME"] = first.instrument
    cards["DETECTOR"] = str(first.setup.get("DETECTOR", first.detector))
    for key in MATCH_KEYS:
        values = {str(header.setup[key]) for header in headers if key in header.setup}
        if len(values) == 1:
            cards[key] = values.pop()
    cards["REFTYPE"] = (reftype, "type of reference")
    cards["REFVER"] = ("1", "version")
    cards["USEAFTER"] = (iso_utc(first.first_read_ns)[:19].replace("T", " "), "UTC")
    cards["PEDIGREE"] = (pedigree, "where it comes from")
    cards["DATAMODL"] = "ReferenceImage"
    if reftype != "DQ":
        cards["BUNIT"] = "e-/s"
    cards["DATE"] = (datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "UTC, file made")
    cards["ORIGIN"] = f"rtcal {rtcal.__version__}"
    for header in headers:
        cards["HISTORY"] = f"from {header.exposure_id}: {header.reads_used} reads, {header.effective_s:.3f} s"
    return cards
