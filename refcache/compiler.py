"""From the rules as written in an rmap to selectors that can be asked."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from refcache.dated import ClosestTimeSelector, UseAfterSelector, VersionAfterSelector, parse_version
from refcache.errors import BadRulesError
from refcache.mappings import Choice, Literal, MappingFile, SelectorRules
from refcache.matchers import alternatives, is_special, matcher, normalise_key
from refcache.numbered import BracketSelector, NearestSelector, SelectVersionSelector, parse_bound
from refcache.selectors import BrokenSelector, Leaf, MatchRule, MatchSelector, Selector
from refcache.values import NA, normalise

_GENERIC_KEYS = ("META.SUBARRAY.NAME", "SUBARRAY")


def build_selector(mapping: MappingFile, past_only: bool = False) -> Selector:
    """Compile the rules of an rmap.

    Parameters
    ----------
    mapping
        The parsed rmap.
    past_only
        Whether ClosestTime takes the nearest of the dates that are not after the header's, as UseAfter does.

    Raises
    ------
    BadRulesError
        If a rule does not fit its header keys or is malformed. What CRDS lets pass until the rule is reached
        is an error only then here as well, so that the other rules remain usable.
    """
    if not isinstance(mapping.selector, SelectorRules):
        raise BadRulesError(mapping.name, "is no rmap")
    return _Compiler(mapping, past_only).build(mapping.selector, 0)


class _Compiler:
    """Compiles one rmap, level by level."""

    def __init__(self, mapping: MappingFile, past_only: bool) -> None:
        self._mapping = mapping
        self._name = mapping.name
        self._past_only = past_only
        self._substitutions = _substitutions(mapping)
        self._merge = str(mapping.header.get("merge_overlaps", True)).upper() in ("TRUE", "1")

    def build(self, rules: SelectorRules, level: int) -> Selector:
        parameters = self._parameters(rules, level)
        table = _substituted(rules, parameters, self._substitutions)
        leaves = {key: self._leaf(choice, rules.line, level) for key, choice in table.items()}
        try:
            return self._builders()[rules.kind](parameters, leaves, rules.line)
        except (ValueError, TypeError) as error:
            raise BadRulesError(self._name, f"{rules.kind}: {error}", rules.line) from error

    def _builders(self) -> "dict[str, _Builder]":
        return {
            "Match": self._match,
            "UseAfter": self._use_after,
            "ClosestTime": self._closest_time,
            "VersionAfter": self._version_after,
            "GeometricallyNearest": self._nearest,
            "Bracket": self._bracket,
            "SelectVersion": self._select_version,
        }

    def _parameters(self, rules: SelectorRules, level: int) -> tuple[str, ...]:
        parkey = self._mapping.parkey
        if level >= len(parkey):
            raise BadRulesError(self._name, f"{rules.kind} has no group of header keys in 'parkey'", rules.line)
        group = parkey[level]
        if not isinstance(group, tuple) or not all(isinstance(key, str) for key in group):
            raise BadRulesError(self._name, f"'parkey' has {group!r}; each group is a tuple of header keys")
        return tuple(str(key) for key in group)

    def _leaf(self, choice: Choice, line: int, level: int) -> Leaf:
        if isinstance(choice, SelectorRules):
            return self.build(choice, level + 1)
        if isinstance(choice, str):
            return choice
        if isinstance(choice, tuple) and all(isinstance(name, str) for name in choice):
            return tuple(str(name) for name in choice)
        if isinstance(choice, Mapping) and all(isinstance(text, str) for pair in choice.items() for text in pair):
            return {str(key): str(value) for key, value in choice.items()}
        return self._broken((), f"a rule leads to {choice!r}; it must be a file name, several, or a selector", line)

    def _broken(self, parameters: tuple[str, ...], why: str, line: int) -> Selector:
        return BrokenSelector(self._name, parameters, why, line)

    def _match(self, parameters: tuple[str, ...], leaves: "_Leaves", line: int) -> Selector:  # noqa: ARG002
        compiled: dict[tuple[str, ...], MatchRule] = {}
        for raw, leaf in leaves.items():
            key = tuple(normalise_key(element) for element in (raw if isinstance(raw, tuple) else (raw,)))
            if len(key) != len(parameters):
                raise ValueError(f"key {raw!r} has {len(key)} values for the {len(parameters)} of {parameters}")
            if key in compiled:
                raise ValueError(f"key {key!r} stands there twice")
            compiled[key] = MatchRule(key, tuple(map(matcher, key)), leaf)
        ordered = tuple(compiled[key] for key in sorted(compiled))
        known = tuple(_known(column, ordered) for column in range(len(parameters)))
        return MatchSelector(self._name, parameters, ordered, known, self._substitutions, self._merge)

    def _use_after(self, parameters: tuple[str, ...], leaves: "_Leaves", line: int) -> Selector:
        return self._dated(UseAfterSelector, parameters, leaves, line)

    def _closest_time(self, parameters: tuple[str, ...], leaves: "_Leaves", line: int) -> Selector:
        kind = UseAfterSelector if self._past_only else ClosestTimeSelector
        return self._dated(kind, parameters, leaves, line)

    def _dated(
        self, kind: type[UseAfterSelector], parameters: tuple[str, ...], leaves: "_Leaves", line: int
    ) -> Selector:
        dates, ordered = _sorted(leaves, lambda key: key)
        strange = next((date for date in dates if not isinstance(date, str)), None)
        if strange is not None:
            return self._broken(parameters, f"{strange!r} is no date; write 'YYYY-MM-DD HH:MM:SS'", line)
        return kind(self._name, parameters, tuple(map(str, dates)), ordered)

    def _version_after(self, parameters: tuple[str, ...], leaves: "_Leaves", line: int) -> Selector:  # noqa: ARG002
        return VersionAfterSelector(self._name, parameters, *_sorted(leaves, parse_version))

    def _nearest(self, parameters: tuple[str, ...], leaves: "_Leaves", line: int) -> Selector:
        if len(parameters) != 1:
            raise ValueError(f"is for one header key, not for {parameters}")
        texts, ordered = _sorted(leaves, normalise)
        try:
            with np.errstate(over="ignore"):
                numbers = tuple(np.float32(float(text)) for text in texts)
        except ValueError:
            return self._broken(parameters, f"a key of {', '.join(texts)} is no number", line)
        return NearestSelector(self._name, parameters, numbers, ordered)

    def _bracket(self, parameters: tuple[str, ...], leaves: "_Leaves", line: int) -> Selector:
        keys, ordered = _sorted(leaves, lambda key: key)
        numbers = tuple(key for key in keys if isinstance(key, int | float))
        if len(numbers) != len(keys) or len(parameters) != 1:
            return self._broken(parameters, f"Bracket needs one header key and numbers, not {keys}", line)
        return BracketSelector(self._name, parameters, numbers, ordered)

    def _select_version(self, parameters: tuple[str, ...], leaves: "_Leaves", line: int) -> Selector:
        bounds, ordered = _sorted(leaves, parse_bound)
        if len(parameters) != 1:
            return self._broken(parameters, f"SelectVersion needs one header key, not {parameters}", line)
        return SelectVersionSelector(self._name, parameters, bounds, ordered)


_Leaves = Mapping[Literal, Leaf]
_Builder = Callable[[tuple[str, ...], _Leaves, int], Selector]
_Key = TypeVar("_Key", bound=Any)


def _sorted(leaves: _Leaves, make: Callable[[Any], _Key]) -> tuple[tuple[_Key, ...], tuple[Leaf, ...]]:
    """Return keys in the form in which they are compared, ascending, and their leaves.

    Raises
    ------
    ValueError, TypeError
        If two keys are equal then, or cannot be compared.
    """
    made = {make(key): leaf for key, leaf in leaves.items()}
    if len(made) != len(leaves):
        raise ValueError(f"two keys of {', '.join(map(str, leaves))} are the same")
    keys = tuple(sorted(made))
    return keys, tuple(made[key] for key in keys)


def _substitutions(mapping: MappingFile) -> dict[str, Mapping[Literal, Literal]]:
    """Lay the mapping's own substitutions over the built-in ones; a keyword's table replaces the other whole."""
    own = mapping.header.get("substitutions", {})
    tables = own if isinstance(own, Mapping) else {}
    built_in: dict[str, Mapping[Literal, Literal]] = {key: {"GENERIC": NA} for key in _GENERIC_KEYS}
    return built_in | {str(key): table for key, table in tables.items() if isinstance(table, Mapping)}


def _substituted(
    rules: SelectorRules, parameters: tuple[str, ...], substitutions: Mapping[str, Mapping[Literal, Literal]]
) -> dict[Literal, Choice]:
    """Replace words of the keys by what they stand for; a rule that becomes another's equal replaces it."""
    table = dict(rules.rules)
    for column, parameter in enumerate(parameters):
        words = substitutions.get(parameter, {})
        for key in list(table):
            elements = key if isinstance(key, tuple) else (key,)
            if column < len(elements) and not isinstance(elements[column], Mapping) and elements[column] in words:
                replaced = (*elements[:column], words[elements[column]], *elements[column + 1 :])
                table[replaced if isinstance(key, tuple) else replaced[0]] = table.pop(key)
    return table


def _known(column: int, rules: tuple[MatchRule, ...]) -> frozenset[str] | None:
    """Values listed in a column; None if one of its keys is an expression, so that nothing is checked."""
    keys = [rule.key[column] for rule in rules]
    return None if any(map(is_special, keys)) else frozenset(value for key in keys for value in alternatives(key))
