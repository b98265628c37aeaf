"""`rtcal refs select`: which reference the rules choose."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from refcache import RefcacheSettings
from refcache.answers import Questions
from refcache.errors import SelectionError
from rtcal.commands.common import ConfigOption
from rtcal.commands.refs_common import (
    CacheOption,
    ContextOption,
    IgnoreOption,
    chosen_context,
    existing_cache,
    parse_header,
    refcache_settings,
)
from rtcal.errors import UsageError

HeaderOption = Annotated[
    list[str] | None, typer.Option("--header", metavar="KEY=VALUE", help="A value of the header. Repeatable.")
]
TypeOption = Annotated[str | None, typer.Option("--reftype", metavar="TYPE", help="CRDS's type, e.g. DARK.")]
LinesOption = Annotated[bool, typer.Option("--jsonl", help="Answer questions of standard input, one JSON a line.")]


def select(
    cache: CacheOption = None,
    context: ContextOption = None,
    header: HeaderOption = None,
    reftype: TypeOption = None,
    jsonl: LinesOption = False,
    ignore_checksum: IgnoreOption = False,
    config: ConfigOption = None,
) -> None:
    """Choose a reference by CRDS's rules: one question from options, or many as JSON lines.

    A line in is {"id", "context", "header", "reftype", "ignore_checksum"}, a line out
    {"id", "kind": file|na|omit|files|dict|error, "value", "family", "message"}; a line that is no question is
    answered by an error without id. Without --jsonl the exit code is 1 if the answer is an error.

    Examples:

        rtcal refs select --cache crds --reftype DARK --header META.INSTRUMENT.NAME=IRIS --header ...

        rtcal refs select --cache crds --jsonl < questions.jsonl > answers.jsonl
    """
    settings = refcache_settings(config, cache, context)
    folder = existing_cache(settings)
    ignore_checksum = ignore_checksum or not settings.check_sha1
    if jsonl:
        if header or reftype:
            raise UsageError("--jsonl takes header and reftype from each line; leave --header and --reftype out")
        questions = Questions(folder, _context_or_none(folder, settings), ignore_checksum)
        _answer_all(questions, sys.stdin.buffer)
        return
    if reftype is None:
        raise UsageError("give --reftype TYPE and --header KEY=VALUE, or --jsonl")
    questions = Questions(folder, chosen_context(folder, settings), ignore_checksum)
    answer = questions.answer({"header": parse_header(header or []), "reftype": reftype})
    typer.echo(json.dumps({key: value for key, value in answer.items() if key != "id"}, ensure_ascii=False))
    if answer["kind"] == "error":
        raise typer.Exit(1)


def _context_or_none(folder: Path, settings: RefcacheSettings) -> str:
    try:
        return chosen_context(folder, settings)
    except SelectionError:
        return ""  # a cache of another observatory: each line names its context


def _answer_all(questions: Questions, source: BinaryIO) -> None:
    """Write each answer as soon as it is known, so that another program can ask one at a time."""
    output = sys.stdout.buffer
    try:
        for answer in questions.answer_lines(_lines(source)):
            output.write(answer.encode("utf-8", "backslashreplace") + b"\n")
            output.flush()
    except BrokenPipeError:  # who asked has heard enough; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def _lines(source: BinaryIO) -> Iterator[str]:
    for line in source:
        yield line.decode("utf-8", "replace")
