"""What references taken into a context make of its mappings; nothing is written here."""

import difflib
import filecmp
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from refcache.errors import InsertionError
from refcache.fits_images import read_cards
from refcache.insertion import Candidate, insert
from refcache.loading import load_reference
from refcache.mapping_text import MappingText, next_name
from refcache.mappings import load_mapping, parse_mapping
from refcache.rmaps import NA_WORDS, OMIT_WORDS, Rmap
from refcache.settings import RefcacheSettings


@dataclass
class Plan:
    """What adding references makes of a context.

    Attributes
    ----------
    context, old_context
        Names of the new `.pmap` and of the one that it comes from.
    texts
        The new mappings by name, in the order in which they are written.
    old_texts
        For each of them name and text of the one that it comes from.
    copies
        Source and place of each reference.
    done
        What was done with each file, for people.
    """

    context: str
    old_context: str
    texts: dict[str, str] = field(default_factory=dict)
    old_texts: dict[str, tuple[str, str]] = field(default_factory=dict)
    copies: list[tuple[Path, Path]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def difference(self) -> str:
        """Return the changes of all mappings as a unified diff."""
        lines: list[str] = []
        for name, text in self.texts.items():
            old_name, old = self.old_texts[name]
            lines += difflib.unified_diff(old.splitlines(), text.splitlines(), old_name, name, lineterm="")
        return "\n".join(lines)


def read_candidate(path: Path, settings: RefcacheSettings, reftype: str = "") -> Candidate:
    """Check a reference file and read its cards.

    One of a type that is applied here must be usable as such; others must be whole FITS files.

    Raises
    ------
    ReferenceFileError
        If it is missing, damaged, or not what its type needs.
    """
    candidate = Candidate(path, read_cards(path))
    stated = (reftype or str(candidate.cards.get("REFTYPE", ""))).strip().upper()
    ours = settings.ours(stated)
    if ours:
        load_reference(path, ours)
    return candidate


def plan(
    cache: Path, settings: RefcacheSettings, context: str, candidates: Sequence[Candidate], reftype: str = ""
) -> Plan:
    """Work out what adding references to a context makes of its mappings; nothing is written.

    Parameters
    ----------
    cache
        The CRDS cache.
    settings
        Observatory, aliases and types.
    context
        The `.pmap` to start from.
    candidates
        The files.
    reftype
        Their CRDS type; "" takes what each file's REFTYPE says.

    Raises
    ------
    RefcacheError
        If a file cannot be taken in, or a mapping on the way cannot be used.
    """
    return _Planner(cache, settings, context, reftype).plan(candidates)


class _Planner:
    """Collects the mappings that change on the way from the references to the context."""

    def __init__(self, cache: Path, settings: RefcacheSettings, context: str, reftype: str) -> None:
        self._cache = cache
        self._settings = settings
        self._reftype = reftype
        self._folder = cache / "mappings" / settings.observatory
        self._taken = {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else set()
        self._old: dict[str, str] = {}
        self._new: dict[str, tuple[str, MappingText]] = {}
        self._context = context
        self._pmap = self._changed(context)

    def plan(self, candidates: Sequence[Candidate]) -> Plan:
        made = Plan(str(self._pmap.header["name"]), self._context)
        for candidate in candidates:
            self._add(candidate, made)
        order = (".rmap", ".imap", ".pmap")
        for old, (name, mapping) in sorted(self._new.items(), key=lambda item: order.index(item[0][-5:])):
            made.texts[name] = mapping.format()
            made.old_texts[name] = old, self._old[old]
            parse_mapping(made.texts[name], name, check_sha1=True)
        self._check(made)
        return made

    def _add(self, candidate: Candidate, made: Plan) -> None:
        instrument = str(candidate.cards.get("INSTRUME", "") or self._settings.instrument).strip()
        pmap_key, imap_name = self._entry(candidate, self._pmap, instrument, "instrument")
        imap = self._changed(imap_name)
        self._names(self._pmap)[pmap_key] = str(imap.header["name"])
        imap_key, rmap_name = self._entry(candidate, imap, self._type(candidate, imap), "type")
        rmap = self._changed(rmap_name)
        self._names(imap)[imap_key] = str(rmap.header["name"])
        text = insert(rmap, candidate, self._settings.aliases)
        made.done.append(f"{candidate.name} in {rmap.header['name']}: {text}")
        target = reference_folder(self._cache, self._settings.observatory, instrument) / candidate.name
        if target.exists() and not filecmp.cmp(candidate.path, target, shallow=False):
            raise candidate.error(f"{target} is another file of that name; rename one")
        made.copies.append((candidate.path, target))

    def _changed(self, name: str) -> MappingText:
        """Return the new version of a mapping, or itself if it is new already."""
        for new, mapping in self._new.values():
            if new == name:
                return mapping
        load_mapping(self._folder, name, self._settings.check_sha1)
        self._old[name] = (self._folder / name).read_text(encoding="utf-8")
        new = next_name(name, self._taken)
        mapping = MappingText.parse(self._old[name], name)
        mapping.header["name"] = name  # some in the wild carry another's
        self._new[name] = new, mapping.derived(new)
        return self._new[name][1]

    def _type(self, candidate: Candidate, imap: MappingText) -> str:
        """Return the rules' name of the file's type; ours and CRDS's names are known."""
        stated = (self._reftype or str(candidate.cards.get("REFTYPE", ""))).strip()
        if not stated:
            raise candidate.error("has no REFTYPE card; set it, or give --reftype")
        known = {key.upper() for key in self._names(imap)}
        for ours, theirs in self._settings.reftypes.items():
            names = [ours.upper(), *(name.upper() for name in theirs)]
            if stated.upper() in names and stated.upper() not in known:
                return next((name for name in names if name in known), stated)
        return stated

    def _entry(self, candidate: Candidate, mapping: MappingText, wanted: str, what: str) -> tuple[str, str]:
        """Return key and value of a mapping's selector for an instrument or type, in any case."""
        names = self._names(mapping)
        # The version that is there: the new one would be made only if all went well.
        there = next((old for old, (_, new) in self._new.items() if new is mapping), mapping.header["name"])
        for key, value in names.items():
            if key.lower() == wanted.lower():
                if value in NA_WORDS | OMIT_WORDS:
                    raise candidate.error(f"{there} says {value} for {what} {wanted}; change that first")
                return key, value
        known = ", ".join(sorted(names)) or "nothing"
        raise candidate.error(f"{there} has no {what} {wanted!r}; it has {known}")

    @staticmethod
    def _names(mapping: MappingText) -> dict[str, str]:
        assert isinstance(mapping.selector, dict)  # load_mapping sees to it by the file's suffix
        return mapping.selector

    @staticmethod
    def _check(made: Plan) -> None:
        """See that the new rules name every file: two that match the same at the same date would not both stay."""
        rmaps = [Rmap(parse_mapping(text, name, True)) for name, text in made.texts.items() if name.endswith(".rmap")]
        named = {name for rmap in rmaps for name in rmap.file_names()}
        for source, _ in made.copies:
            if source.name not in named:
                raise InsertionError(f"{source}: another of these files has the same values and date; give one alone")


def reference_folder(cache: Path, observatory: str, instrument: str) -> Path:
    """Return where new references of an instrument go: as the cache says, else into the instrument's folder."""
    folder = cache / "references" / observatory.lower()
    mode = cache / "config" / observatory.lower() / "ref_cache_subdir_mode"
    flat = mode.is_file() and mode.read_text(encoding="utf-8", errors="replace").strip() == "flat"
    return folder if flat else folder / instrument.lower()
