"""`rtcal refs make bias | saturation | linearity`: what linearity needs, from ramps as they were read."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from refcache.loading import load_reference
from refcache.references import Bias, Saturation
from rtcal.bands import Bands
from rtcal.buffers import FloatImage
from rtcal.commands.common import say
from rtcal.commands.refs_make_common import Job, float_image, makes_reference, raw_ramps, rows_bar
from rtcal.errors import UsageError
from rtcal.kernels.signal import MOST_POWERS
from rtcal.refmake.bias import make_bias
from rtcal.refmake.cards import origins_of
from rtcal.refmake.linearity import make_linearity
from rtcal.refmake.saturation import make_saturation
from streams.messages import Scalar

Order = Annotated[int, typer.Option(help="Highest power of the polynomial, 2 to 5.")]
BiasOption = Annotated[
    Path | None, typer.Option("--bias", metavar="FILE", help="Bias that signals count from; without it, extrapolated.")
]
SaturationOption = Annotated[
    Path | None,
    typer.Option("--saturation", metavar="FILE", help="Saturation map; without it the level of the reads' headers."),
]


@makes_reference
def bias(job: Job) -> None:
    """Make a bias: the mean level right after a reset, from the first reads of dark ramps.

    Examples:

        rtcal refs make bias ramps/dark_D1 ramps/dark_D2 --out bias.fits
    """
    with raw_ramps(job.given, job.out.parent) as ramps:
        with rows_bar("rows", ramps.shape[0]) as advance:
            made = make_bias(ramps, advance)
        job.write("BIAS", origins_of(ramps), made.dq, data=made.rate, err=made.err)


@makes_reference
def saturation(job: Job) -> None:
    """Make a saturation map: the raw level from which each pixel is saturated, from ramps that go beyond it.

    That is `saturation_fraction` of where it stops answering. Pixels that never saturate take the same part of the
    level in the reads' headers, else of the detector's table.

    Examples:

        rtcal refs make saturation ramps/flat_bright --out saturation.fits
    """
    fraction = job.given.settings().ramp.saturation_fraction
    with raw_ramps(job.given, job.out.parent) as ramps:
        with rows_bar("rows", ramps.shape[0]) as advance:
            made = make_saturation(ramps, fraction, advance)
        measured = f"measured in {made.measured.mean():.1%} of the pixels"
        typical = f"typically {np.median(made.level_dn[made.measured]):.0f} DN"
        cards: dict[str, tuple[Scalar, str]] = {
            "NMEAS": (int(made.measured.sum()), "pixels of which the level was measured"),
            "SATFRAC": (fraction, "of the level at which they stop"),
        }
        job.write(
            "SATURATION",
            origins_of(ramps),
            made.dq,
            data=made.level_dn,
            err=made.err_dn,
            cards=cards,
            notes=f"{measured}, {typical}",
        )


@makes_reference
def linearity(job: Job, order: Order = 3, bias: BiasOption = None, saturation: SaturationOption = None) -> None:
    """Make linearity coefficients: of each pixel the polynomial that turns a steady lamp's ramp into a straight line.

    The ramps may differ in brightness; the lamp must be steady within each. Reads from saturation on are not used.
    Cosmic rays are found and cost nothing but their step.

    Examples:

        rtcal refs make linearity flats/ --bias bias.fits --saturation saturation.fits --order 3 --out linearity.fits
    """
    if not 2 <= order <= MOST_POWERS:
        raise UsageError(f"--order {order}: choose 2 to {MOST_POWERS}")
    bias_dn, map_dn = _level(bias, "bias"), _level(saturation, "saturation")
    with raw_ramps(job.given, job.out.parent, bias_dn) as ramps:
        ramps.check("linearity")
        if map_dn is not None and map_dn.shape != ramps.shape:
            raise UsageError(f"--saturation {saturation} is {map_dn.shape}, the reads are {ramps.shape}")
        header_dn = ramps.detector.saturation_dn * job.given.settings().ramp.saturation_fraction
        ceiling = header_dn if map_dn is None else map_dn
        with rows_bar("rows", ramps.shape[0]) as advance, Bands(job.given.settings().daemon.threads) as pool:
            made = make_linearity(ramps, order, bias_dn, ceiling, pool, advance)
        cards = {
            "LINORDER": (order, "highest power"),
            "LINMAX": (round(made.valid_dn, 1), "[DN] above the bias, up to which they hold"),
            "LINZERO": ("BIAS" if bias else "EXTRAPOLATED", "where the zero of the signals is from"),
        }
        bent = _bent(made.coefficients[:, made.dq == 0], made.valid_dn)
        job.write(
            "NONLINCOEFF",
            origins_of(ramps),
            made.dq,
            extra=[float_image("COEFFS", made.coefficients)],
            cards=cards,
            notes=f"order {order}, good up to {made.valid_dn:.0f} DN, where {bent:.2%} is added",
        )
        part = made.valid_dn / made.saturated_dn
        if part < 1:
            say(f"that is {part:.0%} of saturation; reads beyond will count as saturated: brighter flats would help")


def _bent(coefficients: np.ndarray, signal_dn: float) -> float:
    """Return the typical part that the polynomials add to a signal."""
    powers = np.arange(len(coefficients))
    return float(np.median((coefficients * signal_dn ** (powers - 1.0)[:, None]).sum(axis=0) - 1))


def _level(path: Path | None, reftype: str) -> FloatImage | None:
    reference = None if path is None else load_reference(path, reftype)
    return reference.level if isinstance(reference, Bias | Saturation) else None
