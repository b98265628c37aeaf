"""Rules that say which reads to leave out: a small language of comparisons, read by a parser of its own.

    NFIRAOS.rtc.loop.ho != LOCK
    LGSR0 < 0.08 or not (ADCFOLLW == FOLLOWING)
    reads 3,7-9

Nothing of a rule is ever executed as code. A comparison with a value that is not known is neither true nor
false, and a read is left out only by a rule that is true.
"""

import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rtcal.errors import UsageError
from streams.telemetry_keys import Key, KeyTable, Value

MAX_RULE = 2000
MAX_DEPTH = 20
MAX_INDEX = 10_000_000

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))|(?P<op>==|!=|<=|>=|<|>)|(?P<mark>[(),-])"
    r"|(?P<quoted>\"[^\"]*\"|'[^']*')|(?P<word>[A-Za-z_][\w.+/\[\]-]*))"
)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True)
class Moment:
    """What a rule is asked about: a read, and the telemetry at it."""

    ramp: int
    read: int
    value: Callable[[Key], Value | None]
    """A key's value; None where it is not known, too old or not to be believed."""


class Term(Protocol):
    """A part of a rule."""

    def holds(self, moment: Moment) -> bool | None:
        """Tell whether it is true; None: what it asks for is not known."""
        ...


@dataclass(frozen=True)
class Comparison:
    """A key against a value; of several keys of one FITS keyword the first that has a value."""

    keys: tuple[Key, ...]
    sign: str
    value: str | float | bool

    def holds(self, moment: Moment) -> bool | None:
        """Compare; a list holds if any of its values does."""
        for key in self.keys:
            found = moment.value(key)
            if found is not None:
                compare = _OPERATORS[self.sign]
                return any(compare(one, self.value) for one in (found if isinstance(found, list) else [found]))
        return None


@dataclass(frozen=True)
class Numbers:
    """Reads (or ramps) by their numbers, first and last of each range, from 0."""

    of: Literal["reads", "ramps"]
    ranges: tuple[tuple[int, int], ...]

    def holds(self, moment: Moment) -> bool | None:
        """Tell whether the number is in a range."""
        number = moment.read if self.of == "reads" else moment.ramp
        return any(first <= number <= last for first, last in self.ranges)


@dataclass(frozen=True)
class Not:
    """The opposite."""

    term: Term

    def holds(self, moment: Moment) -> bool | None:
        """Turn true and false round; what is not known stays so."""
        held = self.term.holds(moment)
        return None if held is None else not held


@dataclass(frozen=True)
class Either:
    """True if any term is (`or`), or if all are (`and`)."""

    word: Literal["or", "and"]
    terms: tuple[Term, ...]

    def holds(self, moment: Moment) -> bool | None:
        """Join the terms; one that is not known decides nothing."""
        held = [term.holds(moment) for term in self.terms]
        decisive = self.word == "or"
        if decisive in held:
            return decisive
        return None if None in held else not decisive


@dataclass(frozen=True)
class Rule:
    """A rule with the name that frames call it by."""

    name: str
    text: str
    term: Term
    keys: tuple[Key, ...]
    """What it asks for."""

    def excludes(self, moment: Moment) -> bool:
        """Tell whether it is true of a read."""
        return self.term.holds(moment) is True


def parse_rule(text: str, table: KeyTable, name: str = "") -> Rule:
    """Read a rule; without a name its text is its name.

    Raises
    ------
    UsageError
        If it cannot be read: says where, and what would be right.
    """
    parser = _Parser(text, table)
    term = parser.whole()
    return Rule(name or " ".join(text.split()), " ".join(text.split()), term, tuple(parser.keys))


def parse_rules(named: Mapping[str, str], chosen: Sequence[str], table: KeyTable) -> list[Rule]:
    """Read the rules of `chosen`: names of `named`, or rules themselves.

    Raises
    ------
    UsageError
        If one cannot be read.
    """
    return [parse_rule(named[one], table, one) if one in named else parse_rule(one, table) for one in chosen]


class _Parser:
    """Recursive descent over the tokens of one rule."""

    def __init__(self, text: str, table: KeyTable) -> None:
        self.keys: list[Key] = []
        self._text = text
        self._table = table
        self._tokens = self._split()
        self._place = 0
        self._depth = 0

    def whole(self) -> Term:
        term = self._any()
        if self._place < len(self._tokens):
            raise self._error(f"{self._tokens[self._place][1]!r} is too much")
        return term

    def _split(self) -> list[tuple[str, str]]:
        if len(self._text) > MAX_RULE:
            raise UsageError(f"a rule of {len(self._text)} characters; at most {MAX_RULE} are read")
        tokens, end = [], len(self._text.rstrip())
        place = 0
        while place < end:
            found = _TOKEN.match(self._text, place)
            if found is None:
                raise self._error(f"{self._text[place:end].strip()[:20]!r} is not understood")
            tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            place = found.end()
        return tokens

    def _any(self) -> Term:
        return self._joined("or", lambda: self._joined("and", self._one))

    def _joined(self, word: Literal["or", "and"], part: Callable[[], Term]) -> Term:
        terms = [part()]
        while self._take("word", word):
            terms.append(part())
        return terms[0] if len(terms) == 1 else Either(word, tuple(terms))

    def _one(self) -> Term:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} levels")
        try:
            if self._take("word", "not"):
                return Not(self._one())
            if self._take("mark", "("):
                term = self._any()
                if not self._take("mark", ")"):
                    raise self._error("a ')' is missing")
                return term
            if self._take("word", "reads"):
                return self._numbers("reads")
            if self._take("word", "ramps"):
                return self._numbers("ramps")
            return self._comparison()
        finally:
            self._depth -= 1

    def _numbers(self, of: Literal["reads", "ramps"]) -> Term:
        ranges = [self._range()]
        while self._take("mark", ","):
            ranges.append(self._range())
        return Numbers(of, tuple(ranges))

    def _range(self) -> tuple[int, int]:
        first = last = self._index()
        if self._take("mark", "-"):
            last = self._index()
        elif self._kind() == "number" and self._tokens[self._place][1].startswith("-"):
            last = -self._index(lowest=-MAX_INDEX)  # 7-9 is a number and a negative one
        if last < first:
            raise self._error(f"the range {first}-{last} runs backwards")
        return first, last

    def _index(self, lowest: int = 0) -> int:
        kind, text = self._next("a number of a read, e.g. 3 or 7-9")
        if kind != "number" or not re.fullmatch(r"[+-]?\d+", text) or not lowest <= int(text) <= MAX_INDEX:
            raise self._error(f"{text!r} is no number of a read")
        return int(text)

    def _comparison(self) -> Term:
        kind, word = self._next("a key, `reads`, `not` or '('")
        if kind not in ("word", "quoted"):
            raise self._error(f"{word!r} is no key")
        keys = self._keys_of(word.strip("\"'"))
        kind, sign = self._next(f"one of {' '.join(_OPERATORS)} after {word}")
        if kind != "op":
            raise self._error(f"{sign!r} is none of {' '.join(_OPERATORS)}")
        value = self._value(sign, *self._next(f"a value after {word} {sign}"))
        for key in keys:
            self._check(key, sign, value)
        self.keys += keys
        return Comparison(tuple(keys), sign, value)

    def _keys_of(self, word: str) -> list[Key]:
        keys = self._table.named(word)
        if not keys:
            known = [name for key in self._table.all() for name in (key.name, key.fits) if name]
            near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
            raise self._error(f"{word!r} is no key" + (f"; did you mean {near[0]!r}?" if near else " of the key table"))
        return keys

    def _value(self, sign: str, kind: str, text: str) -> str | float | bool:
        if kind == "number":
            return float(text)
        if kind == "quoted":
            return text[1:-1]
        if kind != "word":
            raise self._error(f"{text!r} is no value")
        if text.lower() in _FLAGS and sign in ("==", "!="):
            return _FLAGS[text.lower()]
        return text

    def _check(self, key: Key, sign: str, value: str | float | bool) -> None:
        kind = key.about.type
        wanted = {"real": float, "integer": float, "text": str, "flag": bool}.get(kind)
        if wanted is not None and not isinstance(value, wanted):
            names = {"real": "numbers", "integer": "numbers", "text": "words", "flag": "true or false"}
            raise self._error(f"{value!r}: {key.name} is compared with {names[kind]}")
        if sign not in ("==", "!=") and (isinstance(value, str | bool) or kind not in ("real", "integer")):
            raise self._error(f"{sign} is for numbers; {key.name} has == and !=")
        if key.about.choices and value not in key.about.choices:
            raise self._error(f"{value!r} is none of {', '.join(key.about.choices)}")

    def _kind(self) -> str:
        return self._tokens[self._place][0] if self._place < len(self._tokens) else ""

    def _take(self, kind: str, text: str) -> bool:
        if self._place < len(self._tokens) and self._tokens[self._place] == (kind, text):
            self._place += 1
            return True
        return False

    def _next(self, wanted: str) -> tuple[str, str]:
        if self._place >= len(self._tokens):
            raise self._error(f"the rule ends; {wanted} is missing")
        self._place += 1
        return self._tokens[self._place - 1]

    def _error(self, text: str) -> UsageError:
        return UsageError(f"rule {self._text.strip()[:100]!r}: {text}")
