"""Killed at any moment, an archive is whole again at the next start.

What holds afterwards: a file that was promised is there, and one whose deletion was promised is not; every blob has a
row and every row its blob; nothing half-written lies about; every file is read in the end, or says that it cannot be.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from segue.core.documents import File
from segue.files.archive import Archive
from tests.files.archives import lying, opened, settled, swept
from tests.files.crashing import CONTENTS, step, work

_READY_S = 30.0
_FULL = 12
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.files.crashing"])


def killed(root: Path, notes: Path, seed: int, after_s: float) -> None:
    """Let it work for a while, and kill it."""
    before = notes.read_text().count("ready") if notes.exists() else 0
    process = _context.Process(target=work, args=(str(root), str(notes), seed))
    process.start()
    deadline = time.monotonic() + _READY_S
    while not (notes.exists() and notes.read_text().count("ready") > before):
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(after_s)
    process.kill()
    process.join()
    process.close()


def promised(notes: Path) -> tuple[Mapping[str, int], set[str], set[str]]:
    """What was kept, as id and content; what was perhaps deleted; what surely was."""
    kept: dict[str, int] = {}
    maybe, gone = set[str](), set[str]()
    for line in notes.read_text().splitlines():
        match line.split():
            case ["kept", id, number]:
                kept[id] = int(number)
            case ["removing", id]:
                maybe.add(id)
            case ["removed", id]:
                gone.add(id)
            case _:
                assert line == "ready"
    return kept, maybe, gone


async def whole(archive: Archive, root: Path, notes: Path) -> list[File]:
    """The archive keeps what was promised; its files."""
    kept, maybe, gone = promised(notes)
    files, total = await archive.desk.numbered("w", 0, 10_000)
    ids = {file.id for file in files}
    assert len(ids) == total
    assert kept.keys() - maybe <= ids
    assert not ids & gone
    for id in gone:
        assert await archive.store.gone("w", id)
    async with archive.blobs.changing():
        assert await archive.blobs.keys() == await archive.store.kept()
        left = {folder.name for folder in (root / "scratch").iterdir()}
        assert left == {archive.blobs.holder}
    files = await settled(archive, *files)
    for file in files:
        if file.status == "error":
            assert file.trouble == "parse"
            continue
        async with archive.library.reading("w", [file.id], 0) as (readable,):
            content = CONTENTS[int(file.name.removesuffix(".txt"))]
            assert readable.text.read_bytes() == content
            assert readable.file.tokens == len(content)
            assert readable.index is not None
            assert readable.index.read_bytes() == b"index of " + content
        async with archive.desk.content("w", file.id) as (_, path):
            assert path.read_bytes() == content
    return files


async def crashes(root: Path, points: int, seed: int) -> int:
    """How many files were read."""
    chance = random.Random(seed)
    notes, read = root / "notes", 0
    for point in range(points):
        killed(root / "files", notes, seed * 10_000 + point, chance.random() ** 2 * 0.4)
        if chance.random() < 0.5:
            continue  # the next process mends it, not we
        async with opened(root / "files") as archive:
            files = await whole(archive, root / "files", notes)
            read += sum(file.status == "processed" for file in files)
            if len(files) > _FULL:
                for file in files:
                    await archive.desk.remove("w", file.id)
                await swept(root / "files")
                notes.write_text("")
    async with opened(root / "files") as archive:
        for file in await whole(archive, root / "files", notes):
            await archive.desk.remove("w", file.id)
        await swept(root / "files")
    assert lying(root / "files") == []
    return read


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
async def test_a_crash_at_every_change(stride: int, tmp_path: Path) -> None:
    """Before and after each transaction, each rename, each removal and each write of a file's life."""
    kept = read = at = 0
    while True:
        at += stride
        root, notes = tmp_path / str(at), tmp_path / f"{at}.notes"
        process = _context.Process(target=step, args=(str(root), str(notes), at))
        process.start()
        process.join()
        status = process.exitcode
        process.close()
        if not status:
            break
        assert status == -signal.SIGKILL
        if not notes.exists():
            continue  # it came to nothing
        async with opened(root) as archive:
            files = await whole(archive, root, notes)
            kept += len(files)
            read += sum(file.status == "processed" for file in files)
            for file in files:
                await archive.desk.remove("w", file.id)
            await swept(root)
    assert at > 50
    assert read == kept > 20 // stride


async def test_twenty_crashes(tmp_path: Path) -> None:
    assert await crashes(tmp_path, 20, seed=1) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
async def test_a_thousand_crashes(seed: int, tmp_path: Path) -> None:
    assert await crashes(tmp_path, 100, seed) > 0
