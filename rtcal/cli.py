"""The `rtcal` command.

Exit codes: 0 done; 1 failed, with one line that says why; 2 wrong usage, of an option or the configuration.
"""

import sys

import typer

from refcache import RefcacheError
from rtcal import __version__
from rtcal.commands.arc import arc
from rtcal.commands.bench import bench
from rtcal.commands.bench_display import display
from rtcal.commands.bridge import bridge
from rtcal.commands.common import say
from rtcal.commands.dashboard import dashboard
from rtcal.commands.demo import demo
from rtcal.commands.record import record, replay
from rtcal.commands.reduce import reduce
from rtcal.commands.refs import refs
from rtcal.commands.run import run
from rtcal.commands.simulate import simulate
from rtcal.commands.status import status
from rtcal.errors import RtcalError, UsageError
from streams.errors import SettingsError, StreamsError

app = typer.Typer(
    name="rtcal",
    help="Real-time quick-look reduction for IRIS: detector reads in, calibrated frames out, seen in a browser.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rtcal {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    pass


for command in (demo, run, simulate, record, replay, reduce, status, dashboard):
    app.command()(command)
bench.command()(display)
app.add_typer(refs, name="refs")
app.add_typer(arc, name="arc")
app.add_typer(bench, name="bench")
app.add_typer(bridge, name="bridge")


def main() -> None:
    """Run the command line; a user's mistake becomes one line and an exit code, never a traceback."""
    try:
        app()
    except (UsageError, SettingsError) as error:
        say(f"rtcal: {error}")
        sys.exit(2)
    except (RtcalError, StreamsError, RefcacheError) as error:
        say(f"rtcal: {error}")
        sys.exit(1)
