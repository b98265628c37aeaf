"""Numbers as they travel to the page: what is not finite is null."""

import math
from typing import Any

import numpy as np


def number(value: Any) -> float | None:
    """Return a finite float, or None."""
    return float(value) if math.isfinite(value) else None


def listed(values: np.ndarray, digits: int | None) -> list[float | None]:
    """Return a list, rounded to decimals; None keeps seven significant figures, what float32 holds."""
    finite = np.isfinite(values)
    if digits is None:
        return [float(f"{value:.7g}") if good else None for value, good in zip(values.tolist(), finite, strict=True)]
    rounded = np.round(np.where(finite, values, 0.0), digits).tolist()
    return [value if good else None for value, good in zip(rounded, finite, strict=True)]
