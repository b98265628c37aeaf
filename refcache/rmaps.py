"""One rmap ready to be asked: its conditions, its rules, and what it makes of their answer."""

import ast
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from refcache import hooks
from refcache.compiler import build_selector
from refcache.dated import date_parameters
from refcache.errors import BadRulesError, SelectionError
from refcache.expressions import compile_expression, evaluate, expression_names
from refcache.mappings import Choice, Literal, MappingFile, SelectorRules
from refcache.selectors import Found, Selector, Terminal
from refcache.values import NA, UNDEFINED

logger = logging.getLogger(__name__)

NA_WORDS = frozenset(("N/A", "TEMP_N/A", "n/a", "temp_n/a"))
OMIT_WORDS = frozenset(("OMIT", "TEMP_OMIT", "omit"))


@dataclass(frozen=True)
class File:
    """One reference file; `date` is its rule's UseAfter, "" without one."""

    name: str
    date: str = ""


@dataclass(frozen=True)
class Files:
    """Several files at once: a tuple in the rules, the two of a Bracket, or rules of equal weight without dates."""

    names: tuple[Terminal, ...]


@dataclass(frozen=True)
class Table:
    """Files by word."""

    names: Mapping[str, str]


@dataclass(frozen=True)
class NotApplicable:
    """The rules say that no reference is needed; `why` is for people."""

    why: str


@dataclass(frozen=True)
class Omitted:
    """The rules say that the type is to be left out of the results; `why` is for people."""

    why: str


Selection = File | Files | Table | NotApplicable | Omitted


def special(word: str, why: str) -> NotApplicable | Omitted | None:
    """Return what a special word stands for; None for a file's name."""
    if word in NA_WORDS:
        return NotApplicable(why)
    return Omitted(why) if word in OMIT_WORDS else None


class Rmap:
    """The rules of one reference type of one instrument; immutable.

    Parameters
    ----------
    mapping
        The parsed `.rmap`.

    Raises
    ------
    BadRulesError
        If its rules or its conditions are malformed.

    Attributes
    ----------
    name
        File name.
    filekind
        Reference type, lower case.
    keys
        Header keys that its rules and conditions may look at.
    date_keys
        Those of them that hold the date: one, or date and time; () without dates.
    looks_ahead
        Whether a rule can choose a file of a date after the header's (ClosestTime).
    """

    def __init__(self, mapping: MappingFile) -> None:
        self.name = mapping.name
        self.filekind = mapping.text_value("filekind", "")
        self.keys = _required_keys(mapping)
        self._selector: Selector = build_selector(mapping)
        self.looks_ahead = _has_closest_time(mapping.selector)
        self._past = build_selector(mapping, past_only=True) if self.looks_ahead else self._selector
        self.date_keys = date_parameters(self._selector)
        self._optional = mapping.text_value("reffile_required", "none").upper() not in ("YES", "NONE")
        self._omit = self._condition(mapping, "rmap_omit")
        self._relevant = self._condition(mapping, "rmap_relevance")
        self._comments = frozenset(str(key).lower() for key in _tuple(mapping.header.get("comment_parkeys")))
        self._key_relevant = self._key_conditions(mapping)
        self._observatory = mapping.text_value("observatory", "")
        self._precondition, self._fallback = hooks.precondition(mapping), hooks.fallback(mapping)

    def select(self, header: Mapping[str, str], past_only: bool = False) -> Selection:
        """Return what the rules choose for a header.

        Parameters
        ----------
        header
            Normalised values of every key of the instrument, by key in upper case.
        past_only
            Whether ClosestTime takes the nearest of the dates that are not after the header's.

        Raises
        ------
        SelectionError
            If they choose nothing and the type is required.
        """
        if self._omit is not None and self._holds(self._omit, expression_names(header), default=False):
            return Omitted(f"rmap_omit of {self.name}")
        if self._relevant is not None and not self._holds(self._relevant, expression_names(header), default=True):
            return NotApplicable(f"rmap_relevance of {self.name}")
        try:
            return self._result(self._choose(self._past if past_only else self._selector, header))
        except _NotNeededError as reason:
            return NotApplicable(str(reason))

    def _choose(self, selector: Selector, header: Mapping[str, str]) -> Found:
        first = self.without_irrelevant(self._precondition(header) if self._precondition else header)
        try:
            return selector.choose(first)
        except SelectionError as error:
            if hooks.needs_none(self._observatory, first):
                raise _NotNeededError(f"{self.name}: such an exposure needs none, and {error}") from error
            try:
                if self._fallback is None:
                    raise
                return selector.choose(self.without_irrelevant(self._fallback(header)))
            except SelectionError as last:
                if not self._optional:
                    raise
                raise _NotNeededError(f"{self.name} does not require a file, and {last}") from last

    def file_names(self) -> Iterator[str]:
        """Return the name of each file that can be chosen, latest rules first, each once."""
        seen: set[str] = set()
        for found in self._selector.outcomes():
            for name in _names(found.value):
                if name not in seen and special(name, "") is None:
                    seen.add(name)
                    yield name

    def _result(self, found: Found) -> Selection:
        if isinstance(found.value, str):
            return special(found.value, f"{self.name} says {found.value}") or File(found.value, found.date)
        return Files(found.value) if isinstance(found.value, tuple) else Table(found.value)

    def without_irrelevant(self, header: Mapping[str, str], keep_comments: bool = False) -> Mapping[str, str]:
        """Put N/A for the keys that the rmap's own conditions leave out, all judged by the header as it came.

        `keep_comments` keeps the values of the keys that only comment on a rule, for who writes one.
        """
        if not self._key_relevant and not self._comments:
            return header
        names = expression_names(dict.fromkeys(self.keys, UNDEFINED) | dict(header))
        reduced = dict(header)
        for key in self.keys:
            condition = self._key_relevant.get(key.lower())
            if key.lower() in self._comments:
                if not keep_comments:
                    reduced[key] = NA
            elif condition is not None:
                try:
                    relevant = evaluate(condition, names)
                except (LookupError, TypeError, RecursionError) as error:
                    raise BadRulesError(self.name, f"parkey_relevance of {key}: {error}") from error
                if not relevant:
                    reduced[key] = NA
        return reduced

    def _holds(self, condition: ast.expr, names: Mapping[str, object], default: bool) -> bool:
        try:
            return bool(evaluate(condition, names))
        except (LookupError, TypeError, RecursionError) as error:
            # CRDS warns and goes on as if the condition were not there; so must this, or the choice differs.
            logger.debug("%s: a condition cannot be judged: %s", self.name, error)
            return default

    def _condition(self, mapping: MappingFile, key: str) -> ast.expr | None:
        if key not in mapping.header:
            return None
        return self._compiled(key, mapping.text_value(key, "").replace("always", "True"))

    def _key_conditions(self, mapping: MappingFile) -> dict[str, ast.expr]:
        table = mapping.header.get("parkey_relevance", {})
        if not isinstance(table, Mapping):
            raise BadRulesError(self.name, f"parkey_relevance is {table!r}; it must be a dictionary")
        return {str(key).lower(): self._compiled(f"parkey_relevance of {key}", text) for key, text in table.items()}

    def _compiled(self, what: str, text: Literal) -> ast.expr:
        try:
            return compile_expression(str(text), self.keys)
        except ValueError as error:
            raise BadRulesError(self.name, f"{what}: {error}") from error


class _NotNeededError(Exception):
    """No reference was found, and none is needed; says why."""


def _names(value: Terminal) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    else:
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _names(part)


def _has_closest_time(choice: Choice | Mapping[str, str]) -> bool:
    if not isinstance(choice, SelectorRules):
        return False
    return choice.kind == "ClosestTime" or any(_has_closest_time(below) for _, below in choice.rules)


def _required_keys(mapping: MappingFile) -> tuple[str, ...]:
    switch = mapping.text_value("reffile_switch", "none").upper()
    switches = () if switch == "NONE" else (switch,)
    groups = [_tuple(group) for group in mapping.parkey]
    keys = [key for group in groups for key in group]
    of_observatory = hooks.EXTRA_KEYS.get(mapping.text_value("observatory", ""), ())
    return tuple(str(key) for key in (*keys, *switches, *_tuple(mapping.header.get("extra_keys")), *of_observatory))


def _tuple(value: Literal) -> tuple[Literal, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)
