"""A CRDS context: all the rules of a `.pmap`, loaded once and never changed.

Swapping rules is loading another context. A mapping that is broken spoils only what it governs: its error
is raised when, and each time, that instrument or type is asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from refcache.errors import BadInputError, BadRulesError, UnknownError
from refcache.mappings import MappingFile, SelectorRules, load_mapping
from refcache.rmaps import NA_WORDS, OMIT_WORDS, NotApplicable, Omitted, Rmap, Selection, special
from refcache.values import UNDEFINED, normalise

Loaded = TypeVar("Loaded")

# Where CRDS looks for the instrument's name, after the key that the context gives.
_INSTRUMENT_KEYS = (
    *("INSTRUME", "META.INSTRUMENT.NAME", "META_INSTRUMENT_NAME", "INSTRUMENT", "ROMAN.META.INSTRUMENT.NAME"),
    *("META.INSTRUMENT.TYPE", "META_INSTRUMENT_TYPE"),
)
_INSTRUMENT_NAMES = {"wfii": "wfpc2"}


@dataclass(frozen=True)
class Instrument:
    """The reference types of one instrument.

    Attributes
    ----------
    name
        File name of its mapping.
    types
        By lower-case name: rules, a special word, or why there are none.
    own_keys
        Header keys that the instrument's mapping itself names.
    """

    name: str
    types: Mapping[str, Rmap | str | BadRulesError]
    own_keys: tuple[str, ...] = ()

    @cached_property
    def keys(self) -> frozenset[str]:
        """Header keys of all its types and its own, as they are written."""
        rmaps = (rules for rules in self.types.values() if isinstance(rules, Rmap))
        return frozenset(self.own_keys).union(*(rules.keys for rules in rmaps))

    @cached_property
    def upper_keys(self) -> frozenset[str]:
        """The keys in upper case, in which headers have them."""
        return frozenset(key.upper() for key in self.keys)

    @cached_property
    def broken(self) -> BadRulesError | None:
        """The first of its types' errors, by name of the type."""
        errors = (self.types[name] for name in sorted(self.types))
        return next((error for error in errors if isinstance(error, BadRulesError)), None)

    def type(self, reftype: str) -> Rmap | NotApplicable | Omitted:
        """Return the rules of a type.

        Raises
        ------
        UnknownError
            If the instrument has no such type.
        BadRulesError
            If the type's rules could not be loaded.
        """
        rules = self.types.get(reftype.lower())
        if rules is None:
            raise UnknownError("reference type", reftype, self.name, self.types)
        if isinstance(rules, BadRulesError):
            raise rules
        if isinstance(rules, Rmap):
            return rules
        word = special(rules, f"{self.name} says {rules} for {reftype}")
        assert word is not None  # only special words are kept as text
        return word


@dataclass(frozen=True)
class CrdsContext:
    """An immutable snapshot of a context's rules.

    Attributes
    ----------
    name
        File name of the `.pmap` (or of an `.imap` or `.rmap` that is asked alone).
    sha1
        SHA-1 of its text without the checksum line.
    checked
        Whether every mapping's checksum was compared.
    observatory
        Folder of the cache that the mappings lie in.
    instrument_key
        Header key that names the instrument; "" if the context is of one instrument.
    instruments
        By lower-case name; "" alone if the context is of one instrument.
    """

    name: str
    sha1: str
    checked: bool
    observatory: str
    instrument_key: str
    instruments: Mapping[str, Instrument | str | BadRulesError]

    @classmethod
    def load(cls, cache_path: Path, name: str, check_sha1: bool, observatory: str = "") -> "CrdsContext":
        """Load a context and everything below it.

        Parameters
        ----------
        cache_path
            The CRDS cache: `mappings/<observatory>/` lies in it.
        name
            File name of the `.pmap`; an `.imap` or `.rmap` gives a context of one instrument or one type.
        check_sha1
            Whether each mapping must have the checksum that it states.
        observatory
            Folder below `mappings/`; "" takes what the name begins with.

        Raises
        ------
        BadRulesError
            If the mapping `name` itself cannot be used; trouble below it is kept for whoever asks.
        """
        folder_name = observatory or name.partition(".")[0].partition("_")[0]
        folder = cache_path / "mappings" / folder_name
        top = load_mapping(folder, name, check_sha1)

        def load(below: str) -> MappingFile:
            return load_mapping(folder, below, check_sha1)

        if name.endswith(".pmap"):
            instruments = _each(_names(top, ".imap"), lambda below: _instrument(load(below), load))
            return cls(name, top.sha1, check_sha1, folder_name, _instrument_key(top), instruments)
        if name.endswith(".imap"):
            alone = _instrument(top, load)
        else:
            rmap = Rmap(top)
            alone = Instrument(name, MappingProxyType({rmap.filekind: rmap}))
        return cls(name, top.sha1, check_sha1, folder_name, "", MappingProxyType({"": alone}))

    def select(
        self, header: Mapping[str, object], reftype: str, strict: bool = False, past_only: bool = False
    ) -> Selection:
        """Choose a reference.

        Parameters
        ----------
        header
            Values by CRDS's keys, in any case; missing ones are UNDEFINED.
        reftype
            CRDS's type, in any case.
        strict
            Whether a broken mapping is an error for every type of its instrument, as in CRDS.
        past_only
            Whether ClosestTime takes the nearest of the dates that are not after the header's.

        Raises
        ------
        SelectionError
            If there is no answer; `family` says in which of the five ways.
        """
        texts = {str(key).upper(): str(value) for key, value in header.items()}
        name = self._instrument_name(texts) if self.instrument_key else ""
        instrument = self._instrument(name if strict else name.strip())
        if not isinstance(instrument, Instrument):
            if strict:
                raise BadRulesError(self.name, f"{instrument.why}, which CRDS cannot use; name an .imap instead")
            return instrument
        if strict and instrument.broken is not None:
            raise instrument.broken
        asked = {key: normalise(texts.get(key, UNDEFINED)) for key in instrument.upper_keys}
        if self.instrument_key:
            asked[self.instrument_key] = normalise(texts.get(self.instrument_key, UNDEFINED))
        if strict and self.instrument_key:
            self._instrument_name(asked)  # CRDS looks again, among the keys that the rules know
        rules = instrument.type(reftype)
        return rules.select(asked, past_only) if isinstance(rules, Rmap) else rules

    def rules(self, instrument: str, reftype: str) -> Rmap | NotApplicable | Omitted:
        """Return the rules of a type of an instrument; errors as in `select`."""
        found = self._instrument(instrument if self.instrument_key else "")
        return found.type(reftype) if isinstance(found, Instrument) else found

    def types(self, instrument: str) -> tuple[str, ...]:
        """Return the types that an instrument's rules name, lower case; () if it has no rules."""
        found = self.instruments.get(instrument.lower() if self.instrument_key else "")
        return tuple(found.types) if isinstance(found, Instrument) else ()

    def keys(self, instrument: str) -> tuple[str, ...]:
        """Return the header keys that an instrument's rules may look at, upper case, with the instrument's own."""
        found = self.instruments.get(instrument.lower() if self.instrument_key else "")
        own = found.keys if isinstance(found, Instrument) else ()
        return tuple(sorted({key.upper() for key in own} | ({self.instrument_key} - {""})))

    def problems(self) -> Iterator[BadRulesError]:
        """Return the errors of every mapping below that could not be used."""
        for instrument in self.instruments.values():
            if isinstance(instrument, BadRulesError):
                yield instrument
            elif isinstance(instrument, Instrument):
                yield from (rules for rules in instrument.types.values() if isinstance(rules, BadRulesError))

    def _instrument_name(self, header: Mapping[str, str]) -> str:
        for key in (self.instrument_key, *_INSTRUMENT_KEYS):
            if header.get(key, UNDEFINED).upper() != UNDEFINED:
                return header[key]
        raise BadInputError(f"the header has no {self.instrument_key}; {self.name} needs the instrument's name")

    def _instrument(self, name: str) -> Instrument | NotApplicable | Omitted:
        known = name.lower() if self.instrument_key else ""
        found = self.instruments.get(_INSTRUMENT_NAMES.get(known, known))
        if found is None:
            raise UnknownError("instrument", name, self.name, self.instruments)
        if isinstance(found, BadRulesError):
            raise found
        if isinstance(found, Instrument):
            return found
        word = special(found, f"{self.name} says {found} for {name}")
        assert word is not None  # only special words are kept as text
        return word


def _instrument(mapping: MappingFile, load: Callable[[str], MappingFile]) -> Instrument:
    types = _each(_names(mapping, ".rmap"), lambda below: Rmap(load(below)))
    extra = mapping.header.get("extra_keys", ())
    own = (*mapping.parkey, *(extra if isinstance(extra, tuple) else (extra,)))
    return Instrument(mapping.name, types, tuple(key for key in own if isinstance(key, str)))


def _each(names: Mapping[str, str], load: Callable[[str], Loaded]) -> Mapping[str, Loaded | str | BadRulesError]:
    """Load what each name stands for; special words stay, and an error is kept in the place of what it spoils."""
    loaded: dict[str, Loaded | str | BadRulesError] = {}
    for key, name in names.items():
        try:
            loaded[key.lower()] = name if name in NA_WORDS | OMIT_WORDS else load(name)
        except BadRulesError as error:
            loaded[key.lower()] = error
    return MappingProxyType(loaded)


def _names(mapping: MappingFile, suffix: str) -> Mapping[str, str]:
    """Return the mappings that one names; they are of the next level, so that none can name itself."""
    assert not isinstance(mapping.selector, SelectorRules)  # load_mapping sees to it by the file's suffix
    for name in mapping.selector.values():
        if name not in NA_WORDS | OMIT_WORDS and not name.endswith(suffix):
            raise BadRulesError(mapping.name, f"its selector names {name!r}; it must be a {suffix} file, N/A or OMIT")
    return mapping.selector


def _instrument_key(mapping: MappingFile) -> str:
    key = mapping.parkey[0] if mapping.parkey else None
    if not isinstance(key, str):
        raise BadRulesError(mapping.name, f"'parkey' is {mapping.parkey!r}; it must name the instrument's key")
    return key.upper()
