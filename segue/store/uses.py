"""What was used, by several things at once, and how long the answers took.

Laws: sums are asked of the days, so that they are there also where the records are gone; times are asked of the
records, of the latest `TIMED_MAX` answers and no more; questions come one at a time, so that nobody can keep the
database busy by asking; the sides' names stand in the SQL, what callers say never does.
"""

from __future__ import annotations

import asyncio
import calendar
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from segue.core.usage import ANSWERED, TIMED_MAX, Range, Side, Spread, Sums, Use
from segue.store.database import Database, Rows, Value
from segue.store.ledger import SUMS, where

_DAY_S = 86_400
_COLUMNS: Mapping[Side, str] = {"day": "day", "key": "key_id", "workspace": "workspace", "model": "served"}
_RANKS = (50, 95)
_MARKS = ", ".join("?" * len(ANSWERED))
_PLACE = " OR ".join(f"place = (many * {rank} + 99) / 100" for rank in _RANKS)


class Uses:
    """Asks the ledger in `database`; see `usage.Sums`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Semaphore(1)

    async def uses(self, by: Sequence[Side], range: Range, after: Sequence[str], limit: int) -> Sequence[Use]:
        """See `usage.Sums`.  `after` has as many names as there are sides."""
        async with self._turn:
            return await self._database.read(lambda rows: _uses(rows, by, range, after, limit))


_: type[Sums] = Uses


def _uses(rows: Rows, by: Sequence[Side], range: Range, after: Sequence[str], limit: int) -> Sequence[Use]:
    sides = ", ".join(_COLUMNS[side] for side in by)
    condition, values = where(range, False)
    if after:
        condition += f" AND ({sides}) > ({', '.join('?' * len(by))})"
        values += after
    sums = ", ".join(f"sum({name})" for name in SUMS.split(", "))
    sql = f"SELECT {sides}, {sums} FROM usage_days WHERE {condition} GROUP BY {sides} ORDER BY {sides} LIMIT ?"
    found = [_use(row, len(by)) for row in rows.all(sql, *values, limit)]
    if not found:
        return found
    times = _times(rows, by, range, found[0].of, found[-1].of)
    nothing = (Spread(),) * 3
    return [
        replace(use, first_ms=first, total_ms=total, tokens_per_s=pace)
        for use in found
        for first, total, pace in [times.get(use.of, nothing)]
    ]


def _use(row: Sequence[Any], sides: int) -> Use:
    requests, failed, given, cached, output, reasoning, cost = map(int, row[sides:])
    return Use(tuple(row[:sides]), requests, failed, given, cached, output, reasoning, cost)


def _times(
    rows: Rows, by: Sequence[Side], range: Range, first: Sequence[str], last: Sequence[str]
) -> Mapping[tuple[str, ...], Sequence[Spread]]:
    """How long the answers of a page took: until the first text, in all, and how many tokens they had a second then."""
    if range.key and not range.workspace:  # records are found by workspaces, and a key is of one
        owners = rows.all("SELECT DISTINCT workspace FROM usage_days WHERE key_id = ?", range.key)
        range = replace(range, workspace=owners[0][0]) if len(owners) == 1 else range
    if by[0] == "day":
        range = replace(range, since=first[0], until=last[0])
    condition, values = where(range, True)
    sides = ", ".join(_COLUMNS[side] for side in by)
    marks = ", ".join("?" * len(by))
    asked = ", ".join("hour / 24 AS day" if side == "day" else _COLUMNS[side] for side in by)
    within = ", ".join("hour / 24" if side == "day" else _COLUMNS[side] for side in by)
    sql = (
        f"WITH answers AS (SELECT {asked}, first_ms, total_ms, output_tokens FROM ledger WHERE {condition}"
        f" AND outcome IN ({_MARKS}) AND ({within}) >= ({marks}) AND ({within}) <= ({marks})"
        " ORDER BY hour DESC LIMIT ?),"
        f" measures AS (SELECT {sides}, 0 AS what, CAST(first_ms AS DOUBLE PRECISION) AS took FROM answers"
        " WHERE first_ms IS NOT NULL"
        f" UNION ALL SELECT {sides}, 1, CAST(total_ms AS DOUBLE PRECISION) FROM answers"
        f" UNION ALL SELECT {sides}, 2, CAST((output_tokens - 1) * 1000 AS DOUBLE PRECISION) / (total_ms - first_ms)"
        " FROM answers WHERE total_ms > first_ms AND output_tokens > 1),"
        f" ranked AS (SELECT {sides}, what, took,"
        f" row_number() OVER (PARTITION BY {sides}, what ORDER BY took) AS place,"
        f" count(*) OVER (PARTITION BY {sides}, what) AS many FROM measures)"
        f" SELECT {sides}, what, took, place, many FROM ranked WHERE {_PLACE}"
    )
    values += [*sorted(ANSWERED), *_numbered(by, first), *_numbered(by, last), TIMED_MAX]
    spreads: dict[tuple[str, ...], list[Spread]] = {}
    for row in rows.all(sql, *values):
        *of, what, took, place, many = row
        name = tuple(_day(each) if side == "day" else each for side, each in zip(by, of, strict=True))
        known = spreads.setdefault(name, [Spread()] * 3)
        p50, p95 = (took if place == (many * rank + 99) // 100 else None for rank in _RANKS)
        had = known[what]
        known[what] = Spread(had.p50 if p50 is None else p50, had.p95 if p95 is None else p95)
    return spreads


def _numbered(by: Sequence[Side], of: Sequence[str]) -> list[Value]:
    """The names as records have them: days by number."""
    return [
        calendar.timegm(time.strptime(name, "%Y-%m-%d")) // _DAY_S if side == "day" else name
        for side, name in zip(by, of, strict=True)
    ]


def _day(number: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(number * _DAY_S))
