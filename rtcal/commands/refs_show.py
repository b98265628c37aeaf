"""`rtcal refs list`, `show` and `diff`: what rules and references say."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from refcache import REFTYPES, CrdsContext, File, Files, NotApplicable, Omitted, RefcacheSettings, SelectionError
from refcache.cache_paths import reference_path
from refcache.errors import ReferenceFileError, UnknownError
from refcache.fits_images import read_cards
from refcache.inspection import differences, read_text, rules_of, where_named
from refcache.mapping_text import RuleText
from refcache.mappings import SUFFIXES
from refcache.rmaps import Rmap
from refcache.values import with_aliases
from rtcal.commands.common import ConfigOption, JsonOption, say
from rtcal.commands.refs_common import (
    CacheOption,
    ContextOption,
    IgnoreOption,
    chosen_context,
    open_cache,
    parse_header,
    print_rows,
)
from rtcal.errors import UsageError

SetupOption = Annotated[
    list[str] | None,
    typer.Option(
        "--setup", metavar="KEY=VALUE", help="FITS keyword or the rules' key, e.g. DETECTOR=IMG1. Repeatable."
    ),
]
Row = dict[str, Any]


def list_(
    setup: SetupOption = None,
    cache: CacheOption = None,
    context: ContextOption = None,
    ignore_checksum: IgnoreOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the types of an instrument: what a context would choose for a setup, or what its rules hold.

    The setup's date is DATE-OBS (and TIME-OBS); without it, now.

    Examples:

        rtcal refs list --cache crds

        rtcal refs list --cache crds --setup DETECTOR=IMG1 --setup FILTER=K --setup READMODE=UTR
    """
    settings, folder = open_cache(config, cache, context)
    check = settings.check_sha1 and not ignore_checksum
    loaded = CrdsContext.load(folder, chosen_context(folder, settings), check, settings.observatory)
    given = parse_header(setup or [])
    instrument = given.get("INSTRUME", given.get(loaded.instrument_key, settings.instrument))
    types = loaded.types(instrument)
    if not types:
        raise UnknownError("instrument", instrument, loaded.name, loaded.instruments)
    rows = [
        _chosen(folder, settings, loaded, instrument, reftype, given)
        if setup
        else _held(folder, settings, loaded, instrument, reftype)
        for reftype in sorted(types)
    ]
    if not setup:
        ruled = {settings.ours(reftype) for reftype in types}
        absent = [_named(settings, ours) | {"note": "not in the rules"} for ours in REFTYPES if ours not in ruled]
        rows += [dict.fromkeys(rows[0], "") | row for row in absent]
    print_rows(rows, as_json, f"{loaded.name}, {instrument.upper()}")


def _chosen(
    folder: Path, settings: RefcacheSettings, loaded: CrdsContext, instrument: str, reftype: str, setup: dict[str, str]
) -> Row:
    """Return the row of a type for a setup: OK if the file is there, else why there is none."""
    row: Row = _named(settings, reftype) | {"status": "OK", "reference": "", "date": "", "note": ""}
    try:
        rules = loaded.rules(instrument, reftype)
        dates = rules.date_keys if isinstance(rules, Rmap) else ()
        now = "" if {"DATE-OBS", *dates} & set(setup) else datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        header = with_aliases(setup, settings.aliases, dates, now)
        header.setdefault(loaded.instrument_key, instrument)
        found = loaded.select(header, reftype, past_only=not settings.allow_future)
        if isinstance(found, NotApplicable | Omitted):
            return row | {"status": "NA", "note": found.why}
        if not isinstance(found, File):
            names = found.names if isinstance(found, Files) else tuple(found.names.items())
            return row | {"reference": ", ".join(map(str, names)), "note": "several"}
        there = reference_path(folder, settings, instrument, found.name).exists()
        status = {"status": "OK" if there else "MISSING", "note": "" if there else "the file is not in the cache"}
        return row | status | {"reference": found.name, "date": found.date}
    except SelectionError as error:
        return row | {"status": "MISSING", "note": f"{error.family}: {error}"}


def _named(settings: RefcacheSettings, reftype: str) -> Row:
    """Return what a type is called in the rules, and what it is where that is known."""
    ours = settings.ours(reftype)
    name = (settings.reftypes[ours] or [ours])[0] if reftype in REFTYPES else reftype
    return {"type": name.upper(), "what": REFTYPES[ours].about if ours else ""}


def _held(folder: Path, settings: RefcacheSettings, loaded: CrdsContext, instrument: str, reftype: str) -> Row:
    """Return the row of a type without a setup: its mapping, and how many of its files are there."""
    row = _named(settings, reftype) | {"rmap": "", "files": 0, "there": 0, "note": ""}
    try:
        rules = loaded.rules(instrument, reftype)
        if not isinstance(rules, Rmap):
            return row | {"note": rules.why}
        names = list(rules.file_names())
        there = sum(reference_path(folder, settings, instrument, name).exists() for name in names)
        return row | {"rmap": rules.name, "files": len(names), "there": there}
    except SelectionError as error:
        return row | {"note": str(error)}


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A mapping or a reference of the cache, or a file.")],
    cache: CacheOption = None,
    context: ContextOption = None,
    ignore_checksum: IgnoreOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show a mapping (header and rules) or a reference (cards, and the rules of a context that name it).

    Examples:

        rtcal refs show tmt_iris_dark_0001.rmap --cache crds

        rtcal refs show dark_img1.fits --cache crds
    """
    settings, folder = open_cache(config, cache, context, name if name.endswith(SUFFIXES) else "")
    check = settings.check_sha1 and not ignore_checksum
    mappings = folder / "mappings" / settings.observatory
    if name.endswith(SUFFIXES):
        text = read_text(mappings, name, check)
        rows = text.selector.format() if isinstance(text.selector, RuleText) else text.selector
        _details({"header": text.header, "selector": rows, "comment": text.comment}, as_json)
        return
    problems: list[str] = []
    rules = where_named(rules_of(mappings, chosen_context(folder, settings), check, problems), Path(name).name)
    path = _find(folder, settings, name, {rule.instrument for rule in rules})
    lines = [f"{rule.rmap}: {' '.join(rule.path)}" for rule in rules]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    about = {"file": str(path), "bytes": path.stat().st_size, "sha256": digest, "rules": lines}
    _details(about | {"cards": _cards(path)}, as_json)
    for problem in problems:
        say(problem)


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A mapping.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The one to compare it with, of the same kind.")],
    cache: CacheOption = None,
    ignore_checksum: IgnoreOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Compare two contexts (or imaps, or rmaps) rule by rule: `-` only in OLD, `+` only in NEW.

    Examples:

        rtcal refs diff tmt_0001.pmap tmt_0002.pmap --cache crds
    """
    settings, folder = open_cache(config, cache, None, old)
    mappings = folder / "mappings" / settings.observatory
    if old[-5:] != new[-5:]:
        raise UsageError(f"{old} and {new} are of different kinds; compare two .pmap, two .imap or two .rmap")
    check = settings.check_sha1 and not ignore_checksum
    problems: list[str] = []
    found = differences(rules_of(mappings, old, check, problems), rules_of(mappings, new, check, problems))
    rows: list[Row] = [
        {"change": sign, "instrument": rule.instrument, "type": rule.reftype, "rule": list(rule.path)}
        | {"value": rule.value, "rmap": rule.rmap}
        for sign, rule in found
    ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        for sign, rule in found:
            typer.echo(f"{sign} {rule.line()}")
    for problem in problems:
        say(problem)
    say(f"{len(found)} rules differ" if found else "the rules are the same")


def _find(folder: Path, settings: RefcacheSettings, name: str, instruments: set[str]) -> Path:
    """Return where a reference is: as it is given, or in the cache."""
    places = [Path(name)]
    if Path(name).name == name:
        places += [reference_path(folder, settings, one, name) for one in (*sorted(instruments), settings.instrument)]
    for place in places:
        if place.is_file():
            return place
    where = folder / "references" / settings.observatory
    raise ReferenceFileError(
        Path(name), "", f"is no file, and not in {where}; `rtcal refs list` names what rules choose"
    )


def _cards(path: Path) -> dict[str, Any]:
    try:
        return dict(read_cards(path))
    except ReferenceFileError as error:
        return {"problem": str(error)}


def _details(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values, ensure_ascii=False, default=str))
        return
    for key, value in values.items():
        if isinstance(value, dict):
            typer.echo(f"{key}:")
            for name, text in value.items():
                typer.echo(f"    {name} : {text!r}")
        elif isinstance(value, list):
            typer.echo(f"{key}: {'' if value else 'none'}")
            for line in value:
                typer.echo(f"    {line}")
        elif value != "":
            typer.echo(f"{key}: {value}")
