"""From the rules as written in an rmap to selectors that can be asked."""

from collections.abc import Callable, Mapping

from refcache.errors import BadRulesError
from refcache.mappings import Choice, Literal, MappingFile, SelectorRules
from refcache.matchers import alternatives, is_special, matcher, normalise_key
from refcache.selectors import Leaf, MatchRule, MatchSelector, Selector, UseAfterSelector
from refcache.values import NA

_GENERIC_KEYS = ("META.SUBARRAY.NAME", "SUBARRAY")


def build_selector(mapping: MappingFile) -> Selector:
    """Compile the rules of an rmap.

    Raises
    ------
    BadRulesError
        If a rule does not fit its header keys or is malformed, or a selector is of a kind that is not supported.
    """
    if not isinstance(mapping.selector, SelectorRules):
        raise BadRulesError(mapping.name, "is no rmap")
    return _build(mapping, mapping.selector, 0)


def _build(mapping: MappingFile, rules: SelectorRules, level: int) -> Selector:
    if rules.kind not in _BUILDERS:
        supported = " and ".join(_BUILDERS)
        raise BadRulesError(mapping.name, f"{rules.kind} is not supported here; {supported} are", rules.line)
    if level >= len(mapping.parkey):
        raise BadRulesError(mapping.name, f"{rules.kind} has no group of header keys in 'parkey'", rules.line)
    group = mapping.parkey[level]
    if not isinstance(group, tuple) or not all(isinstance(key, str) for key in group):
        raise BadRulesError(mapping.name, f"'parkey' has {group!r}; each group is a tuple of header keys")
    try:
        return _BUILDERS[rules.kind](mapping, rules, tuple(str(key) for key in group), level)
    except ValueError as error:
        raise BadRulesError(mapping.name, str(error), rules.line) from error


def _leaf(mapping: MappingFile, choice: Choice, level: int) -> Leaf:
    if isinstance(choice, SelectorRules):
        return _build(mapping, choice, level + 1)
    if isinstance(choice, str):
        return choice
    if isinstance(choice, tuple) and all(isinstance(name, str) for name in choice):
        return tuple(str(name) for name in choice)
    if isinstance(choice, Mapping) and all(isinstance(text, str) for pair in choice.items() for text in pair):
        return {str(key): str(value) for key, value in choice.items()}
    raise ValueError(f"a rule leads to {choice!r}; it must be a file name, several, or a selector")


def _build_match(mapping: MappingFile, rules: SelectorRules, parameters: tuple[str, ...], level: int) -> MatchSelector:
    substitutions = _substitutions(mapping)
    compiled: dict[tuple[str, ...], MatchRule] = {}
    for raw, choice in _substituted(rules, parameters, substitutions).items():
        key = tuple(normalise_key(element) for element in (raw if isinstance(raw, tuple) else (raw,)))
        if len(key) != len(parameters):
            raise ValueError(f"key {raw!r} has {len(key)} values for the {len(parameters)} of {parameters}")
        if key in compiled:
            raise ValueError(f"key {key!r} stands there twice")
        compiled[key] = MatchRule(key, tuple(map(matcher, key)), _leaf(mapping, choice, level))
    ordered = tuple(compiled[key] for key in sorted(compiled))
    known = tuple(_known(column, ordered) for column in range(len(parameters)))
    merge = str(mapping.header.get("merge_overlaps", True)).upper() in ("TRUE", "1")
    return MatchSelector(mapping.name, parameters, ordered, known, substitutions, merge)


def _build_use_after(
    mapping: MappingFile, rules: SelectorRules, parameters: tuple[str, ...], level: int
) -> UseAfterSelector:
    leaves: dict[str, Leaf] = {}
    for date, choice in rules.rules:
        if not isinstance(date, str):
            raise ValueError(f"{date!r} is no date; write 'YYYY-MM-DD HH:MM:SS'")
        leaves[date] = _leaf(mapping, choice, level)
    dates = tuple(sorted(leaves))
    return UseAfterSelector(mapping.name, parameters, dates, tuple(leaves[date] for date in dates))


_Builder = Callable[[MappingFile, SelectorRules, tuple[str, ...], int], Selector]
_BUILDERS: dict[str, _Builder] = {"Match": _build_match, "UseAfter": _build_use_after}


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
