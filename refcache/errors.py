"""Errors of the `refcache` package: one base, and a family for each way of not finding a reference."""

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Literal

Family = Literal["no_match", "bad_input", "unknown", "ambiguous", "bad_rules"]
"""The five ways in which rules give no answer, as CRDS's users know them."""


class RefcacheError(Exception):
    """Base of every error that `refcache` raises on purpose."""


class SelectionError(RefcacheError, LookupError):
    """Rules that name no reference; `family` says why."""

    family: ClassVar[Family]


class NoMatchError(SelectionError):
    """The rules are sound and the header is usable, but no rule covers it."""

    family = "no_match"


class BadInputError(SelectionError):
    """A header value that the rules do not know, or that is no date."""

    family = "bad_input"


class UnknownError(SelectionError):
    """A type or an instrument that the context does not name."""

    family = "unknown"

    def __init__(self, what: str, name: str, where: str, known: Collection[str]) -> None:
        covered = ", ".join(sorted(known)) or "nothing"
        super().__init__(f"unknown {what} {name!r} in {where}; it covers {covered}")


class AmbiguousError(SelectionError):
    """Several rules fit equally well and the mapping forbids, or does not allow, merging them."""

    family = "ambiguous"


class BadRulesError(SelectionError):
    """A mapping that is missing, malformed, or not what its checksum says.

    Parameters
    ----------
    name
        The mapping's file name.
    text
        What is wrong, and what would be right.
    line
        Where in the file; None where no line is to blame.
    """

    family = "bad_rules"

    def __init__(self, name: str, text: str, line: int | None = None) -> None:
        super().__init__(f"{name}: {text}" if line is None else f"{name}:{line}: {text}")
        self.name = name
        self.line = line


class ReferenceFileError(RefcacheError, ValueError):
    """A reference file that cannot be used.

    Parameters
    ----------
    path
        The file.
    key
        The extension, card or property that is wrong, e.g. `DATA` or `BUNIT`; "" for the file itself.
    text
        What was found, and the remedy.
    """

    def __init__(self, path: Path, key: str, text: str) -> None:
        super().__init__(f"{path}: {key}: {text}" if key else f"{path}: {text}")
        self.path = path
        self.key = key


class MissingFileError(ReferenceFileError):
    """No such file, or it cannot be opened."""


class LfsPointerError(ReferenceFileError):
    """The text that Git LFS leaves in the place of a file that was not fetched."""


class NotFitsError(ReferenceFileError):
    """Not FITS, or damaged or truncated FITS."""


class LayoutError(ReferenceFileError):
    """An extension that is missing, or of the wrong dtype or shape."""


class UnitError(ReferenceFileError):
    """A BUNIT that is missing or is not the unit that the pipeline works in."""


class InsertionError(RefcacheError, ValueError):
    """A reference that cannot be taken into the rules; says which file, key and remedy."""


class ConflictError(InsertionError):
    """Another writer was faster, again and again."""
