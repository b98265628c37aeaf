"""Every file of a cache checked: checksums, names that lead nowhere or round in a circle, damaged references."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from refcache.cache_paths import reference_path
from refcache.context import CrdsContext
from refcache.errors import BadRulesError, ReferenceFileError, SelectionError
from refcache.fits_images import check_lfs, read_cards
from refcache.loading import load_reference
from refcache.mapping_text import MappingText
from refcache.mappings import SUFFIXES, MappingFile, SelectorRules, load_mapping
from refcache.rmaps import NA_WORDS, OMIT_WORDS, Rmap
from refcache.settings import RefcacheSettings

_BELOW = {".pmap": ".imap", ".imap": ".rmap"}
_FITS = (".fits", ".fits.gz", ".fit", ".fits.fz")


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong with a file: its name, the key or property, and the finding with its remedy."""

    file: str
    key: str
    text: str


class Audit:
    """A check of one observatory's files.

    Parameters
    ----------
    cache
        The CRDS cache.
    settings
        Observatory, instrument and types.
    context
        Whose references must all be there; "" for none.

    Attributes
    ----------
    files
        What there is to check: every mapping and every reference of the observatory.
    """

    def __init__(self, cache: Path, settings: RefcacheSettings, context: str) -> None:
        self._cache = cache
        self._settings = settings
        self._context = context
        self._mappings = cache / "mappings" / settings.observatory
        references = cache / "references" / settings.observatory
        mappings = sorted(path for path in self._mappings.glob("*") if path.suffix in SUFFIXES)
        hidden = (path for path in sorted(references.rglob("*")) if path.is_file() or path.is_symlink())
        self.files = (*mappings, *(path for path in hidden if not path.name.startswith(".")))
        self._types = {their.lower(): ours for ours, theirs in settings.reftypes.items() for their in theirs}
        self._used: dict[str, str] = {}

    def check(self, path: Path) -> list[Problem]:
        """Return what is wrong with one file; mappings are to be checked before references."""
        if path.suffix in SUFFIXES:
            return self._check_mapping(path.name)
        try:
            self._check_reference(path)
        except ReferenceFileError as error:
            return [Problem(path.name, error.key, str(error).removeprefix(f"{path}: "))]
        except OSError as error:
            return [Problem(path.name, "", f"cannot be read: {error.strerror or error}; fetch it again")]
        return []

    def missing(self) -> list[Problem]:
        """Return the references that the context names and that are not there."""
        if not self._context:
            return []
        try:
            context = CrdsContext.load(self._cache, self._context, False, self._settings.observatory)
        except BadRulesError as error:
            return [Problem(self._context, "", str(error))]
        return [
            Problem(name, rmap, f"{path} is not there; fetch it, or take it out of the rules")
            for instrument, rmap, name in _named(context)
            if not (path := reference_path(self._cache, self._settings, instrument, name)).exists()
        ]

    def _check_mapping(self, name: str) -> list[Problem]:
        try:
            mapping = load_mapping(self._mappings, name, check_sha1=False)
        except BadRulesError as error:
            return [Problem(name, "", str(error))]
        problems = list(self._header_problems(mapping))
        if isinstance(mapping.selector, SelectorRules):
            problems += self._rule_problems(mapping)
        else:
            problems += self._name_problems(mapping)
        return problems

    def _header_problems(self, mapping: MappingFile) -> Iterator[Problem]:
        try:
            load_mapping(self._mappings, mapping.name, check_sha1=True)
        except BadRulesError:
            stated = mapping.header.get("sha1sum", "missing")
            yield Problem(mapping.name, "sha1sum", f"is {stated}, the text has {mapping.sha1}; restore the file")
        if mapping.header["name"] != mapping.name:
            yield Problem(mapping.name, "name", f"is {mapping.header['name']!r}; it must be the file's name")
        chain = [mapping.name]
        while chain[-1].endswith(SUFFIXES) and (parent := self._parent(chain[-1])):
            if parent in chain:
                yield Problem(
                    mapping.name, "derived_from", f"goes round in a circle: {' from '.join((*chain, parent))}"
                )
                return
            chain.append(parent)

    def _parent(self, name: str) -> str:
        try:
            text = (self._mappings / name).read_text(encoding="utf-8")
            return str(MappingText.parse(text, name).header["derived_from"])
        except (OSError, ValueError, BadRulesError):
            return ""  # the file's own check says so

    def _name_problems(self, mapping: MappingFile) -> Iterator[Problem]:
        assert not isinstance(mapping.selector, SelectorRules)
        suffix = _BELOW[mapping.name[-5:]]
        for key, below in mapping.selector.items():
            if below in NA_WORDS | OMIT_WORDS:
                continue
            if not below.endswith(suffix):
                yield Problem(mapping.name, key, f"names {below!r}; it must be a {suffix} file, N/A or OMIT")
            elif not (self._mappings / below).is_file():
                yield Problem(mapping.name, key, f"names {below}, which is not there; fetch it")

    def _rule_problems(self, mapping: MappingFile) -> Iterator[Problem]:
        try:
            rmap = Rmap(mapping)
            self._used |= dict.fromkeys(rmap.file_names(), rmap.filekind)
        except SelectionError as error:
            yield Problem(mapping.name, "", str(error))
        except RecursionError:
            yield Problem(mapping.name, "", "its conditions are nested too deeply; simplify them")

    def _check_reference(self, path: Path) -> None:
        ours = self._types.get(self._used.get(path.name, ""))
        if ours is not None:
            load_reference(path, ours)
        elif path.name.lower().endswith(_FITS):
            read_cards(path)
        else:
            with path.open("rb") as stream:
                if stream.read(1) == b"":
                    raise ReferenceFileError(path, "", "is empty; fetch it again")
                stream.seek(0)
                check_lfs(path, stream)


def _named(context: CrdsContext) -> Iterator[tuple[str, str, str]]:
    """Return instrument, rmap and file of every file that a context's rules name, each once."""
    seen: set[tuple[str, str]] = set()
    for instrument in context.instruments:
        for reftype in context.types(instrument):
            try:
                rules = context.rules(instrument, reftype)
            except SelectionError:
                continue  # the mapping's own check says so
            if not isinstance(rules, Rmap):
                continue
            for name in rules.file_names():
                if (instrument, name) not in seen:
                    seen.add((instrument, name))
                    yield instrument, rules.name, name
