"""`segue store`: all rows into a file, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from segue.app import database_of
from segue.cli.terminal import ConfigOption, Stop, say
from segue.config_read import load
from segue.store.backup import NotEmpty, backed_up, restored
from segue.store.database import Database

commands = typer.Typer(help="The database: what is known of files, jobs, callers.", no_args_is_help=True)


@commands.command("backup")
def backup(
    path: Annotated[Path, typer.Argument(help="The file to write; it must not be there yet.")],
    config: ConfigOption = None,
) -> None:
    """Write all rows into one file, also while servers run.  The bytes of files are not in it."""
    _done(config, path, lambda database: backed_up(database, path), "written to")


@commands.command("restore")
def restore(
    path: Annotated[Path, typer.Argument(help="A file that `backup` has written.")],
    replace: Annotated[bool, typer.Option("--replace", help="Remove the rows that are there already.")] = False,
    config: ConfigOption = None,
) -> None:
    """Put the rows of a backup into the database; stop the servers first."""
    _done(config, path, lambda database: restored(database, path, replace), "restored from")


def _done(config: Path | None, path: Path, act: Callable[[Database], Awaitable[Mapping[str, int]]], what: str) -> None:
    database = database_of(load(file=config))

    async def done() -> Mapping[str, int]:
        try:
            await database.open()
            return await act(database)
        finally:
            await database.close()

    try:
        rows = asyncio.run(done())
    except FileExistsError:
        raise Stop(f"{path} is there already") from None
    except NotEmpty as error:
        raise Stop(f"there are {error} in the database already; --replace removes all rows first") from None
    except OSError as error:
        raise Stop(f"{path}: {error.strerror or error}") from None
    say(f"{sum(rows.values()):,} rows {what} {path} ({', '.join(f'{name} {n:,}' for name, n in rows.items() if n)})")
