"""References: CRDS rules that choose them and the files themselves, checked and loaded."""

from refcache.choosing import Choice
from refcache.chosen import Chosen, Mode, ReferenceSet, Status
from refcache.context import CrdsContext
from refcache.errors import RefcacheError, ReferenceFileError, SelectionError
from refcache.flags import Flags
from refcache.loading import load_reference
from refcache.preload import ReferenceStore, Watcher
from refcache.references import (
    BadPixels,
    Bias,
    Dark,
    Flat,
    Gain,
    Linearity,
    OtherReference,
    ReadNoise,
    Reference,
    Saturation,
    Sky,
)
from refcache.reftypes import FRAME_TYPES, REFTYPES
from refcache.rmaps import File, Files, NotApplicable, Omitted, Selection, Table
from refcache.settings import RefcacheSettings

__all__ = [
    "FRAME_TYPES",
    "REFTYPES",
    "BadPixels",
    "Bias",
    "Choice",
    "Chosen",
    "CrdsContext",
    "Dark",
    "File",
    "Files",
    "Flags",
    "Flat",
    "Gain",
    "Linearity",
    "Mode",
    "NotApplicable",
    "Omitted",
    "OtherReference",
    "ReadNoise",
    "RefcacheError",
    "RefcacheSettings",
    "Reference",
    "ReferenceFileError",
    "ReferenceSet",
    "ReferenceStore",
    "Saturation",
    "Selection",
    "SelectionError",
    "Sky",
    "Status",
    "Table",
    "Watcher",
    "load_reference",
]
