"""The `[refcache]` table of `config.toml`."""

import difflib
from collections.abc import Collection, Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from refcache.reftypes import FRAME_TYPES, REFTYPES


class RefcacheSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where rules and references are, and how a frame's header keywords are named in the rules.

    Attributes
    ----------
    path
        CRDS cache; "" takes `CRDS_PATH`.
    context
        `.pmap` in it; "" takes `CRDS_CONTEXT`, else the newest.
    observatory
        Folder below `mappings/` and `references/`.
    instrument
        Whose references are loaded first, and which setups without an instrument's name belong to.
    check_sha1
        Whether mappings must have the checksum that they state.
    allow_future
        Whether a reference whose rule is of a date after the exposure may be taken, where it is the nearest.
    memory_mb
        Bound on the arrays held [MiB].
    load_threads
        How many files are loaded at the same time.
    watch_s
        Time between two looks for a newer context and for files that changed [s]; 0: never.
    expect
        Setups whose references are loaded before all others when the daemon starts.
    override
        File, or `N/A`, by reftype: taken instead of what the rules choose.
    announce
        Setup key by the telemetry (`EVENT.parameter`) that tells of its change.
    aliases
        FITS keyword by the rules' key.
    reftypes
        CRDS's types by ours; the first that the rules have is asked.
    """

    path: str
    context: str
    observatory: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\Z")]
    instrument: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\Z")]
    check_sha1: bool
    allow_future: bool
    memory_mb: Annotated[int, Meta(ge=1)]
    load_threads: Annotated[int, Meta(ge=1, le=32)]
    watch_s: Annotated[float, Meta(ge=0, le=86400)]
    expect: list[dict[str, str | int | float | bool]]
    override: dict[str, str]
    announce: dict[str, str]
    aliases: dict[str, str]
    reftypes: dict[str, list[str]]

    def ours(self, crds_type: str) -> str:
        """Return our name of one of CRDS's types, in any case; "" if it is none that is known here."""
        wanted = crds_type.upper()
        names = ((ours, {ours.upper(), *map(str.upper, theirs)}) for ours, theirs in self.reftypes.items())
        return next((ours for ours, known in names if wanted in known), "")

    def __post_init__(self) -> None:
        """Refuse reftypes that do not exist, with the nearest that does."""
        _check_reftypes("override", self.override, FRAME_TYPES)
        _check_reftypes("reftypes", self.reftypes, REFTYPES)
        for reftype in REFTYPES:
            if reftype not in self.reftypes:
                raise ValueError(f"reftypes lacks {reftype!r}; name the CRDS types that it may have")


def _check_reftypes(table: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"unknown reftype {name!r} in {table}; {remedy}")
