"""`segue usage`: who has used how much, as a table or as CSV, from the ledger itself."""

from __future__ import annotations

import asyncio
import csv
import sys
import time
from collections.abc import Sequence
from typing import Annotated, cast, get_args

import typer
from rich.table import Table

from segue.app import database_of, names_of
from segue.cli.terminal import MISUSED, ConfigOption, Stop, out
from segue.config import Settings
from segue.config_read import load
from segue.core.usage import By, Line, Range, Side, Use, money
from segue.store.ledger import Ledger, day_of
from segue.store.uses import Uses

HOURS_DAYS = 7
"""How far back hours are shown where nothing is said: they are asked of the records, which are many."""
PAGE = 10_000
HEAD = ("requests", "failed", "input", "cached", "output", "reasoning", "cost")


def usage(
    by: Annotated[
        str, typer.Option(help="What a line is about: day, hour, key, workspace, model; or several.")
    ] = "day",
    since: Annotated[str, typer.Option(help="The first day, such as 2026-11-01 (UTC).")] = "",
    until: Annotated[str, typer.Option(help="The last day.")] = "",
    workspace: Annotated[str, typer.Option(help="Of this workspace only.")] = "",
    key: Annotated[str, typer.Option(help="Of this key only, by its id.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, for another program.")] = False,
    config: ConfigOption = None,
) -> None:
    """Requests, tokens and costs: input tokens include the cached ones, output tokens the reasoning."""
    sides = by.split(",")
    if by not in get_args(By) and not (set(sides) <= set(get_args(Side)) and len(set(sides)) == len(sides)):
        several = f"or several of {', '.join(get_args(Side))}, each once, with commas between"
        raise Stop(f"--by is one of {', '.join(get_args(By))}; {several}", MISUSED)
    settings = load(file=config)
    if by == "hour" and not since:
        since = day_of(time.time() - HOURS_DAYS * 86400)
    range = Range(_day(since, "--since"), _day(until, "--until"), workspace, key)
    lines = asyncio.run(_summary(settings, by, sides, range))
    currency = names_of(settings).catalogue.currency
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([*sides, *HEAD, "currency"])
        writer.writerows([*line.of, *_figures(line), currency] for line in lines)
        return
    table = Table(*sides, *HEAD[:-1], f"cost{f', {currency}' if currency else ''}", box=None, pad_edge=False)
    for column in table.columns[len(sides) :]:
        column.justify = "right"
    for line in lines:
        table.add_row(*(name or "-" for name in line.of), *_figures(line))
    if len(lines) > 1:
        table.add_row("all", *[""] * (len(sides) - 1), *_figures(_all(lines)))
    out().print(table)


async def _summary(settings: Settings, by: str, sides: Sequence[str], range: Range) -> list[Use]:
    database = database_of(settings)
    await database.open()
    try:
        if len(sides) == 1:
            return [_use(line) for line in await Ledger(database).summary(cast(By, by), range)]
        found: list[Use] = []
        asked, several = Uses(database), cast(Sequence[Side], sides)
        while page := await asked.uses(several, range, found[-1].of if found else (), PAGE):
            found += page
        return found
    finally:
        await database.close()


def _use(line: Line) -> Use:
    tokens = (line.input_tokens, line.cached_tokens, line.output_tokens, line.reasoning_tokens)
    return Use((line.of,), line.requests, line.failed, *tokens, line.cost_micros)


def _figures(line: Use) -> list[str]:
    tokens = (line.input_tokens, line.cached_tokens, line.output_tokens, line.reasoning_tokens)
    return [str(line.requests), str(line.failed), *map(str, tokens), money(line.cost_micros)]


def _all(lines: Sequence[Use]) -> Use:
    return Use(
        (),
        sum(line.requests for line in lines),
        sum(line.failed for line in lines),
        sum(line.input_tokens for line in lines),
        sum(line.cached_tokens for line in lines),
        sum(line.output_tokens for line in lines),
        sum(line.reasoning_tokens for line in lines),
        sum(line.cost_micros for line in lines),
    )


def _day(said: str, option: str) -> str:
    """A day as the ledger has it.  Raises Stop."""
    if not said:
        return ""
    try:
        return time.strftime("%Y-%m-%d", time.strptime(said, "%Y-%m-%d"))
    except ValueError:
        raise Stop(f"{option} is a day such as 2026-11-01, not {said}", MISUSED) from None
