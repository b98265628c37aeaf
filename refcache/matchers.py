"""One element of a Match key against one header value: the forms that CRDS's rules are written in.

A matcher is a function of the normalised header value that returns 1 (matches), 0 (does not matter) or
-1 (does not match); the sum over a rule's elements is its weight.
"""

import fnmatch
import operator
import re
from collections.abc import Callable

from refcache.values import ANY, NA, normalise

Matcher = Callable[[str], int]

MAX_NESTING = 8
MAX_VALUE = 1000
"""Characters of a header value that a regular expression is tried on; a FITS card has 68."""

_ESCAPED = re.compile(r"\\.|\[[^\]]*\]")
_INNERMOST = re.compile(r"\(([^()]*)\)")
_RELATION = re.compile(r"([><]=?)\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)")
_RELATIONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def is_special(key: str) -> bool:
    """Tell whether a key is a `{literal}`, `(regex)`, `#expression#`, BETWEEN or NOT: its column is not checked."""
    upper = key.upper()
    bracketed = upper.startswith(("{", "(", "#")) and upper.endswith(("}", ")", "#"))
    return bracketed or upper.startswith(("BETWEEN", "NOT"))


def alternatives(key: str) -> list[str]:
    """Split an or-list `A|B` into its sorted members; any other key is its own only one."""
    if is_special(key) or "|" not in key:
        return [key]
    return sorted(part.strip() for part in key.split("|") if part.strip())


def normalise_key(element: object) -> str:
    """Bring one element of a rule's key into the form that header values have."""
    if isinstance(element, tuple):
        return "|".join(normalise(part) for part in element)
    if not isinstance(element, str):
        return normalise(element)
    if (element[:1], element[-1:]) in (("{", "}"), ("(", ")")):
        return element  # literals and regular expressions keep their case
    if "|" in element:
        return "|".join(normalise(part) for part in alternatives(element))
    return normalise(element)


def matcher(key: str, nesting: int = 0) -> Matcher:
    """Compile a normalised key; `nesting` counts the NOTs and `#` around it.

    Raises
    ------
    ValueError
        If the key is a malformed range, relation or regular expression; it says which.
    """
    upper = key.upper()
    if nesting > MAX_NESTING:
        raise ValueError(f"{key[:40]!r} lies inside more than {MAX_NESTING} NOTs or #")
    if key.startswith("(") and key.endswith(")"):
        if _may_take_for_ever(key[1:-1]):
            raise ValueError(f"{key[:40]!r} repeats a group that holds a repeat or alternatives; write it without")
        return _regex(key[1:-1])
    if key.startswith("{") and key.endswith("}"):
        return _literal(key[1:-1])
    if key.startswith("#") and key.endswith("#"):
        return _expression(upper, nesting)
    if upper.startswith("BETWEEN"):
        return _between(key)
    if upper.startswith("NOT "):
        inner = matcher(key[len("NOT ") :].strip(), nesting + 1)
        return lambda value: -inner(value)
    if "|" in key or "*" in key:
        return _regex("^(" + "|".join(fnmatch.translate(part) for part in alternatives(key)) + ")$")
    if key == NA:
        return lambda _value: 0
    return _relation(key) if key.startswith((">", "<")) else _literal(key)


def _literal(key: str) -> Matcher:
    def match(value: str) -> int:
        if value in (key, ANY):
            return 1
        return 0 if value == NA else -1

    return match


def _regex(pattern: str) -> Matcher:
    plain = _literal(pattern)
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error

    def match(value: str) -> int:
        known = plain(value)
        return known if known != -1 else (1 if len(value) <= MAX_VALUE and compiled.match(value) else -1)

    return match


def _may_take_for_ever(pattern: str) -> bool:
    """Tell whether a regular expression repeats what can be repeated inside: its time may grow exponentially."""
    plain = _ESCAPED.sub("a", pattern)
    while (group := _INNERMOST.search(plain)) is not None:
        repeats = any(sign in group[1] for sign in "*+{|")
        if repeats and plain[group.end() : group.end() + 1] in ("*", "+", "{"):
            return True
        plain = plain[: group.start()] + ("a*" if repeats else "a") + plain[group.end() :]
    return False


def _relation(key: str) -> Matcher:
    found = _RELATION.match(key)
    if found is None:
        raise ValueError(f"{key!r} is no relation; write one like >1.5 or <=20")
    plain, holds, bound = _literal(key), _RELATIONS[found[1]], float(found[2])

    def match(value: str) -> int:
        known = plain(value)
        if known != -1:
            return known
        try:
            return 1 if holds(float(value), bound) else -1
        except ValueError:
            return -1

    return match


def _expression(key: str, nesting: int) -> Matcher:
    """`#...#`: comparisons joined by one AND or one OR; a second of the same kind is ignored, as in CRDS."""
    inside = key.strip()[1:-1]
    for word, combine in (("AND", all), ("OR", any)):
        if f" {word} " in key:
            parts = [matcher(part.strip(), nesting + 1) for part in inside.split(word)[:2]]
            return _joined(key, parts, combine)
    return matcher(inside, nesting + 1)


def _between(key: str) -> Matcher:
    words = key.split()
    try:
        low, high = (float(word) for word in words[1:])
    except ValueError:
        raise ValueError(f"{key!r} is no range; write BETWEEN low high") from None
    if not low <= high:
        raise ValueError(f"{key!r} is no range; write BETWEEN low high, with low <= high")
    bounds = [matcher(f">={words[1]}"), matcher(f"<{words[2]}")]
    return _joined(f">={words[1]} AND <{words[2]}", bounds, all)


def _joined(key: str, parts: list[Matcher], combine: Callable[[list[bool]], bool]) -> Matcher:
    plain = _literal(key)

    def match(value: str) -> int:
        known = plain(value.upper())
        return known if known != -1 else (1 if combine([part(value.upper()) == 1 for part in parts]) else -1)

    return match
