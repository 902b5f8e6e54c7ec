"""A database on a PostgreSQL server, for several servers of ours at once.

Laws: a change is one transaction at READ COMMITTED under advisory locks (shared by those that name their part, and one
for each part), so that changes come one after another as `database` says and none fails for another's sake; they end
with their transaction, however that ends.  A read is one moment (REPEATABLE READ, READ ONLY).  A server that goes away
is waited for, and what it had not been told to commit is done again; what it had been told, and has not answered, may
have been done or not: then StoreLost, and nothing is done twice.  Every wait has an end.  The URL is never shown.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import lru_cache, partial
from typing import Any, TypeVar

import psycopg
from psycopg import Connection, errors
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from segue.core.errors import StoreLost
from segue.store.base import StoreUnusable
from segue.store.database import Rows, Value
from segue.store.migrations import STEPS, in_postgres, missing, told
from segue.store.threads import Threads

T = TypeVar("T")

log = logging.getLogger("segue.store")

_CONNECT_S = 5
_LOST_MAX_S = 15.0
"""How long a server that has gone away is waited for."""
_AGAIN_MAX_S = 0.5
_DEADLOCKS_MAX = 10
_SQL_REMEMBERED = 1024
_ROWS_AT_ONCE = 2000
# Waiting for another's lock; for a statement, a lock included; for us, who may have been stopped while we held some.
_TIMES = (
    "-c lock_timeout=20s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
    " -c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
_MIGRATING = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10min'"
_DEFAULTS = {
    "application_name": "segue",
    "connect_timeout": _CONNECT_S,
    "target_session_attrs": "read-write",
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "options": _TIMES,
}
_ALONE = "SET lock_timeout = '120s'; SET statement_timeout = 0"
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class PostgresDatabase:
    """The database that `url` (`postgresql://...`) names; see `database.Database`.  Up to `connections` at a time."""

    def __init__(self, url: str, connections: int = 8, steps: Sequence[str] = STEPS) -> None:
        self._url = url
        self._steps = steps
        half = max(1, connections // 2)  # apart, so that reading never waits for those who wait for a lock
        self._places = asyncio.Semaphore(half)
        self._alone = ThreadPoolExecutor(half, "segue-alone")
        self._change = Threads[_Link](half, "segue-change")
        self._read = Threads[_Link](max(1, connections - half), "segue-read")

    async def open(self) -> None:
        """See `database.Database`."""
        try:
            given = _parameters(self._url)
            link = partial(_Link, given)
            await self._change.open(link)
            await self._read.open(link)
            await self._change.do(self._migrate)
        except (psycopg.Error, StoreLost, StoreUnusable) as error:
            raise StoreUnusable(f"the database of SEGUE_STORE_URL cannot be used: {_said(error)}") from None

    def _migrate(self, link: _Link) -> None:
        with link.connection() as connection:  # which is closed: what was set for it ends with it
            encoding = connection.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise StoreUnusable(f"its encoding is {encoding}; make one with ENCODING 'UTF8'")
            _whole(connection, f"BEGIN; {_MIGRATING}; {_locks('')}", lambda rows: _migrate(rows, self._steps))

    async def look(self) -> str:
        """See `database.Database`."""
        try:
            return await asyncio.to_thread(_looked, _parameters(self._url), self._steps)
        except (psycopg.Error, StoreUnusable) as error:
            raise StoreUnusable(f"the database of SEGUE_STORE_URL cannot be used: {_said(error)}") from None

    async def clock(self) -> tuple[float, float]:
        """How many seconds its clock is ahead of this machine's, and when the last administrative act was, in unix
        seconds, without `open`.  Raises StoreUnusable."""
        try:
            return await asyncio.to_thread(_timed, _parameters(self._url))
        except psycopg.Error as error:
            raise StoreUnusable(f"the database of SEGUE_STORE_URL cannot be used: {_said(error)}") from None

    async def close(self) -> None:
        """See `database.Database`."""
        await self._read.close(_Link.close)
        await self._change.close(_Link.close)
        self._alone.shutdown(wait=False)

    async def read(self, act: Callable[[Rows], T]) -> T:
        """See `database.Database`."""
        until = time.monotonic() + _LOST_MAX_S
        return await self._read.do(lambda link: link.do(_READ, act, until))

    async def change(self, act: Callable[[Rows], T], within: str = "") -> T:
        """See `database.Database`."""
        until = time.monotonic() + _LOST_MAX_S
        begin = f"BEGIN; {_locks(within)}"
        return await self._change.do(lambda link: link.do(begin, act, until))

    def counted(self, rows: Rows, table: str, column: str) -> int:
        """See `database.Database`."""
        name = rows.one("SELECT pg_get_serial_sequence(?, ?)", table, column)
        assert name is not None
        row = rows.one(f"SELECT last_value, is_called FROM {name[0]}")
        return int(row[0]) if row and row[1] else 0

    def count_from(self, rows: Rows, table: str, column: str, last: int) -> None:
        """See `database.Database`."""
        rows.one("SELECT setval(pg_get_serial_sequence(?, ?), ?, ?)", table, column, max(last, 1), last > 0)

    @asynccontextmanager
    async def alone(self, within: str = "") -> AsyncIterator[None]:
        """See `database.Database`.  Each has a connection of its own, and at most so many at a time."""
        async with self._places:
            loop = asyncio.get_running_loop()
            taking = loop.run_in_executor(self._alone, _taken, _parameters(self._url), within)
            try:
                connection = await asyncio.shield(taking)
            except asyncio.CancelledError:
                taking.add_done_callback(_let_go)  # it has no more than its time to wait
                raise
            try:
                yield
            finally:
                connection.close()  # it says so and does not wait; the threads may all be waiting for this lock


class _Link:
    """A connection, made when it is wanted and again when it was lost."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._parameters = parameters
        self._connection: Connection[Any] | None = None

    def connection(self) -> Connection[Any]:
        """Raises psycopg.OperationalError."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(**self._parameters, autocommit=True)
            self._connection.adapters.register_loader("numeric", _Number)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def do(self, begin: str, act: Callable[[Rows], T], until: float) -> T:
        """The whole of `act`, again after a deadlock, or when the server was lost and came back before `until`."""
        deadlocks, wait_s = 0, 0.02
        while True:
            try:
                return _whole(self.connection(), begin, act)
            except (errors.DeadlockDetected, errors.SerializationFailure) as error:
                deadlocks += 1
                if deadlocks > _DEADLOCKS_MAX:
                    raise _lost(_said(error)) from None
            except (errors.LockNotAvailable, errors.QueryCanceled) as error:  # it took too long
                raise _lost(_said(error)) from None
            except errors.ReadOnlySqlTransaction as error:  # the server was made another's copy
                if begin == _READ:
                    raise
                self.close()
                if time.monotonic() > until:
                    raise _lost(_said(error)) from None
            except psycopg.OperationalError as error:
                if self._connection is not None and not self._connection.closed:
                    raise
                if time.monotonic() > until:
                    raise _lost(_said(error)) from None
                log.warning("the database was lost, trying again: %s", _said(error))
            except psycopg.DatabaseError as error:
                # Without its details, which are values of rows: nobody's words are to be in a log.
                raise type(error)(error.diag.message_primary or _said(error)) from None
            time.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, _AGAIN_MAX_S)


class _Rows:
    """See `database.Rows`."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def run(self, sql: str, *values: Value) -> int:
        return self._connection.execute(_marked(sql), _held(values)).rowcount

    def one(self, sql: str, *values: Value) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(_marked(sql), _held(values)).fetchone()
        return row

    def all(self, sql: str, *values: Value) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(_marked(sql), _held(values)).fetchall()
        return rows

    def each(self, sql: str, *values: Value) -> Iterator[tuple[Any, ...]]:
        with self._connection.cursor("each") as cursor:  # it stays with the server
            cursor.itersize = _ROWS_AT_ONCE
            yield from cursor.execute(_marked(sql), _held(values))

    def many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(_marked(sql), [_held(row) for row in rows])


class _Number(Loader):
    """Sums of whole numbers are whole numbers."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdecimal() else float(text)


def _whole(connection: Connection[Any], begin: str, act: Callable[[Rows], T]) -> T:
    try:
        connection.execute(begin.encode())
        result = act(_Rows(connection))
    except BaseException:
        if connection.info.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.Error):  # then it is closed
                connection.execute("ROLLBACK")
        raise
    try:
        ended = connection.execute("COMMIT").statusmessage
    except psycopg.OperationalError as error:
        if begin == _READ:
            return result
        raise _lost(f"it is not known whether a change was made: {_said(error)}") from None
    if ended != "COMMIT":  # so it answers when a statement had failed and the act went on
        raise AssertionError("an act went on after a statement of its had failed")
    return result


def _looked(parameters: dict[str, Any], steps: Sequence[str]) -> str:
    with psycopg.connect(**parameters, autocommit=True) as connection:
        began = time.perf_counter()
        found = connection.execute("SELECT to_regclass('segue_version') IS NOT NULL").fetchone()
        took_ms = (time.perf_counter() - began) * 1000
        row = connection.execute("SELECT version FROM segue_version").fetchone() if found and found[0] else None
        info = connection.info
        server = info.parameter_status("server_version")
        return f"PostgreSQL {server} at {info.host}, {took_ms:.1f} ms away, {told(row[0] if row else 0, steps)}"


def _timed(parameters: dict[str, Any]) -> tuple[float, float]:
    with psycopg.connect(**parameters, autocommit=True) as connection:
        began = time.time()
        there = connection.execute("SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)").fetchone()
        here = (began + time.time()) / 2
        assert there is not None
        found = connection.execute("SELECT to_regclass('acts') IS NOT NULL").fetchone()
        acted = connection.execute("SELECT coalesce(max(at), 0) FROM acts").fetchone() if found and found[0] else None
        return float(there[0]) - here, float(acted[0]) if acted else 0.0


def _taken(parameters: dict[str, Any], within: str) -> Connection[Any]:
    """A connection that holds the lock until it is closed.  Raises StoreLost."""
    locks = _locks(f"alone {within}" if within else "", "alone", "pg_advisory_lock")
    until = time.monotonic() + _LOST_MAX_S
    while True:
        connection = None
        try:
            connection = psycopg.connect(**parameters, autocommit=True)
            connection.execute(_ALONE)
            connection.execute(locks.encode())
        except psycopg.Error as error:
            lost = connection is None or connection.closed
            if connection is not None:
                connection.close()
            if not lost or time.monotonic() > until:
                raise _lost(_said(error)) from None
            time.sleep(_AGAIN_MAX_S)
        else:
            return connection


def _let_go(taking: asyncio.Future[Connection[Any]]) -> None:
    if not taking.cancelled() and taking.exception() is None:
        taking.result().close()


def _migrate(rows: Rows, steps: Sequence[str]) -> None:
    rows.run("CREATE TABLE IF NOT EXISTS segue_version (version BIGINT NOT NULL)")
    found = rows.one("SELECT version FROM segue_version")
    done = found[0] if found else 0
    for statement in missing(done, steps):
        rows.run(in_postgres(statement))
    if found is None:
        rows.run("INSERT INTO segue_version VALUES (?)", len(steps))
    elif done < len(steps):
        rows.run("UPDATE segue_version SET version = ?", len(steps))


@lru_cache(_SQL_REMEMBERED)
def _locks(within: str, everything: str = "", take: str = "pg_advisory_xact_lock") -> str:
    """The statements that take the locks of a part of `everything`, or of all of it."""
    if not within:
        return f"SELECT {take}({_lock(everything)})"
    return f"SELECT {take}_shared({_lock(everything)}); SELECT {take}({_lock(within)})"


def _lock(within: str) -> int:
    return int.from_bytes(hashlib.sha256(f"segue/{within}".encode()).digest()[:8], "big", signed=True)


@lru_cache(_SQL_REMEMBERED)
def _marked(sql: str) -> bytes:
    return sql.replace("%", "%%").replace("?", "%s").encode()


def _held(values: Sequence[Value]) -> Sequence[Value]:
    """The values as its text can hold them: no NUL in it."""
    return [value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value for value in values]


def _parameters(url: str) -> dict[str, Any]:
    """What to connect with.  Raises StoreUnusable."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        raise StoreUnusable("it must be like postgresql://user:password@host:5432/database") from None
    options = f"{_TIMES} {given['options']}" if "options" in given else _TIMES
    return {**_DEFAULTS, **given, "options": options}


def _lost(why: str) -> StoreLost:
    log.error("the database failed: %s", why)
    return StoreLost(why)


def _said(error: BaseException) -> str:
    """One line of it, which never has a password: the server's words, and the driver's about a connection."""
    return " ".join(str(error).split())
