"""A picture of an arc's residuals, drawn without any plotting library."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from rtcal.errors import RtcalError
from rtcal.spectrograph.arc import ArcSolution
from rtcal.spectrograph.linelists import Floats

SIZE = (1000, 640)
_MARGIN = (70, 30)
_INK, _GRID, _POINT, _ZERO = "#222222", "#dddddd", "#1f5fa8", "#b03030"


def plot_residuals(path: Path, solution: ArcSolution, title: str) -> None:
    """Draw the residuals of all lines used [px], against position above and against wavelength below.

    Raises
    ------
    RtcalError
        If the picture cannot be written.
    """
    _, x, wavelength, residual = solution.residuals()
    picture = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN[0], 8), title, fill=_INK)
    half = SIZE[1] // 2
    limit = float(np.clip(np.percentile(np.abs(residual), 99.5) * 1.2, 0.02, 2.0)) if residual.size else 0.1
    _panel(draw, (30, half - 40), x, residual, limit, "position [px]")
    _panel(draw, (half + 20, SIZE[1] - 40), wavelength, residual, limit, "wavelength [um, vacuum]")
    try:
        picture.save(path)
    except (OSError, ValueError) as error:
        raise RtcalError(f"{path}: the plot cannot be written: {error}") from error


def _panel(
    draw: ImageDraw.ImageDraw, rows: tuple[int, int], across: Floats, residual: Floats, limit: float, label: str
) -> None:
    left, right = _MARGIN[0], SIZE[0] - _MARGIN[1]
    top, bottom = rows
    low, high = (float(across.min()), float(across.max())) if across.size else (0.0, 1.0)
    span = high - low or 1.0

    def place(value: float, away: float) -> tuple[float, float]:
        return left + (value - low) / span * (right - left), (top + bottom) / 2 - away / limit * (bottom - top) / 2

    for tick in np.linspace(-limit, limit, 5):
        y = place(low, float(tick))[1]
        draw.line((left, y, right, y), fill=_ZERO if abs(tick) < limit / 100 else _GRID)
        draw.text((8, y - 6), f"{tick:+.3f}", fill=_INK)
    for tick in np.linspace(low, high, 6):
        x = place(float(tick), 0)[0]
        draw.line((x, bottom, x, bottom + 4), fill=_INK)
        draw.text((x - 18, bottom + 6), f"{tick:.4g}", fill=_INK)
    draw.rectangle((left, top, right, bottom), outline=_INK)
    draw.text((right - 7 * len(label), bottom + 20), label, fill=_INK)
    for value, away in zip(across, residual, strict=True):
        x, y = place(float(value), float(np.clip(away, -limit, limit)))
        draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=_POINT)
