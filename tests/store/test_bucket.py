"""Bytes in a bucket: as in a folder, and for several servers at once."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from segue.core.errors import StoreLost
from segue.store.base import BYTES, BlobMissing, Content, Key, StoreUnusable
from segue.store.bucket import BucketBlobs, Place, place_of
from segue.store.folder import FolderBlobs
from segue.store.sqlite import SqliteDatabase
from tests.store.bucket_server import BucketServer

DATA = b"some bytes"
CONTENT = Content("w", hashlib.sha256(DATA).hexdigest())
KEY = Key(CONTENT, BYTES)
TEXT = Key(CONTENT, "text-1.txt")


@pytest.fixture
def place(buckets: BucketServer) -> Place:
    return buckets.place()


@asynccontextmanager
async def opened(place: Place, root: Path, cache_bytes_max: int = 10**6) -> AsyncIterator[BucketBlobs]:
    """As one server has it; its database is another's too."""
    database = SqliteDatabase(root.parent / "locks.sqlite")
    blobs = BucketBlobs(place, FolderBlobs(root), cache_bytes_max, database.alone)
    blobs.open()
    try:
        yield blobs
    finally:
        blobs.close()
        await database.close()


async def put(blobs: BucketBlobs, key: Key = KEY, data: bytes = DATA) -> None:
    path = blobs.scratch()
    path.write_bytes(data)
    async with blobs.changing(key.content):
        await blobs.put(key, path)
    assert not path.exists()


async def test_what_one_server_puts_another_reads(place: Place, buckets: BucketServer, tmp_path: Path) -> None:
    async with opened(place, tmp_path / "a") as a, opened(place, tmp_path / "b") as b:
        await put(a)
        await put(a, TEXT, b"text")
        assert buckets.names(place) == [f"some/prefix/w/{CONTENT.sha256}.{kind}" for kind in (BYTES, "text-1.txt")]
        async with b.holding([CONTENT]):
            paths = await asyncio.gather(*(b.local(KEY) for _ in range(5)))
            assert {path.read_bytes() for path in paths} == {DATA}
            assert (await b.local(TEXT)).read_bytes() == b"text"
            with pytest.raises(BlobMissing):
                await b.local(Key(CONTENT, "index-1.txt"))
        async with b.changing():
            assert await b.keys() == {KEY, TEXT}


async def test_what_is_held_here_stays_and_what_is_deleted_is_gone_everywhere(place: Place, tmp_path: Path) -> None:
    async with opened(place, tmp_path / "a") as a, opened(place, tmp_path / "b") as b:
        await put(a)
        await put(a, TEXT, b"text")
        async with b.holding([CONTENT]):
            path = await b.local(KEY)
            async with b.changing(CONTENT):
                assert not await b.delete(CONTENT, [BYTES, "text-1.txt"]), "it is held on this server"
            async with a.changing(CONTENT):
                assert await a.delete(CONTENT, [BYTES, "text-1.txt"])
            assert path.read_bytes() == DATA
            with pytest.raises(BlobMissing):  # it had not come here yet
                await b.local(TEXT)
        async with b.changing():
            assert await b.keys() == set()
        assert not path.exists(), "a copy of what is nowhere else"
        async with a.changing(CONTENT):
            assert await a.delete(CONTENT, [BYTES]), "again, as after a crash"


async def test_copies_keep_to_their_room(place: Place, tmp_path: Path) -> None:
    keys = [Key(Content("w", hashlib.sha256(b"%d" % n).hexdigest()), "text-1.txt") for n in range(8)]
    async with opened(place, tmp_path / "a", 1000) as a:
        async with a.holding([keys[0].content]):
            for number, key in enumerate(keys):
                await put(a, key, b"x" * 200)
                os.utime(await a.local(key), (number, number))
            await a.local(keys[1])
            await put(a, KEY)
            held = await a.local(keys[0])
            assert held.exists(), "what is held is not let go of, however old"
        lying = list((tmp_path / "a" / "blobs").rglob("*.txt"))
        assert 200 <= sum(path.stat().st_size for path in lying) <= 1000
        for key in keys:
            async with a.holding([key.content]):
                assert (await a.local(key)).read_bytes() == b"x" * 200, "it comes again"


async def test_the_same_bytes_are_sent_once(place: Place, buckets: BucketServer, tmp_path: Path) -> None:
    async with opened(place, tmp_path / "a") as a:
        await put(a)
        name = buckets.names(place)[0]
        before = buckets.sent(place, name)
        assert before is not None
        await put(a)
        assert buckets.sent(place, name) == before
        await put(a, TEXT, b"one")
        await put(a, TEXT, b"two")
    async with opened(place, tmp_path / "b") as b, b.holding([CONTENT]):
        assert (await b.local(TEXT)).read_bytes() == b"two"


@pytest.mark.parametrize("kilobytes", [0, 9 * 1024])
async def test_an_empty_file_and_one_that_goes_in_parts(kilobytes: int, place: Place, tmp_path: Path) -> None:
    data = os.urandom(1024) * kilobytes
    key = Key(Content("w", hashlib.sha256(data).hexdigest()), BYTES)
    async with opened(place, tmp_path / "a", 10**8) as a, opened(place, tmp_path / "b", 0) as b:
        await put(a, key, data)
        async with b.holding([key.content]):
            assert (await b.local(key)).read_bytes() == data


async def test_what_was_changed_in_the_bucket_is_noticed(place: Place, buckets: BucketServer, tmp_path: Path) -> None:
    async with opened(place, tmp_path / "a") as a, opened(place, tmp_path / "b") as b:
        await put(a)
        buckets.replace(place, buckets.names(place)[0], b"other bytes")
        async with b.holding([CONTENT]):
            with pytest.raises(StoreLost):
                await b.local(KEY)
        assert list((tmp_path / "b" / "scratch").glob("*/[!l]*")) == []


@pytest.mark.parametrize("workspace", ["w", "../x", "a/b", "ä.=~%", "..", "ws-1_A"])
async def test_any_workspace(workspace: str, place: Place, tmp_path: Path) -> None:
    key = Key(Content(workspace, CONTENT.sha256), BYTES)
    async with opened(place, tmp_path / "a") as a, opened(place, tmp_path / "b") as b:
        await put(a, key)
        async with b.changing():
            assert await b.keys() == {key}
            assert (await b.local(key)).read_bytes() == DATA


async def test_a_change_keeps_others_out(place: Place, tmp_path: Path) -> None:
    async with opened(place, tmp_path / "a") as a, opened(place, tmp_path / "b") as b:
        async with a.changing():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), b.changing(CONTENT):
                    raise AssertionError
        async with b.changing(CONTENT):
            pass


@pytest.mark.parametrize("what", ["endpoint", "bucket"])
async def test_a_bucket_that_is_not_there(what: str, place: Place, tmp_path: Path) -> None:
    nowhere = Place(
        "none" if what == "bucket" else place.bucket,
        endpoint="http://127.0.0.1:9" if what == "endpoint" else place.endpoint,
        key="key",
        secret="hunter2",
    )
    async with AsyncExitStack() as stack:
        with pytest.raises(StoreUnusable, match="cannot be used") as caught:
            await stack.enter_async_context(opened(nowhere, tmp_path / "a"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["bucket", "http://bucket", "s3://", "s3:///x"])
def test_names_of_no_bucket(url: str) -> None:
    with pytest.raises(StoreUnusable, match="s3://bucket"):
        place_of(url, "", "", "", "")


def test_names_of_buckets() -> None:
    assert place_of("s3://b", "", "", "", "") == Place("b")
    assert place_of("s3://b/x/y/", "http://e", "r", "k", "s") == Place("b", "x/y", "http://e", "r", "k", "s")
    with pytest.raises(StoreUnusable, match="both"):
        place_of("s3://b", "", "", "k", "")
