"""The rows of batches and of their answered lines, in any database.

Laws: a line is answered once: its first answer stands, and is counted with it in one change; a batch is worked on by
whoever holds its lease; what a cancelled or ended batch is, nobody changes back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from segue.core import frozen
from segue.core.batches import OPEN, Batch, BatchStatus, LineTrouble
from segue.store.database import Database, Rows, Value

_NAMES = tuple(each.name for each in fields(Batch))
_COLUMNS = ", ".join(_NAMES)
_JSON = ("troubles", "metadata")


@frozen
class Line:
    """An answered line: its number, from 1, whether it failed, and what is written of it."""

    number: int
    failed: bool
    data: bytes


@frozen
class Wish:
    """What of a list of batches is wanted; None: whatever it is."""

    after: str | None = None
    statuses: tuple[str, ...] = ()
    input_files: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    named: str | None = None


class BatchStore:
    """The batches in `database`, which somebody else opens and closes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, batch: Batch, open_max: int) -> bool:
        """A new one; False where the workspace has so many open ones already."""

        def added(rows: Rows) -> bool:
            row = rows.one(f"SELECT COUNT(*) FROM batches WHERE workspace = ? AND {_OPEN}", batch.workspace, *OPEN)
            if row is not None and row[0] >= open_max:
                return False
            marks = ", ".join("?" * (len(_NAMES) + 1))
            named = dict(batch.metadata).get("ds_name", "")
            rows.run(f"INSERT INTO batches ({_COLUMNS}, name) VALUES ({marks})", *_values(batch), named)
            return True

        return await self._database.change(added, _part(batch.workspace))

    async def find(self, workspace: str, id: str) -> Batch | None:
        """One of the workspace's."""
        return await self._database.read(lambda rows: _found(rows, workspace, id))

    async def page(self, workspace: str, limit: int, wish: Wish) -> tuple[Sequence[Batch], bool] | None:
        """Newest first, and whether there are more; None for an `after` that never was."""

        def found(rows: Rows) -> tuple[Sequence[Batch], bool] | None:
            terms, values = ["workspace = ?"], list[Value]([workspace])
            if wish.after is not None:
                row = rows.one("SELECT place FROM batches WHERE workspace = ? AND id = ?", workspace, wish.after)
                if row is None:
                    return None
                terms, values = [*terms, "place < ?"], [*values, row[0]]
            for column, wanted in (("status", wish.statuses), ("input_file", wish.input_files)):
                if wanted:
                    terms.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                    values += wanted
            for term, value in (
                ("created_at >= ?", wish.since),
                ("created_at <= ?", wish.until),
                ("name = ?", wish.named),
            ):
                if value is not None:
                    terms, values = [*terms, term], [*values, value]
            sql = f"SELECT {_COLUMNS} FROM batches WHERE {' AND '.join(terms)} ORDER BY place DESC LIMIT ?"
            batches = [_batch(row) for row in rows.all(sql, *values, limit + 1)]
            return batches[:limit], len(batches) > limit

        return await self._database.read(found)

    async def claim(self, holder: str, now: float, lease_s: float) -> Batch | None:
        """The oldest open one that nobody works on; it is `holder`'s for `lease_s`."""

        def claimed(rows: Rows) -> Batch | None:
            sql = (
                f"SELECT workspace, id FROM batches WHERE {_OPEN} AND (holder = ? OR until < ?) ORDER BY place LIMIT 1"
            )
            row = rows.one(sql, *OPEN, holder, now)
            if row is None:
                return None
            sql = "UPDATE batches SET holder = ?, until = ? WHERE workspace = ? AND id = ?"
            rows.run(sql, holder, now + lease_s, row[0], row[1])
            return _found(rows, row[0], row[1])

        return await self._database.change(claimed)

    async def renew(self, batch: Batch, holder: str, until: float) -> Batch | None:
        """As it is now, held until then; None where it is somebody else's."""

        def renewed(rows: Rows) -> Batch | None:
            sql = "UPDATE batches SET until = ? WHERE workspace = ? AND id = ? AND holder = ?"
            ours = rows.run(sql, until, batch.workspace, batch.id, holder)
            return _found(rows, batch.workspace, batch.id) if ours else None

        return await self._database.change(renewed, _part(batch.workspace))

    async def turn(self, batch: Batch, status: BatchStatus, now: int, **facts: Any) -> Batch | None:
        """The batch in another status, at `now`; None where it is not open any more, or is to be cancelled and not
        on its way to it."""

        def turned(rows: Rows) -> Batch | None:
            known = _found(rows, batch.workspace, batch.id)
            if known is None or known.status not in OPEN or (known.status == "cancelling" and status == "in_progress"):
                return None
            times: dict[str, Any] = {} if status == "validating" else {f"{status}_at": now}
            made = replace(known, status=status, **times, **facts)
            pairs = ", ".join(f"{name} = ?" for name in _NAMES)
            sql = f"UPDATE batches SET {pairs} WHERE workspace = ? AND id = ?"
            rows.run(sql, *_values(made), batch.workspace, batch.id)
            return made

        return await self._database.change(turned, _part(batch.workspace))

    async def answered(self, batch: Batch) -> set[int]:
        """The numbers of the lines that are."""
        sql = "SELECT line FROM batch_lines WHERE batch = ?"
        return {int(row[0]) for row in await self._database.read(lambda rows: rows.all(sql, batch.id))}

    async def answer(self, batch: Batch, line: Line) -> None:
        """A line is answered, unless it was."""

        def kept(rows: Rows) -> None:
            sql = "INSERT INTO batch_lines (batch, line, failed, data) VALUES (?, ?, ?, ?)"
            sql += " ON CONFLICT (batch, line) DO NOTHING"
            if rows.run(sql, batch.id, line.number, int(line.failed), line.data):
                column = "failed" if line.failed else "completed"
                sql = f"UPDATE batches SET {column} = {column} + 1 WHERE workspace = ? AND id = ?"
                rows.run(sql, batch.workspace, batch.id)

        await self._database.change(kept, _part(batch.workspace))

    async def lines(self, batch: Batch, failed: bool, after: int, limit: int) -> Sequence[Line]:
        """Answered lines in their order, behind number `after`."""
        sql = "SELECT line, failed, data FROM batch_lines WHERE batch = ? AND failed = ? AND line > ?"
        sql += " ORDER BY line LIMIT ?"
        found = await self._database.read(lambda rows: rows.all(sql, batch.id, int(failed), after, limit))
        return [Line(int(number), bool(wrong), bytes(data)) for number, wrong, data in found]

    async def forget(self, batch: Batch) -> None:
        """The answers are in files now."""
        await self._database.change(lambda rows: rows.run("DELETE FROM batch_lines WHERE batch = ?", batch.id))


_OPEN = f"status IN ({', '.join('?' * len(OPEN))})"


def _part(workspace: str) -> str:
    return f"batches {workspace}"


def _values(batch: Batch) -> list[Value]:
    """In the order of `_COLUMNS`."""
    troubles = json.dumps([[each.code, each.message, each.line, each.param] for each in batch.troubles])
    made: Mapping[str, Value] = {"troubles": troubles, "metadata": json.dumps(batch.metadata)}
    return [made[name] if name in _JSON else getattr(batch, name) for name in _NAMES]


def _batch(row: Sequence[Any]) -> Batch:
    known = dict(zip(_NAMES, row, strict=True))
    known["troubles"] = tuple(LineTrouble(*each) for each in json.loads(known["troubles"]))
    known["metadata"] = tuple((key, value) for key, value in json.loads(known["metadata"]))
    return Batch(**known)


def _found(rows: Rows, workspace: str, id: str) -> Batch | None:
    row = rows.one(f"SELECT {_COLUMNS} FROM batches WHERE workspace = ? AND id = ?", workspace, id)
    return None if row is None else _batch(row)
