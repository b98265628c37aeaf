"""`rtcal refs make readnoise | gain`: noise of the reads, and how it grows with light."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from rtcal.commands.common import JsonOption
from rtcal.commands.refs_common import print_rows
from rtcal.commands.refs_make_common import Job, makes_reference, raw_ramps, rows_bar
from rtcal.refmake.cards import origins_of
from rtcal.refmake.gain import ChannelGain, make_gain
from rtcal.refmake.noise import make_read_noise
from rtcal.refmake.plots import check_plot, plot_gain
from streams.messages import Scalar

PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="PNG", help="Draw the photon-transfer curves into this file.")
]


@makes_reference
def readnoise(job: Job, as_json: JsonOption = False) -> None:
    """Make a read-noise map: noise of one single read of each pixel [e-], from the steps between reads of darks.

    Writes a table of the output channels too. The gain is that of the reads' headers, else of the detector's table.

    Examples:

        rtcal refs make readnoise ramps/dark_D1 ramps/dark_D2 --out readnoise.fits
    """
    with raw_ramps(job.given, job.out.parent) as ramps:
        with rows_bar("rows", ramps.shape[0]) as advance:
            made = make_read_noise(ramps, advance)
        typical = float(np.median([channel.read_noise_e for channel in made.channels]))
        cards: dict[str, tuple[Scalar, str]] = {
            "RNKIND": ("SINGLE", "noise of one read, not of a difference of two"),
            "RNMEDIAN": (round(typical, 4), "[e-] median of the channels"),
            "GAIN": (ramps.detector.gain_e_per_dn, "[e-/DN] that was used"),
        }
        rows = [_rounded(asdict(channel)) for channel in made.channels]
        print_rows(rows, as_json, "read noise of one single read")
        job.write(
            "READNOISE",
            origins_of(ramps),
            made.dq,
            data=made.noise_e,
            err=made.err_e,
            cards=cards,
            notes=f"{typical:.3f} e- a read",
        )


@makes_reference
def gain(job: Job, plot: PlotOption = None, as_json: JsonOption = False) -> None:
    """Make a gain map by photon transfer: electrons for each DN of every output channel, from pairs of flat ramps.

    Ramps of the same light make pairs; their differences have no flat field and no reset noise. Writes a table
    of the output channels too. Capacitance between pixels hides part of the noise: what neighbours share is
    measured and put back (`apparent_gain` is without that).

    Examples:

        rtcal refs make gain ramps/flat_1 ramps/flat_2 --plot gain.png --out gain.fits
    """
    if plot is not None:
        check_plot(plot, job.overwrite)
    with raw_ramps(job.given, job.out.parent) as ramps:
        with rows_bar("rows", ramps.shape[0]) as advance:
            made = make_gain(ramps, advance)
        data, err = made.plane(ramps.shape)
        typical = float(np.median([channel.gain_e_per_dn for channel in made.channels]))
        noise = float(np.nanmedian([channel.read_noise_e for channel in made.channels] + [np.nan]))
        cards = {
            "GAINMED": (round(typical, 5), "[e-/DN] median of the channels"),
            "COUPLING": (round(made.coupling, 5), "variance that neighbours share"),
            "NPAIRS": (made.pairs, "pairs of ramps"),
        }
        print_rows([_row(channel) for channel in made.channels], as_json, "gain by photon transfer")
        if plot is not None:
            plot_gain(made, plot)
        coupled = f"{made.coupling:.1%} of the variance shared with neighbours (put back)"
        job.write(
            "GAIN",
            origins_of(ramps),
            ramps.border_flags(),
            data=data,
            err=err,
            cards=cards,
            notes=f"{typical:.4f} e-/DN, read noise {noise:.2f} e- from the same curves, {coupled}",
        )


def _row(channel: ChannelGain) -> dict[str, Any]:
    row = asdict(channel)
    for key in ("means_dn", "variances_dn2", "fit"):
        del row[key]
    return _rounded(row | {"points": len(channel.means_dn), "up_to_dn": max(channel.means_dn)})


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Round for a table; what is no number is null in JSON."""
    return {
        key: (float(f"{value:.5g}") if np.isfinite(value) else None) if isinstance(value, float) else value
        for key, value in row.items()
    }
