"""`rtcal refs make`: dark, bad-pixel map and sky, from reduced ramps."""

from contextlib import ExitStack

import typer

from rtcal.commands.common import OverrideOption, say
from rtcal.commands.refs_make_common import Job, makes_reference, reduced, rows_bar
from rtcal.commands.refs_make_detector import bias, linearity, saturation
from rtcal.commands.refs_make_noise import gain, readnoise
from rtcal.commands.refs_make_scan import lensletscan
from rtcal.refmake.badpix import make_badpix
from rtcal.refmake.cards import Origin
from rtcal.refmake.dark import make_dark
from rtcal.refmake.ramps import RampStack
from rtcal.refmake.sky import make_sky
from rtcal.refmake.stacks import FrameStack
from streams.messages import Frame, FrameHeader, Read, ReadHeader

make = typer.Typer(help="Make a reference file from ramps of one detector.", no_args_is_help=True)
WITHOUT = ("sky=N/A", "flat=N/A")


@make.command("dark")
@makes_reference
def dark(job: Job, override: OverrideOption = None) -> None:
    """Make a master dark: the mean rate without outliers, its error, hot and warm pixels flagged.

    Examples:

        rtcal refs make dark ramps/dark_D1 ramps/dark_D2 --out dark.fits
    """
    with FrameStack(job.out.parent) as frames:
        reduced(job.given, [*(override or []), "dark=N/A", "badpix=N/A", *WITHOUT], frames.append)
        for header in frames.headers:
            if _kind(header) and not _is_dark(header):
                say(f"{header.exposure_id}: its type is {_kind(header)}, not dark; taken all the same")
        with rows_bar("rows", frames.shape[0]) as advance:
            made = make_dark(frames, advance)
        job.write("DARK", _origins(frames), made.dq, data=made.rate, err=made.err)


@make.command("badpix")
@makes_reference
def badpix(job: Job, override: OverrideOption = None) -> None:
    """Make a bad-pixel map: hot, noisy and unsteady pixels from dark ramps, the others from illuminated ramps.

    A ramp is a dark if its EXPTYPE (OBSTYPE) says so. Light shows dead pixels, those of low efficiency, and open
    ones, whose charge goes to their four neighbours.

    Examples:

        rtcal refs make badpix ramps/dark_D1 ramps/dark_D2 ramps/sky_D --out badpix.fits
    """
    with ExitStack() as stack:
        darks, lit = (stack.enter_context(FrameStack(job.out.parent)) for _ in range(2))
        reads = stack.enter_context(RampStack(job.out.parent, job.given.settings().detectors))

        def take(frame: Frame) -> None:
            (darks if _is_dark(frame.header) else lit).append(frame)

        def take_read(read: Read) -> None:
            if _is_dark(read.header):
                reads.append(read)

        reduced(job.given, [*(override or []), "dark=N/A", "badpix=N/A", *WITHOUT], take, take_read)
        say(f"{len(darks)} dark and {len(lit)} illuminated exposures")
        with rows_bar("rows", 2 * darks.shape[0] + lit.shape[0]) as advance:
            dq = make_badpix(darks, lit, reads, advance)
        job.write("DQ", [*_origins(darks), *_origins(lit)], dq)


@make.command("sky")
@makes_reference
def sky(job: Job, override: OverrideOption = None) -> None:
    """Make a sky: the dark-subtracted rate of blank or dithered fields, combined without registering them.

    Frames are brought to one level first. From three frames on each pixel takes their median, so that sources
    at different places drop out; of two, the mean without outliers.

    Examples:

        rtcal refs make sky ramps/sky_D --override dark=dark.fits --override badpix=badpix.fits --out sky.fits
    """
    with FrameStack(job.out.parent) as frames:
        reduced(job.given, [*(override or []), *WITHOUT], frames.append)
        with rows_bar("rows", frames.shape[0]) as advance:
            made, scales = make_sky(frames, advance)
        listed = f"scaled by {', '.join(f'{scale:.4f}' for scale in scales)}" if set(scales) != {1.0} else ""
        job.write("SKY", _origins(frames), made.dq, data=made.rate, err=made.err, notes=listed)


for command in (bias, saturation, linearity, readnoise, gain, lensletscan):
    make.command()(command)


def _origins(frames: FrameStack) -> list[Origin]:
    return [Origin.of_frame(header) for header in frames.headers]


def _is_dark(header: FrameHeader | ReadHeader) -> bool:
    kind = _kind(header)
    return "DARK" in kind or kind in ("DRK", "MDK")


def _kind(header: FrameHeader | ReadHeader) -> str:
    return str(header.setup.get("EXPTYPE", header.setup.get("OBSTYPE", ""))).strip().upper()
