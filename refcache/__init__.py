"""References: CRDS rules that choose them and the files themselves, checked and loaded."""

from refcache.choosing import Choice
from refcache.chosen import Chosen, Mode, ReferenceSet, Status
from refcache.context import CrdsContext
from refcache.errors import RefcacheError, ReferenceFileError, SelectionError
from refcache.loading import load_reference
from refcache.preload import ReferenceStore, Watcher
from refcache.references import BadPixels, Bias, Dark, Flat, Linearity, Reference, Saturation, Sky
from refcache.reftypes import REFTYPES
from refcache.rmaps import File, Files, NotApplicable, Omitted, Selection, Table
from refcache.settings import RefcacheSettings

__all__ = [
    "REFTYPES",
    "BadPixels",
    "Bias",
    "Choice",
    "Chosen",
    "CrdsContext",
    "Dark",
    "File",
    "Files",
    "Flat",
    "Linearity",
    "Mode",
    "NotApplicable",
    "Omitted",
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
