"""Selectors whose rules have an order in time or in versions: UseAfter, ClosestTime, VersionAfter.

Dates are compared as text in CRDS's own form, and versions as three numbers.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from refcache.dates import crds_text, parse_date
from refcache.errors import AmbiguousError, BadInputError, BadRulesError, NoMatchError
from refcache.matchers import alternatives
from refcache.selectors import Found, Leaf, MatchSelector, Selector, Terminal, follow
from refcache.values import UNDEFINED

Version = tuple[int, int, int]

_VERSION = re.compile(r"(\d{1,8}(\.\d{1,8}(\.\d{1,8})?)?)[a-zA-Z0-9_+\-.]{0,128}\Z")
_Key = TypeVar("_Key", str, Version)


@dataclass(frozen=True)
class UseAfterSelector(Selector):
    """Chooses the latest rule whose date is not after the header's.

    Attributes
    ----------
    parameters
        Header keys of the date: one, or date and time.
    dates
        Of the rules, ascending, as text.
    leaves
        One for each date.
    """

    name: str
    parameters: tuple[str, ...]
    dates: tuple[str, ...]
    leaves: tuple[Leaf, ...] = field(repr=False)

    def choose(self, header: Mapping[str, str]) -> Found:
        """Return the choice of the latest date that is not after the header's.

        Raises
        ------
        BadInputError
            If the header's date is undefined or no date.
        NoMatchError
            If every rule is later.
        """
        date = asked_date(self, header)
        index = bisect_right(self.dates, date) - 1
        if index < 0:
            first = f"its first is of {self.dates[0]}" if self.dates else "it has none"
            raise NoMatchError(f"no rule of {self.name} is for {date} or before; {first}")
        return self._at(index, header)

    def below(self) -> Iterator[tuple[str, Leaf]]:
        """Return date and leaf of each rule, latest first."""
        return zip(reversed(self.dates), reversed(self.leaves), strict=True)

    def merged(self, other: Leaf) -> "UseAfterSelector":
        """Return the rules of both; at the same date the greater file name, that is the newer file, wins.

        Raises
        ------
        AmbiguousError
            If the other has no dates, or leads to selectors at the same date.
        """
        if not isinstance(other, UseAfterSelector):
            raise AmbiguousError(f"rules of {self.name} fit equally well, and one has no dates to merge them by")
        dates, leaves = merge(self.name, (self.dates, self.leaves), (other.dates, other.leaves))
        return type(self)(self.name, self.parameters, dates, leaves)

    def _at(self, index: int, header: Mapping[str, str]) -> Found:
        found = follow(self.leaves[index], header)
        return Found(found.value, found.date or self.dates[index])


class ClosestTimeSelector(UseAfterSelector):
    """Chooses the rule whose date is nearest to the header's, before or after it; the first of equals."""

    def choose(self, header: Mapping[str, str]) -> Found:
        """Return the choice of the nearest date.

        Raises
        ------
        BadInputError
            If the header's date is undefined or no date.
        BadRulesError
            If there are no rules, or one has no date.
        """
        date = parse_date(asked_date(self, header))
        try:
            seconds = [abs((date - parse_date(own)).total_seconds()) for own in self.dates]
        except ValueError as error:
            raise BadRulesError(self.name, f"ClosestTime: {error}") from error
        if not seconds:
            raise BadRulesError(self.name, "ClosestTime has no rules")
        # Single precision, as in CRDS: it decides which dates years away are equally near.
        return self._at(int(np.argmin(np.array(seconds, np.float32))), header)


@dataclass(frozen=True)
class VersionAfterSelector(Selector):
    """Chooses the highest version that is not above the header's."""

    name: str
    parameters: tuple[str, ...]
    versions: tuple[Version, ...]
    leaves: tuple[Leaf, ...] = field(repr=False)

    def choose(self, header: Mapping[str, str]) -> Found:
        """Return the choice of the highest version that is not above the header's.

        Raises
        ------
        BadInputError
            If the header has no version, such as 1.2.3.
        NoMatchError
            If every rule is for a higher one.
        """
        text = "|".join(alternatives(".".join(header.get(parameter, UNDEFINED) for parameter in self.parameters)))
        try:
            version = parse_version(text)
        except ValueError as error:
            raise BadInputError(f"{' and '.join(self.parameters)} for {self.name}: {error}") from error
        index = bisect_right(self.versions, version) - 1
        if index < 0:
            raise NoMatchError(f"no rule of {self.name} is for version {text} or before")
        return follow(self.leaves[index], header)

    def below(self) -> Iterator[tuple[str, Leaf]]:
        """Return the leaf of each rule, highest version first."""
        return (("", leaf) for leaf in reversed(self.leaves))

    def merged(self, other: Leaf) -> "VersionAfterSelector":
        """Return the rules of both; at the same version the greater file name wins."""
        if not isinstance(other, VersionAfterSelector):
            raise AmbiguousError(f"rules of {self.name} fit equally well, and one has no versions to merge them by")
        versions, leaves = merge(self.name, (self.versions, self.leaves), (other.versions, other.leaves))
        return VersionAfterSelector(self.name, self.parameters, versions, leaves)


def parse_version(text: object) -> Version:
    """Read up to three numbers of a version; what follows them does not count.

    Raises
    ------
    ValueError
        If it does not begin with a number.
    """
    found = _VERSION.match(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r} is no version; write one like 1.2.3")
    numbers = [int(part) for part in found[1].split(".")]
    major, minor, patch = (*numbers, 0, 0)[:3]
    return major, minor, patch


def merge(
    name: str, own: tuple[tuple[_Key, ...], tuple[Leaf, ...]], other: tuple[tuple[_Key, ...], tuple[Leaf, ...]]
) -> tuple[tuple[_Key, ...], tuple[Leaf, ...]]:
    """Merge keys and leaves of two selectors; at the same key the greater name wins.

    Raises
    ------
    AmbiguousError
        If both lead to selectors, or to things of different kinds, at the same key.
    """
    rules = dict(zip(*own, strict=True))
    for key, leaf in zip(*other, strict=True):
        rules[key] = leaf if key not in rules else _greater(name, key, rules[key], leaf)
    keys = tuple(sorted(rules))
    return keys, tuple(rules[key] for key in keys)


def _greater(name: str, key: object, own: Leaf, other: Leaf) -> Leaf:
    if isinstance(own, str) and isinstance(other, str):
        return max(own, other)
    if isinstance(own, tuple) and isinstance(other, tuple):
        return max(own, other, key=lambda leaf: [str(part) for part in leaf])
    raise AmbiguousError(f"rules of {name} fit equally well at {key}; only file names merge")


def asked_date(selector: Selector, header: Mapping[str, str]) -> str:
    """Return the header's date in the form in which dates are compared.

    Raises
    ------
    BadInputError
        If it is undefined or no date.
    """
    parts = [header.get(parameter, UNDEFINED).strip() for parameter in selector.parameters]
    if UNDEFINED in parts:
        missing = selector.parameters[parts.index(UNDEFINED)]
        raise BadInputError(f"{missing} is undefined; {selector.name} needs the date of the exposure")
    try:
        return crds_text(parse_date(" ".join(parts).strip()))
    except ValueError as error:
        raise BadInputError(f"{' and '.join(selector.parameters)} for {selector.name}: {error}") from error


def date_parameters(selector: Selector | Terminal) -> tuple[str, ...]:
    """Return the header keys that the first selector by date below takes its date from; () without one."""
    if isinstance(selector, UseAfterSelector):
        return selector.parameters
    rules = selector.rules if isinstance(selector, MatchSelector) else ()
    return next((keys for keys in (date_parameters(rule.leaf) for rule in rules) if keys), ())
