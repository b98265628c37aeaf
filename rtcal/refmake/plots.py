"""Plots of what was measured, as PNG files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rtcal.errors import RtcalError, UsageError
from rtcal.refmake.gain import Gain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CURVES = 64


def check_plot(path: Path, overwrite: bool) -> None:
    """Refuse a name for a plot before the work is done.

    Raises
    ------
    UsageError
        If it is not a PNG's, it is there, or its directory is not.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"--plot {path}: give it a name that ends with .png")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already; give --overwrite to replace it")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {path}: there is no directory {path.parent}; make it first")


def plot_gain(gain: Gain, path: Path) -> None:
    """Draw the photon-transfer curves, what is left of them beside the fit, and the gain of each channel.

    Raises
    ------
    RtcalError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure  # half a second to import, for this alone

    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplot_mosaic([["curve", "curve"], ["left", "gains"]], height_ratios=[3, 2])
    for channel in gain.channels[:MOST_CURVES]:
        means, variances = np.array(channel.means_dn), np.array(channel.variances_dn2)
        order = np.argsort(means)
        fitted = np.polynomial.polynomial.polyval(means, channel.fit)
        colour = f"C{channel.channel % 10}"
        axes["curve"].plot(means, variances, ".", color=colour, markersize=4)
        axes["curve"].plot(means[order], fitted[order], "-", color=colour, linewidth=0.7)
        axes["left"].plot(means, 100 * (variances / fitted - 1), ".", color=colour, markersize=3)
    axes["curve"].set(
        xscale="log",
        yscale="log",
        xlabel="mean signal [DN]",
        ylabel="variance of one ramp [DN²]",
        title="photon transfer",
    )
    axes["left"].axhline(0, color="black", linewidth=0.7)
    axes["left"].set(xlabel="mean signal [DN]", ylabel="variance less the fit [%]")
    numbers = [channel.channel for channel in gain.channels]
    values, errors = zip(*((channel.gain_e_per_dn, channel.gain_err) for channel in gain.channels), strict=True)
    axes["gains"].errorbar(numbers, values, np.nan_to_num(errors), fmt="o", markersize=4)
    axes["gains"].set(xlabel="output channel", ylabel="gain [e-/DN]")
    save_figure(figure, path)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a plot, in one step.

    Raises
    ------
    RtcalError
        If the file cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.part.png")
    try:
        figure.savefig(temporary, dpi=120)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RtcalError(f"{path}: cannot be written: {error.strerror or error}") from error
