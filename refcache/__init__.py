"""References: CRDS rules that choose them and the files themselves, checked and loaded."""

from refcache.chosen import Chosen, Mode, ReferenceSet, Status
from refcache.context import CrdsContext
from refcache.errors import RefcacheError, ReferenceFileError, SelectionError
from refcache.preload import ReferenceStore
from refcache.references import REFTYPES, BadPixels, Dark, Flat, Reference, Sky, load_reference
from refcache.rmaps import File, Files, NotApplicable, Omitted, Selection, Table
from refcache.settings import RefcacheSettings

__all__ = [
    "REFTYPES",
    "BadPixels",
    "Chosen",
    "CrdsContext",
    "Dark",
    "File",
    "Files",
    "Flat",
    "Mode",
    "NotApplicable",
    "Omitted",
    "RefcacheError",
    "RefcacheSettings",
    "Reference",
    "ReferenceFileError",
    "ReferenceSet",
    "ReferenceStore",
    "Selection",
    "SelectionError",
    "Sky",
    "Status",
    "Table",
    "load_reference",
]
