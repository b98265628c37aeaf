"""Rules laid open for people: each rule as one line, where a file is named, what two contexts differ in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from refcache.errors import BadRulesError
from refcache.mapping_text import MappingText, RuleText
from refcache.mappings import load_mapping
from refcache.rmaps import NA_WORDS, OMIT_WORDS

WORDS = NA_WORDS | OMIT_WORDS


@dataclass(frozen=True, order=True)
class Rule:
    """One rule of a context.

    Attributes
    ----------
    instrument, reftype
        In upper case.
    path
        The keys from selector to selector, as text; empty where the type as a whole has a special word.
    value
        What it leads to, as text.
    rmap
        The mapping that it stands in.
    """

    instrument: str
    reftype: str
    path: tuple[str, ...]
    value: str
    rmap: str

    def line(self) -> str:
        """Return it as text, without the mapping's name."""
        return f"{self.instrument} {self.reftype} {' '.join((*self.path, ':', self.value))}"


def read_text(folder: Path, name: str, check_sha1: bool) -> MappingText:
    """Read a mapping without loss; `BadRulesError` if it cannot be used."""
    load_mapping(folder, name, check_sha1)
    return MappingText.parse((folder / name).read_text(encoding="utf-8"), name)


def rules_of(folder: Path, name: str, check_sha1: bool, problems: list[str] | None = None) -> Iterator[Rule]:
    """Return every rule of a context, an imap or an rmap.

    Parameters
    ----------
    folder
        `mappings/<observatory>` of a cache.
    name
        The mapping.
    check_sha1
        Whether its checksum, and that of all below it, is compared.
    problems
        Filled with the errors of mappings below that cannot be used; None raises them.
    """
    top = read_text(folder, name, check_sha1)
    if name.endswith(".rmap"):
        yield from _rules(top, str(top.header["instrument"]).upper(), str(top.header["filekind"]).upper(), name)
        return
    for key, below in _names(top).items():
        instrument = key.upper() if name.endswith(".pmap") else str(top.header["instrument"]).upper()
        if below in WORDS:
            yield Rule(instrument, "*" if name.endswith(".pmap") else key.upper(), (), below, name)
            continue
        try:
            if below.endswith(name[-5:]):
                raise BadRulesError(name, f"its selector names {below!r}, a mapping of its own kind")
            yield from rules_of(folder, below, check_sha1, problems)
        except BadRulesError as error:
            if problems is None:
                raise
            problems.append(str(error))


def where_named(rules: Iterator[Rule], file: str) -> list[Rule]:
    """Return the rules that lead to a file."""
    return [rule for rule in rules if file == rule.value or repr(file) in rule.value]


def differences(old: Iterator[Rule], new: Iterator[Rule]) -> list[tuple[str, Rule]]:
    """Return what two contexts differ in: `-` and the old rule, `+` and the new one, in the order of the rules."""
    before = {(rule.instrument, rule.reftype, rule.path, rule.value): rule for rule in old}
    after = {(rule.instrument, rule.reftype, rule.path, rule.value): rule for rule in new}
    changed = [("-", rule) for key, rule in before.items() if key not in after]
    changed += [("+", rule) for key, rule in after.items() if key not in before]
    return sorted(
        changed, key=lambda change: (change[1].instrument, change[1].reftype, change[1].path, change[0] == "+")
    )


def _names(mapping: MappingText) -> dict[str, str]:
    assert isinstance(mapping.selector, dict)  # load_mapping sees to it by the file's suffix
    return dict(sorted(mapping.selector.items()))


def _rules(mapping: MappingText, instrument: str, reftype: str, name: str) -> Iterator[Rule]:
    assert isinstance(mapping.selector, RuleText)  # load_mapping sees to it by the file's suffix
    for path, value in _leaves(mapping.selector, ()):
        yield Rule(instrument, reftype, path, value, name)


def _leaves(rules: RuleText, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, choice in rules.rules.items():
        below = (*path, str(key))
        if isinstance(choice, RuleText):
            yield from _leaves(choice, below)
        else:
            yield below, choice if isinstance(choice, str) else repr(choice)
