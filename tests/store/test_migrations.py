"""The tables: from nothing, from every earlier version, and never from a later one."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segue.store.base import StoreUnusable
from segue.store.migrations import STEPS, migrate
from segue.store.sqlite import SqliteStore

LATER = "ALTER TABLE files ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'; CREATE INDEX by_colour ON files (colour)"
ROW = (
    "INSERT INTO files (workspace, id, name, bytes, sha256, md5, form, purpose, created_at, status) VALUES"
    " ('w', 'file-fe-1', 'a.txt', 1, 's', 'm', 'txt', 'file-extract', 1, 'processing')"
)


def connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, 30.0, isolation_level=None)


def shape(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


@pytest.mark.parametrize("version", range(len(STEPS) + 1))
def test_every_earlier_version_becomes_this_one(version: int, tmp_path: Path) -> None:
    old, new = connected(tmp_path / "old"), connected(tmp_path / "new")
    migrate(old, STEPS[:version])
    if version:
        old.execute(ROW)
    migrate(old)
    migrate(new)
    assert shape(old) == shape(new)
    assert old.execute("SELECT count(*) FROM files").fetchone() == (1 if version else 0,)
    old.close()
    new.close()


def test_the_first_version_is_what_it_was() -> None:
    """Released steps are never changed; a change of the first one breaks every database there is."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, STEPS[:1])
    columns = [row[1] for row in connection.execute("PRAGMA table_info(files)")]
    first = {"place", "workspace", "id", "name", "bytes", "sha256", "md5", "form", "purpose", "created_at"}
    assert set(columns) == first | {"status", "trouble", "tokens", "description"}
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables - {"sqlite_sequence"} == {"files", "removed", "blobs", "jobs"}
    connection.close()


def test_rows_are_kept_by_a_later_step() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    connection.execute(ROW)
    migrate(connection, [*STEPS, LATER])
    assert connection.execute("SELECT id, colour FROM files").fetchall() == [("file-fe-1", "blue")]
    migrate(connection, [*STEPS, LATER])
    with pytest.raises(StoreUnusable, match="version 2"):
        migrate(connection)
    connection.close()


def test_a_step_that_fails_changes_nothing() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    before = shape(connection)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, [*STEPS, "CREATE TABLE fresh (x); CREATE TABLE files (x)"])
    assert shape(connection) == before
    assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    connection.close()


def test_several_that_start_at_once(tmp_path: Path) -> None:
    def start(_: int) -> int:
        connection = connected(tmp_path / "files.sqlite")
        migrate(connection)
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.close()
        return version

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(start, range(16))) == [len(STEPS)] * 16


async def test_what_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "files.sqlite"
    path.write_bytes(b"not a database, " * 100)
    store = SqliteStore(path)
    with pytest.raises(StoreUnusable, match=r"files\.sqlite"):
        await store.open()
    await store.close()


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SqliteStore(tmp_path / "file" / "files.sqlite")
    with pytest.raises(StoreUnusable, match="SEGUE_FILES_DIR"):
        await store.open()
    await store.close()
