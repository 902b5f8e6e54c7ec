"""From an upload to a file that can be read, and what becomes of those that cannot."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import get_args

import pytest

from segue.core.documents import Trouble
from segue.files.archive import Archive
from segue.store.base import BYTES, Content, Key
from tests.files.archives import Reader, lying, opened, paced, settled, swept, uploaded


async def test_a_file_is_parsed_counted_and_indexed(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, b"hello")
        assert (file.status, file.tokens) == ("processing", 0)
        (file,) = await settled(archive, file)
        assert (file.status, file.tokens, file.bytes) == ("processed", 5, 5)
        assert await archive.desk.progress("w", file.id) == 1.0
        kinds = await archive.store.kinds(Content("w", file.sha256))
        assert sorted(kinds) == ["bytes", "index-1.txt", "parts-1.txt", "text-1.txt", "tokens-1.txt"]
    assert lying(tmp_path) == sorted(f"{file.sha256}.{kind}" for kind in kinds)


async def test_a_file_for_batches_is_not_read(tmp_path: Path) -> None:
    reader = Reader()
    async with opened(tmp_path, reader) as archive:
        file = await uploaded(archive.desk, b"{}", "a.jsonl", "batch")
        assert (file.status, file.id.startswith("file-batch-")) == ("processed", True)
        await asyncio.sleep(0.05)
    assert reader.parsed == []


async def test_the_same_bytes_are_read_once_a_workspace(tmp_path: Path) -> None:
    reader = Reader()
    async with opened(tmp_path, reader) as archive:
        first = await uploaded(archive.desk, b"slow same", "a.txt")
        second = await uploaded(archive.desk, b"slow same", "b.txt")
        elsewhere = await uploaded(archive.desk, b"slow same", "c.txt", workspace="other")
        reader.go.set()
        await settled(archive, first, second, elsewhere)
        third = await uploaded(archive.desk, b"slow same", "d.txt")
        assert third.status == "processed"
        await settled(archive, await uploaded(archive.desk, b"slow same", "a.md"))
    assert sorted(reader.parsed) == ["a.md", "a.txt", "c.txt"]


@pytest.mark.parametrize("trouble", get_args(Trouble))
async def test_troubles(trouble: Trouble, tmp_path: Path) -> None:
    """What is no accident is believed at once, what may be one is tried three times."""
    reader = Reader()
    async with opened(tmp_path, reader) as archive:
        (file,) = await settled(archive, await uploaded(archive.desk, trouble.encode()))
        assert (file.status, file.trouble) == ("error", trouble)
        assert await archive.desk.progress("w", file.id) == 0.0
    assert len(reader.parsed) == (3 if trouble in ("parse", "timeout") else 1)


@pytest.mark.parametrize("data", [b"", b" \n\t\n"])
async def test_a_file_without_text_is_blank(data: bytes, tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        (file,) = await settled(archive, await uploaded(archive.desk, data))
        assert file.trouble == "blank"


async def test_what_fails_once_is_read_the_second_time(tmp_path: Path) -> None:
    reader = Reader()
    async with opened(tmp_path, reader) as archive:
        (file,) = await settled(archive, await uploaded(archive.desk, b"dies once"))
        assert file.status == "processed"
    assert len(reader.parsed) == 2


async def test_what_always_fails_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path) as archive:
        (file,) = await settled(archive, await uploaded(archive.desk, b"dies"))
        assert (file.status, file.trouble) == ("error", "parse")
        await archive.desk.remove("w", file.id)
        await swept(tmp_path)
    assert caplog.text.count("the parser died") == 3


async def test_a_failed_step_does_not_lose_those_before_it(tmp_path: Path) -> None:
    class Clumsy(Reader):
        async def count(self, path: Path) -> int:
            if not self.counted:
                self.counted += 1
                raise OSError("no space left")
            return await super().count(path)

    reader = Clumsy()
    async with opened(tmp_path, reader) as archive:
        (file,) = await settled(archive, await uploaded(archive.desk, b"hello"))
        assert file.tokens == 5
    assert len(reader.parsed) == 1


async def test_half_a_character_does_not_move_the_parts(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, "a\ud800b".encode("utf-8", "surrogatepass"))
        await settled(archive, file)
        async with archive.library.reading("w", [file.id], 0) as (readable,):
            assert readable.text.read_text("utf-8") == "a\ufffdb"


async def test_progress_is_stored_while_a_file_is_read(tmp_path: Path) -> None:
    reader = Reader()
    async with opened(tmp_path, reader) as archive:
        file = await uploaded(archive.desk, b"slow")
        async with asyncio.timeout(5):
            while await archive.desk.progress("w", file.id) != 0.3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        reader.go.set()
        await settled(archive, file)


async def test_only_so_many_at_a_time(tmp_path: Path) -> None:
    reader = Reader()
    async with opened(tmp_path, reader, paced(at_a_time=2)) as archive:
        files = [await uploaded(archive.desk, b"slow %d" % number) for number in range(5)]
        await asyncio.sleep(0.1)
        assert len(reader.parsed) == 2
        reader.go.set()
        assert {file.status for file in await settled(archive, *files)} == {"processed"}


async def test_what_takes_long_holds_nobody_up(tmp_path: Path) -> None:
    """Three scans and one place: one of them stays, the others begin anew now and then, and letters are read."""
    reader = Reader()
    bounds = paced(at_a_time=1, long_max=1, long_after_s=0.05, long_wait_s=0.1, look_s=0.02, tries_max=2)
    async with opened(tmp_path, reader, bounds) as archive:
        scans = [await uploaded(archive.desk, b"slow %d" % number) for number in range(3)]
        letters = [await uploaded(archive.desk, b"letter %d" % number) for number in range(5)]
        assert {file.status for file in await settled(archive, *letters)} == {"processed"}
        await asyncio.sleep(0.5)
        assert len(reader.parsed) > 8, "those that wait are begun anew"
        reader.go.set()
        assert {file.status for file in await settled(archive, *scans)} == {"processed"}, "and none of it was a try"


async def test_what_takes_long_goes_on_while_nobody_waits(tmp_path: Path) -> None:
    reader = Reader()
    bounds = paced(at_a_time=1, long_max=1, long_after_s=0.05, long_wait_s=60.0, look_s=0.02)
    async with opened(tmp_path, reader, bounds) as archive:
        scans = [await uploaded(archive.desk, b"slow %d" % number) for number in range(2)]
        await asyncio.sleep(0.5)
        assert len(reader.parsed) == 2
        letter = await uploaded(archive.desk, b"letter")
        (letter,) = await settled(archive, letter)
        assert letter.status == "processed", "one of them has made room"
        reader.go.set()
        assert (await settled(archive, scans[0]))[0].status == "processed"


async def test_what_a_stop_has_interrupted_goes_on_at_the_next_start(tmp_path: Path) -> None:
    for _ in range(4):  # more often than there are tries: a stop is not the file's fault
        reader = Reader()
        async with opened(tmp_path, reader) as archive:
            files = (await archive.desk.page("w", None, 9, None, None, None))[0]
            file = files[0] if files else await uploaded(archive.desk, b"slow")
            async with asyncio.timeout(5):
                while not reader.parsed:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    reader = Reader()
    reader.go.set()
    async with opened(tmp_path, reader) as archive:
        (file,) = await settled(archive, file)
        assert file.status == "processed"


async def test_a_deleted_file_is_no_longer_read(tmp_path: Path) -> None:
    reader = Reader()
    async with opened(tmp_path, reader) as archive:
        file = await uploaded(archive.desk, b"slow")
        await asyncio.sleep(0.05)
        await archive.desk.remove("w", file.id)
        await swept(tmp_path)
        again = await uploaded(archive.desk, b"slow")
        reader.go.set()
        (again,) = await settled(archive, again)
        assert again.status == "processed"


async def test_a_lost_lease_ends_the_work(tmp_path: Path) -> None:
    """Another process believed us dead: it has the job now."""
    reader = Reader()
    async with opened(tmp_path, reader) as archive:
        file = await uploaded(archive.desk, b"slow")
        await asyncio.sleep(0.05)
        assert await archive.store.free([archive.blobs.holder]) == 1
        theirs = await archive.store.claim("another", 0.0, 1e12, 3)
        assert theirs is not None
        await asyncio.sleep(0.1)
        reader.go.set()
        await asyncio.sleep(0.1)
        assert (await archive.desk.find("w", file.id)).status == "processing"
        assert await archive.store.kinds(theirs.content) == [BYTES]
        assert await archive.store.finish(theirs, "another", 3)


async def test_a_dead_holders_job_is_taken_over_when_its_lease_ends(tmp_path: Path) -> None:
    bounds = paced(at_a_time=1)
    async with opened(tmp_path, Reader(), bounds) as archive:
        await archive.work.close()
        file = await uploaded(archive.desk, b"hello")
        dead = await archive.store.claim("dead", 0.0, 0.0, 3)
        assert dead is not None
        archive.work.open()
        (file,) = await settled(archive, file)
        assert file.status == "processed"


async def test_without_an_indexer_there_is_no_index(tmp_path: Path) -> None:
    async with opened(tmp_path, indexes=False) as archive:
        file = await uploaded(archive.desk, b"hello")
        await settled(archive, file)
        async with archive.library.reading("w", [file.id], 0) as (readable,):
            assert readable.index is None
    reader = Reader()
    async with opened(tmp_path, reader) as archive:  # and with one, it is made of what is there
        await settled(archive, file)
        async with archive.library.reading("w", [file.id], 0) as (readable,):
            assert readable.index is not None
    assert (reader.parsed, reader.counted, reader.indexed) == ([], 0, 1)


async def text_of(archive: Archive, sha256: str) -> bytes:
    return (await archive.blobs.local(Key(Content("w", sha256), "text-1.txt"))).read_bytes()


async def test_a_busy_database_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path, bounds=paced(look_s=0.02)) as archive:
        claim = archive.store.claim
        told: list[int] = []

        async def busy(*arguments: object) -> object:
            if len(told) < 3:
                told.append(1)
                raise OSError("database is locked")
            return await claim(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(archive.store, "claim", busy)
        (file,) = await settled(archive, await uploaded(archive.desk, b"hello"))
        assert file.status == "processed"
        assert await text_of(archive, file.sha256) == b"hello"
    assert caplog.text.count("no job could be looked for") == 3
