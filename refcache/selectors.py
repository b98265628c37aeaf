"""What every selector shares, and Match: from a header to a reference's name, as CRDS does it.

`compiler` turns a mapping's rules into these frozen selectors once; `choose` is then a pure function of
the header. The selectors by date and version are in `dated`, those by number in `numbered`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter

from refcache.errors import AmbiguousError, BadInputError, BadRulesError, NoMatchError
from refcache.mappings import Literal
from refcache.matchers import Matcher, is_special
from refcache.values import ANY, NA, UNDEFINED, normalise

Terminal = str | tuple["Terminal", ...] | Mapping[str, str]
"""What the rules end in: a file name or a special word, several names, or names by word."""

MAX_SUBSTITUTIONS = 50
"""Words that stand for words: more in a row go round in a circle."""


@dataclass(frozen=True)
class Found:
    """Where the rules lead for one header.

    Attributes
    ----------
    value
        What the last rule says.
    date
        The date of the UseAfter or ClosestTime rule on the way; "" without one.
    """

    value: Terminal
    date: str = ""


class Selector(ABC):
    """A compiled selector."""

    name: str
    parameters: tuple[str, ...]

    @abstractmethod
    def choose(self, header: Mapping[str, str]) -> Found:
        """Return where the header leads, or raise a `SelectionError`."""

    @abstractmethod
    def below(self) -> Iterator["tuple[str, Leaf]"]:
        """Return date ("" without one) and leaf of each rule, latest first."""

    def outcomes(self) -> Iterator[Found]:
        """Return everything that can be chosen, once for each rule."""
        for date, leaf in self.below():
            for found in leaf.outcomes() if isinstance(leaf, Selector) else (Found(leaf),):
                yield Found(found.value, found.date or date)

    def merged(self, other: "Leaf") -> "Selector":  # noqa: ARG002
        """Return one selector for the rules of both, which fit equally well.

        Raises
        ------
        AmbiguousError
            If they cannot be merged; so it is for all but those by date and version.
        """
        raise AmbiguousError(f"rules of {self.name} fit equally well and lead to selectors that do not merge")


Leaf = Selector | Terminal


@dataclass(frozen=True)
class BrokenSelector(Selector):
    """Rules that were read but cannot be followed: they are an error when they are reached, as in CRDS."""

    name: str
    parameters: tuple[str, ...]
    why: str
    line: int

    def choose(self, header: Mapping[str, str]) -> Found:  # noqa: ARG002
        """Raise `BadRulesError`."""
        raise BadRulesError(self.name, self.why, self.line)

    def below(self) -> Iterator[tuple[str, Leaf]]:
        """Return nothing."""
        return iter(())


@dataclass(frozen=True)
class MatchRule:
    """One line of a Match: its normalised key, a matcher for each element, and what it leads to."""

    key: tuple[str, ...]
    matchers: tuple[Matcher, ...]
    leaf: Leaf


@dataclass(frozen=True)
class MatchSelector(Selector):
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
            if parameter not in header and NA not in (known or ()):
                raise BadInputError(f"the header has no {parameter}; {self.name} needs it, in upper case")
            self._validate(parameter, header.get(parameter, UNDEFINED), known)
        for rules in self._by_weight(header):
            try:
                return follow(self._one_leaf(rules), header)
            except NoMatchError:
                continue
        asked = ", ".join(f"{key}={header.get(key, UNDEFINED)}" for key in self.parameters)
        raise NoMatchError(f"no rule of {self.name} matches {asked or 'an empty key'} at the given date")

    def below(self) -> Iterator[tuple[str, Leaf]]:
        """Return the leaf of each rule."""
        return (("", rule.leaf) for rule in self.rules)

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
        if isinstance(leaf, Selector):
            for rule in rules[1:]:
                leaf = leaf.merged(rule.leaf)
            return leaf
        leaves = [rule.leaf for rule in rules]
        names = tuple(leaf for leaf in leaves if not isinstance(leaf, Selector))
        if len(names) != len(leaves):
            raise AmbiguousError(f"{rules[0].key} and {rules[1].key} of {self.name} fit equally well; cannot merge")
        return names

    def _validate(self, parameter: str, value: str, known: frozenset[str] | None, nesting: int = 0) -> None:
        """Refuse a value that the column does not list; the order of the exceptions from that is CRDS's."""
        if _is_let_through(value, known):
            return
        if value.startswith("NOT"):
            self._validate(parameter, value[len("NOT") :].strip(), known, nesting + 1)
        elif is_special(value) or value in (ANY, "ANY", NA):
            return
        elif known is not None and len(known) == 1 and ":" in (only := next(iter(known))):
            self._validate_range(parameter, value, only)
        else:
            substitute = self.substitutions.get(parameter, {}).get(value)
            if not isinstance(substitute, str) or nesting > MAX_SUBSTITUTIONS:
                covered = ", ".join(sorted(known or ()))
                raise BadInputError(f"{parameter}={value!r} is not known to {self.name}; its rules cover {covered}")
            self._validate(parameter, substitute, known, nesting + 1)

    def _validate_range(self, parameter: str, value: str, limits: str) -> None:
        """Read the only key of a column, `low:high`, as a range, as CRDS does for the sake of its tables of values."""
        try:
            low, high = map(float, limits.split(":"))
        except ValueError:
            raise BadRulesError(self.name, f"the only key of {parameter}, {limits!r}, is no range low:high") from None
        try:
            inside = low <= float(value) <= high
        except ValueError:
            inside = False
        if not inside:
            raise BadInputError(f"{parameter}={value!r} is not in the range {limits} that {self.name} covers")


def _is_let_through(value: str, known: frozenset[str] | None) -> bool:
    """Tell whether a value is listed, or its column has a key that takes any value."""
    return not known or value in known or normalise(value) in known or bool(known & {ANY, "ANY", NA})


def _weight(rule: MatchRule, values: list[str]) -> int | None:
    weight = 0
    for match, value in zip(rule.matchers, values, strict=True):
        status = match(value)
        if status == -1:
            return None
        weight += status
    return weight


def follow(leaf: Leaf, header: Mapping[str, str]) -> Found:
    """Return where a rule's leaf leads."""
    return leaf.choose(header) if isinstance(leaf, Selector) else Found(leaf)
