"""`rtcal arc edit`: an arc's solution judged and changed in the browser."""

import asyncio
import os
import signal
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from refcache import RefcacheError
from refcache.planning import read_candidate
from refcache.publishing import add as publish
from rtcal.arcpage.editor import ArcEditor
from rtcal.arcpage.server import ArcPage, Save
from rtcal.commands.common import ConfigOption, load_settings, say
from rtcal.commands.refs_common import CacheOption, chosen_context, open_cache
from rtcal.errors import RtcalError, UsageError
from rtcal.spectrograph.arcwrite import write_arc
from rtcal.spectrograph.solvedarc import read_solved

Enter = Callable[[Path], list[str]]


def edit(
    file: Annotated[Path, typer.Argument(help="An ARC reference of rtcal arc solve.")],
    port: Annotated[int, typer.Option(help="Port of the page; 0: any free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    cache: CacheOption = None,
    config: ConfigOption = None,
) -> None:
    """Judge and change an arc's solution in the browser; prints the page's address, ends with Ctrl-C.

    The page shows the residuals over the detector and the spectrum of any trace with its lines. Lines are named,
    masked and unmasked by key, the order is changed by a digit, and the fit follows at once. FILE itself stays as it
    is until you save.

    Examples:

        rtcal arc edit arc_H.fits

        rtcal arc edit arcs/arc_20310115.fits --no-browser --port 8010 --cache crds
    """
    settings = load_settings(config)
    editor = ArcEditor(read_solved(file), settings.arc)
    asyncio.run(_serve(editor, file, port, browser, lambda path: enter(path, config, cache)))


async def _serve(editor: ArcEditor, file: Path, port: int, browser: bool, enter: Enter) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    proposed = file.with_name(f"{file.stem}_edited.fits")
    page = ArcPage(editor, lambda held, wish: save(held, wish, enter), proposed, port)
    try:
        typer.echo(page.url)
        if browser:
            webbrowser.open(page.url)
        await stop.wait()
    finally:
        page.close()


def save(editor: ArcEditor, wish: Save, enter: Enter) -> list[str]:
    """Write the solution as it is, and enter it into the cache if that is wished.

    Raises
    ------
    RtcalError, StreamsError, RefcacheError
        If the file is there already, cannot be written, or cannot be entered.
    """
    if not wish.path.strip():
        raise UsageError("name a file to save to")
    path = Path(wish.path).expanduser()
    if path.exists() and not wish.replace:
        raise UsageError(f"{path} is there already; tick 'replace' to replace it")
    solved, solution = editor.solved, editor.solution
    arc, count = solved.arc, int(editor.edited.sum())
    history = [*solved.history, f"edited by hand from {arc.name}: {count} of {len(solution.traces)} traces changed"]
    write_arc(
        path,
        solution,
        arc.traces,
        arc.shape,
        arc.header,
        [name for name in str(arc.header.get("LAMPS", "")).split(",") if name],
        str(arc.header.get("USEAFTER", "")).replace(" ", "T"),
        history,
        spectra=solved.spectra,
        pedigree=str(arc.header.get("PEDIGREE", "GROUND")),
        overwrite=wish.replace,
    )
    if not wish.add:
        return [f"{path} is written"]
    try:
        return [f"{path} is written", *enter(path)]
    except (RtcalError, RefcacheError) as error:
        raise RtcalError(f"{path} is written, but not entered: {error}") from error


def enter(path: Path, config: Path | None, cache: Path | None) -> list[str]:
    """Take a reference into the rules of the cache, as `rtcal refs add` does."""
    settings, folder = open_cache(config, cache, None)
    start = chosen_context(folder, settings) if settings.context or os.environ.get("CRDS_CONTEXT") else ""
    made = publish(folder, settings, start, [read_candidate(path, settings, "")], "")
    say(f"{made.context} from {made.old_context}")
    return [*made.done, f"{made.context} from {made.old_context}"]
