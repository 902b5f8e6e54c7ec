"""What a crash leaves, made by hand, and what the next start makes of it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from segue.core.errors import FileTroubled
from segue.store.base import Content, StoreUnusable
from tests.files.archives import Reader, lying, opened, settled, swept, uploaded


async def test_blobs_without_rows_are_removed(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, b"hello")
        await settled(archive, file)
    before = lying(tmp_path)
    folder = tmp_path / "blobs" / "w" / "ab" / "ab"
    folder.mkdir(parents=True)
    (folder / f"{'ab' * 32}.bytes").write_bytes(b"orphan")
    kept = tmp_path / "blobs" / "w" / file.sha256[:2] / file.sha256[2:4]
    (kept / f"{file.sha256}.text-0.txt").write_bytes(b"of an older version")
    dead = tmp_path / "scratch" / "1-dead"
    dead.mkdir()
    (dead / "half").write_bytes(b"half")
    (tmp_path / "scratch" / "2-dead-at-once").mkdir()
    async with opened(tmp_path) as archive:
        assert lying(tmp_path) == before
        async with archive.library.reading("w", [file.id], 0) as (readable,):
            assert readable.text.read_bytes() == b"hello"
    assert lying(tmp_path) == before


@pytest.mark.parametrize("thing", ["text-1", "parts-1", "index-1"])
async def test_what_was_made_and_is_lost_is_made_again(thing: str, tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, b"hello")
        await settled(archive, file)
    next((tmp_path / "blobs").rglob(f"*.{thing}.txt")).unlink()
    reader = Reader()
    async with opened(tmp_path, reader) as archive:
        (file,) = await settled(archive, file)
        assert file.status == "processed"
        async with archive.library.reading("w", [file.id], 0) as (readable,):
            assert readable.text.read_bytes() == b"hello"
    assert len(reader.parsed) == (thing != "index-1")
    assert reader.counted == 0


async def test_a_file_whose_bytes_are_lost_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, b"hello")
        await settled(archive, file)
    next((tmp_path / "blobs").rglob("*.bytes")).unlink()
    async with opened(tmp_path) as archive:
        with pytest.raises(FileTroubled):
            async with archive.library.reading("w", [file.id], 0):
                pass
        await archive.desk.remove("w", file.id)
        await swept(tmp_path)


async def test_what_was_deleted_before_a_crash_is_swept_after_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, b"hello")
        await settled(archive, file)
        await archive.sweeper.close()
        await archive.desk.remove("w", file.id)
    assert lying(tmp_path)
    async with opened(tmp_path):
        await swept(tmp_path)


async def test_a_job_that_is_lost_is_made_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, b"slow")
    rows = sqlite3.connect(tmp_path / "files.sqlite")
    rows.execute("DELETE FROM jobs")
    rows.commit()
    rows.close()
    reader = Reader()
    reader.go.set()
    async with opened(tmp_path, reader) as archive:
        (file,) = await settled(archive, file)
        assert file.status == "processed"


async def test_an_archive_that_cannot_be_opened_can_be_closed(tmp_path: Path) -> None:
    (tmp_path / "files.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnusable):
        async with opened(tmp_path):
            pass


async def test_to_open_twice_is_to_open_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await archive.open()
        await settled(archive, await uploaded(archive.desk, b"hello"))


async def test_who_keeps_something_of_a_file_is_told_when_the_last_one_goes(tmp_path: Path) -> None:
    told: list[Content] = []
    fails = True

    async def forget(content: Content) -> None:
        told.append(content)
        if fails:
            raise OSError("not now")

    async with opened(tmp_path, forget=forget) as archive:
        one, other = await uploaded(archive.desk, b"hello", "a.txt"), await uploaded(archive.desk, b"hello", "b.txt")
        await settled(archive, one, other)
        await archive.desk.remove("w", one.id)
        await asyncio.sleep(0.05)
        assert told == []
        await archive.desk.remove("w", other.id)
        for _ in range(200):
            if told:
                break
            await asyncio.sleep(0.01)
    assert told == [Content("w", one.sha256)]
    fails = False
    async with opened(tmp_path, forget=forget) as archive:  # it was not told, so the bytes are still known
        await swept(tmp_path)
    assert told == [Content("w", one.sha256)] * 2
