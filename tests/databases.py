"""Every database there is, for the suites that must pass in each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from segue.store.database import Database
from segue.store.postgres import PostgresDatabase
from segue.store.sqlite import SqliteDatabase
from tests.store.server import Server, Unavailable, served

MakeDatabase = Callable[[], Database]
"""Another door to the same database, as another server of ours has it; not yet open."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server; the tests are skipped where there is none."""
    try:
        with served() as server:
            yield server
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Server:
    """The session's server, running, whatever the last test did to it."""
    server: Server = request.getfixturevalue("postgres_server")
    server.start()
    return server


@pytest.fixture(params=["sqlite", "postgres"])
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> MakeDatabase:
    """Opens the same database as often as it is called."""
    if request.param == "sqlite":
        return lambda: SqliteDatabase(tmp_path / "segue.sqlite")
    server: Server = request.getfixturevalue("postgres")
    url = server.database()
    return lambda: PostgresDatabase(url, 4)


@pytest.fixture
async def database(make_database: MakeDatabase) -> AsyncIterator[Database]:
    """An open one, with all tables and no rows."""
    database = make_database()
    await database.open()
    yield database
    await database.close()
