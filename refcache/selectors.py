"""Match and UseAfter: from a header to a reference's name, as CRDS does it.

`compiler` turns a mapping's rules into these frozen selectors once; `choose` is then a pure function of
the header. A further kind of selector is a class with `choose` and `outcomes`, and a builder there.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Protocol

from refcache.dates import crds_text, parse_date
from refcache.errors import AmbiguousError, BadInputError, NoMatchError
from refcache.mappings import Literal
from refcache.matchers import Matcher, is_special
from refcache.values import ANY, NA, UNDEFINED, normalise

Terminal = str | tuple[str, ...] | Mapping[str, str]
"""What the rules end in: a file name or a special word, several names, or names by word."""


@dataclass(frozen=True)
class Found:
    """Where the rules lead for one header.

    Attributes
    ----------
    value
        What the last rule says.
    date
        The date of the UseAfter rule on the way; "" without one.
    """

    value: Terminal
    date: str = ""


class Selector(Protocol):
    """A compiled selector."""

    def choose(self, header: Mapping[str, str]) -> Found:
        """Return where the header leads, or raise a `SelectionError`."""
        ...

    def outcomes(self) -> Iterator[Found]:
        """Return everything that can be chosen, once for each rule."""
        ...


Leaf = Selector | Terminal


@dataclass(frozen=True)
class MatchRule:
    """One line of a Match: its normalised key, a matcher for each element, and what it leads to."""

    key: tuple[str, ...]
    matchers: tuple[Matcher, ...]
    leaf: Leaf


@dataclass(frozen=True)
class MatchSelector:
    """Chooses the rule that fits in most columns.

    Attributes
    ----------
    parameters
        Header keys, one for each column.
    rules
        Sorted by key, so that the order in the file has no influence.
    known
        Values that each column lists; None where anything is let through.
    substitutions
        Header values of a column that stand for others.
    merge
        Whether rules of equal weight are merged; if not, they are an error.
    """

    name: str
    parameters: tuple[str, ...]
    rules: tuple[MatchRule, ...]
    known: tuple[frozenset[str] | None, ...]
    substitutions: Mapping[str, Mapping[Literal, Literal]]
    merge: bool

    def choose(self, header: Mapping[str, str]) -> Found:
        """Return the choice of the heaviest rule; one that finds nothing falls through to the next weight.

        Raises
        ------
        BadInputError
            If a header value is listed nowhere in a column that lists its values.
        NoMatchError
            If no rule fits, or those that do find nothing.
        AmbiguousError
            If rules of equal weight may not, or cannot, be merged.
        """
        for parameter, known in zip(self.parameters, self.known, strict=True):
            self._validate(parameter, header.get(parameter, UNDEFINED), known)
        for rules in self._by_weight(header):
            try:
                return _follow(self._one_leaf(rules), header)
            except NoMatchError:
                continue
        asked = ", ".join(f"{key}={header.get(key, UNDEFINED)}" for key in self.parameters)
        raise NoMatchError(f"no rule of {self.name} matches {asked or 'an empty key'} at the given date")

    def outcomes(self) -> Iterator[Found]:
        """Return everything that can be chosen, once for each rule."""
        for rule in self.rules:
            yield from _outcomes(rule.leaf)

    def _by_weight(self, header: Mapping[str, str]) -> list[list[MatchRule]]:
        weights: dict[int, list[MatchRule]] = {}
        values = [header.get(parameter, UNDEFINED) for parameter in self.parameters]
        for rule in self.rules:
            weight = _weight(rule, values)
            if weight is not None:
                weights.setdefault(weight, []).append(rule)
        return [rules for _, rules in sorted(weights.items(), key=itemgetter(0), reverse=True)]

    def _one_leaf(self, rules: list[MatchRule]) -> Leaf:
        leaf = rules[0].leaf
        if len(rules) == 1:
            return leaf
        if not self.merge:
            keys = " and ".join(str(rule.key) for rule in rules)
            raise AmbiguousError(f"{keys} of {self.name} fit equally well and it has merge_overlaps = False")
        if isinstance(leaf, UseAfterSelector):
            for rule in rules[1:]:
                leaf = leaf.merged(rule.leaf)
            return leaf
        names = tuple(rule.leaf for rule in rules if isinstance(rule.leaf, str))
        if len(names) != len(rules):
            raise AmbiguousError(f"{rules[0].key} and {rules[1].key} of {self.name} fit equally well; cannot merge")
        return names

    def _validate(self, parameter: str, value: str, known: frozenset[str] | None) -> None:
        tried = [value]
        while not _is_known(tried[-1], known):
            substitute = self.substitutions.get(parameter, {}).get(tried[-1])
            if not isinstance(substitute, str) or substitute in tried:
                covered = ", ".join(sorted(known or ()))
                raise BadInputError(f"{parameter}={value!r} is not known to {self.name}; its rules cover {covered}")
            tried.append(substitute)


@dataclass(frozen=True)
class UseAfterSelector:
    """Chooses the latest rule whose date is not after the header's.

    Attributes
    ----------
    parameters
        Header keys of the date: one, or date and time.
    dates
        Of the rules, ascending, as text: CRDS compares them so, and the header's date in its own form.
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
        date = self._date(header)
        index = bisect_right(self.dates, date) - 1
        if index < 0:
            first = f"its first is of {self.dates[0]}" if self.dates else "it has none"
            raise NoMatchError(f"no rule of {self.name} is for {date} or before; {first}")
        found = _follow(self.leaves[index], header)
        return Found(found.value, found.date or self.dates[index])

    def outcomes(self) -> Iterator[Found]:
        """Return everything that can be chosen, latest first."""
        for date, leaf in zip(reversed(self.dates), reversed(self.leaves), strict=True):
            for found in _outcomes(leaf):
                yield Found(found.value, found.date or date)

    def merged(self, other: Leaf) -> "UseAfterSelector":
        """Return the rules of both; at the same date the greater file name, that is the newer file, wins.

        Raises
        ------
        AmbiguousError
            If the other is no UseAfter, or leads to selectors at the same date.
        """
        if not isinstance(other, UseAfterSelector):
            raise AmbiguousError(f"rules of {self.name} fit equally well, and one has no dates to merge them by")
        rules = dict(zip(self.dates, self.leaves, strict=True))
        for date, leaf in zip(other.dates, other.leaves, strict=True):
            own = rules.get(date)
            if own is not None and not (isinstance(own, str) and isinstance(leaf, str)):
                raise AmbiguousError(f"rules of {self.name} fit equally well at {date}; only file names merge")
            rules[date] = leaf if own is None or str(leaf) > str(own) else own
        dates = tuple(sorted(rules))
        return UseAfterSelector(self.name, self.parameters, dates, tuple(rules[date] for date in dates))

    def _date(self, header: Mapping[str, str]) -> str:
        parts = [header.get(parameter, UNDEFINED).strip() for parameter in self.parameters]
        if UNDEFINED in parts:
            missing = self.parameters[parts.index(UNDEFINED)]
            raise BadInputError(f"{missing} is undefined; {self.name} needs the date of the exposure")
        try:
            return crds_text(parse_date(" ".join(parts).strip()))
        except ValueError as error:
            raise BadInputError(f"{' and '.join(self.parameters)} for {self.name}: {error}") from error


def date_parameters(selector: Selector | Terminal) -> tuple[str, ...]:
    """Return the header keys that the first UseAfter below takes its date from; () without one."""
    if isinstance(selector, UseAfterSelector):
        return selector.parameters
    rules = selector.rules if isinstance(selector, MatchSelector) else ()
    return next((keys for keys in (date_parameters(rule.leaf) for rule in rules) if keys), ())


def _is_known(value: str, known: frozenset[str] | None) -> bool:
    """Tell whether a header value can be asked about: it is listed, or its column or itself is no plain value."""
    if not known or value in known or normalise(value) in known or known & {ANY, "ANY", NA}:
        return True
    if value.startswith("NOT"):
        return _is_known(value[len("NOT") :].strip(), known)
    return value in (ANY, "ANY", NA) or is_special(value)


def _weight(rule: MatchRule, values: list[str]) -> int | None:
    weight = 0
    for match, value in zip(rule.matchers, values, strict=True):
        status = match(value)
        if status == -1:
            return None
        weight += status
    return weight


def _follow(leaf: Leaf, header: Mapping[str, str]) -> Found:
    return Found(leaf) if isinstance(leaf, str | tuple | Mapping) else leaf.choose(header)


def _outcomes(leaf: Leaf) -> Iterator[Found]:
    if isinstance(leaf, str | tuple | Mapping):
        yield Found(leaf)
    else:
        yield from leaf.outcomes()
