"""Bytes in a folder: whole or not there, held while they are read, and what the dead have left."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import segue
from segue.store.base import BYTES, BlobMissing, Content, Key, StoreUnusable
from segue.store.folder import FolderBlobs

CONTENT = Content("w", "ab" * 32)
KEY = Key(CONTENT, BYTES)


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FolderBlobs]:
    blobs = FolderBlobs(tmp_path)
    blobs.open()
    yield blobs
    blobs.close()


async def put(blobs: FolderBlobs, key: Key, data: bytes) -> None:
    path = blobs.scratch()
    await asyncio.to_thread(path.write_bytes, data)
    async with blobs.changing():
        await blobs.put(key, path)
    assert not path.exists()


async def test_what_is_put_is_there(blobs: FolderBlobs, tmp_path: Path) -> None:
    await put(blobs, KEY, b"bytes")
    await put(blobs, Key(CONTENT, "text-1.txt"), b"text")
    path = await blobs.local(KEY)
    assert path.read_bytes() == b"bytes"
    assert path.relative_to(tmp_path).parts == ("blobs", "w", "ab", "ab", "ab" * 32 + ".bytes")
    async with blobs.changing():
        assert await blobs.keys() == {KEY, Key(CONTENT, "text-1.txt")}
        assert await blobs.delete(CONTENT, [BYTES, "never was"])
        assert await blobs.keys() == {Key(CONTENT, "text-1.txt")}
        assert await blobs.delete(CONTENT, ["text-1.txt"])
    assert list((tmp_path / "blobs" / "w").iterdir()) == [], "no empty folders stay"
    with pytest.raises(BlobMissing):
        await blobs.local(KEY)


@pytest.mark.parametrize("workspace", ["..", ".", "a/b", "../../etc", "名", "a b", "ws-1", "%2e%2e"])
async def test_no_workspace_leaves_the_folder(workspace: str, blobs: FolderBlobs, tmp_path: Path) -> None:
    key = Key(Content(workspace, "cd" * 32), BYTES)
    await put(blobs, key, b"x")
    path = (await blobs.local(key)).resolve()
    assert path.parents[3] == (tmp_path / "blobs").resolve() or path.is_relative_to(tmp_path / "blobs")
    async with blobs.changing():
        assert await blobs.keys() == {key}


async def test_what_is_held_stays(blobs: FolderBlobs) -> None:
    await put(blobs, KEY, b"bytes")
    async with blobs.holding([CONTENT]), blobs.holding([CONTENT, CONTENT]), blobs.changing():
        assert not await blobs.delete(CONTENT, [BYTES])
    async with blobs.holding([CONTENT]), blobs.changing():
        assert not await blobs.delete(CONTENT, [BYTES])
        assert await blobs.delete(Content("other", "ab" * 32), [BYTES])
    async with blobs.changing():
        assert await blobs.delete(CONTENT, [BYTES])


async def test_it_is_for_its_owner_only(blobs: FolderBlobs, tmp_path: Path) -> None:
    for name in ("blobs", "scratch", f"scratch/{blobs.holder}"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    fresh = FolderBlobs(tmp_path / "made" / "here")
    fresh.open()
    fresh.close()
    assert stat.S_IMODE((tmp_path / "made" / "here").stat().st_mode) == 0o700


async def test_one_changes_at_a_time(blobs: FolderBlobs) -> None:
    told: list[str] = []

    async def change(name: str) -> None:
        async with blobs.changing():
            told.append(name)
            await asyncio.sleep(0.01)
            told.append(name)

    await asyncio.gather(*(change(name) for name in "abc"))
    assert told == ["a", "a", "b", "b", "c", "c"]


ANOTHER = """
import asyncio, sys
from pathlib import Path
from segue.store.base import Content
from segue.store.folder import FolderBlobs

async def main():
    blobs = FolderBlobs(Path(sys.argv[1]))
    blobs.open()
    blobs.scratch().write_bytes(b"half")
    async with blobs.holding([Content("w", "ab" * 32)]):
        print(blobs.holder, flush=True)
        sys.stdin.readline()
        async with blobs.changing():
            print("changing", flush=True)
            sys.stdin.readline()

asyncio.run(main())
"""


@contextmanager
def another(root: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that has the same folder open and holds the content; and what it is called."""
    process = subprocess.Popen(
        [sys.executable, "-c", ANOTHER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(segue.__file__).parent.parent)},
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


async def test_what_another_process_holds_stays_until_it_dies(blobs: FolderBlobs, tmp_path: Path) -> None:
    await put(blobs, KEY, b"bytes")
    with another(tmp_path) as (process, holder):
        async with blobs.changing():
            assert not await blobs.delete(CONTENT, [BYTES])
            assert list(await blobs.tidy()) == [], "it lives"
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "changing\n"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), blobs.changing():
                pass
        process.kill()
        process.wait()
        async with blobs.changing():
            assert list(await blobs.tidy()) == [holder]
            assert await blobs.delete(CONTENT, [BYTES])
    left = [folder.name for folder in (tmp_path / "scratch").iterdir()]
    assert left == [blobs.holder]


async def test_what_is_being_deleted_cannot_be_held(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(blobs, KEY, b"bytes")
    deleting, may = asyncio.Event(), asyncio.Event()

    async def slowly(*_: object) -> None:
        deleting.set()
        await may.wait()

    monkeypatch.setattr("segue.store.folder.asyncio.to_thread", slowly)

    async def delete() -> bool:
        async with blobs.changing():
            return await blobs.delete(CONTENT, [BYTES])

    task = asyncio.create_task(delete())
    await deleting.wait()
    with pytest.raises(BlobMissing):
        async with blobs.holding([Content("w", "cd" * 32), CONTENT]):
            pass
    may.set()
    assert await task


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    blobs = FolderBlobs(tmp_path / "file")
    with pytest.raises(StoreUnusable, match="SEGUE_FILES_DIR"):
        blobs.open()
    blobs.close()
