"""A database in one SQLite file.

Laws: threads of its own do all that touches the file, so that the event loop never waits for a disk; one of them
changes it, so that changes come one after another also in one process, and the others read, so that a long question
keeps no change waiting; a change is one `BEGIN IMMEDIATE` transaction and is on the disk when it returns; other
processes may have the same file open.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

from segue.store.base import StoreUnusable
from segue.store.database import Rows, Value
from segue.store.migrations import STEPS, missing, told
from segue.store.threads import Threads

T = TypeVar("T")

_LOCKED_MAX_S = 30.0
_SYNCHRONOUS = "FULL"  # a commit is on the disk when it returns
_READERS = 2
_LOOK_S = 0.01
_NETWORKED = frozenset({"9p", "afs", "cifs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs"})


class SqliteDatabase:
    """The database in the file at `path`; see `database.Database`.  `within` says nothing here: there is one part."""

    def __init__(self, path: Path, steps: Sequence[str] = STEPS) -> None:
        self._path = path
        self._steps = steps
        self._change = Threads[sqlite3.Connection](1, "segue-change")
        self._turn = asyncio.Lock()
        self._read = Threads[sqlite3.Connection](_READERS, "segue-read")

    async def open(self) -> None:
        """See `database.Database`."""
        await self._change.open(lambda: _writer(self._path, self._steps))
        await self._read.open(lambda: _reader(self._path))

    async def look(self) -> str:
        """See `database.Database`."""
        return await asyncio.to_thread(_looked, self._path, self._steps)

    async def close(self) -> None:
        """See `database.Database`."""
        await self._read.close(sqlite3.Connection.close)
        await self._change.close(sqlite3.Connection.close)

    async def read(self, act: Callable[[Rows], T]) -> T:
        """See `database.Database`."""
        return await self._read.do(lambda connection: _whole(connection, "BEGIN", act))

    async def change(self, act: Callable[[Rows], T], within: str = "") -> T:
        """See `database.Database`."""
        return await self._change.do(lambda connection: _whole(connection, "BEGIN IMMEDIATE", act))

    def counted(self, rows: Rows, table: str, column: str) -> int:
        """See `database.Database`."""
        row = rows.one("SELECT seq FROM sqlite_sequence WHERE name = ?", table)
        return int(row[0]) if row else 0

    def count_from(self, rows: Rows, table: str, column: str, last: int) -> None:
        """See `database.Database`."""
        rows.run("DELETE FROM sqlite_sequence WHERE name = ?", table)
        rows.run("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", table, last)

    @asynccontextmanager
    async def alone(self, within: str = "") -> AsyncIterator[None]:
        """See `database.Database`.  There is one part here too."""
        async with self._turn:
            descriptor = os.open(f"{self._path}.alone", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # Never a waiting lock in a thread: if we were cancelled, it would be taken for nobody.
                while not _locked(descriptor):  # noqa: ASYNC110 - the system does not tell when it is free
                    await asyncio.sleep(_LOOK_S)
                yield
            finally:
                os.close(descriptor)


class SqliteRows:
    """See `database.Rows`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, *values: Value) -> int:
        return self._connection.execute(sql, values).rowcount

    def one(self, sql: str, *values: Value) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
        return row

    def all(self, sql: str, *values: Value) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def each(self, sql: str, *values: Value) -> Iterator[tuple[Any, ...]]:
        return iter(self._connection.execute(sql, values))

    def many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        self._connection.executemany(sql, rows)


def _whole(connection: sqlite3.Connection, begin: str, act: Callable[[Rows], T]) -> T:
    connection.execute(begin)
    try:
        result = act(SqliteRows(connection))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise
    return result


def _writer(path: Path, steps: Sequence[str]) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)  # nobody else is to read it, wherever it lies
        connection = _connected(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(f"{path} cannot be opened: {error}. Set SEGUE_FILES_DIR.") from error
    try:
        _write_ahead(connection)
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS}")
        _whole(connection, "BEGIN IMMEDIATE", lambda rows: _migrate(rows, steps))
    except (sqlite3.Error, StoreUnusable) as error:
        connection.close()
        raise StoreUnusable(f"{path} cannot be used: {error}") from error
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Write ahead of the file from now on.

    Whoever turns to it while another is at it, or writes, is refused at once, whatever the time limit: SQLite waits for
    no lock here.  Who comes after the first finds it done.
    """
    until = time.monotonic() + _LOCKED_MAX_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def _migrate(rows: Rows, steps: Sequence[str]) -> None:
    done = rows.one("PRAGMA user_version")
    assert done is not None
    for statement in missing(done[0], steps):
        rows.run(statement)
    rows.run(f"PRAGMA user_version = {len(steps)}")


def _reader(path: Path) -> sqlite3.Connection:
    connection = _connected(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _looked(path: Path, steps: Sequence[str]) -> str:
    if not path.exists():
        return f"{path}, made at the first start"
    kind = _filesystem(path)
    if kind in _NETWORKED:
        raise StoreUnusable(f"{path} lies on {kind}, where SQLite's locks do not hold; set SEGUE_FILES_DIR")
    try:
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", _LOCKED_MAX_S, uri=True)) as connection:
            done = connection.execute("PRAGMA user_version").fetchone()[0]
            damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path} cannot be used: {error}") from error
    if damage != "ok":
        raise StoreUnusable(f"{path} is damaged: {damage}; restore a backup")
    return f"{path}, {path.stat().st_size / 1e6:.1f} MB, SQLite {sqlite3.sqlite_version}, {told(done, steps)}"


def _filesystem(path: Path) -> str:
    """What kind the file lies on, where the system tells."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return ""
    over = [(mount[1], mount[2]) for mount in mounts if path.resolve().is_relative_to(mount[1])]
    return max(over, key=lambda mount: len(mount[0]), default=("", ""))[1]


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, _LOCKED_MAX_S, isolation_level=None, check_same_thread=False)
