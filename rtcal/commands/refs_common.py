"""What the commands on a CRDS cache share: its options, and where it and its context are."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from refcache import RefcacheSettings
from refcache.cache_paths import cache_path, context_name
from rtcal.commands.common import load_settings
from rtcal.errors import UsageError

CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="CRDS cache; without it `path` of [refcache], else CRDS_PATH."),
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context", metavar="NAME", help="Mapping, e.g. tmt_0001.pmap; else `context`, CRDS_CONTEXT, the newest."
    ),
]
IgnoreOption = Annotated[bool, typer.Option("--ignore-checksum", help="Take mappings whose checksum is wrong.")]


def refcache_settings(config: Path | None, cache: Path | None, context: str | None) -> RefcacheSettings:
    """Return the `[refcache]` table with the options applied."""
    changes = {"path": None if cache is None else str(cache), "context": context}
    return load_settings(config, refcache=changes).refcache


def existing_cache(settings: RefcacheSettings) -> Path:
    """Return the cache.

    Raises
    ------
    UsageError
        If none is named, or it is not there.
    """
    cache = cache_path(settings, os.environ)
    if cache is None:
        raise UsageError("no CRDS cache: give --cache DIR, or set CRDS_PATH")
    if not (cache / "mappings").is_dir():
        raise UsageError(f"{cache} is no CRDS cache: it has no directory mappings/")
    return cache


def open_cache(
    config: Path | None, cache: Path | None, context: str | None, name: str = ""
) -> tuple[RefcacheSettings, Path]:
    """Return the `[refcache]` table with the options applied, and the cache.

    The observatory is the one that `name`, else the context, begins with, if the cache has it.

    Raises
    ------
    UsageError
        If no cache is named, or it is not there.
    """
    settings = refcache_settings(config, cache, context)
    folder = existing_cache(settings)
    wanted = PurePath(name or settings.context).name.partition(".")[0].partition("_")[0]
    if wanted and (folder / "mappings" / wanted).is_dir():
        settings = msgspec.structs.replace(settings, observatory=wanted)
    return settings, folder


def chosen_context(cache: Path, settings: RefcacheSettings) -> str:
    """Return the context's name: an option's, the configuration's, `CRDS_CONTEXT`, or the newest in the cache."""
    return context_name(cache, settings, os.environ)


def parse_header(pairs: list[str]) -> dict[str, str]:
    """Read `KEY=VALUE` options.

    Raises
    ------
    UsageError
        If one has no key or no `=`.
    """
    header: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{pair!r}: write KEY=VALUE, e.g. META.INSTRUMENT.DETECTOR=IMG1")
        header[key.strip().upper()] = value
    return header


def print_rows(rows: Sequence[dict[str, Any]], as_json: bool, title: str = "") -> None:
    """Write rows to standard output: a table for people, or one line of JSON."""
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        return
    table = Table(title=title or None, title_justify="left", box=None, header_style="bold")
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    # A file or a pipe has no width of its own; there a line is not broken if it need not be.
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 240).print(table)
