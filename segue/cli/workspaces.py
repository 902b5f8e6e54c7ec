"""`segue workspace` and `segue audit`: teams, what they may use, and who did what.  Running servers follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer
from rich.table import Table

from segue.cli import office as options
from segue.cli.office import acted, limited, limits_told, models_told, moment_told, row, who
from segue.cli.terminal import MISUSED, ConfigOption, Stop, out, say
from segue.core.tenancy import WORKSPACE, Limits, NewWorkspace, Workspace
from segue.tenancy.office import Office

commands = typer.Typer(help="Workspaces: each has its own keys, files, memory and bills.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Its id, from `list`.")]
Models = Annotated[list[str], typer.Argument(help="Names that models answer to; a model's own name covers them all.")]


@commands.command("new")
def new_workspace(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    id: Annotated[str | None, typer.Option("--id", help="An id of your own; else it gets one.")] = None,
    models: Annotated[str, typer.Option("--models", help="The models it may use, with commas.")] = "",
    per_minute: options.PerMinute = None,
    tokens_per_minute: options.TokensPerMinute = None,
    per_second: options.PerSecond = None,
    concurrent: options.Concurrent = None,
    tokens_per_month: options.TokensPerMonth = None,
    cost_per_month: options.CostPerMonth = None,
    config: ConfigOption = None,
) -> None:
    """Make a workspace.  It may use the models that it is authorised for, and no others."""
    limits = limited(per_minute, tokens_per_minute, per_second, concurrent, tokens_per_month, cost_per_month)
    wanted = NewWorkspace(name, id, _names(models), limits(Limits()))
    made = acted(config, lambda office: office.add_workspace(who(), wanted))
    out().print(made.id, markup=False)
    say(f"it may use: {models_told(made.models)}; for its first key: segue key new --workspace {made.id}")


@commands.command("list")
def list_workspaces(config: ConfigOption = None) -> None:
    """Every workspace."""

    async def pages(office: Office) -> list[Workspace]:
        found: list[Workspace] = []
        while page := await office.workspaces(found[-1].id if found else "", options.PAGE):
            found += page
        return found

    table = Table("id", "name", "created (UTC)", "models", "limits", box=None, pad_edge=False)
    for each in acted(config, pages):
        about = (models_told(each.models), limits_told(each.limits))
        row(table, each.id, each.name, moment_told(each.created_at), *about)
    out().print(table)


@commands.command("change")
def change_workspace(
    id: Id,
    name: Annotated[str | None, typer.Option("--name", help="Whose it is.")] = None,
    per_minute: options.PerMinute = None,
    tokens_per_minute: options.TokensPerMinute = None,
    per_second: options.PerSecond = None,
    concurrent: options.Concurrent = None,
    tokens_per_month: options.TokensPerMonth = None,
    cost_per_month: options.CostPerMonth = None,
    config: ConfigOption = None,
) -> None:
    """Change its name or limits; what is not said stays."""
    limits = limited(per_minute, tokens_per_minute, per_second, concurrent, tokens_per_month, cost_per_month)

    def change(before: Workspace) -> Workspace:
        return replace(before, name=name or before.name, limits=limits(before.limits))

    acted(config, lambda office: office.change_workspace(who(), id, change))
    say(f"{id} changed")


@commands.command("authorise")
def authorise(id: Id, models: Models, config: ConfigOption = None) -> None:
    """Let a workspace use models."""
    _authorise(config, id, lambda before: before | set(models))


@commands.command("withdraw")
def withdraw(id: Id, models: Models, config: ConfigOption = None) -> None:
    """Let it use them no more."""
    _authorise(config, id, lambda before: before - set(models))


@commands.command("rm")
def remove_workspace(
    id: Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
) -> None:
    """Remove a workspace for good, with its keys and files."""
    if not yes and not typer.confirm(f"Remove {id}, revoke its keys and delete its files?"):
        raise Stop("nothing was removed", MISUSED)
    acted(config, lambda office: office.remove_workspace(who(), id))
    say(f"{id} removed")


def audit(
    workspace: Annotated[str | None, typer.Option("--workspace", help="Only what was done to this one.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="The newest so many.")] = 50,
    config: ConfigOption = None,
) -> None:
    """What was done by those who administer, newest first."""
    table = Table("at (UTC)", "who", "what", "workspace", "to", "details", box=None, pad_edge=False)
    for act in acted(config, lambda office: office.acts(workspace, None, limit)):
        row(table, moment_told(act.at), act.who, act.what, act.workspace, act.subject, act.details)
    out().print(table)


def _authorise(config: ConfigOption, id: str, how: Callable[[frozenset[str]], frozenset[str]]) -> None:
    def change(before: Workspace) -> Workspace:
        if before.models is None:
            raise Stop(f"{WORKSPACE} may use every model", MISUSED)
        return replace(before, models=how(before.models))

    after = acted(config, lambda office: office.change_workspace(who(), id, change))
    say(f"{id} may use: {models_told(after.models)}")


def _names(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())
