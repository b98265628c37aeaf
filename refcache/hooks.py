"""Rules that CRDS has as Python code for an observatory instead of in its mappings, for the rules known here.

A mapping names such a function in `hooks` of its header, or it is found by the mapping's instrument and
type. Ours are these few; a name that is not here does nothing, as in CRDS.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from refcache.mappings import MappingFile

Header = Mapping[str, str]
Change = Callable[[Header], Header]

EXTRA_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"jwst": ("META.VISIT.TSOVISIT", "META.INSTRUMENT.LAMP_STATE")}
)
"""Header keys that conditions may name although no mapping lists them, by observatory."""


def precondition(mapping: MappingFile) -> Change | None:
    """Return what changes the header before the rules are asked; None if nothing does."""
    return _CHANGES.get(_name(mapping, "precondition_header"))


def fallback(mapping: MappingFile) -> Change | None:
    """Return what gives a second header to ask with when the first found nothing; None if nothing does."""
    return _CHANGES.get(_name(mapping, "fallback_header"))


def needs_none(observatory: str, header: Header) -> bool:
    """Tell whether an exposure for which nothing was found needs no reference: HST's WFC at gain 0.5 or 1.4."""
    if observatory != "hst" or header.get("DETECTOR") != "WFC":
        return False
    try:
        return float(header.get("CCDGAIN", "")) in (0.5, 1.4)
    except ValueError:
        return False


def _name(mapping: MappingFile, hook: str) -> tuple[str, str]:
    observatory, instrument, filekind = (
        mapping.text_value(key, "") for key in ("observatory", "instrument", "filekind")
    )
    hooks = mapping.header.get("hooks")
    if isinstance(hooks, Mapping) and hooks:
        return f"{observatory}.{instrument}", str(hooks.get(hook, hook))
    return f"{observatory}.{instrument}", f"{hook}_{instrument}_{filekind}_v1"


def _custom_subarray(header: Header) -> Header:
    """Ignore the aperture of a WFC3 subarray that is no standard one: it says nothing."""
    if header.get("SUBARRAY") == "T" and "SUB" not in header.get("APERTURE", ""):
        return {**header, "APERTURE": "N/A"}
    return header


def _swapped_filters(header: Header) -> Header:
    """Swap the two filters of WFPC2, which stand in the rules in one order only."""
    return {**header, "FILTER1": header.get("FILTER2", ""), "FILTER2": header.get("FILTER1", "")}


_CHANGES: Mapping[tuple[str, str], Change] = MappingProxyType(
    {
        ("hst.wfc3", "precondition_header_wfc3_biasfile_v1"): _custom_subarray,
        ("hst.wfpc2", "fallback_header_wfpc2_flatfile_v1"): _swapped_filters,
    }
)
