"""`rtcal refs preload`: the references of an instrument loaded, as the daemon does at its start."""

import json
import time

import typer

from refcache import ReferenceStore
from rtcal.commands.common import ConfigOption, JsonOption, load_settings, progress_bar, say
from rtcal.commands.refs_common import CacheOption, ContextOption


def preload(
    cache: CacheOption = None, context: ContextOption = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Load every reference that a context names for the instrument; the exit code is 1 if anything is wrong.

    Each file is read whole and checked: SHA-256, FITS structure, layout, shape, unit, Git LFS pointers. A
    daemon that starts next finds them in the system's page cache.

    Examples:

        rtcal refs preload --cache crds
    """
    changes = {"path": None if cache is None else str(cache), "context": context}
    settings = load_settings(config, refcache=changes)
    store = ReferenceStore(settings.refcache, settings.calibration.stale_s)
    began = time.perf_counter()
    with progress_bar() as progress:
        task = progress.add_task("loading")
        problems = store.preload(
            lambda done, total, name: progress.update(task, completed=done, total=total, description=name)
        )
    seconds = time.perf_counter() - began
    held = store.held()
    for problem in problems:
        say(problem)
    nbytes = sum(reference.nbytes for reference in held)
    if as_json:
        answer = {"context": store.crds_context, "files": len(held), "bytes": nbytes, "seconds": round(seconds, 3)}
        typer.echo(json.dumps(answer | {"problems": problems}))
    say(f"{store.crds_context or 'no context'}: {len(held)} references, {nbytes / 2**20:.1f} MiB, {seconds:.2f} s")
    store.close()
    if problems:
        raise typer.Exit(1)
