"""What only a server of its own can do to us: go away, come back, keep us waiting."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Callable
from unittest.mock import patch

import psycopg
import pytest

from segue.core.errors import StoreLost
from segue.store import postgres as module
from segue.store.base import StoreUnusable
from segue.store.database import Rows
from segue.store.migrations import STEPS
from segue.store.postgres import PostgresDatabase
from tests.store.server import Server

LATER = "CREATE TABLE later (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, what TEXT)"


@pytest.fixture
async def database(postgres: Server) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(postgres.database(), 4, (LATER,))
    await database.open()
    yield database
    await database.close()


def put(rows: Rows) -> int:
    return rows.run("INSERT INTO later (at) VALUES (1)")


def total(rows: Rows) -> int:
    row = rows.one("SELECT count(*) FROM later")
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_server_that_is_started_again(how: str, database: PostgresDatabase, postgres: Server) -> None:
    """Nothing that was acknowledged is lost; nothing is done twice; whoever asks meanwhile waits."""
    made = asked = 0
    over = asyncio.Event()

    async def caller() -> None:
        nonlocal made, asked
        while not over.is_set():
            asked += 1
            try:
                await database.change(put)
            except StoreLost:
                continue  # it may have been made or not
            made += 1

    callers = [asyncio.create_task(caller()) for _ in range(3)]
    await asyncio.sleep(0.2)
    for _ in range(2):
        await asyncio.to_thread(getattr(postgres, how))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(postgres.start)
        before = made
        async with asyncio.timeout(30):
            while made < before + 10:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    over.set()
    await asyncio.gather(*callers)
    assert made <= await database.read(total) <= asked
    assert asked - made <= 2 * len(callers), "only what was being committed may have failed"


async def test_a_server_that_stays_away(
    database: PostgresDatabase, postgres: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(postgres.stop)
    with patch.object(module, "_LOST_MAX_S", 0.3):
        began = time.monotonic()
        with pytest.raises(StoreLost):
            await database.change(put)
        with pytest.raises(StoreLost):
            await database.read(total)
        with pytest.raises(StoreLost):
            async with database.alone():
                raise AssertionError
        assert time.monotonic() - began < 10
    await asyncio.to_thread(postgres.start)
    assert await database.change(put) == 1
    assert {record.levelno for record in caplog.records} == {logging.WARNING, logging.ERROR}


async def test_a_lock_of_the_dead_is_free(database: PostgresDatabase, postgres: Server) -> None:
    async with asyncio.timeout(30), database.alone("a"):
        ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        await database.read(lambda rows: rows.all(ended))
        async with database.alone("a"):
            pass


async def test_no_words_of_a_row_are_in_an_error(database: PostgresDatabase) -> None:
    put_twice = "INSERT INTO later (id, what) VALUES (1, 'a secret')"
    for sql in (put_twice, "INSERT INTO later (id, what) VALUES (NULL, 'a secret')"):
        with pytest.raises(psycopg.Error) as caught:
            await database.change(lambda rows, sql=sql: [rows.run(sql) for _ in range(2)])  # type: ignore[misc]
        assert "secret" not in "".join(traceback.format_exception(caught.value)).replace(sql, "")


async def test_connections_that_somebody_ends(database: PostgresDatabase) -> None:
    await database.change(put)

    def ended(rows: Rows) -> None:
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        rows.all(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")

    await database.change(ended)
    assert await asyncio.gather(*(database.read(total) for _ in range(4))) == [1] * 4


async def test_a_deadlock_is_tried_again(database: PostgresDatabase) -> None:
    await database.change(lambda rows: rows.many("INSERT INTO later (id, at) VALUES (?, ?)", [(1, 0.0), (2, 0.0)]))
    turns = 0

    def act(first: int) -> Callable[[Rows], None]:
        def both(rows: Rows) -> None:
            nonlocal turns
            turns += 1
            rows.run("UPDATE later SET at = at + 1 WHERE id = ?", first)
            time.sleep(0.3)
            rows.run("UPDATE later SET at = at + 1 WHERE id = ?", 3 - first)

        return both

    await asyncio.gather(database.change(act(1), "a"), database.change(act(2), "b"))
    assert await database.read(lambda rows: rows.all("SELECT at FROM later ORDER BY id")) == [(2.0,), (2.0,)]
    assert turns > 2


async def test_an_act_that_reads_past_a_failure_is_a_mistake(database: PostgresDatabase) -> None:
    def act(rows: Rows) -> None:
        put(rows)
        with pytest.raises(psycopg.Error):
            rows.run("INSERT INTO later (id) VALUES ('x')")

    with pytest.raises(AssertionError, match="went on"):
        await database.change(act)
    assert await database.read(total) == 0


async def test_text_without_nul(database: PostgresDatabase) -> None:
    await database.change(lambda rows: rows.run("INSERT INTO later (what) VALUES (?)", "a\0b"))
    assert await database.read(lambda rows: rows.one("SELECT what FROM later")) == ("a\ufffdb",)


async def test_tables_of_a_later_version_and_of_an_earlier_one(postgres: Server) -> None:
    url = postgres.database()

    async def opened(*steps: str) -> PostgresDatabase:
        database = PostgresDatabase(url, 2, steps)
        try:
            await database.open()
        finally:
            await database.close()
        return database

    await opened(*STEPS)
    await asyncio.gather(*(opened(*STEPS, LATER) for _ in range(4)))
    await opened(*STEPS, LATER)
    with pytest.raises(StoreUnusable, match=f"version {len(STEPS) + 1}"):
        await opened(*STEPS)
    with pytest.raises(StoreUnusable, match="already exists"):
        await opened(*STEPS, LATER, "CREATE TABLE fresh (x TEXT); CREATE TABLE files (x TEXT)")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT version FROM segue_version").fetchall() == [(len(STEPS) + 1,)]
        assert connection.execute("SELECT to_regclass('fresh')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/none", "refused"),
        ("postgresql://postgres:hunter2@127.0.0.1:{port}/none", "none"),
        ("postgres//me:hunter2", "like postgresql://"),
        ("postgresql://me:hunter2@127.0.0.1:1/none?connect_timeout=soon", "bad value"),
    ],
)
async def test_what_cannot_be_opened_is_said_without_the_password(
    url: str, said: str, postgres: Server, caplog: pytest.LogCaptureFixture
) -> None:
    port = postgres.url("x").partition("1:")[2].partition("/")[0]
    database = PostgresDatabase(url.replace("{port}", port))
    with patch.object(module, "_LOST_MAX_S", 0.1), pytest.raises(StoreUnusable, match=said) as caught:
        await database.open()
    await database.close()
    assert "hunter2" not in f"{caught.value} {caught.value.__context__} {caplog.text}"


async def test_a_database_in_another_encoding(postgres: Server) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS latin")
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    database = PostgresDatabase(postgres.url("latin"))
    with pytest.raises(StoreUnusable, match="LATIN1"):
        await database.open()
    await database.close()


async def test_its_clock_is_told(postgres: Server) -> None:
    url = postgres.database()
    ahead, acted = await PostgresDatabase(url).clock()
    assert abs(ahead) < 1
    assert acted == 0, "nothing is there yet, and nothing was made"
    database = PostgresDatabase(url)
    await database.open()
    act = "INSERT INTO acts (at, who, what, workspace, subject, details) VALUES (?, '', '', '', '', '{}')"
    await database.change(lambda rows: rows.run(act, 123.0))
    assert (await database.clock())[1] == 123.0
    await database.close()
    with pytest.raises(StoreUnusable):
        await PostgresDatabase("postgresql://nobody@127.0.0.1:1/x?connect_timeout=1").clock()
