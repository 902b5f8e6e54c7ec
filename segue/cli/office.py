"""What the commands that administer have in common: the office on this machine's store, and limits as options."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from segue.app import database_of, names_of
from segue.cli.terminal import MISUSED, Stop
from segue.config_read import load
from segue.core.errors import (
    AlreadyThere,
    Fault,
    KeyAbsent,
    ModelUnknown,
    ReplicaAbsent,
    ValueRefused,
    WorkspaceUnknown,
)
from segue.core.tenancy import Limits
from segue.standing import office_of, take_over_keys
from segue.tenancy.office import Office

T = TypeVar("T")

PAGE = 1000
NONE = 0
"""As an option's value: no limit."""

_MICROS = 1_000_000
_SPAN = re.compile(r"(\d{1,6})([hdw])")
_SPAN_S = {"h": 3600, "d": 86400, "w": 7 * 86400}

PerMinute = Annotated[
    int | None, typer.Option("--requests-per-minute", min=0, help="Most requests a minute; 0 is no limit.")
]
TokensPerMinute = Annotated[
    int | None,
    typer.Option("--tokens-per-minute", min=0, help="Most tokens a minute, input and output; 0 is no limit."),
]
PerSecond = Annotated[
    int | None, typer.Option("--requests-per-second", min=0, help="Most requests a second; 0 is no limit.")
]
Concurrent = Annotated[int | None, typer.Option("--concurrent", min=0, help="Most answers at a time; 0 is no limit.")]
TokensPerMonth = Annotated[
    int | None, typer.Option("--tokens-per-month", min=0, help="Most tokens a calendar month; 0 is no limit.")
]
CostPerMonth = Annotated[
    float | None, typer.Option("--cost-per-month", min=0, help="Most that a calendar month may cost; 0 is no limit.")
]


def limited(
    per_minute: int | None,
    tokens_per_minute: int | None,
    per_second: int | None,
    concurrent: int | None,
    tokens_per_month: int | None,
    cost_per_month: float | None,
) -> Callable[[Limits], Limits]:
    """What becomes of limits: what was not said stays."""
    given = {
        "requests_per_minute": per_minute,
        "tokens_per_minute": tokens_per_minute,
        "requests_per_second": per_second,
        "concurrent": concurrent,
        "tokens_per_month": tokens_per_month,
        "cost_micros_per_month": None if cost_per_month is None else round(cost_per_month * _MICROS),
    }
    said = {name: None if most == NONE else most for name, most in given.items() if most is not None}
    return lambda before: replace(before, **said)


def acted(config: Path | None, does: Callable[[Office], Awaitable[T]]) -> T:
    """Do something in the office.  Raises Stop, SettingsInvalid, CatalogueInvalid, StoreUnusable."""
    settings = load(file=config)

    async def whole() -> T:
        database = database_of(settings)
        try:
            await database.open()
            await take_over_keys(settings, database)
            return await does(office_of(names_of(settings), database))
        finally:
            await database.close()

    try:
        return asyncio.run(whole())
    except Fault as fault:
        raise told(fault) from fault


def who() -> str:
    """Who acts, as the audit log names it."""
    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # a container's user often has no name
        return f"cli:{os.getuid()}"


def limits_told(limits: Limits) -> str:
    """Limits on one line."""
    said: dict[str, float] = {name: most for name, most in asdict(limits).items() if most is not None}
    if (micros := said.pop("cost_micros_per_month", None)) is not None:
        said["cost_per_month"] = micros / _MICROS
    return ", ".join(f"{name.replace('_', ' ')} {most}" for name, most in said.items())


def row(table: Table, *cells: str) -> None:
    """A row of a table; what somebody called something is no markup."""
    table.add_row(*map(Text, cells))


def models_told(models: frozenset[str] | None) -> str:
    """Models on one line."""
    return "every" if models is None else ", ".join(sorted(models)) or "none"


def moment_told(at: float | None) -> str:
    """A time as people write it, in UTC."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def moment(text: str | None, now: float) -> int | None:
    """When a key ends: `12h`, `30d`, `4w`, a date, a date with a time (both UTC), or `never`.  Raises Stop."""
    if text is None or text == "never":
        return None
    if found := _SPAN.fullmatch(text):
        return int(now) + int(found[1]) * _SPAN_S[found[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Stop(f"--expires {text}: say 12h, 30d, 4w, 2027-01-31 or never", MISUSED) from None
    return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp())


def told(fault: Fault) -> Stop:
    """What a person is told of a refusal."""
    match fault:
        case KeyAbsent():
            return Stop(f"there is no key {fault.id}; `segue key list` has them")
        case WorkspaceUnknown():
            return Stop(f"there is no workspace {fault.id}; `segue workspace list` has them")
        case ReplicaAbsent():
            return Stop(f"there is no replica {fault.id}; `segue replica list MODEL` has them")
        case AlreadyThere(what="replica"):
            return Stop(f"the replica {fault.id} is there")
        case AlreadyThere():
            return Stop(f"a {fault.what} {fault.id} is there, or was: ids are not used again")
        case ModelUnknown():
            return Stop(
                f"no served model answers to {fault.model}; models.default and models.also say which are served"
            )
        case ValueRefused():
            return Stop(f"{fault.field}: {fault.reason}", MISUSED)
        case _:
            raise fault
