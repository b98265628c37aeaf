"""A reference taken into the rules of an rmap, as `crds refactor2 insert_reference` does it.

The file's header gives the values that a rule matches and the date; the rule is added, or gets a further
date, or another file for the date that it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refcache.dates import crds_text, parse_date
from refcache.errors import InsertionError
from refcache.mapping_text import MappingText, RuleText
from refcache.mappings import parse_mapping
from refcache.matchers import alternatives, normalise_key
from refcache.rmaps import Rmap
from refcache.values import NA, UNDEFINED, SetupValue, crds_header, with_aliases

DATED = ("UseAfter", "ClosestTime")
_CLASSES = ("Match", "UseAfter")


@dataclass(frozen=True)
class Candidate:
    """A reference that is to be taken in: the file and the cards of its header."""

    path: Path
    cards: Mapping[str, SetupValue]

    @property
    def name(self) -> str:
        """File name, by which the rules know it."""
        return self.path.name

    def error(self, text: str) -> InsertionError:
        """Return an error that names the file."""
        return InsertionError(f"{self.path}: {text}")


def insert(rmap: MappingText, candidate: Candidate, aliases: Mapping[str, str]) -> str:
    """Take a reference into an rmap, which is changed in place.

    Parameters
    ----------
    rmap
        The new rmap, so far a copy of the old.
    candidate
        The reference.
    aliases
        FITS keyword by the rules' key.

    Returns
    -------
    str
        What was done, for people.

    Raises
    ------
    InsertionError
        If the header lacks a value that the rules match, or the rule would be as good as one that is there.
    """
    if not isinstance(rmap.selector, RuleText):
        raise candidate.error(f"{rmap.header['name']} is no rmap")
    if candidate.name in rmap.selector.names():
        raise candidate.error(f"{rmap.header['name']} names it already; give a changed file another name")
    return _Insertion(rmap, candidate, aliases).at(rmap.selector, 0)


class _Insertion:
    """One reference on its way into one rmap."""

    def __init__(self, rmap: MappingText, candidate: Candidate, aliases: Mapping[str, str]) -> None:
        self._candidate = candidate
        self._name = str(rmap.header["name"])
        self._levels = [_names(group) for group in rmap.header["parkey"]]
        self._kinds = _kinds(rmap)
        self._comments = {name.upper() for name in _names(rmap.header.get("comment_parkeys", ()))}
        own = rmap.header.get("substitutions", {})
        self._words = {"META.SUBARRAY.NAME": {"GENERIC": NA}, "SUBARRAY": {"GENERIC": NA}} | dict(own)
        self._header = self._dataset_header(rmap, aliases)

    def at(self, rules: RuleText, level: int) -> str:
        kind, parameters = self._kinds[level], self._levels[level]
        if rules.kind != kind:
            raise self._candidate.error(f"{self._name} has {rules.kind} where its classes say {kind}")
        key = self._date_key(parameters) if kind in DATED else self._match_key(parameters)
        old = next((own for own in rules.rules if self._same(own, key, kind, parameters)), None)
        if kind == "Match":
            self._refuse_ambiguous(rules, key, parameters)
        if level + 1 < len(self._kinds):
            return self._below(rules, key if old is None else old, level)
        replaced = rules.rules.pop(old) if old is not None else None
        rules.rules[key] = self._candidate.name
        return f"{key!r} : {self._candidate.name}" + (f" instead of {replaced!r}" if replaced is not None else "")

    def _below(self, rules: RuleText, key: Any, level: int) -> str:
        """Go on in the selector that a key leads to; one is made where there is none."""
        if not isinstance(rules.rules.get(key), RuleText):
            rules.rules[key] = RuleText(self._kinds[level + 1], {})
        return f"{key!r} : {self.at(rules.rules[key], level + 1)}"

    def _dataset_header(self, rmap: MappingText, aliases: Mapping[str, str]) -> dict[str, str]:
        """Return the values under the rules' keys, in the form in which rules are matched."""
        rules = Rmap(parse_mapping(rmap.format(), self._name, check_sha1=False))
        named = with_aliases(self._candidate.cards, aliases)
        translated = rmap.header.get("reference_to_dataset", {})
        named |= {str(own): named[str(of)] for of, own in translated.items() if str(of) in named}
        values = dict.fromkeys(rules.keys, UNDEFINED) | crds_header(named)
        values |= self._dates()
        header = dict(rules.without_irrelevant(values, keep_comments=True))
        switch = str(rmap.header.get("reffile_switch", "NONE")).upper()
        header |= dict.fromkeys((*_names(rmap.header.get("extra_keys", ())), switch), NA)
        return header

    def _dates(self) -> dict[str, str]:
        """Return USEAFTER under the keys of the date, one or two."""
        text = str(self._candidate.cards.get("USEAFTER", UNDEFINED)).strip()
        try:
            date = crds_text(parse_date(text))
        except ValueError as error:
            raise self._candidate.error(f"USEAFTER: {error}") from error
        dates: dict[str, str] = {}
        for kind, parameters in zip(self._kinds, self._levels, strict=True):
            if kind in DATED and len(parameters) == 1:
                dates[parameters[0]] = date
            elif kind in DATED:
                dates |= dict(zip(parameters, date.split(" "), strict=True))
        return dates

    def _date_key(self, parameters: tuple[str, ...]) -> str:
        return " ".join(self._header[parameter] for parameter in parameters)

    def _match_key(self, parameters: tuple[str, ...]) -> Any:
        for parameter in parameters:
            if self._header.get(parameter, UNDEFINED) == UNDEFINED and parameter.upper() not in self._comments:
                raise self._candidate.error(
                    f"its header has no value for {parameter}, which {self._name} matches; set the card, or ANY"
                )
        key = tuple("|".join(alternatives(self._header[parameter])) for parameter in parameters)
        return key[0] if len(key) == 1 else key

    def _same(self, own: Any, key: Any, kind: str, parameters: tuple[str, ...]) -> bool:
        if kind != "Match":
            return bool(own == key)
        pairs = zip(_conditioned(own), _conditioned(key), strict=True)
        differing = {name.upper() for name, (a, b) in zip(parameters, pairs, strict=True) if a != b}
        return differing <= self._comments

    def _refuse_ambiguous(self, rules: RuleText, key: Any, parameters: tuple[str, ...]) -> None:
        """Refuse a rule that fits whatever another fits, no better and no worse: CRDS would merge them."""
        new = _conditioned(key)
        for own in rules.rules:
            other = self._substituted(_conditioned(own), parameters)
            if new != other and _covers(other, new) and _weighs(new, other):
                raise self._candidate.error(
                    f"its rule {key!r} would be a special case of {own!r} in {self._name} with equal weight; "
                    "give it values of its own, or those of the rule"
                )

    def _substituted(self, key: tuple[str, ...], parameters: tuple[str, ...]) -> tuple[str, ...]:
        pairs = zip(parameters, key, strict=True)
        return tuple(normalise_key(self._words.get(parameter, {}).get(value, value)) for parameter, value in pairs)


def _kinds(rmap: MappingText) -> tuple[str, ...]:
    """Return the kinds of selectors, level by level: as stated, else as the rules are, else Match and UseAfter."""
    kinds = _names(rmap.header.get("classes", ()))
    choice: Any = rmap.selector
    while not rmap.header.get("classes") and isinstance(choice, RuleText):
        kinds = (*kinds, choice.kind)
        choice = next(iter(choice.rules.values()), None)
    levels = len(rmap.header["parkey"])
    if len(kinds) < levels == len(_CLASSES):
        kinds = (*kinds, *_CLASSES[len(kinds) :])
    unknown = [kind for kind in kinds if kind not in ("Match", *DATED)]
    if unknown or len(kinds) != levels:
        name = rmap.header["name"]
        raise InsertionError(f"{name}: rules of {', '.join(kinds)} are not extended here; Match and UseAfter are")
    return kinds


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value or ()))


def _conditioned(key: Any) -> tuple[str, ...]:
    return tuple(map(normalise_key, key if isinstance(key, tuple) else (key,)))


def _covers(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    """Tell whether every element of one key takes all that the other's takes."""
    for one, other in zip(wide, narrow, strict=True):
        if one == other or one == "*" or other == NA or (one, other) == (NA, "*"):
            continue
        if other == "*" or not set(alternatives(one)) > set(alternatives(other)):
            return False
    return True


def _weighs(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether two keys have the same number of elements that count."""
    return sum(part == NA for part in one) == sum(part == NA for part in other)
