"""The tables: from nothing, from every earlier version, and never from a later one."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from segue.store.base import StoreUnusable
from segue.store.database import Rows
from segue.store.migrations import STEPS, in_postgres, missing
from segue.store.sqlite import SqliteDatabase

FIRST = Path(__file__).parent / "first.sql"
LATER = "ALTER TABLE files ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'; CREATE INDEX by_colour ON files (colour)"
ROW = (
    "INSERT INTO files (workspace, id, name, bytes, sha256, md5, form, purpose, created_at, status) VALUES"
    " ('w', 'file-fe-1', 'a.txt', 1, 's', 'm', 'txt', 'file-extract', 1, 'processing')"
)


async def migrated(path: Path, steps: tuple[str, ...] = STEPS, *rows: str) -> None:
    database = SqliteDatabase(path, steps)
    try:
        await database.open()

        def added(inside: Rows) -> None:
            for row in rows:
                inside.run(row)

        await database.change(added)
    finally:
        await database.close()


def found(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def shape(path: Path) -> list[tuple[object, ...]]:
    return found(path, "SELECT name, sql FROM sqlite_master ORDER BY name")


def version(path: Path) -> object:
    return found(path, "PRAGMA user_version")[0][0]


@pytest.mark.parametrize("version", range(len(STEPS) + 1))
async def test_every_earlier_version_becomes_this_one(version: int, tmp_path: Path) -> None:
    await migrated(tmp_path / "old", STEPS[:version], *[ROW] * (version > 0))
    await migrated(tmp_path / "old")
    await migrated(tmp_path / "new")
    assert shape(tmp_path / "old") == shape(tmp_path / "new")
    assert found(tmp_path / "old", "SELECT count(*) FROM files") == [(1 if version else 0,)]


async def test_the_first_version_is_what_it_was(tmp_path: Path) -> None:
    """Released steps are never changed: `first.sql` was dumped from a database of the first version that there was."""
    with closing(sqlite3.connect(tmp_path / "dumped")) as connection:
        connection.executescript(FIRST.read_text())
    await migrated(tmp_path / "made", STEPS[:1])
    assert shape(tmp_path / "dumped") == shape(tmp_path / "made")
    assert version(tmp_path / "dumped") == version(tmp_path / "made") == 1


async def test_a_database_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "files.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST.read_text())
        before = connection.execute("SELECT id, name, status, tokens FROM files").fetchall()
    await migrated(path)
    assert version(path) == len(STEPS)
    assert found(path, "SELECT id, name, status, tokens FROM files") == before != []


async def test_rows_are_kept_by_a_later_step(tmp_path: Path) -> None:
    path = tmp_path / "files.sqlite"
    await migrated(path, STEPS, ROW)
    await migrated(path, (*STEPS, LATER))
    await migrated(path, (*STEPS, LATER))
    assert found(path, "SELECT id, colour FROM files") == [("file-fe-1", "blue")]
    with pytest.raises(StoreUnusable, match=f"version {len(STEPS) + 1}"):
        await migrated(path)


async def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "files.sqlite"
    await migrated(path)
    before = shape(path)
    with pytest.raises(StoreUnusable, match="already exists"):
        await migrated(path, (*STEPS, "CREATE TABLE fresh (x); CREATE TABLE files (x)"))
    assert shape(path) == before
    assert version(path) == len(STEPS)


async def test_several_that_start_at_once(tmp_path: Path) -> None:
    path = tmp_path / "files.sqlite"
    await asyncio.gather(*(migrated(path) for _ in range(12)))
    assert version(path) == len(STEPS)


async def test_one_that_starts_while_another_turns_to_writing_ahead(tmp_path: Path) -> None:
    path = tmp_path / "files.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")  # what SQLite refuses the next one for without a wait
        with pytest.raises(sqlite3.OperationalError), closing(sqlite3.connect(path)) as refused:
            refused.execute("PRAGMA journal_mode = WAL")
        opened = asyncio.create_task(migrated(path))
        await asyncio.sleep(0.05)
        assert not opened.done()
        another.execute("ROLLBACK")
        await opened
    assert version(path) == len(STEPS)


async def test_what_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "files.sqlite"
    path.write_bytes(b"not a database, " * 100)
    with pytest.raises(StoreUnusable, match=r"files\.sqlite"):
        await migrated(path)


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnusable, match="SEGUE_FILES_DIR"):
        await migrated(tmp_path / "file" / "files.sqlite")


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "files.sqlite"
    await migrated(path)
    assert path.stat().st_mode & 0o077 == 0


def test_in_postgres() -> None:
    step = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a INTEGER, b REAL, c TEXT, d BLOB) WITHOUT ROWID;"
    assert [in_postgres(statement).strip() for statement in missing(0, [step])] == [
        "CREATE TABLE t (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a BIGINT, b DOUBLE PRECISION,"
        ' c TEXT COLLATE "C", d BYTEA)'
    ]
