"""Every request's record, and the sums of each day, in any database.

Laws: a record is entered once, however often it is brought; the sums of a day are changed in the transaction that
enters its records, so that they are the records' own, and they outlive them; days and hours are in UTC; sums are asked
of the days, of which there are few, and only hours of the records.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Mapping, Sequence

from segue.core import frozen
from segue.core.usage import ENDS, EVERYTHING, By, Line, Range, Record, Scope, Spent
from segue.store.database import Database, Rows, Value

NAME_CHARS_MAX = 128
"""As much is kept of a model's name as it was asked for."""
HOUR_S = 3600
_TOGETHER_MAX = 200
_PURGED_HOURS_MAX = 24

SUMS = "requests, failed, input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost_micros"
_ADDED = ", ".join(f"{name} = usage_days.{name} + excluded.{name}" for name in SUMS.split(", "))
_DAYS = (
    f"INSERT INTO usage_days (day, workspace, key_id, served, {SUMS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    f" ON CONFLICT (day, workspace, key_id, served) DO UPDATE SET {_ADDED}"
)
_COLUMNS = (
    "id, at, hour, workspace, key_id, endpoint, model, served, input_tokens, cached_tokens, output_tokens,"
    " reasoning_tokens, first_ms, total_ms, outcome, cost_micros"
)
_MARKS = "(" + ", ".join("?" * len(_COLUMNS.split(", "))) + ")"
_OF: Mapping[By, str] = {"day": "day", "hour": "hour", "key": "key_id", "workspace": "workspace", "model": "served"}


@frozen
class Entered:
    """What became of a batch: how many of it were new, and what the scopes that were asked about have used."""

    new: int
    spent: Mapping[Scope, Spent]


class Ledger:
    """The ledger in `database`, which somebody else opens and closes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enter(self, records: Sequence[Record], month: str = "", scopes: Sequence[Scope] = ()) -> Entered:
        """Enter what is not there yet; what each of `scopes` has used in `month` (`2026-11`) with it."""
        return await self._database.change(lambda rows: _enter(rows, records, month, scopes), "ledger")

    async def summary(self, by: By, range: Range = EVERYTHING) -> list[Line]:
        """The sums, a line each, in the order of what they are about."""
        return await self._database.read(lambda rows: _summary(rows, by, range))

    async def records(self, range: Range = EVERYTHING, limit: int = 1000) -> list[Record]:
        """The last records, the latest first."""
        return await self._database.read(lambda rows: _records(rows, range, limit))

    async def purge(self, before: float) -> int:
        """Forget the records of some hours before this time; their days' sums stay.  How many went; 0: all have."""
        return await self._database.change(lambda rows: _purge(rows, before), "ledger")


def day_of(at: float) -> str:
    """`2026-11-20`, in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _enter(rows: Rows, records: Sequence[Record], month: str, scopes: Sequence[Scope]) -> Entered:
    new: set[str] = set()
    for at in range(0, len(records), _TOGETHER_MAX):
        some = records[at : at + _TOGETHER_MAX]
        marks = ", ".join([_MARKS] * len(some))
        values = [value for record in some for value in _values(record)]
        sql = f"INSERT INTO ledger ({_COLUMNS}) VALUES {marks} ON CONFLICT (id) DO NOTHING RETURNING id"
        new.update(row[0] for row in rows.all(sql, *values))
    sums: dict[tuple[str, str, str, str], list[int]] = {}
    count = len(new)
    for record in records:
        if record.id not in new:
            continue
        new.remove(record.id)  # of several with one id the first was entered
        about = (day_of(record.at), record.workspace, record.key, record.served)
        added = sums.setdefault(about, [0] * 7)
        for place, value in enumerate(_counted(record)):
            added[place] += value
    if sums:
        rows.many(_DAYS, [(*about, *added) for about, added in sorted(sums.items())])
    return Entered(count, {scope: _spent(rows, month, scope) for scope in scopes})


def _values(record: Record) -> tuple[Value, ...]:
    return (
        record.id,
        record.at,
        int(record.at // HOUR_S),
        record.workspace,
        record.key,
        record.endpoint,
        record.model[:NAME_CHARS_MAX].replace("\0", ""),
        record.served,
        record.input_tokens,
        record.cached_tokens,
        record.output_tokens,
        record.reasoning_tokens,
        record.first_ms,
        record.total_ms,
        record.outcome,
        record.cost_micros,
    )


def _counted(record: Record) -> tuple[int, ...]:
    return (
        1,
        int(record.outcome not in ENDS),
        record.input_tokens,
        record.cached_tokens,
        record.output_tokens,
        record.reasoning_tokens,
        record.cost_micros,
    )


def _spent(rows: Rows, month: str, scope: Scope) -> Spent:
    column = "key_id" if scope.kind == "key" else "workspace"
    sql = (
        "SELECT coalesce(sum(input_tokens + output_tokens), 0), coalesce(sum(cost_micros), 0) FROM usage_days"
        f" WHERE {column} = ? AND day >= ? AND day <= ?"
    )
    found = rows.one(sql, scope.id, f"{month}-01", f"{month}-31")
    assert found is not None
    return Spent(int(found[0]), int(found[1]))


def where(range: Range, of_records: bool) -> tuple[str, list[Value]]:
    """The condition for what a range has of the records, or of the days.  Raises ValueError."""
    conditions, values = ["1 = 1"], list[Value]()
    for condition, value in (("workspace = ?", range.workspace), ("key_id = ?", range.key)):
        if value:
            conditions.append(condition)
            values.append(value)
    if range.since:
        conditions.append("hour >= ?" if of_records else "day >= ?")
        values.append(_hours(range.since) if of_records else range.since)
    if range.until:
        conditions.append("hour < ?" if of_records else "day <= ?")
        values.append(_hours(range.until) + 24 if of_records else range.until)
    return " AND ".join(conditions), values


def _hours(day: str) -> int:
    """The number of a day's first hour.  Raises ValueError."""
    return calendar.timegm(time.strptime(day, "%Y-%m-%d")) // HOUR_S


def _summary(rows: Rows, by: By, range: Range) -> list[Line]:
    of = _OF[by]
    about, values = where(range, by == "hour")
    if by == "hour":
        marks = ", ".join("?" * len(ENDS))
        sums = (
            f"count(*), sum(CASE WHEN outcome IN ({marks}) THEN 0 ELSE 1 END), sum(input_tokens), sum(cached_tokens),"
            " sum(output_tokens), sum(reasoning_tokens), sum(cost_micros)"
        )
        found = rows.all(
            f"SELECT hour, {sums} FROM ledger WHERE {about} GROUP BY hour ORDER BY hour", *sorted(ENDS), *values
        )
        return [Line(_hour_text(row[0]), *map(int, row[1:])) for row in found]
    sums = ", ".join(f"sum({name})" for name in SUMS.split(", "))
    found = rows.all(f"SELECT {of}, {sums} FROM usage_days WHERE {about} GROUP BY {of} ORDER BY {of}", *values)
    return [Line(row[0], *map(int, row[1:])) for row in found]


def _hour_text(hour: int) -> str:
    return time.strftime("%Y-%m-%dT%H:00Z", time.gmtime(hour * HOUR_S))


def _records(rows: Rows, range: Range, limit: int) -> list[Record]:
    about, values = where(range, True)
    names = _COLUMNS.replace(" hour,", "")
    found = rows.all(f"SELECT {names} FROM ledger WHERE {about} ORDER BY hour DESC, at DESC LIMIT ?", *values, limit)
    return [Record(*row) for row in found]


def _purge(rows: Rows, before: float) -> int:
    first = rows.one("SELECT min(hour) FROM ledger")
    if first is None or first[0] is None:
        return 0
    until = min(int(before // HOUR_S), int(first[0]) + _PURGED_HOURS_MAX)
    return rows.run("DELETE FROM ledger WHERE hour < ?", until)
