"""What the Files API asks for, without a protocol."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from segue.core.errors import FileAbsent, QuotaFull, RateExceeded, TooLarge
from segue.files.rate import Rate
from segue.store.base import Quota
from tests.files.archives import BOUNDS, lying, opened, settled, swept, uploaded


async def test_what_is_kept_of_a_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        file = await uploaded(archive.desk, b"hello", "名.txt")
        assert re.fullmatch(r"file-fe-[0-9a-f]{24}", file.id)
        assert (file.name, file.bytes, file.workspace) == ("名.txt", 5, "w")
        assert file.sha256 == hashlib.sha256(b"hello").hexdigest()
        assert base64.b64encode(bytes.fromhex(file.md5)) == b"XUFAKrxLKna5cZ2REBfFkg=="
        async with archive.desk.content("w", file.id) as (same, path):
            assert (same.id, path.read_bytes()) == (file.id, b"hello")
        for workspace, id in (("other", file.id), ("w", "file-fe-never")):
            with pytest.raises(FileAbsent):
                await archive.desk.find(workspace, id)
            with pytest.raises(FileAbsent):
                await archive.desk.remove(workspace, id)
            with pytest.raises(FileAbsent):
                async with archive.desk.content(workspace, id):
                    pass
        with pytest.raises(FileAbsent):
            await archive.desk.page("w", "file-fe-never", 10, None, None, None)


@pytest.mark.parametrize(
    ("name", "purpose", "limit"),
    [
        ("a.txt", "file-extract", 10_000),
        ("a.PNG", "file-extract", 2_000),
        ("a.jpeg", "file-extract", 2_000),
        ("a.jsonl", "batch", 20_000),
        ("a.png", "batch", 20_000),
    ],
)
async def test_sizes_are_exact(name: str, purpose: str, limit: int, tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        desk = archive.desk
        assert desk.bytes_max(name, None) == 20_000
        file = await uploaded(desk, b"x" * limit, name, purpose)  # type: ignore[arg-type]
        assert file.bytes == limit
        with pytest.raises(TooLarge) as caught:
            await uploaded(desk, b"x" * (limit + 1), name, purpose)  # type: ignore[arg-type]
        assert (caught.value.what, caught.value.limit) == ("file", limit)
        await desk.remove("w", file.id)
        await swept(tmp_path)


async def test_a_full_workspace_keeps_what_it_has_and_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path, bounds=replace(BOUNDS, quota=Quota(1, 100))) as archive:
        file = await uploaded(archive.desk, b"blank")
        await settled(archive, file)
        before = lying(tmp_path)
        for data in (b"blank", b"other"):  # the first is there already, and must stay
            with pytest.raises(QuotaFull):
                await uploaded(archive.desk, data)
        assert lying(tmp_path) == before
        async with archive.desk.content("w", file.id) as (_, path):
            assert path.read_bytes() == b"blank"


async def test_an_upload_that_is_given_up_at_the_last_moment(tmp_path: Path) -> None:
    """It is there or not, never half; whatever the moment."""
    async with opened(tmp_path, indexes=False) as archive:
        for number in range(25):
            task = asyncio.create_task(uploaded(archive.desk, b"x%d" % number))
            for _ in range(number):
                await asyncio.sleep(0)
            await asyncio.sleep(number % 5 * 0.0005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        files, total = await archive.desk.numbered("w", 0, 100)
        await settled(archive, *files)
        assert sum(name.endswith(".bytes") for name in lying(tmp_path)) == total
        for file in files:
            await archive.desk.remove("w", file.id)
        await swept(tmp_path)


async def test_rates(tmp_path: Path) -> None:
    async with opened(tmp_path, bounds=replace(BOUNDS, uploads_per_s=3, calls_per_s=10)) as archive:
        for _ in range(3):
            archive.desk.admit("w", upload=True)
        with pytest.raises(RateExceeded):
            archive.desk.admit("w", upload=True)
        archive.desk.admit("other", upload=True)
        for _ in range(10):
            archive.desk.admit("w", upload=False)
        with pytest.raises(RateExceeded) as caught:
            archive.desk.admit("w", upload=False)
        assert 0 < caught.value.wait_s <= 1.0


def test_a_rate_holds_in_every_second() -> None:
    now = [0.0]
    rate = Rate(3, lambda: now[0])
    taken = []
    for tick in range(100):
        now[0] = tick * 0.125
        with suppress(RateExceeded):
            rate.take("w")
            taken.append(now[0])
    assert len(taken) == 39  # in 12.4 s, three a second
    assert all(later - earlier >= 1.0 for earlier, later in zip(taken, taken[3:], strict=False))


async def test_files_of_one_name_that_come_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        files = await asyncio.gather(*(uploaded(archive.desk, b"same") for _ in range(20)))
        assert len({file.id for file in files}) == 20
        await settled(archive, *files)
        assert sum(name.endswith(".bytes") for name in lying(tmp_path)) == 1
        await asyncio.gather(*(archive.desk.remove("w", file.id) for file in files))
        await swept(tmp_path)
