"""A picture of an arc's residuals."""

from pathlib import Path

import numpy as np

from rtcal.refmake.plots import save_figure
from rtcal.spectrograph.linelists import Floats
from rtcal.spectrograph.solution import ArcSolution


def plot_residuals(path: Path, solution: ArcSolution, middle_y: Floats, title: str) -> None:
    """Draw the residuals of all lines used [px]: over the detector, by wavelength, and how many of which size.

    Parameters
    ----------
    path
        The PNG.
    solution
        The arc.
    middle_y
        Row of each trace.
    title
        Above the picture.

    Raises
    ------
    RtcalError
        If the picture cannot be written.
    """
    from matplotlib.figure import Figure  # half a second to import, for this alone

    traces, x, wavelength, residual = solution.residuals()
    limit = float(np.clip(np.percentile(np.abs(residual), 99) * 1.3, 0.02, 1.0)) if residual.size else 0.1
    figure = Figure(figsize=(10, 8), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplot_mosaic([["detector", "detector"], ["wavelength", "sizes"]], width_ratios=[3, 1])
    dots = axes["detector"].scatter(
        x, middle_y[traces], c=residual, s=8, cmap="coolwarm", vmin=-limit, vmax=limit, linewidths=0
    )
    figure.colorbar(dots, ax=axes["detector"], label="fit less list [px]")
    axes["detector"].set(xlabel="position along the trace [px]", ylabel="row of the trace [px]")
    axes["wavelength"].plot(wavelength, residual, ".", markersize=3)
    axes["wavelength"].axhline(0, color="black", linewidth=0.7)
    axes["wavelength"].set(xlabel="wavelength [um, vacuum]", ylabel="fit less list [px]", ylim=(-limit, limit))
    axes["sizes"].hist(residual, bins=np.linspace(-limit, limit, 41).tolist(), orientation="horizontal")
    axes["sizes"].set(xlabel="lines", ylim=(-limit, limit))
    save_figure(figure, path)
