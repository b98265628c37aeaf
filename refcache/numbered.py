"""Selectors by a number of the header: GeometricallyNearest, Bracket, SelectVersion."""

import ast
import re
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from refcache.errors import BadInputError, BadRulesError
from refcache.selectors import Found, Leaf, Selector, follow
from refcache.values import UNDEFINED

Bound = tuple[float, str]
"""A version and `<` or `=`: below it, or up to it."""

DEFAULT = float(sys.maxsize)
_BOUND = re.compile(r"([<=]=?)(.*)\Z")


@dataclass(frozen=True)
class NearestSelector(Selector):
    """Chooses the rule whose number is nearest to the header's; the first of equals in the order of text.

    Attributes
    ----------
    numbers
        Of the rules, in the order of their text, float32 as in CRDS.
    """

    name: str
    parameters: tuple[str, ...]
    numbers: tuple[np.float32, ...]
    leaves: tuple[Leaf, ...] = field(repr=False)

    def choose(self, header: Mapping[str, str]) -> Found:
        """Return the choice of the nearest number.

        Raises
        ------
        BadInputError
            If the header has no number.
        BadRulesError
            If there are no rules.
        """
        number = asked_number(self, header)
        if not self.numbers:
            raise BadRulesError(self.name, "GeometricallyNearest has no rules")
        with np.errstate(over="ignore", invalid="ignore"):
            distances = np.abs(np.array(self.numbers, np.float32) - np.float32(number))
        return follow(self.leaves[int(np.argmin(distances))], header)

    def below(self) -> Iterator[tuple[str, Leaf]]:
        """Return the leaf of each rule."""
        return (("", leaf) for leaf in self.leaves)


@dataclass(frozen=True)
class BracketSelector(Selector):
    """Chooses the two rules on either side of the header's number; one of them twice at and beyond the ends."""

    name: str
    parameters: tuple[str, ...]
    numbers: tuple[float, ...]
    leaves: tuple[Leaf, ...] = field(repr=False)

    def choose(self, header: Mapping[str, str]) -> Found:
        """Return the choices of both neighbours.

        Raises
        ------
        BadInputError
            If the header has no number.
        BadRulesError
            If there are no rules.
        """
        number = asked_number(self, header)
        if not self.numbers:
            raise BadRulesError(self.name, "Bracket has no rules")
        # For what is no number (NaN) every comparison fails: CRDS takes the first.
        index = bisect_left(self.numbers, number) if number == number else 0
        if index == len(self.numbers):
            pair = (index - 1, index - 1)
        elif index == 0 or number == self.numbers[index]:
            pair = (index, index)
        else:
            pair = (index - 1, index)
        low, high = (follow(self.leaves[one], header).value for one in pair)
        return Found((low, high))

    def below(self) -> Iterator[tuple[str, Leaf]]:
        """Return the leaf of each rule."""
        return (("", leaf) for leaf in self.leaves)


@dataclass(frozen=True)
class SelectVersionSelector(Selector):
    """Chooses the first rule, by ascending version, that the header's version is not above.

    Attributes
    ----------
    bounds
        Ascending; `default` is above every version.
    """

    name: str
    parameters: tuple[str, ...]
    bounds: tuple[Bound, ...]
    leaves: tuple[Leaf, ...] = field(repr=False)

    def choose(self, header: Mapping[str, str]) -> Found:
        """Return the choice of the first bound that holds for the header's version.

        Raises
        ------
        BadInputError
            If the header has no number as its version, or one above every rule where there is no `default`.
            That does not fall through to lighter rules: CRDS stops here too.
        """
        number = asked_number(self, header)
        if not abs(number) < float("inf"):
            raise BadInputError(f"{self.parameters[0]}={number} is no version; {self.name} needs a number")
        index = bisect_left(self.bounds, (number, "="))
        if index == len(self.bounds):
            raise BadInputError(
                f"{self.parameters[0]}={number:g} is above every rule of {self.name}, and it has no default"
            )
        return follow(self.leaves[index], header)

    def below(self) -> Iterator[tuple[str, Leaf]]:
        """Return the leaf of each rule."""
        return (("", leaf) for leaf in self.leaves)


def parse_bound(key: object) -> Bound:
    """Read `<5`, `<=5`, `=4`, `4` or `default`.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    text = str(key)
    if text.replace("=", "").strip() == "default":
        return DEFAULT, "="
    found = _BOUND.match(text if text.startswith(("<", "=")) else f"={text}")
    if found is None:
        raise ValueError(f"{text!r} is no version; write <5, =4 or default")
    relation, number = found[1].replace("==", "="), found[2].strip()
    try:
        value = ast.literal_eval(number)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"{text!r} is no version; write <5, =4 or default") from error
    if not isinstance(value, int | float):
        raise ValueError(f"{text!r} is no version; write <5, =4 or default")
    return value, relation


def asked_number(selector: Selector, header: Mapping[str, str]) -> float:
    """Return the number that the selector's only header key has.

    Raises
    ------
    BadInputError
        If it is undefined or no number.
    """
    text = header.get(selector.parameters[0], UNDEFINED)
    try:
        return float(text)
    except ValueError:
        asked = f"{selector.parameters[0]}={text!r}"
        raise BadInputError(f"{asked} is no number; {selector.name} chooses by it") from None
