"""`rtcal refs make lensletscan`: the profiles of the lenslets' spectra, from a scan."""

from pathlib import Path
from typing import Annotated

import typer
from astropy.io import fits

from rtcal.commands.common import ConfigOption, OverrideOption, load_settings, progress_bar, say
from rtcal.commands.refs_make_common import Inputs, Out, Overwrite, Pedigree, check_output
from rtcal.errors import UsageError
from rtcal.spectrograph.arcfile import read_traces
from rtcal.spectrograph.arcframes import load_frames
from rtcal.spectrograph.arcwrite import reference_cards
from rtcal.spectrograph.lensletscan import extensions, measure
from streams.fits_images import write_hdus

TracesOption = Annotated[
    Path, typer.Option("--traces", metavar="ARC", help="ARC reference of the mode: where the spectra lie.")
]


def lensletscan(
    inputs: Inputs,
    traces: TracesOption,
    out: Out,
    config: ConfigOption = None,
    override: OverrideOption = None,
    overwrite: Overwrite = False,
    pedigree: Pedigree = "GROUND",
) -> None:
    """Make the profiles of the lenslets' spectra: the share of each one's light in every row, wings and all.

    A scan is a few exposures of an even lamp, reads or reduced frames; in each a mask leaves some of the lenslets
    open, so far apart that their spectra do not touch. Which are open is seen in the exposures themselves.

    Examples:

        rtcal refs make lensletscan scan/ --traces arc_len.fits --override dark=dark.fits --out scan_len.fits
    """
    check_output(out, overwrite, pedigree)
    where = read_traces(traces)
    if not (where.sigma > 0).all():
        raise UsageError(f"{traces}: its spectra are not those of lenslets: they have no Gaussian width (SIGMA)")
    left_out = ["sky=N/A", "flat=N/A", *(override or [])]
    settings = load_settings(config, override=left_out, calibration={"bad_pixels": "keep"}, night={"use": False})
    with progress_bar() as progress:
        task = progress.add_task("reads", total=None)
        frames = load_frames(inputs, settings, lambda: progress.advance(task))
    where.check(frames[0].data.shape)
    with progress_bar() as progress:
        task = progress.add_task("spectra", total=len(where))
        planes = [(frame.data, frame.err, frame.dq) for frame in frames]
        measured, source = measure(planes, where, lambda done: progress.update(task, completed=done))
    start = min((frame.start for frame in frames if frame.start), default="")
    cards = reference_cards("LENSLETSCAN", frames[0].header, start, pedigree.upper())
    cards["NTRACE"], cards["NGOOD"] = len(where), int((source >= 0).sum())
    for frame in frames:
        cards["HISTORY"] = f"from {frame.name}"
    cards["HISTORY"] = f"traces of {traces.name}"
    write_hdus(out, fits.HDUList([fits.PrimaryHDU(header=cards), *extensions(where, measured)]), overwrite=True)
    seen = ", ".join(f"{frame.name} {int((source == k).sum())}" for k, frame in enumerate(frames))
    say(f"{out}: {cards['NGOOD']} of {len(where)} spectra measured ({seen})")
