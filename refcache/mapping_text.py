"""Mappings as text that is changed: read without loss, edited, and written in CRDS's own form.

`mappings` reads rules to choose by and makes them immutable; here they keep the types and the case in which
they are written, so that what is not changed comes out as CRDS would write it.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from refcache.mappings import mapping_sha1, parse_mapping

INDENT = " " * 4


@dataclass
class RuleText:
    """A selector as it is written: its kind, and keys and what they lead to in any order."""

    kind: str
    rules: dict[Any, Any]

    def format(self, indent: int = 0) -> str:
        """Return it in CRDS's form, sorted by the text of its keys."""
        lines = [f"{self.kind}({{"]
        for key, choice in sorted(self.rules.items(), key=lambda rule: _text_key(rule[0])):
            text = choice.format(indent + 1) if isinstance(choice, RuleText) else repr(choice)
            lines.append(f"{INDENT * (indent + 1)}{key!r} : {text},")
        return "\n".join([*lines, f"{INDENT * indent}}})"])

    def names(self) -> set[str]:
        """Return every text that a rule leads to."""
        found: set[str] = set()
        for choice in self.rules.values():
            if isinstance(choice, RuleText):
                found |= choice.names()
            elif isinstance(choice, str):
                found.add(choice)
            elif isinstance(choice, list | tuple):
                found |= {name for name in choice if isinstance(name, str)}
            elif isinstance(choice, dict):
                found |= {name for name in choice.values() if isinstance(name, str)}
        return found


@dataclass
class MappingText:
    """One mapping: its header, its rules or the names of mappings, and its comment ("" without one)."""

    header: dict[str, Any]
    selector: RuleText | dict[str, str]
    comment: str

    @classmethod
    def parse(cls, text: str, name: str) -> "MappingText":
        """Read the text of a mapping; its checksum is not compared.

        Raises
        ------
        BadRulesError
            If it is no mapping.
        """
        parse_mapping(text, name, check_sha1=False)  # nothing but literals and selectors, within the bounds
        sections: dict[str, Any] = {"comment": ""}
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                sections[statement.targets[0].id] = _value(statement.value)
        return cls(sections["header"], sections["selector"], sections["comment"] or "")

    def derived(self, name: str) -> "MappingText":
        """Return it as a new mapping that comes from this one."""
        header = {**self.header, "derived_from": str(self.header["name"]), "name": name}
        return MappingText(header, self.selector, self.comment)

    def format(self) -> str:
        """Return the text in CRDS's form, with its right checksum."""
        unsigned = self._format("")
        return self._format(mapping_sha1(unsigned))

    def _format(self, sha1: str) -> str:
        parts = [f"header = {_format_dict({**self.header, 'sha1sum': sha1})}"]
        if self.comment:
            parts.append(f'comment = """{self.comment}"""')
        rules = self.selector.format() if isinstance(self.selector, RuleText) else _format_dict(self.selector)
        return "\n\n".join([*parts, f"selector = {rules}\n"])


def next_name(name: str, taken: set[str]) -> str:
    """Return the name of the next in a mapping's series: `x_0007.rmap` follows the highest number of `taken`."""
    path = PurePath(name)
    stem, _, serial = path.stem.rpartition("_")
    if not serial.isdigit():
        stem, serial = path.stem, "0"
    numbers = [int(serial)]
    for other in map(PurePath, taken):
        base, _, number = other.stem.rpartition("_")
        if base == stem and number.isdigit() and other.suffix == path.suffix:
            numbers.append(int(number))
    return f"{stem}_{max(numbers) + 1:04d}{path.suffix}"


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and isinstance(node.args[0], ast.Dict):
        table = node.args[0]
        pairs = [(key, value) for key, value in zip(table.keys, table.values, strict=True) if key is not None]
        return RuleText(node.func.id, {ast.literal_eval(key): _value(value) for key, value in pairs})
    return ast.literal_eval(node)


def _format_dict(table: Mapping[Any, Any], indent: int = 0) -> str:
    lines = ["{"]
    for key, value in sorted(table.items()):
        text = _format_dict(value, indent + 1) if isinstance(value, dict) else repr(value)
        lines.append(f"{INDENT * (indent + 1)}{key!r} : {text},")
    return "\n".join([*lines, f"{INDENT * indent}}}"])


def _text_key(key: Any) -> tuple[str, ...]:
    return tuple(map(str, key)) if isinstance(key, tuple) else (str(key),)
