"""All rows in one file, and back: from either database, into either.

Laws: a backup is a SQLite file with the tables of its version, and with the rows of one moment; it gets its name when
it is whole and on the disk, and nobody else may read it; one from an earlier version is brought up to date as a copy;
what is restored is there whole or not at all, and never put beside rows that are there already.  Bytes of files are not
in it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from segue.core import frozen
from segue.store.base import StoreUnusable
from segue.store.database import Database, Rows
from segue.store.migrations import STEPS
from segue.store.sqlite import SqliteDatabase, SqliteRows

_ROWS_AT_ONCE = 2000
_FLEETING = frozenset({"remembered"})
"""What is kept for a day or a week, and is no loss: it may be large, and says what people have asked."""


class NotEmpty(Exception):
    """There are rows already."""


@frozen
class _Table:
    """`counter` is the column that is numbered by the database, where there is one."""

    name: str
    columns: tuple[str, ...]
    counter: str | None


async def backed_up(database: Database, path: Path, steps: Sequence[str] = STEPS) -> Mapping[str, int]:
    """Write a backup of an open database; how many rows of which table.  Raises FileExistsError, OSError."""
    _absent(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        part = Path(folder) / "part"
        await _tables_made(part, steps)
        with _opened(part) as connection:

            def act(rows: Rows) -> Mapping[str, int]:
                with connection:
                    return _copied(rows, SqliteRows(connection), _tables(connection), database, SqliteDatabase(part))

            copied = await database.read(act)
            connection.execute("PRAGMA journal_mode = DELETE")  # one file, whoever looks at it
        _synced(part)
        part.rename(path)
        _synced(path.parent)
    return copied


async def restored(
    database: Database, path: Path, replace: bool = False, steps: Sequence[str] = STEPS
) -> Mapping[str, int]:
    """Put the rows of a backup into an open database; how many of which table.  Raises NotEmpty unless it has none or
    they are to be replaced, StoreUnusable for what is no backup, OSError."""
    with tempfile.TemporaryDirectory(prefix="segue-restore-") as folder:
        copy = Path(folder) / "copy"
        shutil.copyfile(path, copy)
        if _version(copy, path) < 1:
            raise StoreUnusable(f"{path} is no backup of a store")
        await _tables_made(copy, steps)
        with _opened(copy) as connection:
            tables = _tables(connection)

            def act(rows: Rows) -> Mapping[str, int]:
                for table in reversed(tables):
                    if not replace and rows.one(f"SELECT 1 FROM {table.name} LIMIT 1"):
                        raise NotEmpty(table.name)
                    rows.run(f"DELETE FROM {table.name}")
                return _copied(SqliteRows(connection), rows, tables, SqliteDatabase(copy), database)

            return await database.change(act)


def _absent(path: Path) -> None:
    if path.exists():
        raise FileExistsError(path)


def _copied(source: Rows, target: Rows, tables: Sequence[_Table], give: Database, take: Database) -> Mapping[str, int]:
    copied = {}
    for table in tables:
        columns, marks = ", ".join(table.columns), ", ".join("?" * len(table.columns))
        rows, number = source.each(f"SELECT {columns} FROM {table.name}"), 0
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            target.many(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", some)
            number += len(some)
        if table.counter is not None:
            take.count_from(target, table.name, table.counter, give.counted(source, table.name, table.counter))
        copied[table.name] = number
    return copied


def _tables(connection: sqlite3.Connection) -> Sequence[_Table]:
    """In the order in which they were made, so that what a row refers to comes before it."""
    made = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    tables = []
    for name, sql in connection.execute(made).fetchall():
        if name in _FLEETING:
            continue
        columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
        key = next((column[1] for column in columns if column[5]), None)
        tables.append(_Table(name, tuple(column[1] for column in columns), key if "AUTOINCREMENT" in sql else None))
    return tables


async def _tables_made(path: Path, steps: Sequence[str]) -> None:
    database = SqliteDatabase(path, steps)
    try:
        await database.open()
    finally:
        await database.close()


def _version(copy: Path, path: Path) -> int:
    try:
        with _opened(copy) as connection:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path} is no backup of a store: {error}") from error
    if damage != "ok":
        raise StoreUnusable(f"{path} is damaged: {damage}")
    return version


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        yield connection


def _synced(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
