"""Bands of the filters by name."""

import re
from collections.abc import Mapping


def tidy(name: object) -> str:
    """Return a name without case and punctuation: documents spell Br_Gamma, BrGamma, br-gamma."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def band_of(name: str, filters: Mapping[str, tuple[float, float]]) -> tuple[float, float] | None:
    """Return the edges of a filter [um]; None if it is not known."""
    wanted = tidy(name)
    return next((edges for known, edges in filters.items() if tidy(known) == wanted), None) if wanted else None
