"""From an exposure's setup to the references of its frame, by one context and without ever failing.

Rules choose, files come from memory, and whatever goes wrong is a status on the frame.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeGuard

from refcache.cache_paths import reference_path
from refcache.chosen import Chosen, Exposure, Mode, ReferenceSet, judge, loading, missing, not_applicable, noted
from refcache.context import CrdsContext
from refcache.dates import parse_date, seconds_between, utc_of_tai
from refcache.errors import BadInputError, NoMatchError, RefcacheError, SelectionError, UnknownError
from refcache.holding import Key, Window
from refcache.references import Reference
from refcache.reftypes import FRAME_TYPES, REFTYPES
from refcache.rmaps import File, NotApplicable, Omitted, Rmap, Selection
from refcache.settings import RefcacheSettings
from refcache.values import UNDEFINED, SetupValue, normalise, with_aliases

logger = logging.getLogger(__name__)

Fetch = Callable[[Key], Reference | None]
"""Gives a reference, or None while it is being loaded; raises `RefcacheError` if it cannot be used."""

_FULL = frozenset(("FULL", "FULL_FRAME", "FULLFRAME", UNDEFINED, "N/A", "*", "", "GENERIC"))
_MEMO = 512
SPECTRAL = ("SLICER", "LENSLET", "IFU", "IFS")
"""Values of INSTMODE of exposures whose frames hold spectra."""


class Chooser:
    """The references of one context and one configuration; never changes.

    An exposure keeps the chooser that it began with, so that no frame mixes references of two contexts.

    Parameters
    ----------
    settings
        The `[refcache]` table.
    stale_s
        Age from which a reference is STALE [s], by reftype.
    cache
        The CRDS cache; None for none.
    context
        Its rules; None if there are none that can be used.
    no_context
        Then: why.
    fetch
        Gives the references themselves.
    """

    def __init__(
        self,
        settings: RefcacheSettings,
        stale_s: Mapping[str, float],
        cache: Path | None,
        context: CrdsContext | None,
        no_context: str,
        fetch: Fetch,
    ) -> None:
        self.context = context
        self._settings = settings
        self._stale_s = stale_s
        self._cache = cache
        self._no_context = no_context
        self._fetch = fetch
        self._paths: dict[tuple[str, str], Path] = {}
        self._ask = lru_cache(maxsize=_MEMO)(self._ask_rules)

    @property
    def crds_context(self) -> str:
        """Name of the context; "" without one."""
        return self.context.name if self.context else ""

    @property
    def crds_sha1(self) -> str:
        """SHA-1 of the context, marked if checksums were not compared; "" without one."""
        if self.context is None:
            return ""
        return self.context.sha1 if self.context.checked else f"{self.context.sha1} unchecked"

    def select(
        self, setup: Mapping[str, SetupValue], shape: tuple[int, int], mode: Mode, exposure_time_ns: int
    ) -> ReferenceSet:
        """Choose the references of a frame; never raises.

        Parameters
        ----------
        setup
            FITS keywords of the exposure: DETECTOR, FILTER, READMODE, SUBARRAY ... The date in them is not
            used: the time of the first read is what counts.
        shape
            Rows and columns of the reads.
        mode
            Estimator of the frame's rates.
        exposure_time_ns
            First read, TAI [ns since 1970].
        """
        return self.select_all(exposure_of(setup, shape, mode, exposure_time_ns))

    def select_all(self, exposure: Exposure, fetch: Fetch | None = None) -> ReferenceSet:
        """Choose the references of every type; never raises."""
        chosen = {reftype: self.choose(reftype, exposure, fetch) for reftype in FRAME_TYPES}
        return ReferenceSet(self.crds_context, self.crds_sha1, chosen)

    def choose(self, reftype: str, exposure: Exposure, fetch: Fetch | None = None) -> Chosen:
        """Choose the reference of one type, taken from `fetch` instead of the chooser's own; never raises."""
        try:
            return self._choose(reftype, exposure, fetch or self._fetch)
        except Exception as error:  # a frame is published whatever a reference does
            logger.exception("choosing %s failed", reftype)
            return missing(reftype, f"{type(error).__name__}: {error}")

    def problems(self) -> list[str]:
        """Return what is wrong with the rules, one sentence each."""
        if self.context is None:
            needed = (reftype for reftype, kind in REFTYPES.items() if not kind.optional)
            return [] if all(map(self._settings.override.get, needed)) else [self._no_context]
        return [str(error) for error in self.context.problems()]

    def override_files(self) -> Iterator[tuple[str, Path]]:
        """Return type and file of each override."""
        for reftype, override in self._settings.override.items():
            if override and normalise(override) != "N/A":
                yield reftype, Path(override).expanduser()

    def named_files(self, problems: list[str]) -> Iterator[tuple[str, Path]]:
        """Return what the rules name for the instrument's types that are not overridden, latest first."""
        if self.context is None or self._cache is None:
            return
        for reftype in FRAME_TYPES:
            if self._settings.override.get(reftype):
                continue
            try:
                instrument = self._settings.instrument
                rules = self.context.rules(instrument, self._crds_type(reftype, instrument))
                for name in rules.file_names() if isinstance(rules, Rmap) else ():
                    yield reftype, reference_path(self._cache, self._settings, instrument, name)
            except SelectionError as error:
                expected = isinstance(error, UnknownError) and REFTYPES[reftype].optional
                if not expected and str(error) not in problems:
                    problems.append(f"{reftype}: {error}")

    def _choose(self, reftype: str, exposure: Exposure, fetch: Fetch) -> Chosen:
        override = self._settings.override.get(reftype, "")
        if normalise(override) == "N/A":
            return not_applicable(reftype, "override")
        if override:
            return self._judged(reftype, Path(override).expanduser(), exposure, fetch, "", override=True)
        if REFTYPES[reftype].spectral and normalise(exposure.setup.get("INSTMODE", "")) not in SPECTRAL:
            return not_applicable(reftype, "the frame holds no spectra")
        if self.context is None or self._cache is None:
            return missing(reftype, self._no_context)
        instrument = self._instrument(exposure.setup)
        if REFTYPES[reftype].on_reads and not self._has_rules(reftype, instrument):
            return not_applicable(reftype, f"{self.crds_context} has no rules of this type")
        note = ""
        try:
            selection, note = self._select_for_now(reftype, instrument, exposure)
            if isinstance(selection, NotApplicable | Omitted):
                return not_applicable(reftype, selection.why)
            if not isinstance(selection, File):
                return missing(reftype, f"{self.crds_context} gives {selection}, not one file")
            path = self._path(self._cache, instrument, selection.name)
        except SelectionError as error:
            return missing(reftype, str(error))
        chosen = self._judged(reftype, path, exposure, fetch, selection.date, override=False)
        return noted(chosen, note) if note else chosen

    def _path(self, cache: Path, instrument: str, name: str) -> Path:
        """Return where a file lies; the disk is asked until it is there, and not again: it may be far away."""
        key = instrument, name
        if key not in self._paths:
            path = reference_path(cache, self._settings, instrument, name)
            if not path.exists():
                return path
            self._paths[key] = path
        return self._paths[key]

    def _judged(
        self, reftype: str, path: Path, exposure: Exposure, fetch: Fetch, rule_date: str, override: bool
    ) -> Chosen:
        try:
            reference = _cut(reftype, path, exposure, fetch)
        except RefcacheError as error:
            return missing(reftype, f"override; {error}" if override else str(error), path.name)
        if reference is None:
            return loading(reftype, path.name)
        return judge(reftype, reference, exposure, self._stale_s[reftype], rule_date, override)

    def _select_for_now(self, reftype: str, instrument: str, exposure: Exposure) -> tuple[Selection, str]:
        """Return what the rules choose without looking ahead of the exposure, and what was refused for that."""
        assert self.context is not None
        crds_type = self._crds_type(reftype, instrument)
        rules = self.context.rules(instrument, crds_type)
        if not isinstance(rules, Rmap):
            return rules, ""
        nearest = self._select_by_rules(crds_type, rules, instrument, exposure, past_only=False)
        if self._settings.allow_future or not _is_ahead(nearest, exposure.time_ns):
            return nearest, ""
        refused = f"{nearest.name} of {nearest.date} is the nearest but from after the exposure (allow_future = false)"
        try:
            return self._select_by_rules(crds_type, rules, instrument, exposure, past_only=True), refused
        except NoMatchError as error:
            raise NoMatchError(f"{error}; {refused}") from error

    def _select_by_rules(
        self, crds_type: str, rules: Rmap, instrument: str, exposure: Exposure, past_only: bool
    ) -> Selection:
        assert self.context is not None
        keys, key_of_instrument = self.context.keys(instrument), self.context.instrument_key

        def ask(setup: Mapping[str, SetupValue]) -> Selection:
            header = with_aliases(setup, self._settings.aliases, rules.date_keys, _utc(exposure.time_ns))
            header.setdefault(key_of_instrument, instrument)
            return self._ask(crds_type, tuple((key, header[key]) for key in keys if key in header), past_only)

        try:
            return ask(exposure.setup)
        except (NoMatchError, BadInputError):
            if not _is_subarray(exposure.setup):
                raise
            return ask({**exposure.setup, "SUBARRAY": "FULL"})  # the full frame's, of which the window is cut out

    def _ask_rules(self, crds_type: str, values: tuple[tuple[str, SetupValue], ...], past_only: bool) -> Selection:
        assert self.context is not None
        return self.context.select(dict(values), crds_type, past_only=past_only)

    def _has_rules(self, reftype: str, instrument: str) -> bool:
        """Tell whether the rules name a type, or do not say which types there are."""
        assert self.context is not None
        known = self.context.types(instrument)
        return not known or self._crds_type(reftype, instrument).lower() in known

    def _crds_type(self, reftype: str, instrument: str) -> str:
        """Return the first of the configured CRDS types that the rules have, else the first."""
        assert self.context is not None
        candidates = self._settings.reftypes[reftype] or [reftype]
        known = self.context.types(instrument)
        return next((name for name in candidates if name.lower() in known), candidates[0])

    def _instrument(self, setup: Mapping[str, SetupValue]) -> str:
        assert self.context is not None
        named = with_aliases(setup, self._settings.aliases).get(self.context.instrument_key, UNDEFINED)
        return self._settings.instrument if normalise(named) == UNDEFINED else str(named).strip()


@dataclass(frozen=True)
class Choice:
    """What an exposure asks, and the chooser that it began with: each answer is by the same rules.

    A later answer may know more: files that were still being loaded.
    """

    chooser: Chooser
    exposure: Exposure

    def select(self) -> ReferenceSet:
        """Choose the references; never raises, and waits only if the store does."""
        return self.chooser.select_all(self.exposure)


def exposure_of(setup: Mapping[str, SetupValue], shape: tuple[int, int], mode: Mode, time_ns: int) -> Exposure:
    """Return what references are judged by, its keys in upper case."""
    return Exposure({key.upper(): value for key, value in setup.items()}, shape, mode, time_ns)


def _cut(reftype: str, path: Path, exposure: Exposure, fetch: Fetch) -> Reference | None:
    """Return a reference; of a full frame the window of a subarray's exposure."""
    reference = fetch((path, reftype, None))
    window = None if reference is None else _window(exposure, reference)
    return reference if window is None else fetch((path, reftype, window))


def _utc(time_ns: int) -> str:
    try:
        return utc_of_tai(time_ns).replace(tzinfo=None).isoformat()
    except OverflowError:
        return ""


def _is_ahead(selection: Selection, time_ns: int) -> TypeGuard[File]:
    """Tell whether a file is chosen whose rule is of a date after an instant, TAI [ns]."""
    if not isinstance(selection, File) or not selection.date:
        return False
    try:
        return seconds_between(parse_date(selection.date), time_ns) < 0
    except ValueError:
        return False


def _is_subarray(setup: Mapping[str, SetupValue]) -> bool:
    return not {normalise(setup.get(key, UNDEFINED)) for key in ("SUBARRAY", "SARRMODE")} <= _FULL


def _window(exposure: Exposure, reference: Reference) -> Window | None:
    """Return where a subarray's exposure lies in a full-frame reference; None if it is not that."""
    setup = exposure.setup
    full = normalise(reference.header.get("SUBARRAY", UNDEFINED)) in _FULL
    if reference.shape == exposure.shape or not full or not _is_subarray(setup):
        return None
    x, y = setup.get("XSTART"), setup.get("YSTART")
    if not isinstance(x, int) or not isinstance(y, int):
        return None
    rows, columns = exposure.shape
    inside = 1 <= y <= reference.shape[0] - rows + 1 and 1 <= x <= reference.shape[1] - columns + 1
    return (y - 1, x - 1, rows, columns) if inside else None
