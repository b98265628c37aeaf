"""What was chosen for a frame, and how far it can be trusted.

A reference is applied where `Chosen.reference` is there: with status OK, or STALE, which warns. MISSING,
MISMATCH, DUMMY and NA leave the step out. An override by the user is taken unless it cannot be applied at
all: what speaks against it makes it STALE instead of MISMATCH or DUMMY, and is said in the note.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from refcache.cards import mismatch, read_mode
from refcache.dates import parse_date, seconds_between
from refcache.references import Reference
from refcache.reftypes import FRAME_TYPES, REFTYPES
from refcache.values import SetupValue

Status = Literal["OK", "STALE", "MISMATCH", "MISSING", "DUMMY", "NA"]
Mode = Literal["cds", "mcds", "utr"]
Applied = TypeVar("Applied", bound=Reference)

MAX_NOTE = 1000


@dataclass(frozen=True)
class Chosen:
    """One reference type's part in a frame.

    Attributes
    ----------
    reftype
        One of `REFTYPES`.
    status
        OK and STALE are applied, the others not.
    reference
        What to apply; None to leave the step out.
    age_s
        From the reference's date to the exposure's first read [s]; None if it has no date.
    note
        Why the status is not OK, and what else to know; "" if nothing.
    name, sha256
        Of the file that was chosen, also where it is not applied; "" if there is none.
    loading
        Whether it is MISSING only because it is not in memory yet.
    """

    reftype: str
    status: Status
    reference: Reference | None
    age_s: float | None
    note: str
    name: str = ""
    sha256: str = ""
    loading: bool = False


@dataclass(frozen=True)
class ReferenceSet:
    """All references of one frame.

    Each type is an attribute too: `references.dark` is the `Chosen` of `types["dark"]`.

    Attributes
    ----------
    crds_context
        Name of the `.pmap`; "" without rules.
    crds_sha1
        Its SHA-1, with " unchecked" after it if the mappings' checksums were not compared.
    types
        What was chosen, by the names of `FRAME_TYPES`, in the order in which they are applied.
    """

    crds_context: str
    crds_sha1: str
    types: Mapping[str, Chosen]

    def __getattr__(self, name: str) -> Chosen:
        """Return what was chosen of a type."""
        if name not in FRAME_TYPES:  # before `types`, which a copy in the making does not have yet
            raise AttributeError(f"{type(self).__name__} has no {name!r}; types are {', '.join(FRAME_TYPES)}")
        return self.types[name]

    def chosen(self) -> tuple[Chosen, ...]:
        """Return all of them in the order in which they are applied."""
        return tuple(self.types.values())

    @property
    def loading(self) -> bool:
        """Whether a later choice would know more, because files are being loaded."""
        return any(one.loading for one in self.types.values())

    def changed(self, types: Mapping[str, Chosen]) -> "ReferenceSet":
        """Return the set with other choices for some types; those that are not applicable stay so."""
        new = {name: one for name, one in types.items() if self.types[name].status != "NA"}
        return replace(self, types={**self.types, **new}) if new else self

    def on_reads(self) -> "ReferenceSet":
        """Return the set without all that works on frames."""
        left = {name: missing(name, "") for name in self.types if not REFTYPES[name].on_reads}
        return replace(self, types={**self.types, **left})

    def keeping(self, opening: "ReferenceSet") -> "ReferenceSet":
        """Return the set with the types that work on reads as they were when the exposure began.

        Those that were still being loaded then stay out of it, and say so.
        """
        kept = {name: _settled(one) for name, one in opening.types.items() if REFTYPES[name].on_reads}
        return replace(self, types={**self.types, **kept})

    def applied(self, kind: type[Applied]) -> Applied | None:
        """Return the reference of a class, e.g. `Dark`, if one is to be applied."""
        found = self.types[kind.reftype].reference
        return found if isinstance(found, kind) else None


@dataclass(frozen=True)
class Exposure:
    """What a reference is judged by.

    Attributes
    ----------
    setup
        FITS keywords in upper case.
    shape
        Rows and columns.
    mode
        Estimator of the frame's rates.
    time_ns
        TAI of the first read [ns since 1970].
    """

    setup: Mapping[str, SetupValue]
    shape: tuple[int, int]
    mode: Mode
    time_ns: int


def missing(reftype: str, note: str, name: str = "") -> Chosen:
    """Return the choice where there is nothing to apply."""
    return Chosen(reftype, "MISSING", None, None, note[:MAX_NOTE], name)


def loading(reftype: str, name: str) -> Chosen:
    """Return the choice of a file that is not in memory yet."""
    return Chosen(reftype, "MISSING", None, None, "is being loaded", name, loading=True)


TOO_LATE = "was being loaded when the reads began; not applied to this exposure"


def _settled(chosen: Chosen) -> Chosen:
    """Return a choice that cannot become better any more."""
    return replace(chosen, loading=False, note=TOO_LATE) if chosen.loading else chosen


def not_applicable(reftype: str, note: str) -> Chosen:
    """Return the choice where the step is to be left out."""
    return Chosen(reftype, "NA", None, None, note[:MAX_NOTE])


def noted(chosen: Chosen, note: str) -> Chosen:
    """Return a choice with a further note, whatever its status."""
    notes = f"{chosen.note}; {note}" if chosen.note else note
    return replace(chosen, note=notes[:MAX_NOTE])


def judge(
    reftype: str, reference: Reference, exposure: Exposure, stale_s: float, rule_date: str, override: bool
) -> Chosen:
    """Decide whether a reference fits an exposure.

    Parameters
    ----------
    reftype
        One of `REFTYPES`.
    reference
        The one that the rules or the user chose.
    exposure
        What it is for.
    stale_s
        Age from which it is STALE [s].
    rule_date
        Date of the rule that chose it, for a file without one of its own; "" if there is none.
    override
        Whether the user chose it.
    """
    notes = ["override"] if override else []
    age_s = _age_s(reference.useafter or rule_date, exposure.time_ns)
    if REFTYPES[reftype].images and reference.shape != exposure.shape:
        notes.append(f"shape is {_size(reference.shape)}, the exposure's {_size(exposure.shape)}")
        return _result(reftype, "MISMATCH", reference, age_s, notes)
    against = _against(reftype, reference, exposure)
    if reference.pedigree == "DUMMY":
        against.append("PEDIGREE is DUMMY: it holds no measurement")
    if against and not override:
        status: Status = "DUMMY" if reference.pedigree == "DUMMY" else "MISMATCH"
        return _result(reftype, status, reference, age_s, against)
    warnings = [*against, *_warnings(reftype, reference, exposure, age_s, stale_s, override)]
    status = "STALE" if warnings else "OK"
    return _result(reftype, status, reference, age_s, [*notes, *warnings, *reference.notes])


def _against(reftype: str, reference: Reference, exposure: Exposure) -> list[str]:
    """Return what forbids to apply a reference."""
    differs = mismatch(exposure.setup, reference.header, REFTYPES[reftype].must_agree)
    found = [differs] if differs else []
    if exposure.mode != "utr":
        # The glow of the reset is in the first reads: it spoils a difference of ends, a slope hardly.
        found += _other_mode(reftype, reference, exposure.mode)
    return found


def _warnings(
    reftype: str, reference: Reference, exposure: Exposure, age_s: float | None, stale_s: float, override: bool
) -> list[str]:
    """Return what makes a reference that is applied doubtful."""
    found = _other_mode(reftype, reference, exposure.mode) if exposure.mode == "utr" else []
    if age_s is None:
        found.append("of unknown age: no USEAFTER or DATE-OBS")
    elif age_s < 0 and not override:
        found.append(f"its date is {-age_s:.0f} s after the exposure")
    elif abs(age_s) > stale_s:
        found.append(f"{abs(age_s):.0f} s {'before' if age_s > 0 else 'after'} the exposure; {stale_s:.0f} s is fresh")
    return found


def _other_mode(reftype: str, reference: Reference, mode: Mode) -> list[str]:
    own = read_mode(reference.header.get("READMODE", "")) if reftype == "dark" else ""
    return [f"READMODE is {own}, the frame's {mode.upper()}"] if own and own != mode.upper() else []


def _age_s(date: str, time_ns: int) -> float | None:
    try:
        return seconds_between(parse_date(date.strip()), time_ns)
    except ValueError:
        return None


def _result(reftype: str, status: Status, reference: Reference, age_s: float | None, notes: list[str]) -> Chosen:
    applied = reference if status in ("OK", "STALE") else None
    note = "; ".join(notes)[:MAX_NOTE]
    return Chosen(reftype, status, applied, age_s, note, reference.name, reference.sha256)


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]} x {shape[0]}"
