"""The one small door to a database: transactions of plain SQL, on SQLite and on PostgreSQL alike.

Laws: SQL is written once, in what both understand: `?` for values, `INSERT ... ON CONFLICT`, `RETURNING`; names lower
case; no `?`, `%` or `;` inside a literal; no booleans, dates or `LIKE`, which differ; text sorts by its bytes.  An act
may be run again from its beginning (after a deadlock, or when the server went away), so it changes nothing but rows
and what it returns.  This file knows no table and no database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

Value = str | int | float | bytes | None


class Rows(Protocol):
    """What an act may do: it runs inside one transaction, in a thread of the database's."""

    def run(self, sql: str, *values: Value) -> int:
        """How many rows were changed."""
        ...

    def one(self, sql: str, *values: Value) -> tuple[Any, ...] | None:
        """The first row, of those that are found or `RETURNING`."""
        ...

    def all(self, sql: str, *values: Value) -> list[tuple[Any, ...]]:
        """Every row."""
        ...

    def each(self, sql: str, *values: Value) -> Iterator[tuple[Any, ...]]:
        """Every row, a few in memory at a time; ask for nothing else until they are through."""
        ...

    def many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        """The same change with the values of each row; for thousands of them at a time."""
        ...


class Database(Protocol):
    """One database that several owners of tables share.  It is opened before they are and closed behind them."""

    async def look(self) -> str:
        """How it is, in a line, without `open` and without changing anything.  Raises StoreUnusable."""
        ...

    async def open(self) -> None:
        """Make it, or bring its tables up to date, under a lock.  Raises StoreUnusable."""
        ...

    async def close(self) -> None:
        """Let go of it.  Safe to call twice, or without `open`."""
        ...

    async def read(self, act: Callable[[Rows], T]) -> T:
        """What `act` finds; it sees one moment and changes nothing."""
        ...

    async def change(self, act: Callable[[Rows], T], within: str = "") -> T:
        """`act`, whole or not at all; on the disk when this returns.

        Changes come one after another, so that what an act has read stays true until it ends.  Where it touches only a
        part of the rows, `within` names that part (`files w`): then it may run beside acts within other parts, and
        waits only for those within the same, and for those that name none."""
        ...

    def counted(self, rows: Rows, table: str, column: str) -> int:
        """The last number that `INTEGER PRIMARY KEY AUTOINCREMENT` has given out, or 0."""
        ...

    def count_from(self, rows: Rows, table: str, column: str, last: int) -> None:
        """Go on behind that number."""
        ...

    def alone(self, within: str = "") -> AbstractAsyncContextManager[None]:
        """A lock for what is more than rows and takes its time: nobody else, in any server, is in it `within` the same
        part meanwhile, or within any where none is named.  It ends with the process, however that ends, and with the
        connection to the database.  Raises StoreLost."""
        ...
