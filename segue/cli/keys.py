"""`segue key`: issue, list, change and withdraw keys.  Running servers follow within moments."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

import typer
from rich.table import Table

from segue.cli import office as options
from segue.cli.office import acted, limited, limits_told, models_told, moment, moment_told, row, who
from segue.cli.terminal import ConfigOption, Stop, out, say
from segue.config_read import load
from segue.core.tenancy import WORKSPACE, KeyRecord, Limits, NewKey, Role
from segue.tenancy.office import Office

commands = typer.Typer(help="The keys that callers present.", no_args_is_help=True)

WorkspaceOption = Annotated[str, typer.Option("--workspace", help="The workspace it opens.")]
RoleOption = Annotated[
    str | None, typer.Option("--role", help="member: uses its workspace; read-only: looks; admin: administers too.")
]
ExpiresOption = Annotated[
    str | None, typer.Option("--expires", help="12h, 30d, 4w, a date such as 2027-01-31 (UTC), or never.")
]
ModelsOption = Annotated[
    str | None, typer.Option("--models", help="The models it may use, with commas; `every` is all of its workspace.")
]


@commands.command("new")
def new_key(
    name: Annotated[str, typer.Argument(help="What it is for; only for your own overview.")] = "unnamed",
    workspace: WorkspaceOption = WORKSPACE,
    role: RoleOption = None,
    expires: ExpiresOption = None,
    models: ModelsOption = None,
    per_minute: options.PerMinute = None,
    tokens_per_minute: options.TokensPerMinute = None,
    per_second: options.PerSecond = None,
    concurrent: options.Concurrent = None,
    tokens_per_month: options.TokensPerMonth = None,
    cost_per_month: options.CostPerMonth = None,
    config: ConfigOption = None,
) -> None:
    """Issue a key.  It is shown now and never again."""
    limits = limited(per_minute, tokens_per_minute, per_second, concurrent, tokens_per_month, cost_per_month)
    wanted = NewKey(
        name, workspace, _role(role) or "member", moment(expires, time.time()), _models(models), limits(Limits())
    )
    secret, record = acted(config, lambda office: office.add_key(who(), wanted))
    out().print(secret, markup=False)
    say(f"{record.id}: only its digest is kept; write it down")
    if load(file=config).auth.api_key:
        say("note: auth.api_key is set, so a server with these settings accepts that one key only")


@commands.command("list")
def list_keys(
    workspace: Annotated[str | None, typer.Option("--workspace", help="Only those of this workspace.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that open nothing any more.")] = False,
    config: ConfigOption = None,
) -> None:
    """Every valid key, without the key itself."""
    head = ("id", "name", "workspace", "role", "created (UTC)", "begins", "ends (UTC)", "models", "limits")
    table = Table(*head, box=None, pad_edge=False)
    for record in _all(config, workspace):
        if everything or record.valid_at(time.time()):
            ends = f"revoked {moment_told(record.revoked_at)}" if record.revoked_at else moment_told(record.expires_at)
            about = (models_told(record.models), limits_told(record.limits))
            created = moment_told(record.created_at)
            row(table, record.id, record.name, record.workspace, record.role, created, record.hint, ends, *about)
    out().print(table)


@commands.command("change")
def change_key(
    id: Annotated[str, typer.Argument(help="Its id, from `list`.")],
    name: Annotated[str | None, typer.Option("--name", help="What it is for.")] = None,
    role: RoleOption = None,
    expires: ExpiresOption = None,
    models: ModelsOption = None,
    per_minute: options.PerMinute = None,
    tokens_per_minute: options.TokensPerMinute = None,
    per_second: options.PerSecond = None,
    concurrent: options.Concurrent = None,
    tokens_per_month: options.TokensPerMonth = None,
    cost_per_month: options.CostPerMonth = None,
    config: ConfigOption = None,
) -> None:
    """Change a key; what is not said stays."""
    limits = limited(per_minute, tokens_per_minute, per_second, concurrent, tokens_per_month, cost_per_month)
    ends, may, wish = moment(expires, time.time()), _models(models), _role(role)

    def change(before: KeyRecord) -> KeyRecord:
        return replace(
            before,
            name=name or before.name,
            role=wish or before.role,
            expires_at=before.expires_at if expires is None else ends,
            models=before.models if models is None else may,
            limits=limits(before.limits),
        )

    acted(config, lambda office: office.change_key(who(), id, change))
    say(f"{id} changed")


@commands.command("rm")
def remove_key(id: Annotated[str, typer.Argument(help="Its id, from `list`.")], config: ConfigOption = None) -> None:
    """Withdraw a key, for good."""
    acted(config, lambda office: office.revoke_key(who(), id))
    say(f"{id} withdrawn")


def _all(config: ConfigOption, workspace: str | None) -> list[KeyRecord]:
    async def pages(office: Office) -> list[KeyRecord]:
        found: list[KeyRecord] = []
        while page := await office.keys(workspace, found[-1].id if found else "", options.PAGE):
            found += page
        return found

    return acted(config, pages)


def _models(text: str | None) -> frozenset[str] | None:
    if text is None or text == "every":
        return None
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _role(text: str | None) -> Role | None:
    match text:
        case None | "admin" | "member" | "read-only":
            return text
        case _:
            raise Stop(f"--role {text}: say admin, member or read-only")
