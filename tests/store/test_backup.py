"""A backup has everything, of one moment, and can be put into either database."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from segue.store.backup import NotEmpty, backed_up, restored
from segue.store.base import StoreUnusable
from segue.store.database import Database, Rows
from segue.store.filing import FilesStore
from segue.store.migrations import STEPS
from segue.store.sqlite import SqliteDatabase
from tests.databases import MakeDatabase
from tests.store.server import Server
from tests.store.test_store import added, claimed, file

FIRST = Path(__file__).parent / "first.sql"


@pytest.fixture
async def other(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """The other kind than `database`'s, empty."""
    if "postgres" in request.node.name:
        database: Database = SqliteDatabase(tmp_path / "other.sqlite")
    else:
        from segue.store.postgres import PostgresDatabase

        server: Server = request.getfixturevalue("postgres")
        database = PostgresDatabase(server.database(), 2)
    await database.open()
    yield database
    await database.close()


async def filled(database: Database) -> None:
    store = FilesStore(database)
    await added(store, *(file(number, content=f"{number}", description="é\"'") for number in range(5)))
    job = await claimed(store)
    await store.made(job, "me:1", "text-1.txt", 5)
    await store.finish(job, "me:1", 42)
    await store.remove("w", file(4).id, 0.0, 60.0)


async def everything(database: Database) -> list[object]:
    def act(rows: Rows) -> list[object]:
        tables = ("files", "removed", "blobs", "jobs")
        return [
            *(sorted(map(repr, rows.all(f"SELECT * FROM {table}"))) for table in tables),
            database.counted(rows, "files", "place"),
            database.counted(rows, "jobs", "id"),
        ]

    return await database.read(act)


def beside(path: Path) -> list[str]:
    """What else was left where a file was written."""
    return [each.name for each in path.parent.iterdir() if path.name in each.name and each != path]


async def test_there_and_back_and_into_the_other_kind(
    database: Database, make_database: MakeDatabase, other: Database, tmp_path: Path
) -> None:
    await filled(database)
    before, path = await everything(database), tmp_path / "backup"
    copied = await backed_up(database, path)
    assert {name: copied[name] for name in ("files", "removed", "blobs", "jobs")} == {
        "files": 4,
        "removed": 1,
        "blobs": 6,
        "jobs": 3,
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert beside(path) == []
    await restored(other, path)
    assert await everything(other) == before
    await added(FilesStore(database), file(7))
    await FilesStore(database).remove("w", file(1).id, 0.0, 60.0)
    with pytest.raises(NotEmpty):
        await restored(database, path)
    assert await everything(database) != before
    await restored(database, path, replace=True)
    assert await everything(database) == before
    (late,) = await added(FilesStore(other), replace(file(9), status="processed"))
    page = await FilesStore(other).page("w", limit=1)
    assert page is not None
    assert page.files == (late,), "its number is behind all that were ever given out"


async def test_an_empty_one(database: Database, other: Database, tmp_path: Path) -> None:
    await backed_up(database, tmp_path / "backup")
    await restored(other, tmp_path / "backup")
    await filled(other)


async def test_many_rows(database: Database, other: Database, tmp_path: Path) -> None:
    rows = [("w", f"{number:064d}", "bytes", number) for number in range(5001)]
    await database.change(lambda inside: inside.many("INSERT INTO blobs VALUES (?, ?, ?, ?)", rows))
    assert (await backed_up(database, tmp_path / "backup"))["blobs"] == 5001
    assert (await restored(other, tmp_path / "backup"))["blobs"] == 5001
    assert await everything(database) == await everything(other)


async def test_a_backup_of_an_earlier_version(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "old"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST.read_text())
    kept = path.read_bytes()
    assert (await restored(database, path))["files"] == 2
    assert path.read_bytes() == kept, "it is left as it was"


async def test_what_is_no_backup(database: Database, tmp_path: Path) -> None:
    await filled(database)
    before, path = await everything(database), tmp_path / "backup"
    for data in (b"", b"text " * 1000):
        path.write_bytes(data)
        with pytest.raises(StoreUnusable, match="no backup"):
            await restored(database, path, replace=True)
    with pytest.raises(FileNotFoundError):
        await restored(database, tmp_path / "none", replace=True)
    with pytest.raises(FileExistsError):
        await backed_up(database, path)
    path.unlink()
    await backed_up(database, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    with pytest.raises(StoreUnusable, match="later"):
        await restored(database, path, replace=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * 4096 + whole[8192:])
    with pytest.raises(StoreUnusable):
        await restored(database, path, replace=True)
    assert await everything(database) == before
