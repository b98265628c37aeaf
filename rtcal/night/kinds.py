"""What an exposure is of: its type in its name, else in its setup."""

import re
from typing import Final, Literal

from refcache import ReferenceSet
from refcache.chosen import not_applicable
from streams.messages import FrameHeader, ReadHeader

Kind = Literal["science", "sky", "dark", "arc", "flat", "bias"]

_TYPE_IN_NAME = re.compile(r"-([A-Z]{3})\d-\d{4}(?:-|\Z)")
_TYPES: Final[dict[str, Kind]] = {
    "SKY": "sky",
    "DRK": "dark",
    "MDK": "dark",
    "DARK": "dark",
    "ARC": "arc",
    "FFD": "flat",
    "NFF": "flat",
    "FLAT": "flat",
    "CAL": "flat",
    "BIA": "bias",
    "BIAS": "bias",
}
_KEYS: Final = ("EXPTYPE", "OBSTYPE", "IMTYPE")
LEFT_OUT: Final[dict[Kind, tuple[str, ...]]] = {
    "science": (),
    "sky": ("sky",),
    "dark": ("dark", "sky", "flat"),
    "arc": ("sky",),
    "flat": ("sky", "flat"),
    "bias": ("dark", "sky", "flat"),
}
"""Steps that would take out of an exposure what it was made to show."""


def kind_of(header: ReadHeader | FrameHeader) -> Kind:
    """Return what an exposure is of; science where neither its name nor its setup says otherwise."""
    named = _TYPE_IN_NAME.search(header.exposure_id)
    words = [named[1]] if named else []
    words += [str(header.setup[key]).strip().upper() for key in _KEYS if key in header.setup]
    return next((_TYPES.get(word, "science") for word in words), "science")


def fitting(references: ReferenceSet, kind: Kind) -> ReferenceSet:
    """Return the references of an exposure without the steps that its kind leaves out."""
    return references.changed(
        {reftype: not_applicable(reftype, f"the exposure is a {kind}") for reftype in LEFT_OUT[kind]}
    )
