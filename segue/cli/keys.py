"""`segue key`: issue, list and withdraw keys.  A running server follows at once."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from segue.cli.terminal import ConfigOption, Stop, out, say
from segue.config_read import load
from segue.policy.keys import KeyFile

commands = typer.Typer(help="The keys that callers present.", no_args_is_help=True)


@commands.command("new")
def new_key(
    name: Annotated[str, typer.Argument(help="What it is for; only for your own overview.")] = "unnamed",
    config: ConfigOption = None,
) -> None:
    """Issue a key.  It is shown now and never again."""
    settings = load(file=config)
    secret, record = KeyFile(settings.auth.keys_file).new(name)
    out().print(secret, markup=False)
    say(f"{record.id}: only its digest is kept; write it down")
    if settings.auth.api_key:
        say("note: auth.api_key is set, so a server with these settings accepts that one key only")


@commands.command("list")
def list_keys(config: ConfigOption = None) -> None:
    """Every valid key, without the key itself."""
    table = Table("id", "name", "created (UTC)", box=None, pad_edge=False)
    for record in KeyFile(load(file=config).auth.keys_file).records():
        table.add_row(record.id, record.name, record.created)
    out().print(table)


@commands.command("rm")
def remove_key(id: Annotated[str, typer.Argument(help="Its id, from `list`.")], config: ConfigOption = None) -> None:
    """Withdraw a key."""
    if not KeyFile(load(file=config).auth.keys_file).remove(id):
        raise Stop(f"there is no key {id}; `segue key list` has them")
    say(f"{id} withdrawn")
