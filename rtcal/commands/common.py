"""What the commands share: options, the configuration with them applied, and messages to the user."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from refcache import FRAME_TYPES, REFTYPES
from rtcal.config import Mode, Settings
from rtcal.errors import UsageError
from streams import settings as settings_file
from streams.messages import Provenance
from streams.ordering import IRREGULARITIES
from streams.playback import RecordingReader

MODES = ("auto", *get_args(Mode))

console = Console(stderr=True, highlight=False)
"""People read standard error; standard output is for what a program may read."""

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; it needs only the keys that it changes.")
]
OverrideOption = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="TYPE=FILE|N/A",
        help=f"Use FILE as the reference of TYPE ({', '.join(FRAME_TYPES)}), or leave the step out. Repeatable.",
    ),
]
ModeOption = Annotated[str | None, typer.Option("--mode", help="Slope estimate: auto, utr, cds or mcds.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the result as JSON to standard output.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens to standard error.")]


def start_logging(verbose: bool) -> None:
    """Log warnings, or with `verbose` everything of interest, to standard error."""
    handler = RichHandler(console=console, show_path=False, rich_tracebacks=False)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler])


def load_settings(
    config: Path | None, *, override: list[str] | None = None, mode: str | None = None, **tables: dict[str, Any]
) -> Settings:
    """Read the configuration and apply options to it.

    Parameters
    ----------
    config
        The user's file, or None.
    override
        `TYPE=FILE` or `TYPE=N/A` for references.
    mode
        Slope estimate.
    **tables
        For a table the keys to change, e.g. `streams={"reads": "tcp://127.0.0.1:5000"}`; None leaves a key.

    Raises
    ------
    UsageError, SettingsError
        If an option or a key is wrong; says which values are right.
    """
    changes = {name: {key: value for key, value in keys.items() if value is not None} for name, keys in tables.items()}
    if override:
        changes.setdefault("refcache", {})["override"] = dict(_parse_override(text) for text in override)
    if mode is not None:
        if mode not in MODES:
            raise UsageError(f"--mode {mode}: choose {', '.join(MODES)}")
        changes.setdefault("ramp", {})["mode"] = mode
    return settings_file.load(config, Settings, changes)


def _parse_override(text: str) -> tuple[str, str]:
    reftype, equals, value = text.partition("=")
    if not equals or not value or reftype.lower() not in FRAME_TYPES:
        raise UsageError(f"--override {text}: write TYPE=FILE or TYPE=N/A with TYPE one of {', '.join(FRAME_TYPES)}")
    if value.upper() != "N/A" and not Path(value).is_file():
        raise UsageError(f"--override {text}: there is no file {value}")
    return reftype.lower(), value


def doubtful(references: Sequence[Provenance]) -> list[Provenance]:
    """Return the references of a frame that a person should be told of; not optional ones of which there is none."""
    return [one for one in references if one.status not in ("OK", "NA") and not is_absent(one)]


def irregularities(counters: Mapping[str, int]) -> str:
    """Say how many reads of a detector were lost, late, twice there, incomplete or refused; "" for none."""
    told = {name: n for name, n in counters.items() if name in IRREGULARITIES or name.startswith("rejected_")}
    return ", ".join(f"{name} {n}" for name, n in sorted(told.items()) if n)


def is_absent(reference: Provenance) -> bool:
    """Tell whether there is none of an optional type, which is nothing to be told of each time."""
    return reference.status in ("MISSING", "DEFAULT", "NA") and not reference.name and _optional(reference.reftype)


def _optional(reftype: str) -> bool:
    kind = REFTYPES.get(reftype.lower())
    return kind is None or kind.optional


def progress_bar() -> Progress:
    """Return a progress bar on standard error that disappears when done; silent where that is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def say(text: str) -> None:
    """Tell the person at the terminal something."""
    console.print(text, markup=False, soft_wrap=True)


def say_gaps(recording: RecordingReader) -> None:
    """Tell where a recording that was read to its end is not whole."""
    if recording.truncated:
        say(f"{recording.path} breaks off (its recorder was killed); all whole messages before that were taken")
    if recording.damaged:
        say(f"{recording.path}: {recording.damaged} damaged chunks were left out")
