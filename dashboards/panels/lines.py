"""Lines that are marked on spectra: those of the sky, and those that sources show."""

from typing import Any

from streams.lamps import oh_table

OH_FAINTEST = 0.3
"""Part of the strongest of its band that a line of the sky must have."""
REST_UM: dict[str, float] = {
    "Lya": 0.121567, "CIV": 0.154906, "CIII]": 0.190873, "MgII": 0.279912, "[OII]": 0.372848, "Hd": 0.410289,
    "Hg": 0.434168, "Hb": 0.486268, "[OIII]": 0.500824, "[OI]": 0.630205, "Ha": 0.656461, "[NII]": 0.658527,
    "[SII]": 0.671830, "[SIII]": 0.953321, "Pad": 1.005218, "HeI": 1.083331, "Pag": 1.094109, "[FeII]1.26": 1.257021,
    "Pab": 1.282159, "[FeII]1.64": 1.644002, "Paa": 1.875613, "Brd": 1.945087, "H2S1": 2.121831, "Brg": 2.166121,
    "H2Q1": 2.406592,
}  # fmt: skip
"""Vacuum wavelengths at rest [um], by the names that a person types; Greek letters are a, b, g, d.

Hydrogen, helium and forbidden lines: NIST Atomic Spectra Database; molecular hydrogen: Roueff et al. 2019, A&A 630,
A58.
"""


def line_facts() -> dict[str, Any]:
    """Return what the page needs to mark lines: wavelengths of the sky's strong lines, and lines at rest by name."""
    return {
        "ohLines": [round(wavelength, 6) for wavelength, strength in oh_table() if strength >= OH_FAINTEST],
        "restLines": REST_UM,
    }
