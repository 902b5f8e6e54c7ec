"""What an answer may read, and how long it waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from segue.core.documents import Part
from segue.core.errors import Fault, FileGone, FileProcessing, FileTroubled, FileUnknown
from segue.files.archive import Archive
from tests.files.archives import Reader, lying, opened, settled, swept, uploaded


async def refused(archive: Archive, ids: Sequence[str], wait_s: float = 0.0, workspace: str = "w") -> Fault:
    with pytest.raises(Fault) as caught:
        async with archive.library.reading(workspace, ids, wait_s):
            pass
    return caught.value


async def test_files_come_in_the_named_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        one, two = await uploaded(archive.desk, b"one"), await uploaded(archive.desk, b"two!", "b.md")
        await settled(archive, one, two)
        async with archive.library.reading("w", [two.id, one.id, two.id], 0) as readables:
            assert [readable.text.read_bytes() for readable in readables] == [b"two!", b"one", b"two!"]
            assert [readable.file.name for readable in readables] == ["b.md", "a.txt", "b.md"]
            assert readables[0].parts == (Part(0, "p. 1"), Part(2, "p. 2"))
            assert readables[0].index is not None
            assert readables[0].index.read_bytes() == b"index of two!"
        async with archive.library.reading("w", [], 0) as readables:
            assert readables == ()


async def test_what_cannot_be_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        good = await uploaded(archive.desk, b"good")
        gone = await uploaded(archive.desk, b"gone")
        blank = await uploaded(archive.desk, b"blank")
        lines = await uploaded(archive.desk, b"{}", "a.jsonl", "batch")
        await settled(archive, good, gone, blank)
        await archive.desk.remove("w", gone.id)
        for id in ("file-fe-never", "", "../x", lines.id, "x" * 10_000):
            fault = await refused(archive, [good.id, id])
            assert isinstance(fault, FileUnknown)
            assert fault.id == id
        fault = await refused(archive, [good.id, gone.id])
        assert isinstance(fault, FileGone)
        fault = await refused(archive, [blank.id, good.id])
        assert isinstance(fault, FileTroubled)
        assert (fault.id, fault.trouble) == (blank.id, "blank")
        assert isinstance(await refused(archive, [good.id], workspace="other"), FileUnknown)
        assert isinstance(await refused(archive, [gone.id], workspace="other"), FileUnknown)
        assert isinstance(await refused(archive, [blank.id, gone.id]), FileGone), "that it exists comes first"


async def test_who_waits_hears_at_once(tmp_path: Path) -> None:
    reader = Reader()
    async with opened(tmp_path, reader) as archive:
        file = await uploaded(archive.desk, b"slow")
        assert isinstance(await refused(archive, [file.id]), FileProcessing)
        before = time.monotonic()
        assert isinstance(await refused(archive, [file.id], 0.1), FileProcessing)
        assert 0.1 <= time.monotonic() - before < 1.0
        asyncio.get_running_loop().call_later(0.05, reader.go.set)
        before = time.monotonic()
        async with archive.library.reading("w", [file.id], 10) as (readable,):
            assert readable.file.status == "processed"
        assert time.monotonic() - before < 0.9, "by the news, not by looking every second"


async def test_a_file_that_is_deleted_while_it_is_waited_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, b"slow")
        waiting = asyncio.create_task(refused(archive, [file.id], 10))
        await asyncio.sleep(0.05)
        await archive.desk.remove("w", file.id)
        async with asyncio.timeout(0.9):
            assert isinstance(await waiting, FileGone)


async def test_what_another_process_has_done_is_seen_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await archive.work.close()
        file = await uploaded(archive.desk, b"hello")
        waiting = asyncio.create_task(refused(archive, [file.id], 10))
        job = await archive.store.claim("another", 0.0, 60.0, 3)
        assert job is not None
        assert await archive.store.fail(job, "another", "format")  # without a word to us
        async with asyncio.timeout(3):
            assert isinstance(await waiting, FileTroubled)


async def test_a_file_is_read_to_its_end_though_it_is_deleted(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, b"hello")
        await settled(archive, file)
        async with archive.library.reading("w", [file.id], 0) as (readable,):
            await archive.desk.remove("w", file.id)
            await asyncio.sleep(0.15)  # some sweeps
            assert readable.text.read_bytes() == b"hello"
            assert isinstance(await refused(archive, [file.id]), FileGone)
        await swept(tmp_path)
        assert lying(tmp_path) == []


async def test_a_question_that_is_given_up_lets_go(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, b"hello")
        await settled(archive, file)

        async def ask() -> None:
            async with archive.library.reading("w", [file.id], 0):
                await asyncio.sleep(60)

        asking = asyncio.create_task(ask())
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await archive.desk.remove("w", file.id)
        await swept(tmp_path)


async def test_many_documents_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        files = [await uploaded(archive.desk, b"document %d" % number) for number in range(50)]
        await settled(archive, *files)
        before = time.monotonic()
        async with archive.library.reading("w", [file.id for file in files], 0) as readables:
            assert [readable.file.id for readable in readables] == [file.id for file in files]
        assert time.monotonic() - before < 5.0
