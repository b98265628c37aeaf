"""References in memory, one class for each type: whole, checked and read-only.

Axis order is (y, x); images are float32, DQ uint32, native byte order, C order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from refcache.fits_images import FloatImage, locked
from refcache.flags import Flags
from refcache.values import SetupValue


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference:
    """What every reference has.

    Attributes
    ----------
    reftype
        Name of its type, see `reftypes`.
    name
        File name.
    path
        Where it was loaded from.
    sha256
        Of the file's bytes, in hexadecimal.
    useafter
        USEAFTER card, else DATE-OBS, UTC; "" if neither is there.
    pedigree
        PEDIGREE card in upper case, e.g. INFLIGHT, GROUND, SIMULATION, DUMMY; "" if it is missing.
    header
        Cards of PRIMARY, those of the first image extension where PRIMARY lacks them.
    dq
        Data-quality bits; a plane of them, uint32, (y, x), is taken too.
    notes
        What was put right while loading, for people.
    """

    reftype: ClassVar[str] = ""
    name: str
    path: Path
    sha256: str
    useafter: str
    pedigree: str
    header: Mapping[str, SetupValue]
    dq: Flags
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.dq.shape

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return sum(image.nbytes for image in vars(self).values() if isinstance(image, np.ndarray | Flags))


@dataclass(frozen=True, eq=False, kw_only=True)
class Dark(Reference):
    """Signal without light.

    Attributes
    ----------
    rate, err
        [e-/s], float32, (y, x), finite, read-only. A pixel without a finite rate has 0 and UNRELIABLE_DARK.
    """

    reftype: ClassVar[str] = "dark"
    rate: FloatImage
    err: FloatImage


@dataclass(frozen=True, eq=False, kw_only=True)
class Sky(Reference):
    """Signal of the sky and the telescope.

    Attributes
    ----------
    rate, err
        [e-/s], float32, (y, x), finite, read-only. A pixel without a finite rate has 0 and DO_NOT_USE: no
        bit is the sky's own, and a frame's pixel that keeps its sky has no valid rate.
    """

    reftype: ClassVar[str] = "sky"
    rate: FloatImage
    err: FloatImage


@dataclass(frozen=True, eq=False, kw_only=True)
class Flat(Reference):
    """Relative response.

    Attributes
    ----------
    flat, err
        Without unit, float32, (y, x), positive and finite, read-only. A pixel with a response of 0 or less,
        or none, has 1 and UNRELIABLE_FLAT.
    """

    reftype: ClassVar[str] = "flat"
    flat: FloatImage
    err: FloatImage


@dataclass(frozen=True, eq=False, kw_only=True)
class BadPixels(Reference):
    """Lasting defects of a detector, in `dq`."""

    reftype: ClassVar[str] = "badpix"


@dataclass(frozen=True, eq=False, kw_only=True)
class OtherReference(Reference):
    """A reference whose contents are for others; `dq` is empty."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Bias(Reference):
    """Level after a reset: what the signals of linearity count from.

    Attributes
    ----------
    level
        Raw level [DN], float32, (y, x), finite, read-only. A pixel without a finite one has 0 and
        UNRELIABLE_BIAS.
    """

    reftype: ClassVar[str] = "bias"
    level: FloatImage


@dataclass(frozen=True, eq=False, kw_only=True)
class Saturation(Reference):
    """Level from which a pixel is saturated.

    Attributes
    ----------
    level
        Raw level [DN], float32, (y, x), above 0, read-only. A pixel whose level is not known has infinity,
        which no read reaches, and NO_SAT_CHECK.
    """

    reftype: ClassVar[str] = "saturation"
    level: FloatImage


@dataclass(frozen=True, eq=False, kw_only=True)
class Linearity(Reference):
    """Polynomial of each pixel that makes its signal linear.

    Attributes
    ----------
    coefficients
        c of `y = sum c_k x^k`, x the measured and y the linear signal [DN above the bias], float32, (y, k, x),
        finite, at least two, read-only. A pixel without a polynomial has 0, 1, 0 ... and NO_LIN_CORR.
    valid_dn
        Signal x up to which it holds [DN above the bias]; infinity where the file does not say.
    """

    reftype: ClassVar[str] = "linearity"
    coefficients: FloatImage
    valid_dn: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Gain(Reference):
    """Electrons for each DN of a detector.

    Attributes
    ----------
    gain_e_per_dn
        Median of the good pixels [e-/DN]; the flat field takes out what channels and pixels differ by.
    """

    reftype: ClassVar[str] = "gain"
    gain_e_per_dn: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadNoise(Reference):
    """Noise of one single read.

    Attributes
    ----------
    noise_e
        Typical of the good pixels [e-]. That of a file whose RNKIND is CDS, the noise of a difference, is divided by
        the root of two.
    """

    reftype: ClassVar[str] = "readnoise"
    noise_e: float

    def with_gain(self, gain_e_per_dn: float) -> float:
        """Return the noise [e-] where a DN has so many electrons; the file's GAIN card tells how many it took."""
        taken = self.header.get("GAIN")
        if not isinstance(taken, int | float) or taken <= 0:
            return self.noise_e
        return self.noise_e * gain_e_per_dn / taken


def crop(reference: Reference, y: int, x: int, shape: tuple[int, int]) -> Reference:
    """Cut a window out of a full-frame reference.

    Parameters
    ----------
    reference
        The full frame.
    y, x
        First row and column, from 0.
    shape
        Rows and columns of the window, which must lie inside.

    Returns
    -------
    Reference
        A copy in C order, read-only, of the same provenance.
    """
    rows, columns = slice(y, y + shape[0]), slice(x, x + shape[1])
    whole = {key: value for key, value in vars(reference).items() if isinstance(value, np.ndarray)}
    images = {key: locked(value[rows, ..., columns]) for key, value in whole.items()}  # coefficients: (y, k, x)
    if y < 0 or x < 0 or y + shape[0] > reference.shape[0] or x + shape[1] > reference.shape[1]:
        raise ValueError(
            f"window {shape} at ({y}, {x}) does not lie inside {reference.name}, which is {reference.shape}"
        )
    note = f"cropped to {shape[0]} x {shape[1]} at column {x + 1}, row {y + 1}"
    changed: dict[str, Any] = {**images, "dq": reference.dq.window(y, x, shape), "notes": (*reference.notes, note)}
    return replace(reference, **changed)
