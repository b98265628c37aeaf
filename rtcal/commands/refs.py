"""`rtcal refs`: references made, chosen, taken into the cache, listed, loaded and checked."""

import typer

from rtcal.commands.refs_add import add
from rtcal.commands.refs_make import make
from rtcal.commands.refs_preload import preload
from rtcal.commands.refs_select import select
from rtcal.commands.refs_show import diff, list_, show
from rtcal.commands.refs_verify import verify

refs = typer.Typer(help="References: make, choose, add, list and check them.", no_args_is_help=True)
refs.add_typer(make, name="make")
refs.command("list")(list_)
for command in (select, add, show, diff, verify, preload):
    refs.command()(command)
