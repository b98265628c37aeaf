"""World coordinates of a cube as FITS keywords, from its header."""

import math

from streams.messages import CubeHeader, WhiteHeader

MAS_PER_DEG = 3.6e6


def cube_axes(header: CubeHeader | WhiteHeader) -> dict[str, str | int | float | bool]:
    """Return the cards of a cube's axes: the sky, or without a pointing offsets on the field; vacuum wavelength."""
    world: dict[str, str | int | float | bool] = {"WCSAXES": 3}
    side = None if header.scale_mas is None else header.scale_mas / MAS_PER_DEG
    for axis, spaxels in enumerate(reversed(header.field), 1):
        # Without a pointing the field's own axes, from its centre.
        world |= {f"CTYPE{axis}": "LINEAR", f"CUNIT{axis}": "deg" if side else "pixel", f"CRVAL{axis}": 0.0}
        world |= {f"CRPIX{axis}": (spaxels + 1) / 2, f"CDELT{axis}": side or 1.0}
    if side and header.pointing_deg is not None:
        ra, dec, angle = header.pointing_deg
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        world |= {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra % 360.0, "CRVAL2": dec, "RADESYS": "ICRS"}
        # East lies to the left where north is up.
        world |= {"CDELT1": -side, "PC1_1": cosine, "PC1_2": -sine, "PC2_1": sine, "PC2_2": cosine}
    world |= {"CTYPE3": "WAVE", "CUNIT3": "um", "CRPIX3": 1.0, "DISPAXIS": 3}
    return world | {"CRVAL3": header.wave_first_um, "CDELT3": header.wave_step_um, "SPECSYS": "TOPOCENT"}


def white_axes(header: CubeHeader | WhiteHeader) -> dict[str, str | int | float | bool]:
    """Return the cards of the two axes of an image that a cube was collapsed to."""
    cards = cube_axes(header)
    return {"WCSAXES": 2} | {key: value for key, value in cards.items() if key[-1] in "12" or key == "RADESYS"}
