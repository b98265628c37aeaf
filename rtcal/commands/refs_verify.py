"""`rtcal refs verify`: every file of a cache checked."""

from dataclasses import asdict

import typer

from refcache.audit import Audit, Problem
from refcache.errors import BadRulesError
from rtcal.commands.common import ConfigOption, JsonOption, progress_bar, say
from rtcal.commands.refs_common import CacheOption, ContextOption, chosen_context, open_cache, print_rows


def verify(
    cache: CacheOption = None, context: ContextOption = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Check every mapping and reference of a cache; the exit code is 1 if anything is wrong.

    Mappings: checksum, syntax, names that lead nowhere or round in a circle. References: whole FITS files of
    the right layout, no Git LFS pointers, and none missing that the context names.

    Examples:

        rtcal refs verify --cache crds
    """
    settings, folder = open_cache(config, cache, context)
    problems: list[Problem] = []
    try:
        name = chosen_context(folder, settings)
    except BadRulesError as error:
        name = ""
        problems.append(Problem(error.name, "", str(error)))
    audit = Audit(folder, settings, name)
    with progress_bar() as progress:
        for path in progress.track(audit.files, description="checking"):
            problems += audit.check(path)
    problems += audit.missing()
    print_rows([asdict(problem) for problem in sorted(problems)], as_json)
    say(f"{len(audit.files)} files of {folder} checked against {name or 'no context'}: {len(problems)} problems")
    if problems:
        raise typer.Exit(1)
