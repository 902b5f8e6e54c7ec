"""`segue models`: what can be served, and which files are here."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from segue.catalogue.read import read_catalogue
from segue.catalogue.shelf import Shelf
from segue.cli.terminal import ConfigOption, Stop, fetched, out, say
from segue.config_read import load

commands = typer.Typer(help="The models that can be served, and their files.", no_args_is_help=True)


@commands.command("list")
def list_models(config: ConfigOption = None) -> None:
    """Every model of the catalogue, and whether its file is here."""
    settings = load(file=config)
    catalogue, shelf = read_catalogue(settings.models.catalogue), Shelf(settings.models.dir)
    table = Table("model", "size", "file here", "names", "licence", box=None, pad_edge=False)
    for entry in catalogue.entries.values():
        default = entry.name == settings.models.default
        names = 1 + len(entry.aliases) + (len(catalogue.stand_ins.names) if default else 0)
        total = sum(file.bytes for file in entry.files)
        size = f"{total / 1e6:,.0f} MB" if total else "-"
        here = "-" if not entry.file else "yes" if all(map(shelf.present, entry.files)) else "no"
        table.add_row(entry.name + (" (default)" if default else ""), size, here, str(names), entry.licence or "-")
    out().print(table)
    say(f"files: {settings.models.dir}")


@commands.command("pull")
def pull_models(
    names: Annotated[list[str] | None, typer.Argument(help="Models to fetch; default: the default model.")] = None,
    config: ConfigOption = None,
) -> None:
    """Fetch model files that are not here yet; a broken fetch goes on where it broke."""
    settings = load(file=config)
    catalogue = read_catalogue(settings.models.catalogue)
    entries = [catalogue.entry(name) for name in names or [settings.models.default]]
    shelf = Shelf(settings.models.dir)
    here = [entry.name for entry in entries if all(map(shelf.present, entry.files))]
    if here:
        say(f"already here: {', '.join(here)}")
    fetched(entries, settings)


@commands.command("rm")
def remove_model(name: Annotated[str, typer.Argument(help="The model.")], config: ConfigOption = None) -> None:
    """Remove a fetched model file, and what a broken fetch left."""
    settings = load(file=config)
    entry = read_catalogue(settings.models.catalogue).entry(name)
    if not [file for file in entry.files if Shelf(settings.models.dir).remove(file)]:
        raise Stop(f"{name} has no fetched file in {settings.models.dir}")
    say(f"{name} removed")
