"""Questions about best references as JSON lines, one answer line for each: the form in which others ask.

A question is `{"id", "context", "header", "reftype", "ignore_checksum"}`, an answer `{"id", "kind", "value",
"family", "message"}`. The answers are CRDS's, so that the two can be compared: a broken mapping is an error
for every type of its instrument, and the nearest in time may lie after the exposure.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from refcache.context import CrdsContext
from refcache.errors import BadInputError, BadRulesError, SelectionError
from refcache.rmaps import File, Files, NotApplicable, Omitted, Selection, Table
from refcache.selectors import Terminal

MAX_LINE = 1 << 20
"""Characters of one question."""

Answer = dict[str, Any]


class Questions:
    """Answers questions from one cache; each context is read once.

    Parameters
    ----------
    cache
        The CRDS cache.
    context
        For questions that name none; "" if they must.
    ignore_checksum
        For questions that do not say.
    """

    def __init__(self, cache: Path, context: str = "", ignore_checksum: bool = False) -> None:
        self._cache = cache
        self._context = context
        self._ignore_checksum = ignore_checksum
        self._loaded: dict[tuple[str, bool], CrdsContext | SelectionError] = {}

    def answer_lines(self, lines: Iterable[str]) -> Iterator[str]:
        """Return one line of JSON for each line, in order; never raises."""
        for line in lines:
            yield json.dumps(self.answer_line(line), ensure_ascii=False)

    def answer_line(self, line: str) -> Answer:
        """Answer one question; a line that is none is an error without an id."""
        if len(line) > MAX_LINE:
            return _error(None, BadInputError(f"a question of {len(line)} characters; at most {MAX_LINE} are read"))
        try:
            question = json.loads(line)
        except (ValueError, RecursionError) as error:
            return _error(None, BadInputError(f"the line is no JSON: {error}"))
        if not isinstance(question, dict):
            return _error(None, BadInputError(f"a question is an object, not {type(question).__name__}"))
        return self.answer(question)

    def answer(self, question: Mapping[str, Any]) -> Answer:
        """Answer one question; whatever goes wrong is the answer."""
        identity = question.get("id")
        try:
            context = _text(question, "context", self._context)
            ignore = question.get("ignore_checksum")
            header = question.get("header")
            if not isinstance(header, Mapping):
                raise BadInputError("a question needs its header, an object of header keys and values")
            loaded = self._load(context, self._ignore_checksum if ignore is None else bool(ignore))
            return _answer(identity, loaded.select(header, _text(question, "reftype", ""), strict=True))
        except SelectionError as error:
            return _error(identity, error)
        except (ValueError, TypeError, RecursionError) as error:
            return _error(identity, BadRulesError(str(question.get("context")), f"{type(error).__name__}: {error}"))

    def _load(self, name: str, ignore_checksum: bool) -> CrdsContext:
        if not name:
            raise BadInputError("no context: name one in the question, with --context or in CRDS_CONTEXT")
        key = name, ignore_checksum
        if key not in self._loaded:
            try:
                self._loaded[key] = CrdsContext.load(self._cache, name, check_sha1=not ignore_checksum)
            except SelectionError as error:
                self._loaded[key] = error
        loaded = self._loaded[key]
        if isinstance(loaded, SelectionError):
            raise loaded
        return loaded


def _text(question: Mapping[str, Any], key: str, default: str) -> str:
    value = question.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise BadInputError(f"{key} is {value!r}; it must be text")
    return value


def _answer(identity: object, selection: Selection) -> Answer:
    match selection:
        case File(name, date):
            return _line(identity, "file", name, message=f"rule of {date}" if date else "")
        case Files(names):
            return _line(identity, "files", _plain(names))
        case Table(names):
            return _line(identity, "dict", dict(names))
        case NotApplicable(why):
            return _line(identity, "na", "N/A", message=why)
        case Omitted(why):
            return _line(identity, "omit", "OMIT", message=why)


def _plain(value: Terminal) -> Any:
    if isinstance(value, str):
        return value
    return dict(value) if isinstance(value, Mapping) else [_plain(part) for part in value]


def _error(identity: object, error: SelectionError) -> Answer:
    return _line(identity, "error", None, error.family, str(error))


def _line(identity: object, kind: str, value: object, family: str | None = None, message: str = "") -> Answer:
    return {"id": identity, "kind": kind, "value": value, "family": family, "message": message}
