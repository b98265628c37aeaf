"""CRDS mapping files (`.pmap`, `.imap`, `.rmap`) read as data.

They are Python source that CRDS executes; here `ast` parses them and only literals and selector calls are
taken out of the tree, so that a mapping can hold nothing but rules.
"""

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType

from refcache.errors import BadRulesError

MAX_BYTES = 16 << 20
MAX_DEPTH = 16
MAX_RULES = 500_000
"""Bounds on one mapping: text, nesting of literals and selectors, keys. The largest of HST's are a tenth."""

SELECTOR_KINDS = frozenset(
    ("Match", "UseAfter", "ClosestTime", "VersionAfter", "SelectVersion", "GeometricallyNearest", "Bracket")
)
SUFFIXES = (".pmap", ".imap", ".rmap")
_REQUIRED = {
    ".pmap": ("mapping", "parkey", "name", "derived_from", "observatory"),
    ".imap": ("mapping", "parkey", "name", "derived_from", "observatory", "instrument"),
    ".rmap": ("mapping", "parkey", "name", "derived_from", "observatory", "instrument", "filekind"),
}

Literal = str | int | float | bool | tuple["Literal", ...] | Mapping["Literal", "Literal"] | None
"""A value of a mapping's header or of a rule's key; lists are read as tuples."""


@dataclass(frozen=True)
class SelectorRules:
    """A selector as it is written: its kind, its rules in order, and its line."""

    kind: str
    rules: tuple[tuple[Literal, "Choice"], ...]
    line: int


Choice = SelectorRules | Literal
"""What a rule leads to: a further selector, a file name, several, or a special word such as N/A."""


@dataclass(frozen=True)
class MappingFile:
    """One mapping, parsed.

    Attributes
    ----------
    name
        File name.
    header
        As written; `text_value` gives the strings as CRDS sees them.
    selector
        Names of further mappings by instrument or type (pmap, imap), or the rules (rmap).
    sha1
        Of the text without its checksum line, whether it was compared with that line or not.
    """

    name: str
    header: Mapping[str, Literal]
    selector: Mapping[str, str] | SelectorRules
    sha1: str

    def text_value(self, key: str, default: str) -> str:
        """Return a header string in lower case, unless it is in parentheses: CRDS keeps only those."""
        value = self.header.get(key, default)
        text = value if isinstance(value, str) else str(value)
        return text if text.startswith("(") and text.endswith(")") else text.lower()

    @property
    def parkey(self) -> tuple[Literal, ...]:
        """The header keys that the rules look at: one group for each level of selectors."""
        value = self.header["parkey"]
        return value if isinstance(value, tuple) else (value,)


def load_mapping(folder: Path, name: str, check_sha1: bool) -> MappingFile:
    """Read and parse the mapping `name` in `folder`.

    Parameters
    ----------
    folder
        `mappings/<observatory>` of a CRDS cache.
    name
        File name; a path is refused.
    check_sha1
        Whether the text must have the checksum that its header gives.

    Raises
    ------
    BadRulesError
        If the file is missing, too large, no mapping, or not what its checksum says.
    """
    if PurePath(name).name != name or not name.endswith(SUFFIXES):
        raise BadRulesError(name, f"is no mapping's name; write a file name that ends in {', '.join(SUFFIXES)}")
    path = folder / name
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadRulesError(name, f"has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = ", ".join(sorted(known.name for known in folder.glob(f"*{PurePath(name).suffix}"))[:5])
        raise BadRulesError(name, f"no such file in {folder}; it holds {near or 'no such mappings'}") from error
    except (OSError, ValueError) as error:
        raise BadRulesError(name, f"cannot be read: {error}") from error
    return parse_mapping(text, name, check_sha1)


def parse_mapping(text: str, name: str, check_sha1: bool) -> MappingFile:
    """Parse the text of a mapping; see `load_mapping`."""
    sections = _sections(text, name)
    header = sections.get("header")
    if not isinstance(header, Mapping):
        raise BadRulesError(name, "has no header = {...}")
    for key in _REQUIRED[PurePath(name).suffix]:
        if key not in header:
            raise BadRulesError(name, f"its header has no {key!r}")
    sha1 = mapping_sha1(text)
    if check_sha1 and str(header.get("sha1sum")).lower() != sha1:
        stated = header.get("sha1sum", "missing")
        raise BadRulesError(
            name, f"sha1sum is {stated}, the text has {sha1}; restore the file, or set check_sha1 = false"
        )
    rules = sections.get("selector")
    selector = _names(rules, name) if not name.endswith(".rmap") else _rules(rules, name)
    return MappingFile(name, MappingProxyType({str(key): value for key, value in header.items()}), selector, sha1)


def mapping_sha1(text: str) -> str:
    """Return the SHA-1 of a mapping's text without every line that has `sha1sum` in it."""
    kept = "".join(line for line in text.splitlines(keepends=True) if "sha1sum" not in line)
    return hashlib.sha1(kept.encode("utf-8"), usedforsecurity=False).hexdigest()


def _rules(selector: Choice, name: str) -> SelectorRules:
    if not isinstance(selector, SelectorRules):
        raise BadRulesError(name, "has no selector = Match({...}) or the like")
    return selector


def _names(selector: Choice, name: str) -> Mapping[str, str]:
    if not isinstance(selector, Mapping):
        raise BadRulesError(name, "has no selector = {...} of mapping names")
    names: dict[str, str] = {}
    for key, value in selector.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise BadRulesError(name, f"its selector has {key!r} : {value!r}; both must be text")
        names[key] = value
    return MappingProxyType(names)


def _sections(text: str, name: str) -> dict[str, Choice]:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise BadRulesError(name, f"is no mapping: {error.msg}", error.lineno) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise BadRulesError(name, f"is no mapping: {str(error) or 'nested too deeply'}") from error
    reader = _Reader(name)
    return {key: value for statement in tree.body for key, value in reader.section(statement)}


def _is_hashable(key: Literal) -> bool:
    return all(map(_is_hashable, key)) if isinstance(key, tuple) else not isinstance(key, Mapping)


class _Reader:
    """Takes the literals out of one mapping's syntax tree, and counts its rules."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rules = 0

    def section(self, statement: ast.stmt) -> list[tuple[str, Choice]]:
        """Read `header = ...`, `selector = ...` or `comment = ...`; a bare literal is a comment too."""
        match statement:
            case ast.Expr(value=ast.Constant()):
                return []
            case ast.Assign(targets=[ast.Name(id=("header" | "selector" | "comment") as key)], value=value):
                return [(key, self._value(value, 0))]
        raise self._error(statement, "only header, selector and comment may be set in a mapping")

    def _value(self, node: ast.expr, depth: int) -> Choice:
        return self._selector(node, depth) if isinstance(node, ast.Call) else self._literal(node, depth)

    def _literal(self, node: ast.expr, depth: int) -> Literal:
        if depth > MAX_DEPTH:
            raise self._error(node, f"nested deeper than {MAX_DEPTH}")
        match node:
            case ast.Constant(value=(str() | int() | float() | None) as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=(int() | float()) as number)):
                return -number
            case ast.Tuple() | ast.List():
                return tuple(self._literal(element, depth + 1) for element in node.elts)
            case ast.Dict():
                self._count(node)
                pairs = zip(node.keys, node.values, strict=True)
                return MappingProxyType({self._key(k, node, depth): self._literal(v, depth + 1) for k, v in pairs})
        raise self._error(node, f"{type(node).__name__} is no literal; only text, numbers, tuples and lists are")

    def _selector(self, node: ast.Call, depth: int) -> SelectorRules:
        kind = node.func.id if isinstance(node.func, ast.Name) else type(node.func).__name__
        if kind not in SELECTOR_KINDS:
            raise self._error(node, f"{kind} is no selector; known are {', '.join(sorted(SELECTOR_KINDS))}")
        if len(node.args) != 1 or node.keywords or not isinstance(node.args[0], ast.Dict):
            raise self._error(node, f"{kind} takes one dictionary of rules")
        table = node.args[0]
        self._count(table)
        pairs = zip(table.keys, table.values, strict=True)
        # A key that is written twice has its last value, as in the Python that CRDS runs.
        rules = {self._key(k, node, depth): self._value(v, depth + 1) for k, v in pairs}
        return SelectorRules(kind, tuple(rules.items()), node.lineno)

    def _key(self, node: ast.expr | None, parent: ast.expr, depth: int) -> Literal:
        key = None if node is None else self._literal(node, depth + 1)
        if key is None or not _is_hashable(key):
            raise self._error(node or parent, "a key is text, a number, or a tuple of these")
        return key

    def _count(self, table: ast.Dict) -> None:
        self._rules += len(table.keys)
        if self._rules > MAX_RULES:
            raise self._error(table, f"more than {MAX_RULES} rules")

    def _error(self, node: ast.stmt | ast.expr, text: str) -> BadRulesError:
        return BadRulesError(self._name, text, node.lineno)
