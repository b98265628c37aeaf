"""`rtcal refs add`: references taken into the rules of a cache."""

import os
from pathlib import Path
from typing import Annotated

import typer

from refcache.cache_paths import newest_context
from refcache.planning import plan, read_candidate
from refcache.publishing import add as publish
from rtcal.commands.common import ConfigOption, load_settings, say
from rtcal.commands.refs_common import CacheOption, chosen_context, open_cache
from rtcal.commands.status import hear
from rtcal.errors import RtcalError, UsageError
from streams.clock import SystemClock

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="References: FITS files.", show_default=False)]
FromOption = Annotated[
    str | None,
    typer.Option("--context", metavar="OLD", help="Context to start from; without it the newest of the cache."),
]
AddTypeOption = Annotated[str, typer.Option("--reftype", metavar="TYPE", help="CRDS's type, instead of REFTYPE.")]
ActivateOption = Annotated[
    bool, typer.Option("--activate", help="Wait until the running daemon has taken the new context.")
]
TimeoutOption = Annotated[float, typer.Option("--timeout", help="Longest time to wait for that [s].", min=0.1)]
NICE = 10

DryOption = Annotated[bool, typer.Option("--dry-run", help="Write nothing; show what would change as a diff.")]


def add(
    files: Files,
    cache: CacheOption = None,
    context: FromOption = None,
    reftype: AddTypeOption = "",
    dry_run: DryOption = False,
    activate: ActivateOption = False,
    timeout: TimeoutOption = 60.0,
    config: ConfigOption = None,
) -> None:
    """Add references to a cache: copy them, and make new versions of rmap, imap and context that name them.

    INSTRUME, REFTYPE, USEAFTER and the cards that the rules match are read from each file's header. Old
    mappings are never changed; the new context appears last, when everything that it needs is there. Its name
    is written to standard output.

    Examples:

        rtcal refs add dark_img1.fits --cache crds --dry-run

        rtcal refs add dark_img1.fits badpix_img1.fits --cache crds --activate
    """
    if activate and dry_run:
        raise UsageError("--activate with --dry-run: nothing is written that a daemon could take")
    if activate:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)  # a daemon on this machine has reads to take in
    settings, folder = open_cache(config, cache, context)
    candidates = [read_candidate(path, settings, reftype) for path in files]
    if dry_run:
        made = plan(folder, settings, chosen_context(folder, settings), candidates, reftype)
        typer.echo(made.difference())
    else:
        # Without a context of its own the command starts from the newest, also of those that others make now.
        start = chosen_context(folder, settings) if settings.context or os.environ.get("CRDS_CONTEXT") else ""
        made = publish(folder, settings, start, candidates, reftype)
        typer.echo(made.context)
    for line in made.done:
        say(line)
    say(f"{made.context} from {made.old_context}{': nothing is written' if dry_run else ''}")
    newest = newest_context(folder, settings.observatory)
    if newest not in (made.context, made.old_context):
        say(f"{newest} is newer than {made.old_context}: what it adds is not in {made.context}")
    if activate:
        streams = load_settings(config)
        _await_activation(streams.streams.previews, streams.instrument, made.context, timeout)


def _await_activation(endpoint: str, instrument: str, context: str, timeout_s: float) -> None:
    """Wait until a daemon's heartbeat names a context; it looks for newer ones itself (`watch_s`).

    Raises
    ------
    RtcalError
        If it does not in time, or says why it will not.
    """
    clock = SystemClock()
    until_s = clock.monotonic_s() + timeout_s
    beat = hear(endpoint, instrument, timeout_s, clock)
    while clock.monotonic_s() < until_s:
        if beat.crds_context == context:
            say(f"{context} is in use by the daemon at {endpoint}")
            return
        refused = [problem for problem in beat.problems if problem.startswith(context)]
        if refused:
            raise RtcalError(refused[0])
        beat = hear(endpoint, instrument, timeout_s, clock)
    raise RtcalError(
        f"the daemon at {endpoint} still uses {beat.crds_context or 'no context'} after {timeout_s:g} s; it takes "
        "newer ones if its cache is this one, its context is not named (`context`, CRDS_CONTEXT), and watch_s is not 0"
    )
