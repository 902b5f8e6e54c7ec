"""Two servers, one PostgreSQL, one bucket: what one takes in, both have."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from segue.core.documents import File
from segue.core.errors import FileAbsent, FileGone, FileUnknown
from segue.files.archive import Archive
from segue.store.base import Blobs
from segue.store.bucket import BucketBlobs, Place
from segue.store.database import Database
from segue.store.folder import FolderBlobs
from segue.store.postgres import PostgresDatabase
from tests.files.archives import Reader, opened, uploaded
from tests.store.bucket_server import BucketServer
from tests.store.server import Server

_PATIENCE_S = 60.0


@pytest.fixture
def place(buckets: BucketServer) -> Place:
    return buckets.place("")


@pytest.fixture
def kept(postgres: Server, place: Place) -> Callable[[Path], tuple[Database, Blobs]]:
    url = postgres.database()

    def made(root: Path) -> tuple[Database, Blobs]:
        database = PostgresDatabase(url, 4)
        return database, BucketBlobs(place, FolderBlobs(root), 10**6, database.alone)

    return made


@pytest.fixture
async def servers(
    kept: Callable[[Path], tuple[Database, Blobs]], tmp_path: Path
) -> AsyncIterator[tuple[Archive, Archive]]:
    async with opened(tmp_path / "a", kept=kept) as a, opened(tmp_path / "b", kept=kept) as b:
        yield a, b


async def ended(archive: Archive, *files: File) -> list[File]:
    """The files, once none of them is being read, by whichever server."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            seen = [await archive.desk.find(file.workspace, file.id) for file in files]
            if all(file.status != "processing" for file in seen):
                return seen
            await asyncio.sleep(0.05)


async def emptied(place: Place, buckets: BucketServer) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while await asyncio.to_thread(buckets.names, place):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_file_of_one_is_answered_by_the_other(
    servers: tuple[Archive, Archive], place: Place, buckets: BucketServer
) -> None:
    a, b = servers
    file = await uploaded(a.desk, b"what it says")
    (seen,) = await ended(b, file)
    assert seen.status == "processed"
    assert len(buckets.names(place)) == 5
    for archive in servers:
        async with archive.library.reading("w", [file.id], 0) as (readable,):
            assert readable.text.read_bytes() == b"what it says"
            assert readable.index is not None
            assert readable.index.read_bytes() == b"index of what it says"
        async with archive.desk.content("w", file.id) as (_, path):
            assert path.read_bytes() == b"what it says"
    async with b.library.reading("w", [file.id], 0) as (readable,):
        await a.desk.remove("w", file.id)
        await emptied(place, buckets)
        assert readable.text.read_bytes() == b"what it says", "it is read to its end"
    with pytest.raises(FileGone):
        async with b.library.reading("w", [file.id], 0):
            raise AssertionError


async def test_each_file_is_read_once(kept: Callable[[Path], tuple[Database, Blobs]], tmp_path: Path) -> None:
    readers = Reader(), Reader()
    async with opened(tmp_path / "a", readers[0], kept=kept) as a, opened(tmp_path / "b", readers[1], kept=kept) as b:
        files = [await uploaded(archive.desk, b"%d" % number) for number in range(4) for archive in (a, b)]
        await asyncio.gather(*(ended(b, file) for file in files))
    assert sum(len(reader.parsed) for reader in readers) == 4


async def test_a_server_that_stops_leaves_its_work_to_the_other(
    kept: Callable[[Path], tuple[Database, Blobs]], tmp_path: Path
) -> None:
    async with opened(tmp_path / "b", Reader(), kept=kept) as b:
        async with opened(tmp_path / "a", Reader(), kept=kept) as a:
            file = await uploaded(a.desk, b"slow to read")
            async with asyncio.timeout(_PATIENCE_S):
                while not await b.desk.progress("w", file.id):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        again = await uploaded(b.desk, b"another")
        assert (await ended(b, again))[0].status == "processed"
        job = await b.store.claim("looker", 10.0**12, 1.0, 9)
        assert job is None or job.content.sha256 == file.sha256


async def test_whatever_both_do(servers: tuple[Archive, Archive], place: Place, buckets: BucketServer) -> None:
    """The same few contents come and go on both; in the end every row has its bytes, and all bytes have a row."""
    chance = random.Random(7)

    async def caller(archive: Archive) -> None:
        for _ in range(12):
            file = await uploaded(archive.desk, b"content %d" % chance.randrange(3))
            await asyncio.sleep(chance.choice((0.0, 0.05)))
            files, _ = await archive.desk.numbered("w", 0, 100)
            if files and chance.random() < 0.7:
                with suppress(FileAbsent):
                    await archive.desk.remove("w", chance.choice(files).id)
            with suppress(FileUnknown, FileGone):
                async with archive.library.reading("w", [file.id], _PATIENCE_S) as (readable,):
                    assert readable.text.read_bytes().startswith(b"content")

    await asyncio.gather(*(caller(archive) for archive in servers * 2))
    a, b = servers
    files, _ = await a.desk.numbered("w", 0, 1000)
    await ended(a, *files)
    async with asyncio.timeout(_PATIENCE_S):
        while await a.store.unneeded(1):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    async with b.blobs.changing():
        assert await b.blobs.keys() == await b.store.kept()
    for file in files:
        await b.desk.remove("w", file.id)
    await emptied(place, buckets)
