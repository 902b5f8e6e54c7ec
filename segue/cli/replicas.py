"""`segue replica`: where models that run elsewhere are asked.  Running servers follow within two seconds.

What is done here is what `/admin/v1/models/{model}/replicas` does, but that whoever runs the machine may add any host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from segue.app import database_of, names_of
from segue.app_replicas import replica_office
from segue.cli.office import row, told, who
from segue.cli.terminal import ConfigOption, out, say
from segue.config_read import load
from segue.core.errors import Fault
from segue.core.replicas import NewReplica
from segue.tenancy.replicas import ReplicaOffice

T = TypeVar("T")

commands = typer.Typer(help="Replicas of models that run elsewhere.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="A name that the model answers to.")]
Id = Annotated[str, typer.Argument(help="Its id, from `list`.")]


@commands.command("list")
def list_replicas(model: Model, config: ConfigOption = None) -> None:
    """All that are known.  How each is, a running server tells: `GET /admin/v1/models/MODEL/replicas`."""
    table = Table("id", "address", "weight", "origin", "draining", box=None, pad_edge=False)
    for each in _acted(config, lambda office: office.replicas(model)):
        row(table, each.id, each.url, f"{each.weight:g}", each.origin, "yes" if each.draining else "")
    out().print(table)


@commands.command("add")
def add_replica(
    model: Model,
    url: Annotated[str, typer.Argument(help="http://host:port, or https://host/path.")],
    weight: Annotated[float, typer.Option("--weight", help="Its part of the load, beside the others'.")] = 1.0,
    key_env: Annotated[str, typer.Option("--key-env", help="The environment variable that has its key.")] = "",
    addresses: Annotated[
        bool, typer.Option("--addresses", help="Each address behind its host name is a replica of its own.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Ask there too, from now on."""
    wanted = NewReplica(url, weight, key_env, addresses)
    out().print(_acted(config, lambda office: office.add(who(), model, wanted)).id, markup=False)


@commands.command("drain")
def drain_replica(model: Model, id: Id, config: ConfigOption = None) -> None:
    """Give it nothing new; what it has it ends."""
    _acted(config, lambda office: office.change(who(), model, id, True, None))
    say(f"{id} gets nothing new")


@commands.command("resume")
def resume_replica(model: Model, id: Id, config: ConfigOption = None) -> None:
    """Give it something again."""
    _acted(config, lambda office: office.change(who(), model, id, False, None))
    say(f"{id} is asked again")


@commands.command("weigh")
def weigh_replica(
    model: Model,
    id: Id,
    weight: Annotated[float, typer.Argument(help="Its part of the load, beside the others'.")],
    config: ConfigOption = None,
) -> None:
    """Give it another part of the load."""
    _acted(config, lambda office: office.change(who(), model, id, None, weight))
    say(f"{id} has the weight {weight:g}")


@commands.command("rm")
def remove_replica(model: Model, id: Id, config: ConfigOption = None) -> None:
    """Ask there no more; what it has it ends.  One of the catalogue can be drained only."""
    _acted(config, lambda office: office.remove(who(), model, id))
    say(f"{id} removed")


def _acted(config: Path | None, does: Callable[[ReplicaOffice], Awaitable[T]]) -> T:
    """Do something.  Raises Stop, SettingsInvalid, CatalogueInvalid, StoreUnusable."""
    settings = load(file=config)

    async def whole() -> T:
        database = database_of(settings)
        try:
            await database.open()
            return await does(replica_office(names_of(settings), database, None, {}))
        finally:
            await database.close()

    try:
        return asyncio.run(whole())
    except Fault as fault:
        raise told(fault) from fault
