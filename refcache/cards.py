"""Cards of a reference's header: their values, units, and whether they fit an exposure's setup."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refcache.errors import UnitError
from refcache.reftypes import REFTYPES
from refcache.values import ANY, NA, UNDEFINED, SetupValue, normalise

_ELECTRONS = ("e-", "e", "electron", "electrons")
_PER_SECOND = ("/s", "/sec", "/second", "s-1", "s^-1", "s**-1", ".s-1", ".s**-1", "*s**-1")
RATE_UNITS = frozenset(f"{electrons}{per_second}" for electrons in _ELECTRONS for per_second in _PER_SECOND)
"""Spellings of electrons per second, without blanks and in lower case."""

_NO_UNIT = frozenset(("", "1", "none", "dimensionless", "normalized", "normalised", "unitless"))
_LEVEL_UNITS = frozenset(("dn", "adu", "count", "counts", "ct"))
_CHARGE_UNITS = frozenset(("e-", "e", "electron", "electrons"))
_GAIN_UNITS = frozenset(f"{charge}/{level}" for charge in _CHARGE_UNITS for level in _LEVEL_UNITS)
_UNITS: Mapping[str, tuple[frozenset[str], str, str]] = {
    "rate": (RATE_UNITS, "electrons per second", "e-/s"),
    "level": (_LEVEL_UNITS, "raw numbers", "DN"),
    "charge": (_CHARGE_UNITS, "electrons", "e-"),
    "gain": (_GAIN_UNITS, "electrons for each DN", "e-/DN"),
    "relative": (_NO_UNIT, "relative", "1"),
    "any": (frozenset(), "", ""),
}
"""By the table's word: what BUNIT may be, in lower case, and what to say of it."""

_READOUTS = {"MCD": "MCDS", "MDS": "MCDS", "OLS": "UTR"}
_NO_VALUE = frozenset((UNDEFINED, NA, ANY, "", "DEFAULT", "NONE"))


def plain_cards(header: Any) -> dict[str, SetupValue]:
    """Return the cards of a FITS header that have a plain value; commentary is left out."""
    cards: dict[str, SetupValue] = {}
    for card in header.cards:
        value = card.value
        if card.keyword and card.keyword not in ("COMMENT", "HISTORY") and isinstance(value, str | int | float | bool):
            cards[card.keyword.upper()] = value
    return cards


def check_unit(path: Path, reftype: str, unit: object) -> None:
    """Refuse a reference whose BUNIT is not the unit of its type.

    Raises
    ------
    UnitError
        If a rate is not in e-/s, a level not in DN, noise not in e-, a gain not in e-/DN, or a flat has a unit.
    """
    known, wanted, spelling = _UNITS[REFTYPES[reftype].unit]
    text = "".join(str(unit if unit is not None else "").split())
    if not known or text.lower() in known:
        return
    if wanted == "relative":
        raise UnitError(path, "BUNIT", f"is {unit!r}; a {reftype} is relative: leave BUNIT out, or set it to '1'")
    if not text:
        raise UnitError(path, "BUNIT", f"is missing; a {reftype} is in {wanted}: set BUNIT = {spelling!r}")
    raise UnitError(path, "BUNIT", f"is {unit!r}; a {reftype} is in {wanted}: convert it to {spelling!r}")


def read_mode(value: object) -> str:
    """Return CDS, MCDS or UTR for any of the ways of writing them; other words in upper case, "" for none."""
    text = normalise(value)
    return "" if text in _NO_VALUE else _READOUTS.get(text, text)


def mismatch(setup: Mapping[str, SetupValue], header: Mapping[str, SetupValue], keys: tuple[str, ...]) -> str:
    """Say which of `keys` differ between an exposure and a reference; "" if none that both have does."""
    found = []
    for key in keys:
        own, theirs = _plain(setup.get(key, UNDEFINED)), _plain(header.get(key, UNDEFINED))
        if own and theirs and own != theirs:
            found.append(f"{key} is {header[key]!r}, the exposure's {setup[key]!r}")
    return "; ".join(found)


def _plain(value: SetupValue) -> str:
    """Reduce a value to what its spellings share: Br_Gamma is BrGamma is BRGAMMA; "" for no value."""
    text = normalise(value)
    return "" if text in _NO_VALUE else text.replace("_", "").replace("-", "").replace(" ", "")
