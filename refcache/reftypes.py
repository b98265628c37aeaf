"""The types of references as one table: what each is, and how a file of it is stored and judged.

Seven have pixels that the reduction applies, two a number for the whole detector; three more say on each frame what
there is for whoever works on (wavelengths, profiles of the lenslets, atmospheric dispersion), and five are known to the
cache alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

# Bits of the table in `streams/dq.py` that a reference can set; this package imports none of ours.
DO_NOT_USE: Final = np.uint32(1 << 0)
UNRELIABLE_ERROR: Final = np.uint32(1 << 8)
NO_LIN_CORR: Final = np.uint32(1 << 20)
NO_SAT_CHECK: Final = np.uint32(1 << 21)
UNRELIABLE_BIAS: Final = np.uint32(1 << 22)
UNRELIABLE_DARK: Final = np.uint32(1 << 23)
UNRELIABLE_FLAT: Final = np.uint32(1 << 25)


@dataclass(frozen=True)
class Reftype:
    """One type.

    Attributes
    ----------
    about
        What it is, for people.
    images
        Names of the extension with its values; the first that is there is read. None: its contents are for others,
        here it is whole FITS with cards.
    unit
        What BUNIT must say: e-/s, no unit, DN, e-, e-/DN, or anything.
    neutral, flag
        What a pixel without a usable value counts as, and the bit that it gets.
    cube
        Whether its values are planes of coefficients, (k, y, x) in the file, not one image.
    has_err
        Whether ERR belongs to it.
    positive
        Whether only values above 0 are usable.
    flag_excludes
        Whether a pixel that the file gives the bit has no usable value, whatever number stands there.
    optional
        Whether rules that do not know the type are nothing to be told of at the start.
    on_reads
        Whether it works on reads, not on the frame: what an exposure began with is what its frame was made with.
        Where the rules do not know the type it is NA, not MISSING: headers or the configuration stand in for it.
    on_frames
        Whether each frame says what there is of it.
    spectral
        Whether it is of use to frames of spectra only.
    must_agree
        Cards in which a reference must agree with the exposure, whatever the rules let through.
    """

    about: str
    images: tuple[str, ...] = ()
    unit: Literal["rate", "relative", "level", "charge", "gain", "any"] = "any"
    neutral: float = 0.0
    flag: np.uint32 = DO_NOT_USE
    cube: bool = False
    has_err: bool = False
    positive: bool = False
    flag_excludes: bool = False
    optional: bool = False
    on_reads: bool = False
    on_frames: bool = True
    spectral: bool = False
    must_agree: tuple[str, ...] = ("DETECTOR",)


_LIGHT = ("DETECTOR", "FILTER", "GRATING", "SCALE")

REFTYPES: Final[Mapping[str, Reftype]] = MappingProxyType(
    {
        "badpix": Reftype("lasting defects of the detector", ("DQ",)),
        # A level that is never reached: what is not known cannot be checked.
        "saturation": Reftype(
            "level from which a pixel is saturated",
            ("DATA",),
            "level",
            np.inf,
            NO_SAT_CHECK,
            positive=True,
            flag_excludes=True,
            optional=True,
            on_reads=True,
        ),
        "bias": Reftype("level after a reset", ("DATA",), "level", 0.0, UNRELIABLE_BIAS, optional=True, on_reads=True),
        "linearity": Reftype(
            "polynomials that make signals linear",
            ("COEFFS", "DATA"),
            flag=NO_LIN_CORR,
            cube=True,
            flag_excludes=True,
            optional=True,
            on_reads=True,
        ),
        "gain": Reftype("electrons for each DN", ("DATA",), "gain", positive=True, optional=True, on_reads=True),
        "readnoise": Reftype("noise of one read", ("DATA",), "charge", positive=True, optional=True, on_reads=True),
        "dark": Reftype("signal without light", ("DATA",), "rate", 0.0, UNRELIABLE_DARK, has_err=True),
        # No bit is the sky's own, and a frame's pixel that keeps its sky has no valid rate.
        "sky": Reftype(
            "light of the sky and the telescope", ("DATA",), "rate", 0.0, DO_NOT_USE, has_err=True, must_agree=_LIGHT
        ),
        "flat": Reftype(
            "relative response",
            ("DATA",),
            "relative",
            1.0,
            UNRELIABLE_FLAT,
            has_err=True,
            positive=True,
            must_agree=_LIGHT,
        ),
        "arc": Reftype("wavelengths of the spectra", optional=True, spectral=True, must_agree=(*_LIGHT, "INSTMODE")),
        "lensletscan": Reftype(
            "where each lenslet's light falls",
            optional=True,
            spectral=True,
            must_agree=(*_LIGHT, "INSTMODE", "LLMSKST"),
        ),
        "adc": Reftype("dispersion of the ADC's prisms", optional=True, must_agree=()),
        "fiber": Reftype("image of the calibration unit's point source", optional=True, on_frames=False),
        "fluxstar": Reftype("star of known flux", optional=True, on_frames=False, must_agree=_LIGHT),
        "pinhole": Reftype("image of a grid of pinholes", optional=True, on_frames=False),
        "psfmeta": Reftype("history of the adaptive optics", optional=True, on_frames=False, must_agree=()),
        "psfstar": Reftype("star that shows the point spread function", optional=True, on_frames=False),
    }
)
"""By name, in the order in which they are applied."""

FRAME_TYPES: Final = tuple(name for name, kind in REFTYPES.items() if kind.on_frames)
"""Those of which each frame says something."""
