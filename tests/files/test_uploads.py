"""Temporary uploads, without a protocol: whose they are, how long they last, and what is left of them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from segue.core.errors import AlreadyThere, KeyInvalid, MediumRefused, QuotaFull, StoreLost
from segue.core.request import Caller
from segue.files.archive import Archive
from segue.files.uploads import SCHEME, UploadBounds, Uploads, _mark
from segue.store.base import Quota
from tests.files.archives import BOUNDS, opened, swept


class House:
    """Keys that open something, and a clock."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.callers = {name: Caller(name, name) for name in ("w", "v")}

    def seal(self, key: str, workspace: str, data: bytes) -> bytes:
        return hmac.digest(self.caller(key, workspace).key.encode(), data, "sha256")

    def caller(self, key: str, workspace: str) -> Caller:
        if key not in self.callers:
            raise KeyInvalid
        return self.callers[key]

    def uploads(self, archive: Archive) -> Uploads:
        archive.desk._clock = lambda: self.now
        return Uploads(archive.desk, archive.store, self.seal, self.caller, UploadBounds(100, 10), lambda: self.now)


async def put(uploads: Uploads, caller: Caller, data: bytes = b"picture") -> str:
    permit = uploads.permit(caller)
    arriving = await uploads.begin()
    try:
        arriving.write(data)
        key = f"{permit.folder}/a.png"
        await uploads.keep(arriving, permit.ticket, key, permit.policy, permit.signature)
    finally:
        arriving.discard()
    return "oss://" + key


async def test_an_upload_is_its_workspace_s_for_a_while(tmp_path: Path) -> None:
    house = House()
    async with opened(tmp_path) as archive:
        uploads = house.uploads(archive)
        address = await put(uploads, house.callers["w"])
        async with uploads.held("w", address) as path:
            assert path.read_bytes() == b"picture"
        for workspace, other in (("v", address), ("w", address + "x"), ("w", "oss://")):
            with pytest.raises(MediumRefused):
                async with uploads.held(workspace, other):
                    pass
        assert await uploads.expire() == 0
        house.now += 101
        with pytest.raises(MediumRefused):
            async with uploads.held("w", address):
                pass
        assert await uploads.expire() == 1
        await swept(tmp_path)


async def test_one_form_posted_by_many_at_once_is_kept_once(tmp_path: Path) -> None:
    house = House()
    async with opened(tmp_path) as archive:
        uploads = house.uploads(archive)
        permit = uploads.permit(house.callers["w"])
        key = f"{permit.folder}/a.png"

        async def post(data: bytes) -> bytes | None:
            arriving = await uploads.begin()
            try:
                arriving.write(data)
                await uploads.keep(arriving, permit.ticket, key, permit.policy, permit.signature)
            except AlreadyThere:
                return None
            finally:
                arriving.discard()
            return data

        one, other = b"picture", b"another"
        said = await asyncio.gather(*map(post, [one, other] * 8))
        async with uploads.held("w", "oss://" + key) as path:
            held = path.read_bytes()
        assert held in (one, other)
        assert said.count(held) == 8
        assert said.count(None) == 8
        house.now += 101
        assert await uploads.expire() == 1
        await swept(tmp_path)


async def test_a_ticket_is_of_one_key_and_one_time(tmp_path: Path) -> None:
    house = House()
    async with opened(tmp_path) as archive:
        uploads = house.uploads(archive)
        permit = uploads.permit(house.callers["w"])
        assert uploads.holder(permit.ticket) == house.callers["w"]
        for broken in ("", "AAAA", "é", permit.ticket[:-4], permit.ticket[:-1] + "_", "A" + permit.ticket[1:]):
            with pytest.raises(KeyInvalid):
                uploads.holder(broken)
        for claim in ("1", "null", "true", "{}", '["w"]', "[" * 40_000, '["\\ud800","w","f",9]'):
            made = base64.urlsafe_b64encode(bytes(32) + claim.encode()).decode().rstrip("=")
            with pytest.raises(KeyInvalid):
                uploads.holder(made)
        house.now += 11
        with pytest.raises(KeyInvalid):
            uploads.holder(permit.ticket)
        house.now -= 11
        del house.callers["w"]
        with pytest.raises(KeyInvalid):
            uploads.holder(permit.ticket)
        with pytest.raises(KeyInvalid):
            uploads.permit(Caller("w", "w"))


async def test_a_policy_of_somebody_else_does_not_do(tmp_path: Path) -> None:
    house = House()
    async with opened(tmp_path) as archive:
        uploads = house.uploads(archive)
        mine, theirs = uploads.permit(house.callers["w"]), uploads.permit(house.callers["v"])
        arriving = await uploads.begin()
        try:
            for key, policy, signature in (
                (f"{theirs.folder}/a", mine.policy, mine.signature),
                (f"{mine.folder}/a", theirs.policy, theirs.signature),
                (f"{mine.folder}/a", mine.policy, ""),
                (f"{mine.folder}/", mine.policy, mine.signature),
                (f"{mine.folder}/a/b", mine.policy, mine.signature),
                (f"{mine.folder}/{'a' * 256}", mine.policy, mine.signature),
            ):
                with pytest.raises(KeyInvalid):
                    await uploads.keep(arriving, mine.ticket, key, policy, signature)
        finally:
            arriving.discard()


async def test_what_is_old_goes_also_after_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    monkeypatch.setattr("segue.files.uploads._SWEPT_EVERY_S", 0.01)
    async with opened(tmp_path) as archive:
        uploads = house.uploads(archive)
        address = await put(uploads, house.callers["w"])
        house.now += 101
        troubles = [OSError("no room"), sqlite3.OperationalError("locked"), StoreLost("away")]
        old_uploads = archive.store.old_uploads

        async def troubled(before: float, limit: int) -> Sequence[tuple[str, str]]:
            if troubles:
                raise troubles.pop()
            return await old_uploads(before, limit)

        monkeypatch.setattr(archive.store, "old_uploads", troubled)
        await uploads.open()
        async with asyncio.timeout(10):
            while await archive.store.find("w", "file-upload-" + _mark(address.removeprefix(SCHEME))):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await uploads.close()
        await swept(tmp_path)


async def test_uploads_count_against_the_quota(tmp_path: Path) -> None:
    house = House()
    async with opened(tmp_path, bounds=replace(BOUNDS, quota=Quota(1, 10**9))) as archive:
        uploads = house.uploads(archive)
        await put(uploads, house.callers["w"])
        with pytest.raises(QuotaFull):
            await put(uploads, house.callers["w"], b"other")
        await put(uploads, house.callers["v"], b"other")


def test_the_seal_of_this_test_is_one() -> None:
    house = House()
    assert house.seal("w", "w", b"a") == hmac.new(b"w", b"a", hashlib.sha256).digest()
